//! The trait itself.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Attribute, Block, FnArg, Pat, ReturnType, Token, TraitItem, TraitItemFn, Type, TypeParamBound};

use super::unit;
use crate::attributes::is_lint;
use crate::model::Service;
use crate::names::generated_at;
use crate::types::let_streams_be_send;

pub(super) fn render(service: &Service) -> TokenStream {
    let mut item = service.item.clone();
    item.colon_token.get_or_insert_default();
    for bound in [quote!(::core::marker::Send), quote!(::core::marker::Sync), quote!('static)] {
        item.supertraits.push(TypeParamBound::Verbatim(bound));
    }
    for item in &mut item.items {
        if let TraitItem::Fn(function) = item {
            desugar(function);
        }
    }
    item.into_token_stream()
}

/// `async fn` becomes a function that returns a future that is `Send`: an implementor writes `async fn` all the same.
fn desugar(function: &mut TraitItemFn) {
    let span = generated_at(function.sig.ident.span());
    if let Some(body) = &mut function.default {
        let bindings = take_bindings(&mut function.sig.inputs);
        wrap(body, &bindings, span);
    }
    function.sig.asyncness = None;
    if let ReturnType::Type(_, ty) = &mut function.sig.output {
        let_streams_be_send(ty);
    }
    let (arrow, output) = match &function.sig.output {
        ReturnType::Default => (<Token![->]>::default(), unit()),
        ReturnType::Type(arrow, ty) => (*arrow, ty.to_token_stream()),
    };
    // The signature ends at a token of the user's, so that what the compiler says of the method it says there.
    let end = output.clone().into_iter().last().filter(|_| matches!(function.sig.output, ReturnType::Type(..)));
    let end = Token![>](end.map_or_else(|| function.sig.paren_token.span.close(), |token| token.span()));
    let future = quote_spanned! {span=>
        impl ::core::marker::Send + ::core::future::Future<Output = #output #end
    };
    function.sig.output = ReturnType::Type(arrow, Box::new(Type::Verbatim(future)));
}

/// What an `async fn` does with its arguments: all are moved into the future, used or not, and `mut` holds there.
fn take_bindings<'a>(inputs: impl IntoIterator<Item = &'a mut FnArg>) -> Vec<TokenStream> {
    let mut bindings = Vec::new();
    for input in inputs {
        let FnArg::Typed(input) = input else { continue };
        let Pat::Ident(pattern) = &mut *input.pat else { continue };
        let attrs: Vec<Attribute> = input.attrs.clone();
        input.attrs.retain(|attr| is_lint(&attr.meta));
        let ident = &pattern.ident;
        let mutability = pattern.mutability.take();
        bindings.push(quote_spanned! {Span::mixed_site()=> #(#attrs)* let #mutability #ident = #ident; });
    }
    bindings
}

fn wrap(body: &mut Block, bindings: &[TokenStream], span: Span) {
    let statements = &body.stmts;
    let future = quote_spanned! {span=>
        async move {
            #(#bindings)*
            #(#statements)*
        }
    };
    body.stmts = vec![syn::Stmt::Expr(syn::Expr::Verbatim(future), None)];
}

//! From a [`Service`] to the code for it.

mod client;
mod interface;
mod method;
mod server;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Attribute, Meta, Visibility};

use crate::attributes::is_hidden;
use crate::model::{Clash, Service};
use crate::names::generated_at;

/// All generated code. Names in it are hygienic where the language lets them, and absolute where not.
pub(crate) fn render(service: &Service) -> TokenStream {
    let interface = interface::render(service);
    let methods = method::render_all(service);
    let server = server::render(service);
    let client = client::render(service);
    let clashes = service.clashes.iter().map(|clash| render_clash(service, clash));
    quote! {
        #interface
        #methods
        #server
        #client
        #(#clashes)*
    }
}

/// An error once `cfg` has been applied and left both methods.
fn render_clash(service: &Service, Clash { cfg, at, message }: &Clash) -> TokenStream {
    let service_cfg = &service.carried.cfg;
    quote_spanned! {*at=>
        #(#service_cfg)*
        #(#cfg)*
        ::core::compile_error! { #message }
    }
}

/// The attributes of every item that is generated for the service.
fn item_attributes(service: &Service) -> TokenStream {
    let carried = &service.carried;
    let cfg = &carried.cfg;
    let lints = lint_levels(&carried.lints);
    let hidden = carried.docs.iter().filter(|attr| is_hidden(&attr.meta));
    // No other level is set: the user may have forbidden it. Lints speak of code at `generated_at` to nobody, but for this one.
    let deprecated = service.is_deprecated().then(|| quote_spanned!(Span::mixed_site()=> #[allow(deprecated)]));
    quote_spanned! {Span::mixed_site()=>
        #(#cfg)*
        #deprecated
        #(#lints)*
        #(#hidden)*
    }
}

/// Those of what goes by `lints` that are no `deprecated`.
fn lint_levels(lints: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    lints.iter().filter(|attr| !attr.path().is_ident("deprecated"))
}

fn doc(text: impl std::fmt::Display) -> TokenStream {
    let text = text.to_string();
    quote!(#[doc = #text])
}

/// Documentation of a method: the user's, or a sentence where there is none.
fn docs_or(docs: &[Attribute], otherwise: impl std::fmt::Display) -> TokenStream {
    if docs.iter().any(|attr| matches!(attr.meta, Meta::NameValue(_))) {
        return quote!(#(#docs)*);
    }
    let sentence = doc(otherwise);
    quote!(#sentence #(#docs)*)
}

fn unit() -> TokenStream {
    quote!(())
}

fn type_or_unit(ty: Option<&syn::Type>) -> TokenStream {
    ty.map_or_else(unit, ToTokens::to_token_stream)
}

/// The visibility of the service, on items that are not the user's own.
fn visibility(vis: &Visibility) -> TokenStream {
    let tokens = vis.to_token_stream().into_iter().map(|mut token| {
        token.set_span(generated_at(token.span()));
        token
    });
    tokens.collect()
}

/// These tokens as if they stood at `span`.
fn at(tokens: TokenStream, span: Span) -> TokenStream {
    let located = tokens.into_iter().map(|mut token| {
        token.set_span(token.span().located_at(span));
        token
    });
    located.collect()
}

//! What the client and the server share of each method: the struct of its arguments, and the type that stands for it.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Path, Token, VisRestricted, Visibility, parse_quote};

use super::{at, doc, item_attributes, lint_levels, type_or_unit};
use crate::model::{Method, Returns, Service};
use crate::names::generated_at;
use crate::read::path_text;
use crate::types::last_segment;

pub(super) fn render_all(service: &Service) -> TokenStream {
    let module = render_module(service);
    let methods = service.methods.iter().map(|method| {
        let args = render_args(service, method);
        let implementation = render_method(service, method);
        quote!(#args #implementation)
    });
    quote!(#module #(#methods)*)
}

/// The module names none of the user's types: a trait inside a function can't be reached from it.
fn render_module(service: &Service) -> TokenStream {
    let Service { item, names, wire_name, .. } = service;
    let (vis, module) = (&item.vis, &names.module);
    let attributes = item_attributes(service);
    let docs = doc(format_args!("The methods of `{wire_name}`, a type for each."));
    let marker_vis = one_module_deeper(vis);
    let markers = service.methods.iter().map(|method| {
        let (cfg, marker) = (&method.carried.cfg, &method.names.marker);
        let docs = doc(format_args!("`{}`.", method.full_name));
        quote_spanned! {Span::mixed_site()=>
            #docs
            #(#cfg)*
            #[derive(::core::fmt::Debug, ::core::clone::Clone, ::core::marker::Copy)]
            #marker_vis struct #marker;
        }
    });
    quote_spanned! {Span::mixed_site()=>
        #docs
        #attributes
        #vis mod #module {
            #(#markers)*
        }
    }
}

/// The visibility that means the same inside a module as this one means around it.
fn one_module_deeper(vis: &Visibility) -> Visibility {
    let restricted = match vis {
        Visibility::Public(_) => return vis.clone(),
        Visibility::Inherited => return parse_quote!(pub(super)),
        Visibility::Restricted(restricted) => restricted,
    };
    let path = &restricted.path;
    let path: Path = match path.segments.first() {
        Some(first) if first.ident == "self" => {
            let rest = path.segments.iter().skip(1);
            parse_quote!(super #(::#rest)*)
        }
        Some(first) if first.ident == "super" => parse_quote!(super::#path),
        _ => return vis.clone(),
    };
    Visibility::Restricted(VisRestricted {
        in_token: Some(<Token![in]>::default()),
        path: Box::new(path),
        ..restricted.clone()
    })
}

fn render_args(service: &Service, method: &Method) -> TokenStream {
    let Service { item, krate, .. } = service;
    let (vis, args, cfg) = (&item.vis, &method.names.args, &method.carried.cfg);
    let attributes = item_attributes(service);
    let serde = format!("{}::__private::serde", path_text(krate));
    let fields = method.arguments().map(|argument| {
        let (ident, ty, attrs) = (&argument.ident, &argument.ty, &argument.field_attrs);
        quote!(#(#attrs)* #ident: #ty)
    });
    // The compiler asks the struct, not its field, how a field may be named.
    let lints = lint_levels(&method.carried.lints).chain(method.arguments().flat_map(|argument| &argument.lints));
    let site = generated_at(method.ident.span());
    let krate = at(krate.to_token_stream(), site);
    let text = method.full_name.as_str();
    quote_spanned! {site=>
        #[doc(hidden)]
        #attributes
        #(#cfg)*
        #(#lints)*
        #[derive(#krate::__private::serde::Serialize, #krate::__private::serde::Deserialize)]
        #[serde(crate = #serde)]
        #vis struct #args {
            #(#fields,)*
        }

        #attributes
        #(#cfg)*
        impl ::core::fmt::Debug for #args {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(#text).finish_non_exhaustive()
            }
        }
    }
}

fn render_method(service: &Service, method: &Method) -> TokenStream {
    let Service { krate, names, gorpc_name, .. } = service;
    let gorpc = gorpc_name.as_ref().map(|service| {
        let method = &method.wire_name;
        quote_spanned! {Span::mixed_site()=>
            const GORPC: ::core::option::Option<(&'static ::core::primitive::str, &'static ::core::primitive::str)> =
                ::core::option::Option::Some((#service, #method));
        }
    });
    let (module, marker, args, cfg) = (&names.module, &method.names.marker, &method.names.args, &method.carried.cfg);
    let attributes = item_attributes(service);
    let (name, idempotent) = (&method.full_name, method.idempotent);
    let site = generated_at(method.ident.span());
    let (output, error) = outcome_types(krate, method);
    quote_spanned! {site=>
        #attributes
        #(#cfg)*
        impl #krate::Method for #module::#marker {
            const NAME: &'static ::core::primitive::str = #name;
            const IDEMPOTENT: ::core::primitive::bool = #idempotent;
            #gorpc
            type Args = #args;
            type Output = #output;
            type Error = #error;
        }
    }
}

/// What a call gives when it goes well, and when it doesn't. What is wrong with either is to be said of the return type.
fn outcome_types(krate: &Path, method: &Method) -> (TokenStream, TokenStream) {
    let Returns { ty, fallible } = &method.returns;
    let returned = type_or_unit(ty.as_ref());
    let Some(result) = ty.as_ref().and_then(last_segment).filter(|_| *fallible) else {
        return (returned, quote!(#krate::RpcError));
    };
    let span = generated_at(result.ident.span());
    let krate = at(krate.to_token_stream(), span);
    let types = quote_spanned!(span=> <#returned as #krate::__private::ResultTypes>);
    (quote_spanned!(span=> #types::Ok), quote_spanned!(span=> #krate::CallError<#types::Err>))
}

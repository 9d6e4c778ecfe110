//! What the client and the server share of each method: the struct of its arguments, and the type that stands for it.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Ident, Path, Token, VisRestricted, Visibility, parse_quote};

use super::{at, doc, item_attributes, lint_levels, type_or_unit, visibility};
use crate::fingerprint::written;
use crate::model::{Method, Returns, Service};
use crate::names::{Module, generated_at};
use crate::read::path_text;
use crate::types::{StreamReturn, last_segment, result_types};

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
    let vis = visibility(&item.vis);
    let attributes = item_attributes(service);
    let docs = doc(format_args!("The methods of `{wire_name}`, a type for each."));
    let inside = one_module_deeper(&item.vis);
    let module = |name: &Ident, inside: &Visibility| {
        let vis = visibility(inside);
        let marker_vis = visibility(&one_module_deeper(inside));
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
            #vis mod #name {
                #(#markers)*
            }
        }
    };
    match &names.module {
        Module::Given(name) => module(name, &item.vis),
        Module::Default { around, name, imported } => {
            let cfg = &service.carried.cfg;
            // Whatever else has the name in the user's module goes before what is imported by `*`.
            let import = imported.then(|| quote_spanned!(Span::mixed_site()=> #(#cfg)* #vis use #around::*;));
            let module = module(name, &inside);
            quote_spanned! {Span::mixed_site()=>
                #(#cfg)*
                mod #around {
                    #module
                }
                #import
            }
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
    let Service { item, krate, names, .. } = service;
    let (vis, args, cfg) = (visibility(&item.vis), &method.names.args, &method.carried.cfg);
    let attributes = item_attributes(service);
    let serde = format!("{}::__private::serde", path_text(krate));
    let site = generated_at(method.ident.span());
    let krate = at(krate.to_token_stream(), site);
    let (module, marker) = (names.module.path(), &method.names.marker);
    let of = quote_spanned!(site=> __M);
    let fields = method.arguments().enumerate().map(|(index, argument)| {
        let (ident, ty, attrs) = (&argument.ident, &argument.ty, &argument.field_attrs);
        if argument.by_serde_attribute {
            quote!(#(#attrs)* #ident: #ty)
        } else {
            quote!(#(#attrs)* #ident: #krate::__private::Taken<#of, #index>)
        }
    });
    // What is wrong with a type is said once, and where it stands: everything else has it from here.
    let taken: Vec<_> = method.arguments().enumerate().filter(|(_, argument)| !argument.by_serde_attribute).collect();
    let takes = taken.iter().map(|(index, argument)| {
        let ty = &argument.ty;
        quote_spanned! {site=>
            #attributes
            #(#cfg)*
            impl #krate::__private::Takes<#index> for #module::#marker {
                type Argument = #ty;
                type Held = <#krate::__private::Is<{ #krate::__private::is_large::<#ty>() }>
                    as #krate::__private::Store<#ty>>::Held;
            }
        }
    });
    let is_generic = !taken.is_empty();
    let bounds = taken.iter().map(|(index, _)| quote!(#krate::__private::Takes<#index>));
    let generics = is_generic.then(|| quote!(<#of: #(#bounds)+*>));
    let parameters = is_generic.then(|| quote!(<#of>));
    let bound = is_generic.then(|| quote!(#[serde(bound = "")]));
    // The compiler asks the struct, not its field, how a field may be named.
    let lints = lint_levels(&method.carried.lints).chain(method.arguments().flat_map(|argument| &argument.lints));
    let text = method.full_name.as_str();
    quote_spanned! {site=>
        #(#takes)*

        #[doc(hidden)]
        #attributes
        #(#cfg)*
        #(#lints)*
        #[derive(#krate::__private::serde::Serialize, #krate::__private::serde::Deserialize)]
        #[serde(crate = #serde)]
        #bound
        #vis struct #args #generics {
            #(#fields,)*
        }

        #attributes
        #(#cfg)*
        impl #generics ::core::fmt::Debug for #args #parameters {
            fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                __f.debug_struct(#text).finish_non_exhaustive()
            }
        }
    }
}

/// The struct of a method's arguments, as a type.
fn args_type(service: &Service, method: &Method) -> TokenStream {
    let (args, module, marker) = (&method.names.args, service.names.module.path(), &method.names.marker);
    let of = method.arguments().any(|argument| !argument.by_serde_attribute).then(|| quote!(<#module::#marker>));
    quote!(#args #of)
}

fn render_method(service: &Service, method: &Method) -> TokenStream {
    let Service { krate, names, gorpc_name, gorpc_strict, .. } = service;
    let gorpc = gorpc_name.as_ref().map(|service| {
        let method = &method.wire_name;
        quote_spanned! {Span::mixed_site()=>
            const GORPC: ::core::option::Option<(&'static ::core::primitive::str, &'static ::core::primitive::str)> =
                ::core::option::Option::Some((#service, #method));
        }
    });
    let strict =
        gorpc_strict.then(|| quote_spanned!(Span::mixed_site()=> const GORPC_STRICT: ::core::primitive::bool = true;));
    let (module, marker, cfg) = (names.module.path(), &method.names.marker, &method.carried.cfg);
    let args = args_type(service, method);
    let attributes = item_attributes(service);
    let (name, idempotent, written) = (&method.full_name, method.idempotent, written(method));
    let context = method
        .takes_context()
        .then(|| quote_spanned!(Span::mixed_site()=> const TAKES_CONTEXT: ::core::primitive::bool = true;));
    let timeout = method.timeout.map(|timeout| {
        let (seconds, nanos) = (timeout.as_secs(), timeout.subsec_nanos());
        quote_spanned! {Span::mixed_site()=>
            const TIMEOUT: ::core::option::Option<::core::time::Duration> =
                ::core::option::Option::Some(::core::time::Duration::new(#seconds, #nanos));
        }
    });
    let or = method.or.as_ref().map(|older| {
        let full = format!("{}.{older}", service.wire_name);
        quote_spanned! {Span::mixed_site()=>
            const OR: ::core::option::Option<(&'static ::core::primitive::str, &'static ::core::primitive::str)> =
                ::core::option::Option::Some((#full, #older));
        }
    });
    let max_request = method.max_request.map(|bytes| {
        quote_spanned! {Span::mixed_site()=>
            const MAX_REQUEST: ::core::option::Option<::core::primitive::usize> = ::core::option::Option::Some(#bytes);
        }
    });
    let site = generated_at(method.ident.span());
    let (output, error) = outcome_types(krate, method);
    let types = method.arguments().map(|argument| &argument.ty);
    let takes_items = method.stream().map(|stream| {
        let item = &stream.item;
        quote_spanned! {site=>
            #attributes
            #(#cfg)*
            impl #krate::__private::TakesItems for #module::#marker {
                type Item = #item;
            }
        }
    });
    quote_spanned! {site=>
        #takes_items


        #attributes
        #(#cfg)*
        impl #krate::Method for #module::#marker {
            const NAME: &'static ::core::primitive::str = #name;
            const IDEMPOTENT: ::core::primitive::bool = #idempotent;
            const FINGERPRINT: ::core::primitive::u64 = #krate::__private::fnv1a(#written);
            #gorpc
            #context
            #strict
            #timeout
            #max_request
            #or
            const ARGS_SIZE: ::core::primitive::usize = 0 #(+ ::core::mem::size_of::<#types>())*;
            type Args = #args;
            type Output = #output;
            type Error = #error;
        }
    }
}

/// What a call gives when it goes well, and when it doesn't. What is wrong with either is to be said of the return type.
fn outcome_types(krate: &Path, method: &Method) -> (TokenStream, TokenStream) {
    let Returns { ty, fallible, stream } = &method.returns;
    if let Some(StreamReturn { item, error }) = stream {
        let error = error.as_ref().map(|error| quote!(#krate::CallError<#error>));
        return (item.to_token_stream(), error.unwrap_or_else(|| quote!(#krate::RpcError)));
    }
    let returned = type_or_unit(ty.as_ref());
    let Some((ty, result)) =
        ty.as_ref().and_then(|ty| last_segment(ty).map(|result| (ty, result))).filter(|_| *fallible)
    else {
        return (returned, quote!(#krate::RpcError));
    };
    // Of one of its types, if that is written out.
    let place = |index| {
        let written = result_types(ty)
            .nth(index)
            .map(ToTokens::to_token_stream)
            .unwrap_or_else(|| result.ident.to_token_stream());
        let mut spans = written.into_iter().map(|token| generated_at(token.span()));
        let first = spans.next().unwrap_or_else(Span::mixed_site);
        (first, spans.last().unwrap_or(first))
    };
    let types = |span| {
        let krate = at(krate.to_token_stream(), span);
        quote_spanned!(span=> <#returned as #krate::__private::ResultTypes>)
    };
    let (first, last) = place(0);
    let (types_here, name) = (types(first), Ident::new("Ok", last));
    let output = quote_spanned!(first=> #types_here::#name);
    let (first, last) = place(1);
    let (types_here, krate, end) = (types(first), at(krate.to_token_stream(), first), Token![>](last));
    (output, quote_spanned!(first=> #krate::CallError<#types_here::Err #end))
}

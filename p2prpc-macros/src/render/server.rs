//! The server: an implementation of the trait, made into a service of no particular type.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};

use super::{at, doc, item_attributes};
use crate::model::{Method, Parameter, Service};
use crate::names::generated_at;

pub(super) fn render(service: &Service) -> TokenStream {
    let Service { item, krate, names, wire_name, .. } = service;
    let (vis, server, implementor, interface) = (&item.vis, &names.server, &names.implementor, &item.ident);
    let attributes = item_attributes(service);
    let conversion = render_conversion(service);
    let docs = doc(format_args!("Serves `{wire_name}`: give it to `serve`, as `{server}::new(..)`."));
    quote_spanned! {Span::mixed_site()=>
        #docs
        #attributes
        #vis struct #server<#implementor> {
            service: ::std::sync::Arc<#implementor>,
            rules: ::std::vec::Vec<
                ::std::sync::Arc<
                    dyn ::core::ops::Fn(&#krate::CallInfo) -> ::core::primitive::bool
                        + ::core::marker::Send
                        + ::core::marker::Sync,
                >,
            >,
        }

        #attributes
        impl<#implementor: #interface> #server<#implementor> {
            /// Serve this.
            #[must_use]
            #vis fn new(service: #implementor) -> Self {
                Self::from_arc(::std::sync::Arc::new(service))
            }

            /// Serve what others hold too.
            #[must_use]
            #vis fn from_arc(service: ::std::sync::Arc<#implementor>) -> Self {
                Self { service, rules: ::std::vec::Vec::new() }
            }

            /// What is served.
            #[must_use]
            #vis fn inner(&self) -> &::std::sync::Arc<#implementor> {
                &self.service
            }

            /// Let only those calls through for which `rule` says `true`; for all others the service isn't there. A rule
            /// that was set before must agree too, and one that panics denies. It runs for each call: keep it quick.
            #[must_use]
            #vis fn authorize(
                mut self,
                rule: impl ::core::ops::Fn(&#krate::CallInfo) -> ::core::primitive::bool
                    + ::core::marker::Send
                    + ::core::marker::Sync
                    + 'static,
            ) -> Self {
                self.rules.push(::std::sync::Arc::new(rule));
                self
            }
        }

        #attributes
        impl<#implementor> ::core::clone::Clone for #server<#implementor> {
            fn clone(&self) -> Self {
                Self {
                    service: ::core::clone::Clone::clone(&self.service),
                    rules: ::core::clone::Clone::clone(&self.rules),
                }
            }
        }

        #attributes
        impl<#implementor> ::core::fmt::Debug for #server<#implementor> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(::core::stringify!(#server)).finish_non_exhaustive()
            }
        }

        #conversion
    }
}

fn render_conversion(service: &Service) -> TokenStream {
    let Service { item, krate, names, wire_name, gorpc_name, doc_text, .. } = service;
    let gorpc = gorpc_name.as_ref().map(|name| quote_spanned!(Span::mixed_site()=> .gorpc(#name)));
    let (server, implementor, interface) = (&names.server, &names.implementor, &item.ident);
    let attributes = item_attributes(service);
    let builder = Ident::new("builder", Span::mixed_site());
    let methods = service.methods.iter().map(|method| render_handler(service, method, &builder));
    quote_spanned! {Span::mixed_site()=>
        #attributes
        impl<#implementor: #interface> ::core::convert::From<#server<#implementor>> for #krate::Service {
            fn from(server: #server<#implementor>) -> Self {
                let #builder = #krate::__private::ServiceBuilder::new(#wire_name, #doc_text, server.service)#gorpc;
                #(#methods)*
                let mut service = #builder.build();
                for rule in server.rules {
                    service = service.authorize(move |call| rule(call));
                }
                service
            }
        }
    }
}

/// One statement, so that `cfg` can be put on it.
fn render_handler(service: &Service, method: &Method, builder: &Ident) -> TokenStream {
    let Service { item, krate, names, .. } = service;
    let (implementor, interface, ident, args_type) =
        (&names.implementor, &item.ident, &method.ident, &method.names.args);
    let Method { wire_name, full_name, spawn, doc_text, carried, .. } = method;
    let cfg = &carried.cfg;
    // What is wrong with the method's types is to be said of the method.
    let site = generated_at(ident.span());
    let krate = at(krate.to_token_stream(), site);
    let run = Ident::new(if method.returns.fallible { "fallible" } else { "infallible" }, site);
    // A context that isn't asked for is dropped before the handler is made, not kept along with it.
    let context = if method.takes_context() { quote_spanned!(site=> cx) } else { quote!(_) };
    let args = format_ident!("args", span = site);
    let values = method.parameters.iter().map(|parameter| match parameter {
        Parameter::Context(span) => {
            let context = Ident::new("cx", Span::mixed_site().located_at(*span));
            quote_spanned!(*span=> &#context)
        }
        Parameter::Argument(argument) => {
            let field = &argument.ident;
            quote!(#args.#field)
        }
    });
    let args_pattern = if method.arguments().next().is_some() { quote!(#args) } else { quote!(_) };
    quote_spanned! {site=>
        #(#cfg)*
        let #builder = #builder.method(
            #krate::MethodDescriptor { name: #wire_name, full_name: #full_name, docs: #doc_text, spawn: #spawn },
            |service, incoming| {
                let service = ::core::clone::Clone::clone(service);
                #krate::__private::#run(incoming, move |#context, #args_pattern: #args_type| async move {
                    <#implementor as #interface>::#ident(&*service, #(#values),*).await
                })
            },
        );
    }
}

//! The server: an implementation of the trait, made into a service of no particular type.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};

use super::{at, doc, item_attributes, visibility};
use crate::attributes::Rate;
use crate::model::{Method, Parameter, Service};
use crate::names::generated_at;

pub(super) fn render(service: &Service) -> TokenStream {
    let Service { item, krate, names, wire_name, .. } = service;
    let (vis, server, implementor, interface) = (visibility(&item.vis), &names.server, &names.implementor, &item.ident);
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
            #vis fn new(__service: #implementor) -> Self {
                Self::from_arc(::std::sync::Arc::new(__service))
            }

            /// Serve what others hold too.
            #[must_use]
            #vis fn from_arc(__service: ::std::sync::Arc<#implementor>) -> Self {
                Self { service: __service, rules: ::std::vec::Vec::new() }
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
                __rule: impl ::core::ops::Fn(&#krate::CallInfo) -> ::core::primitive::bool
                    + ::core::marker::Send
                    + ::core::marker::Sync
                    + 'static,
            ) -> Self {
                self.rules.push(::std::sync::Arc::new(__rule));
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
            fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                __f.debug_struct(::core::stringify!(#server)).finish_non_exhaustive()
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
    let builder = Ident::new("__builder", Span::mixed_site());
    let methods = service.methods.iter().map(|method| render_handler(service, method, &builder));
    quote_spanned! {Span::mixed_site()=>
        #attributes
        impl<#implementor: #interface> ::core::convert::From<#server<#implementor>> for #krate::Service {
            fn from(__server: #server<#implementor>) -> Self {
                let #builder = #krate::__private::ServiceBuilder::new(#wire_name, #doc_text, __server.service)#gorpc;
                #(#methods)*
                let mut __service = #builder.build();
                for __rule in __server.rules {
                    __service = __service.authorize(move |__call| __rule(__call));
                }
                __service
            }
        }
    }
}

/// One statement, so that `cfg` can be put on it.
fn render_handler(service: &Service, method: &Method, builder: &Ident) -> TokenStream {
    let Service { item, krate, names, .. } = service;
    let (implementor, interface, ident) = (&names.implementor, &item.ident, &method.ident);
    let (module, marker) = (names.module.path(), &method.names.marker);
    let method_type = quote!(#module::#marker);
    let Method { wire_name, full_name, spawn, doc_text, carried, .. } = method;
    let cfg = &carried.cfg;
    // What is wrong with the method's types is to be said of the method.
    let site = generated_at(ident.span());
    let krate = at(krate.to_token_stream(), site);
    let run = match (method.gives_stream(), method.returns.fallible) {
        (true, _) => "run_streaming",
        (false, true) => "run_fallible",
        (false, false) => "run",
    };
    let run = Ident::new(run, site);
    let error = method.returns.fallible.then(|| quote!(, _));
    // A context that isn't asked for is dropped before the handler is made, not kept along with it.
    let context = if method.takes_context() { quote_spanned!(site=> __cx) } else { quote!(_) };
    let args = format_ident!("__args", span = site);
    let values = method.parameters.iter().map(|parameter| match parameter {
        Parameter::Context(span) => {
            let context = Ident::new("__cx", Span::mixed_site().located_at(*span));
            quote_spanned!(*span=> &#context)
        }
        Parameter::Argument(argument) => {
            let field = &argument.ident;
            let value = (!argument.by_serde_attribute).then(|| quote!(.take()));
            quote!(#args.#field #value)
        }
        Parameter::Stream(_) => quote_spanned!(site=> __items),
    });
    let items = method.stream().map(|stream| {
        let item = &stream.item;
        quote_spanned! {site=>
            let ::core::option::Option::Some(__items) = __incoming.items::<#method_type, #item>() else {
                return __incoming.not_streamed();
            };
        }
    });
    let streaming = (items.is_some() || method.gives_stream()).then(|| quote!(.streaming()));
    let rate = method.rate.map(|Rate { calls, time }| {
        let (seconds, nanos) = (time.as_secs(), time.subsec_nanos());
        quote!(.rate(#calls, ::core::time::Duration::new(#seconds, #nanos)))
    });
    let max_request = method.max_request.map(|bytes| quote!(.max_request(#bytes)));
    let max_reply = method.max_reply.map(|bytes| quote!(.max_reply(#bytes)));
    let max_in_flight = match method.max_in_flight {
        Some(most) => quote!(::core::option::Option::Some(#most)),
        None => quote!(::core::option::Option::None),
    };
    let (error, sink) =
        if method.gives_stream() { (None, Some(quote_spanned!(site=> , __sink))) } else { (error, None) };
    let send = sink.is_some().then(|| {
        let send = Ident::new(if method.returns.fallible { "send_all_or_fail" } else { "send_all" }, site);
        quote_spanned!(site=> let __sent = __sink.#send(__given).await; __sent)
    });
    let called = quote_spanned!(site=> <#implementor as #interface>::#ident(&*__service, #(#values),*).await);
    let call = match send {
        Some(send) => quote_spanned!(site=> let __given = #called; #send),
        None => called,
    };
    let args_pattern = if method.arguments().next().is_some() { quote!(#args) } else { quote!(_) };
    quote_spanned! {site=>
        #(#cfg)*
        let #builder = #builder.method(
            #krate::__private::method(#wire_name, #full_name, #doc_text, #spawn, #max_in_flight, <#method_type as #krate::Method>::FINGERPRINT)#streaming #rate #max_request #max_reply,
            |__service, __incoming| {
                let __service = ::core::clone::Clone::clone(__service);
                #items
                #krate::__private::#run::<#method_type, _, _ #error>(__incoming, move |#context, #args_pattern #sink| async move {
                    #call
                })
            },
        );
    }
}

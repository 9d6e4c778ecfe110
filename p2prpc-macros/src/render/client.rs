//! The client, and its stubs for one peer and for many.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Ident;

use super::{doc, docs_or, item_attributes, visibility};
use crate::model::{Method, Parameter, Service};

pub(super) fn render(service: &Service) -> TokenStream {
    let client = render_client(service);
    let peer = render_peer(service);
    let peers = render_peers(service);
    let any = render_any(service);
    let nobody = render_nobody(service);
    quote!(#client #peer #peers #any #nobody)
}

fn render_client(service: &Service) -> TokenStream {
    let Service { item, krate, names, wire_name, .. } = service;
    let (vis, interface, server, local) = (visibility(&item.vis), &item.ident, &names.server, &names.local);
    let (client, peer, peers, any) = (&names.client, &names.peer, &names.peers, &names.any);
    let attributes = item_attributes(service);
    let methods = service
        .methods
        .iter()
        .filter(|method| method.stream().is_none())
        .map(|method| render_all_method(service, method));
    let docs = doc(format_args!("Calls `{wire_name}` at peers. Cheap to clone; it keeps no node alive."));
    quote_spanned! {Span::mixed_site()=>
        /// What can be called without a network.
        #[doc(hidden)]
        #attributes
        #vis trait #local<__Kind> {
            /// The service.
            fn into_service(self) -> #krate::Service;
        }

        #attributes
        impl<__S: #interface> #local<#krate::__private::ByTrait> for __S {
            fn into_service(self) -> #krate::Service {
                ::core::convert::Into::into(#server::new(self))
            }
        }

        #attributes
        impl<__S: ::core::convert::Into<#krate::Service>> #local<#krate::__private::ByServer> for __S {
            fn into_service(self) -> #krate::Service {
                ::core::convert::Into::into(self)
            }
        }

        #docs
        #attributes
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #vis struct #client {
            client: #krate::__private::Client,
        }

        #attributes
        impl #client {
            /// A client that calls through a node, a handle or a handler's context.
            #[must_use]
            #vis fn new(__handle: impl ::core::convert::Into<#krate::Handle>) -> Self {
                Self { client: #krate::__private::Client::new(#wire_name, __handle) }
            }

            /// A client of a service in this process, without a network: for tests. It takes what implements the trait, or a
            /// server of it with its rules. Calls run the same path, with codec and limits, and whatever peer is called, it is
            /// this service; `all` is this service alone. The caller is the node itself, `local_peer_id`.
            #[must_use]
            #vis fn local<__Kind>(__service: impl #local<__Kind>) -> Self {
                Self { client: #krate::__private::Client::local(#wire_name, #local::into_service(__service)) }
            }

            /// The same as `local`, called by this peer: it is who handlers and rules see, and the call isn't one of the node to
            /// itself.
            #[must_use]
            #vis fn local_as<__Kind>(__caller: #krate::PeerId, __service: impl #local<__Kind>) -> Self {
                let __service = #local::into_service(__service);
                Self { client: #krate::__private::Client::local_as(#wire_name, __caller, __service) }
            }

            /// Call one peer.
            #[must_use]
            #vis fn peer(&self, __peer: #krate::PeerId) -> #peer {
                #peer { client: ::core::clone::Clone::clone(&self.client), peer: __peer }
            }

            /// Call these peers. One that is given twice is called twice.
            #[must_use]
            #vis fn peers(&self, __peers: impl ::core::iter::IntoIterator<Item = #krate::PeerId>) -> #peers {
                let __peers = ::core::iter::FromIterator::from_iter(__peers);
                #peers { client: ::core::clone::Clone::clone(&self.client), peers: ::core::option::Option::Some(__peers) }
            }

            /// Call all members that serve this service or may, as they are when a call is first polled, without the node itself.
            #[must_use]
            #vis fn all(&self) -> #peers {
                #peers { client: ::core::clone::Clone::clone(&self.client), peers: ::core::option::Option::None }
            }

            /// Call one member after the other until one gives a good answer: those that `all` means, each time another one first.
            #[must_use]
            #vis fn any(&self) -> #any {
                #any { client: ::core::clone::Clone::clone(&self.client), peers: ::core::option::Option::None }
            }

            /// The same with these peers, in this order.
            #[must_use]
            #vis fn any_of(&self, __peers: impl ::core::iter::IntoIterator<Item = #krate::PeerId>) -> #any {
                let __peers = ::core::iter::FromIterator::from_iter(__peers);
                #any { client: ::core::clone::Clone::clone(&self.client), peers: ::core::option::Option::Some(__peers) }
            }

            /// Let calls give up after this time, unless they say otherwise. Default 10 s.
            #[must_use]
            #vis fn timeout(self, __timeout: ::core::time::Duration) -> Self {
                Self { client: self.client.timeout(__timeout) }
            }

            /// Encode calls with this codec, unless they say otherwise.
            #[must_use]
            #vis fn codec(self, __codec: #krate::CodecId) -> Self {
                Self { client: self.client.codec(__codec) }
            }

            /// Send a key and a value along with each call. A pair that cannot be sent makes calls fail, never sent.
            #[must_use]
            #vis fn metadata(
                self,
                __key: impl ::core::convert::AsRef<::core::primitive::str>,
                __value: impl ::core::convert::Into<::std::string::String>,
            ) -> Self {
                Self { client: self.client.metadata(__key, __value) }
            }

            /// Let `all` mean the members of this rendezvous only.
            #[must_use]
            #vis fn rendezvous(self, __rendezvous: impl ::core::convert::AsRef<::core::primitive::str>) -> Self {
                Self { client: self.client.rendezvous(__rendezvous) }
            }

            /// Whom `all` would call now, in the order of their peer ids; nobody if the node isn't running.
            #[must_use]
            #vis fn members(&self) -> ::std::vec::Vec<#krate::PeerId> {
                self.client.members()
            }

            /// Wait until `all` would call `n` peers or more, and give them.
            ///
            /// # Errors
            /// If the node has not been started or is gone.
            #vis async fn wait_for(
                &self,
                __n: ::core::primitive::usize,
            ) -> ::core::result::Result<::std::vec::Vec<#krate::PeerId>, #krate::RpcError> {
                self.client.wait_for(__n).await
            }

            /// The peer id of the node behind the client.
            ///
            /// # Errors
            /// If the node has not been started or is gone.
            #vis fn local_peer_id(&self) -> ::core::result::Result<#krate::PeerId, #krate::RpcError> {
                self.client.local_peer_id()
            }

            #(#methods)*
        }
    }
}

fn render_peer(service: &Service) -> TokenStream {
    let Service { item, krate, names, wire_name, .. } = service;
    let (vis, client, peer) = (visibility(&item.vis), &names.client, &names.peer);
    let attributes = item_attributes(service);
    let docs = doc(format_args!("The methods of `{wire_name}` at one peer, from `{client}::peer`."));
    let methods = service.methods.iter().map(|method| {
        let Stub { args, call, how, items, .. } = Stub::of(service, method);
        let body = quote_spanned!(Span::mixed_site()=> self.client.#how(self.peer, #args #items));
        render_stub(service, method, &method.names.stub, &call, &body)
    });
    quote_spanned! {Span::mixed_site()=>
        #docs
        #attributes
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #vis struct #peer {
            client: #krate::__private::Client,
            peer: #krate::PeerId,
        }

        #attributes
        impl #peer {
            #(#methods)*
        }
    }
}

fn render_peers(service: &Service) -> TokenStream {
    let (wire_name, client) = (&service.wire_name, &service.names.client);
    let docs =
        doc(format_args!("The methods of `{wire_name}` at many peers, from `{client}::peers` and `{client}::all`."));
    render_many(service, &service.names.peers, &docs, |method| {
        let Stub { args, multicall, .. } = Stub::of(service, method);
        let (peers, all) =
            if method.gives_stream() { ("stream_peers", "stream_all") } else { ("call_peers", "call_all") };
        let (peers, all) = (Ident::new(peers, Span::mixed_site()), Ident::new(all, Span::mixed_site()));
        // What is streamed to one peer isn't there for another.
        method.stream().is_none().then(|| {
            (
                multicall,
                quote_spanned!(Span::mixed_site()=> #peers(__peers, #args)),
                quote_spanned!(Span::mixed_site()=> #all(#args)),
            )
        })
    })
}

fn render_any(service: &Service) -> TokenStream {
    let (wire_name, client) = (&service.wire_name, &service.names.client);
    let docs = doc(format_args!(
        "The methods of `{wire_name}` at one peer after the other, from `{client}::any` and `{client}::any_of`."
    ));
    render_many(service, &service.names.any, &docs, |method| {
        let Stub { args, anycall, .. } = Stub::of(service, method);
        (method.stream().is_none() && !method.gives_stream()).then(|| {
            (
                anycall,
                quote_spanned!(Span::mixed_site()=> call_any_of(__peers, #args)),
                quote_spanned!(Span::mixed_site()=> call_any(#args)),
            )
        })
    })
}

/// The methods at many peers. `stub` gives what one returns, and how these peers or all members are called; `None` where it can't be.
fn render_many(
    service: &Service,
    name: &Ident,
    docs: &TokenStream,
    stub: impl Fn(&Method) -> Option<(TokenStream, TokenStream, TokenStream)>,
) -> TokenStream {
    let Service { item, krate, .. } = service;
    let vis = visibility(&item.vis);
    let attributes = item_attributes(service);
    let methods = service.methods.iter().filter_map(|method| {
        let (returned, of_peers, of_members) = stub(method)?;
        let body = quote_spanned! {Span::mixed_site()=>
            match &self.peers {
                ::core::option::Option::Some(__peers) => self.client.#of_peers,
                ::core::option::Option::None => self.client.#of_members,
            }
        };
        Some(render_stub(service, method, &method.names.stub, &returned, &body))
    });
    quote_spanned! {Span::mixed_site()=>
        #docs
        #attributes
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #vis struct #name {
            client: #krate::__private::Client,
            /// `None` for all members.
            peers: ::core::option::Option<::std::vec::Vec<#krate::PeerId>>,
        }

        #attributes
        impl #name {
            #(#methods)*
        }
    }
}

/// What is found on the client where nothing else of the name is: the trait's methods, which say what is missing.
fn render_nobody(service: &Service) -> TokenStream {
    let Service { item, krate, names, .. } = service;
    let (vis, client, nobody) = (visibility(&item.vis), &names.client, &names.nobody);
    let attributes = item_attributes(service);
    let methods = service.methods.iter().map(|method| {
        let Stub { args, call, how, items, .. } = Stub::of(service, method);
        let body = quote_spanned!(Span::mixed_site()=> #krate::__private::AtAPeer::#how(self, #args #items));
        // Of a lifetime, so that the compiler asks for it where the method is called, and not here.
        let never = quote_spanned!(Span::mixed_site()=> where for<'__a> Self: #krate::__private::AtAPeer<'__a>);
        render_stub(service, method, &method.names.stub, &quote!(#call #never), &body)
    });
    quote_spanned! {Span::mixed_site()=>
        #[doc(hidden)]
        #attributes
        #[derive(::core::fmt::Debug)]
        #vis struct #nobody;

        #attributes
        impl #nobody {
            #(#methods)*
        }

        #[doc(hidden)]
        #attributes
        impl ::core::ops::Deref for #client {
            type Target = #nobody;

            fn deref(&self) -> &#nobody {
                &#nobody
            }
        }
    }
}

fn render_all_method(service: &Service, method: &Method) -> TokenStream {
    let Stub { args, multicall, .. } = Stub::of(service, method);
    let all = Ident::new(if method.gives_stream() { "stream_all" } else { "call_all" }, Span::mixed_site());
    let body = quote_spanned!(Span::mixed_site()=> self.client.#all(#args));
    render_stub(service, method, &method.names.all, &multicall, &body)
}

/// What the stubs of a method are made of.
struct Stub {
    /// The arguments, in their struct.
    args: TokenStream,
    call: TokenStream,
    /// What makes a call.
    how: Ident,
    /// What is streamed, behind the arguments.
    items: Option<TokenStream>,
    multicall: TokenStream,
    anycall: TokenStream,
}

impl Stub {
    fn of(Service { krate, names, .. }: &Service, method: &Method) -> Self {
        let (module, marker, args_type) = (names.module.path(), &method.names.marker, &method.names.args);
        let fields = method.arguments().map(|argument| {
            let ident = &argument.ident;
            if argument.by_serde_attribute {
                quote!(#ident)
            } else {
                // Not through a function of ours: each costs a debug build a copy on the caller's stack.
                quote_spanned!(Span::mixed_site()=> #ident: #krate::__private::Taken(::core::convert::From::from(#ident)))
            }
        });
        let (how, call, multicall) = match (method.stream().is_some(), method.gives_stream()) {
            (false, false) => ("call", "Call", "MultiCall"),
            (false, true) => ("stream", "StreamCall", "MultiStreamCall"),
            (true, false) => ("upload", "UploadCall", "MultiCall"),
            (true, true) => ("duplex", "DuplexCall", "MultiStreamCall"),
        };
        let name = |name| Ident::new(name, Span::mixed_site());
        let (how, call, multicall) = (name(how), name(call), name(multicall));
        let items = method.stream().filter(|_| !method.gives_stream()).map(|stream| {
            let ident = &stream.ident;
            quote!(, #ident)
        });
        Stub {
            args: quote!(#args_type { #(#fields),* }),
            call: quote_spanned!(Span::mixed_site()=> #krate::#call<#module::#marker>),
            how,
            items,
            multicall: quote_spanned!(Span::mixed_site()=> #krate::#multicall<#module::#marker>),
            anycall: quote_spanned!(Span::mixed_site()=> #krate::AnyCall<#module::#marker>),
        }
    }
}

fn render_stub(
    service: &Service,
    method: &Method,
    name: &Ident,
    returned: &TokenStream,
    body: &TokenStream,
) -> TokenStream {
    let vis = visibility(&service.item.vis);
    let (cfg, lints) = (&method.carried.cfg, &method.carried.lints);
    let docs = docs_or(&method.carried.docs, format_args!("Calls `{}`.", method.full_name));
    let krate = &service.krate;
    let parameters = method.parameters.iter().filter_map(|parameter| match parameter {
        Parameter::Context(_) => None,
        Parameter::Argument(argument) => {
            let (ident, ty, lints) = (&argument.ident, &argument.ty, &argument.lints);
            Some(quote!(#(#lints)* #ident: #ty))
        }
        // Both halves of a call that streams both ways are given.
        Parameter::Stream(_) if method.gives_stream() => None,
        Parameter::Stream(stream) => {
            let (ident, item, lints) = (&stream.ident, &stream.item, &stream.lints);
            Some(quote_spanned! {Span::mixed_site()=>
                #(#lints)* #ident: impl #krate::Stream<Item = #item> + ::core::marker::Send + 'static
            })
        }
    });
    quote_spanned! {Span::mixed_site()=>
        #docs
        #(#cfg)*
        #(#lints)*
        #vis fn #name(&self, #(#parameters),*) -> #returned {
            #body
        }
    }
}

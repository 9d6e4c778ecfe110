//! The client, and its stubs for one peer and for many.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Ident;

use super::{doc, docs_or, item_attributes};
use crate::model::{Method, Service};

pub(super) fn render(service: &Service) -> TokenStream {
    let client = render_client(service);
    let peer = render_peer(service);
    let peers = render_peers(service);
    quote!(#client #peer #peers)
}

fn render_client(service: &Service) -> TokenStream {
    let Service { item, krate, names, wire_name, .. } = service;
    let (vis, interface, server, client, peer, peers) =
        (&item.vis, &item.ident, &names.server, &names.client, &names.peer, &names.peers);
    let attributes = item_attributes(service);
    let methods = service.methods.iter().map(|method| render_all_method(service, method));
    let docs = doc(format_args!("Calls `{wire_name}` at peers. Cheap to clone; it keeps no node alive."));
    quote_spanned! {Span::mixed_site()=>
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
            #vis fn new(handle: impl ::core::convert::Into<#krate::Handle>) -> Self {
                Self { client: #krate::__private::Client::new(#wire_name, handle) }
            }

            /// A client of a service in this process, without a network: for tests. Calls run the same path, with codec and
            /// limits, and whatever peer is called, it is this service; `all` is this service alone.
            #[must_use]
            #vis fn local(service: impl #interface) -> Self {
                Self { client: #krate::__private::Client::local(#wire_name, #server::new(service)) }
            }

            /// Call one peer.
            #[must_use]
            #vis fn peer(&self, peer: #krate::PeerId) -> #peer {
                #peer { client: ::core::clone::Clone::clone(&self.client), peer }
            }

            /// Call these peers. One that is given twice is called twice.
            #[must_use]
            #vis fn peers(&self, peers: impl ::core::iter::IntoIterator<Item = #krate::PeerId>) -> #peers {
                let peers = ::core::iter::FromIterator::from_iter(peers);
                #peers { client: ::core::clone::Clone::clone(&self.client), peers: ::core::option::Option::Some(peers) }
            }

            /// Call all members that serve this service or may, as they are when a call is first polled, without the node itself.
            #[must_use]
            #vis fn all(&self) -> #peers {
                #peers { client: ::core::clone::Clone::clone(&self.client), peers: ::core::option::Option::None }
            }

            /// Let calls give up after this time, unless they say otherwise. Default 10 s.
            #[must_use]
            #vis fn timeout(self, timeout: ::core::time::Duration) -> Self {
                Self { client: self.client.timeout(timeout) }
            }

            /// Encode calls with this codec, unless they say otherwise.
            #[must_use]
            #vis fn codec(self, codec: #krate::CodecId) -> Self {
                Self { client: self.client.codec(codec) }
            }

            /// Send a key and a value along with each call. A pair that cannot be sent makes calls fail, never sent.
            #[must_use]
            #vis fn metadata(
                self,
                key: impl ::core::convert::AsRef<::core::primitive::str>,
                value: impl ::core::convert::Into<::std::string::String>,
            ) -> Self {
                Self { client: self.client.metadata(key, value) }
            }

            /// Let `all` mean the members of this rendezvous only.
            #[must_use]
            #vis fn rendezvous(self, rendezvous: impl ::core::convert::AsRef<::core::primitive::str>) -> Self {
                Self { client: self.client.rendezvous(rendezvous) }
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
                n: ::core::primitive::usize,
            ) -> ::core::result::Result<::std::vec::Vec<#krate::PeerId>, #krate::RpcError> {
                self.client.wait_for(n).await
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
    let (vis, client, peer) = (&item.vis, &names.client, &names.peer);
    let attributes = item_attributes(service);
    let docs = doc(format_args!("The methods of `{wire_name}` at one peer, from `{client}::peer`."));
    let methods = service.methods.iter().map(|method| {
        let Stub { args, call, .. } = Stub::of(service, method);
        let body = quote_spanned!(Span::mixed_site()=> self.client.call(self.peer, #args));
        render_stub(service, method, &method.ident, &call, &body)
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
    let Service { item, krate, names, wire_name, .. } = service;
    let (vis, client, peers) = (&item.vis, &names.client, &names.peers);
    let attributes = item_attributes(service);
    let docs =
        doc(format_args!("The methods of `{wire_name}` at many peers, from `{client}::peers` and `{client}::all`."));
    let methods = service.methods.iter().map(|method| {
        let Stub { args, multicall, .. } = Stub::of(service, method);
        let body = quote_spanned! {Span::mixed_site()=>
            match &self.peers {
                ::core::option::Option::Some(peers) => self.client.call_peers(peers, #args),
                ::core::option::Option::None => self.client.call_all(#args),
            }
        };
        render_stub(service, method, &method.ident, &multicall, &body)
    });
    quote_spanned! {Span::mixed_site()=>
        #docs
        #attributes
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #vis struct #peers {
            client: #krate::__private::Client,
            /// `None` for all members.
            peers: ::core::option::Option<::std::vec::Vec<#krate::PeerId>>,
        }

        #attributes
        impl #peers {
            #(#methods)*
        }
    }
}

fn render_all_method(service: &Service, method: &Method) -> TokenStream {
    let Stub { args, multicall, .. } = Stub::of(service, method);
    let body = quote_spanned!(Span::mixed_site()=> self.client.call_all(#args));
    render_stub(service, method, &method.names.all, &multicall, &body)
}

/// What the stubs of a method are made of.
struct Stub {
    /// The arguments, in their struct.
    args: TokenStream,
    call: TokenStream,
    multicall: TokenStream,
}

impl Stub {
    fn of(Service { krate, names, .. }: &Service, method: &Method) -> Self {
        let (module, marker, args_type) = (&names.module, &method.names.marker, &method.names.args);
        let fields = method.arguments().map(|argument| &argument.ident);
        Stub {
            args: quote!(#args_type { #(#fields),* }),
            call: quote_spanned!(Span::mixed_site()=> #krate::Call<#module::#marker>),
            multicall: quote_spanned!(Span::mixed_site()=> #krate::MultiCall<#module::#marker>),
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
    let vis = &service.item.vis;
    let (cfg, lints) = (&method.carried.cfg, &method.carried.lints);
    let docs = docs_or(&method.carried.docs, format_args!("Calls `{}`.", method.full_name));
    let parameters = method.arguments().map(|argument| {
        let (ident, ty, lints) = (&argument.ident, &argument.ty, &argument.lints);
        quote!(#(#lints)* #ident: #ty)
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

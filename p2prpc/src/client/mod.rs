//! What generated clients are made of.

mod call;
mod layer;
pub mod many;
mod stream;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use libp2p::PeerId;

use crate::call::{Handle, Network};
use crate::client::many::{AnyCall, MultiCall, Targets};
use crate::codec::CodecId;
use crate::error::RpcError;
use crate::members::Member;
use crate::metadata::{InvalidMetadata, Metadata};
use crate::server::LocalNetwork;
use crate::service::{Method, Service};

pub use call::{Call, CallWithMetadata};
pub(crate) use call::{deadline_of, encode_in, max_request};
pub(crate) use layer::Layers;
pub use stream::{DuplexCall, MultiStreamCall, StreamCall, StreamSender, TakesItems, UploadCall};

/// What holds for the calls of a client, unless a call says otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallOptions {
    pub(crate) timeout: Option<Duration>,
    /// Otherwise the node's own default.
    pub(crate) codec: Option<CodecId>,
    pub(crate) metadata: Metadata,
    pub(crate) invalid: Option<InvalidMetadata>,
    pub(crate) layers: Layers,
}

impl CallOptions {
    pub(crate) fn add_metadata(&mut self, key: impl AsRef<str>, value: impl Into<String>) {
        if let Err(error) = self.metadata.insert(key, value) {
            self.invalid.get_or_insert(error);
        }
    }
}

/// The part of a generated client that is the same for every service. Generated code wraps it.
#[derive(Clone)]
pub struct Client {
    service: &'static str,
    handle: Handle,
    options: CallOptions,
    rendezvous: Option<Arc<str>>,
    /// Keeps a network of its own alive: that of `local`.
    own: Option<Arc<dyn Network>>,
}

impl Client {
    /// A client of the service of this name.
    pub fn new(service: &'static str, handle: impl Into<Handle>) -> Self {
        Client { service, handle: handle.into(), options: CallOptions::default(), rendezvous: None, own: None }
    }

    /// A client of a service in the same process, without a network. Whatever peer is called, it is that service.
    pub fn local(name: &'static str, service: impl Into<Service>) -> Self {
        Client::in_process(name, service.into(), None)
    }

    /// The same, called by this peer.
    pub fn local_as(name: &'static str, caller: PeerId, service: impl Into<Service>) -> Self {
        Client::in_process(name, service.into(), Some(caller))
    }

    fn in_process(name: &'static str, service: Service, caller: Option<PeerId>) -> Self {
        let network: Arc<dyn Network> = LocalNetwork::new(service, caller);
        let handle = Handle::unstarted();
        handle.lead_into(Arc::downgrade(&network));
        Client { own: Some(network), ..Client::new(name, handle) }
    }

    /// The peer id of the node behind the client.
    pub fn local_peer_id(&self) -> Result<PeerId, RpcError> {
        self.handle.local_peer_id()
    }

    /// Change the default timeout.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Change the codec.
    pub fn codec(mut self, codec: CodecId) -> Self {
        self.options.codec = Some(codec);
        self
    }

    /// Add metadata to all calls.
    pub fn metadata(mut self, key: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.options.add_metadata(key, value);
        self
    }

    /// Narrow `all` to one rendezvous.
    pub fn rendezvous(mut self, rendezvous: impl AsRef<str>) -> Self {
        self.rendezvous = Some(rendezvous.as_ref().into());
        self
    }

    #[cfg(test)]
    fn layered(mut self, layers: Layers) -> Self {
        self.options.layers = layers;
        self
    }

    /// A call to one peer.
    pub fn call<M: Method>(&self, peer: PeerId, args: M::Args) -> Call<M> {
        Call::new(self.handle.route_to(peer), self.own.clone(), peer, args, self.options.clone())
    }

    /// A call of a method that gives a stream, at one peer.
    pub fn stream<M: Method>(&self, peer: PeerId, args: M::Args) -> StreamCall<M> {
        let args = call::Arguments::Plain(args);
        StreamCall::new(self.handle.route_to(peer), self.own.clone(), peer, args, self.options.clone())
    }

    /// A call of a method that takes a stream and answers once, at one peer.
    pub fn upload<M: TakesItems>(
        &self,
        peer: PeerId,
        args: M::Args,
        items: impl Stream<Item = M::Item> + Send + 'static,
    ) -> UploadCall<M> {
        UploadCall::new(self.handle.route_to(peer), self.own.clone(), peer, args, items, self.options.clone())
    }

    /// A call of a method that takes a stream and gives one, at one peer.
    pub fn duplex<M: TakesItems>(&self, peer: PeerId, args: M::Args) -> DuplexCall<M> {
        DuplexCall::new(self.handle.route_to(peer), self.own.clone(), peer, args, self.options.clone())
    }

    /// A call of a method that gives a stream, at these peers.
    pub fn stream_peers<M: Method>(&self, peers: &[PeerId], args: M::Args) -> MultiStreamCall<M> {
        self.multistream(Targets::Peers(peers.into()), args)
    }

    /// A call of a method that gives a stream, at all members.
    pub fn stream_all<M: Method>(&self, args: M::Args) -> MultiStreamCall<M> {
        self.multistream(Targets::Members { service: self.service, rendezvous: self.rendezvous.clone() }, args)
    }

    fn multistream<M: Method>(&self, targets: Targets, args: M::Args) -> MultiStreamCall<M> {
        MultiStreamCall::new(self.handle.clone(), self.own.clone(), targets, args, self.options.clone())
    }

    /// A call to these peers.
    pub fn call_peers<M: Method>(&self, peers: &[PeerId], args: M::Args) -> MultiCall<M> {
        self.multicall(Targets::Peers(peers.into()), args)
    }

    /// A call to all members.
    pub fn call_all<M: Method>(&self, args: M::Args) -> MultiCall<M> {
        self.multicall(Targets::Members { service: self.service, rendezvous: self.rendezvous.clone() }, args)
    }

    /// A call to one member after the other.
    pub fn call_any<M: Method>(&self, args: M::Args) -> AnyCall<M> {
        AnyCall::new(self.call_all(args))
    }

    /// A call to one of these after the other.
    pub fn call_any_of<M: Method>(&self, peers: &[PeerId], args: M::Args) -> AnyCall<M> {
        AnyCall::new(self.call_peers(peers, args))
    }

    fn multicall<M: Method>(&self, targets: Targets, args: M::Args) -> MultiCall<M> {
        MultiCall::new(self.handle.clone(), self.own.clone(), targets, args, self.options.clone())
    }

    /// The members that `call_all` would ask now, in the order of their peer ids.
    pub fn members(&self) -> Vec<PeerId> {
        match self.handle.network() {
            Ok(network) => select(&network.members().snapshot(), self.service, self.rendezvous.as_deref()),
            Err(_) => Vec::new(),
        }
    }

    /// Waits until `call_all` would ask `n` members or more, and gives them.
    ///
    /// # Errors
    /// If the node has not been started or goes away.
    pub async fn wait_for(&self, n: usize) -> Result<Vec<PeerId>, RpcError> {
        let mut watch = self.handle.network()?.members().watch();
        loop {
            let members = select(&watch.borrow_and_update().clone(), self.service, self.rendezvous.as_deref());
            if members.len() >= n {
                return Ok(members);
            }
            if watch.changed().await.is_err() {
                self.handle.network()?;
            }
        }
    }
}

/// What a client is not: nothing implements it. `client.method(..)` asks for it, where `client.peer(id).method(..)` was meant.
#[diagnostic::on_unimplemented(
    message = "a client calls a method at a peer: `client.peer(id).method(..)`",
    label = "at which peer?",
    note = "`client.peers(ids).method(..)` calls these peers, and `client.method_all(..)` all that serve it"
)]
pub trait AtAPeer<'a> {
    /// Call it there.
    fn call<M: Method>(&self, args: M::Args) -> Call<M>;
    /// Call it there.
    fn stream<M: Method>(&self, args: M::Args) -> StreamCall<M>;
    /// Call it there.
    fn upload<M: TakesItems>(
        &self,
        args: M::Args,
        items: impl Stream<Item = M::Item> + Send + 'static,
    ) -> UploadCall<M>;
    /// Call it there.
    fn duplex<M: TakesItems>(&self, args: M::Args) -> DuplexCall<M>;
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("service", &self.service)
            .field("handle", &self.handle)
            .field("rendezvous", &self.rendezvous)
            .finish_non_exhaustive()
    }
}

/// Those who serve `service`, or may.
pub(crate) fn select(members: &BTreeMap<PeerId, Member>, service: &str, rendezvous: Option<&str>) -> Vec<PeerId> {
    members
        .iter()
        .filter(|(_, member)| member.may_serve(service) && rendezvous.is_none_or(|name| member.is_in(name)))
        .map(|(peer, _)| *peer)
        .collect()
}

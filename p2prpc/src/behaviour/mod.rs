//! A [`NetworkBehaviour`](libp2p::swarm::NetworkBehaviour) that makes and answers calls, for a [`Swarm`](libp2p::Swarm) of one's own.
//!
//! [`Node`](crate::Node) is built on it, and whoever needs more than `Node` offers composes it with other behaviours:
//!
//! ```no_run
//! use libp2p::swarm::NetworkBehaviour;
//! use p2prpc::behaviour::{Behaviour, Config};
//! use p2prpc::prelude::*;
//!
//! #[p2p_service]
//! pub trait Greeter {
//!     async fn greet(&self, name: String) -> String;
//! }
//!
//! #[derive(NetworkBehaviour)]
//! struct Composed {
//!     rpc: Behaviour,
//!     ping: libp2p::ping::Behaviour,
//! }
//!
//! # fn doc(local: PeerId) -> Result<(), Box<dyn std::error::Error>> {
//! let composed = Composed { rpc: Behaviour::new(local, Config::new("/my-app")?), ping: Default::default() };
//! let client = GreeterClient::new(composed.rpc.handle());
//! # Ok(()) }
//! ```
//!
//! `client.all()` means the connected peers that speak the protocol. It dials on demand; addresses come from
//! the other behaviours of the Swarm and from `Swarm::add_peer_address`. A Swarm that is never polled makes calls fail at
//! their deadline, never sent. It spawns tasks on the current [tokio] runtime.

mod accepted;
mod connections;
mod core;
mod directory;
mod established;
mod gorpc;
mod handler;
mod opens;
mod ping;
mod prober;
mod protocols;
mod streams;
mod swarm;
mod waking;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

#[cfg(feature = "node")]
use libp2p::Multiaddr;
use libp2p::swarm::{ConnectionId, NotifyHandler, PeerAddresses, ToSwarm};
use libp2p::{PeerId, StreamProtocol};
use tokio::sync::mpsc;

use crate::call::CallInfo;
use crate::call::{DEFAULT_TIMEOUT, Handle};
use crate::codec::CodecId;
use crate::limits::Limits;
use crate::service::Service;
use crate::wire::PROTOCOL_SUFFIX;

pub use crate::server::ServeError;
use crate::service::Layers;
pub(crate) use core::Core;
pub(crate) use directory::{Directory, Resolver};
pub use handler::{FromHandler, Handler, ToHandler};

use connections::Connections;
use core::Command;
use directory::{ConnectedPeers, KnownAddresses};
use protocols::Protocols;

/// How many peers' addresses are remembered that other behaviours or the user made known.
const REMEMBERED_PEERS: usize = 1024;

/// Dials of one peer at the same time, each of what was told since the one before.
pub(crate) const MAX_DIALS_OF_PEER: usize = 3;

/// How a [`Behaviour`] is to be.
#[derive(Clone, Debug)]
pub struct Config {
    protocol: StreamProtocol,
    limits: Limits,
    timeout: Duration,
    codec: CodecId,
    idle_timeout: Duration,
    ping_interval: Option<Duration>,
    /// The name of the application alone, by which Go peers speak.
    gorpc_protocol: StreamProtocol,
    gorpc: bool,
    only_gorpc: bool,
    strict_methods: bool,
}

/// An application's protocol id that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a protocol id is a '/' and 1 to 128 printable characters, such as /my-app/1: {0:?} is not")]
pub struct InvalidProtocol(pub String);

impl Config {
    /// The application's protocol id, `/my-app/1`: peers with another one don't see each other's services. On the wire it is followed
    /// by `/p2prpc/1`.
    ///
    /// # Errors
    /// If it doesn't begin with a `/`, is longer than 128 bytes or has white space or control characters.
    pub fn new(protocol: impl AsRef<str>) -> Result<Self, InvalidProtocol> {
        let protocol = protocol.as_ref();
        let invalid = || InvalidProtocol(protocol.chars().take(128).collect());
        if protocol.len() < 2 || protocol.len() > 128 || !protocol.chars().all(|c| c.is_ascii_graphic()) {
            return Err(invalid());
        }
        let name = format!("{}{PROTOCOL_SUFFIX}", protocol.trim_end_matches('/'));
        let gorpc_protocol = StreamProtocol::try_from_owned(protocol.to_owned()).map_err(|_| invalid())?;
        let protocol = StreamProtocol::try_from_owned(name).map_err(|_| invalid())?;
        let (timeout, idle_timeout) = (DEFAULT_TIMEOUT, Duration::from_secs(60));
        Ok(Config {
            protocol,
            limits: Limits::default(),
            timeout,
            codec: CodecId::default(),
            idle_timeout,
            ping_interval: None,
            gorpc_protocol,
            gorpc: false,
            only_gorpc: false,
            strict_methods: false,
        })
    }

    /// Other limits than [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long a call may take that doesn't say otherwise. Default 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Encode calls that don't say otherwise, nor whose client does, with this codec. Default: [`CodecId::default`].
    pub fn codec(mut self, codec: CodecId) -> Self {
        self.codec = codec;
        self
    }

    /// How long a call stream of ours stays open without a call. Default 60 s. While it is open it keeps its connection alive.
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = idle_timeout;
        self
    }

    /// Ask a connection for a sign of life, by libp2p's ping, after so long a silence. Default: never, but for a connection on which a
    /// call goes out or ends without an answer after half a second of silence.
    ///
    /// A connection that is silent although it was asked is suspected within 0.4 to 3 s, by its round-trip time: calls go on on
    /// another connection to the same peer, if there is one that answers, and three seconds later it is closed; if there is none,
    /// the peer is dialled. A [`Node`](crate::Node) asks every 5 s. With a `ping::Behaviour` of libp2p's in the same Swarm put this
    /// behaviour first.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = Some(interval);
        self
    }

    /// Speak with Go peers too, that have [go-libp2p-gorpc](https://github.com/libp2p/go-libp2p-gorpc). Default: off.
    ///
    /// Calls of theirs are answered on the application's protocol id itself, without `/p2prpc/1`, and a peer that speaks only that is called
    /// by it; a peer that speaks both is called by `/p2prpc/1`. Go knows a service by the name that `#[p2p_service(gorpc = "..")]` gives it,
    /// and nothing of others: a call of such a one ends as [`ErrorKind::NotSupported`](crate::ErrorKind::NotSupported), never sent.
    /// Metadata and the choice of a codec have no meaning there.
    ///
    /// Each call is a stream. To one peer at most 48 are made at once, and 16 more inside handlers; up to 1,024 wait for their turn,
    /// within their deadline, past that a call ends as [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded), never sent. Of one peer
    /// at most 1,024 are taken at once; more streams are reset. Let Yamux have
    /// 2,048 streams a connection and the Swarm 1,024 that are being negotiated (`with_max_negotiating_inbound_streams`): by default these
    /// are less, and Go peers open a stream for each call without looking.
    #[cfg(feature = "gorpc")]
    pub fn gorpc(mut self, on: bool) -> Self {
        self.gorpc = on;
        self
    }

    /// Speak as Go peers do and in no other way: for tests of those who speak with them.
    #[cfg(feature = "gorpc")]
    #[doc(hidden)]
    pub fn only_gorpc(mut self) -> Self {
        self.gorpc = true;
        self.only_gorpc = true;
        self
    }

    /// Calls of methods that the peer has declared otherwise are errors.
    #[cfg(feature = "node")]
    pub(crate) fn strict_methods(mut self, on: bool) -> Self {
        self.strict_methods = on;
        self
    }

    /// The protocol on the wire.
    #[cfg(feature = "node")]
    pub(crate) fn protocol(&self) -> &StreamProtocol {
        &self.protocol
    }

    fn protocols(&self) -> Protocols {
        let (native, gorpc) = (!self.only_gorpc, self.gorpc.then(|| self.gorpc_protocol.clone()));
        Protocols::new(native.then(|| self.protocol.clone()), gorpc)
    }
}

/// What a [`Behaviour`] tells its Swarm's owner.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connected peer speaks the application's protocol. It may be said more than once.
    Supported {
        /// The peer.
        peer: PeerId,
    },
    /// A connection was asked for a sign of life and is silent. Calls go on on another if there is one.
    ConnectionSuspected {
        /// The peer.
        peer: PeerId,
        /// The connection that is silent.
        connection: ConnectionId,
    },
    /// A connection that had been suspected has given a sign of life.
    ConnectionRecovered {
        /// The peer.
        peer: PeerId,
        /// The connection that lives.
        connection: ConnectionId,
    },
    /// New calls to the peer go out on another connection from now on.
    ConnectionLeft {
        /// The peer.
        peer: PeerId,
        /// The connection that is silent.
        from: ConnectionId,
        /// The one that is not.
        to: ConnectionId,
    },
    /// The behaviour closes a connection.
    ConnectionClosing {
        /// The peer.
        peer: PeerId,
        /// The connection.
        connection: ConnectionId,
        /// Why it does.
        reason: &'static str,
    },
    /// A peer has declared a method otherwise than we have.
    #[doc(hidden)]
    MethodDiffers {
        /// The peer.
        peer: PeerId,
        /// `Service.Method`.
        method: &'static str,
    },
    /// All connections to this peer are silent: another is to be made.
    #[doc(hidden)]
    Silent {
        /// The peer.
        peer: PeerId,
    },
    /// A call waits for the addresses of this peer.
    #[doc(hidden)]
    AddressesWanted {
        /// The peer.
        peer: PeerId,
    },
}

/// Makes and answers calls over the connections of a Swarm.
pub struct Behaviour {
    core: Arc<Core>,
    handle: Handle,
    protocol: StreamProtocol,
    protocols: Protocols,
    commands: mpsc::UnboundedReceiver<Command>,
    connections: Connections,
    addresses: PeerAddresses,
    pinned: HashSet<PeerId>,
    suspected: HashSet<ConnectionId>,
    ping_interval: Option<Duration>,
    events: VecDeque<ToSwarm<Event, ToHandler>>,
    waker: Option<Waker>,
    directory: Box<dyn Directory>,
    resolver: Box<dyn Resolver>,
}

impl Behaviour {
    /// A behaviour for the Swarm of the peer `local`.
    pub fn new(local: PeerId, config: Config) -> Self {
        Behaviour::of(local, config, Box::new(ConnectedPeers), Box::new(KnownAddresses))
    }

    /// A behaviour that is told of peers by these.
    pub(crate) fn of(
        local: PeerId,
        config: Config,
        directory: Box<dyn Directory>,
        resolver: Box<dyn Resolver>,
    ) -> Self {
        let protocols = config.protocols();
        let Config { protocol, limits, timeout, codec, idle_timeout, ping_interval, .. } = config;
        let (core, handle, commands) =
            Core::new(local, limits, timeout, codec, idle_timeout, config.gorpc, config.strict_methods);
        Behaviour {
            core,
            handle,
            protocol,
            protocols,
            commands,
            connections: Connections::default(),
            addresses: PeerAddresses::new(NonZeroUsize::new(REMEMBERED_PEERS).unwrap_or(NonZeroUsize::MIN)),
            pinned: HashSet::new(),
            suspected: HashSet::new(),
            ping_interval,
            events: VecDeque::new(),
            waker: None,
            directory,
            resolver,
        }
    }

    /// What clients are made from.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The protocol on the wire: the application's and `/p2prpc/1`.
    pub fn protocol(&self) -> &StreamProtocol {
        &self.protocol
    }

    /// Serve a service, from now on.
    ///
    /// # Errors
    /// If one of its name is served already, or the name is reserved.
    pub fn serve(&self, service: impl Into<Service>) -> Result<(), ServeError> {
        self.core.server().serve(service.into())
    }

    /// Serve the service of this name no more: calls of it end as [`ErrorKind::NotServed`](crate::ErrorKind::NotServed) from now
    /// on, those under way go on. False if none of the name is served.
    pub fn unserve(&self, name: &str) -> bool {
        self.core.server().unserve(name)
    }

    /// Serve one of p2prpc's own services: for the library, and for tests of those who speak with it.
    #[doc(hidden)]
    pub fn serve_internal(&self, service: impl Into<Service>) -> Result<(), ServeError> {
        self.core.server().serve_internal(service.into())
    }

    /// Let only those calls through for which `rule` says `true`, whatever service they are for; to all others nothing is served. A rule
    /// that was set before, and the service's own, must agree too. A rule that panics denies. It runs for each call: keep it quick.
    pub fn authorize(&mut self, rule: impl Fn(&CallInfo) -> bool + Send + Sync + 'static) {
        let mut layers = Layers::default();
        layers.authorize(rule);
        self.add_layers(layers);
    }

    pub(crate) fn add_layers(&mut self, layers: Layers) {
        self.core.server().add_layers(layers);
    }

    /// Keep a connection to this peer alive even without calls, or don't any more. It doesn't dial.
    pub fn set_pinned(&mut self, peer: PeerId, pinned: bool) {
        let changed = if pinned { self.pinned.insert(peer) } else { self.pinned.remove(&peer) };
        if changed {
            for connection in self.connections.of(&peer) {
                let handler = NotifyHandler::One(connection);
                self.push(ToSwarm::NotifyHandler { peer_id: peer, handler, event: ToHandler::Pin(pinned) });
            }
        }
    }

    /// When the last byte came from this peer on a stream of this behaviour's, calls and pings; `None` if it isn't connected.
    pub fn last_heard(&self, peer: &PeerId) -> Option<Instant> {
        self.core.last_heard(peer)
    }

    /// Prepare for the end: peers are told, their new calls end as `ShuttingDown` and our own as `Closed`, both never sent. Calls under
    /// way go on.
    pub fn go_away(&mut self) {
        self.core.go_away();
    }

    /// Calls under way: how many of our own, and how many call streams of others have handlers running or replies to be written.
    pub fn calls_in_flight(&self) -> usize {
        self.core.calls_in_flight()
    }

    /// Ask every connection for a sign of life now: those that have died are noticed at once.
    pub fn check_connections(&self) {
        self.connections.all().for_each(|(_, connection)| connection.check());
    }

    /// True if this side has opened the connection.
    #[cfg(feature = "node")]
    pub(crate) fn is_outbound(&self, id: ConnectionId) -> bool {
        self.connections.all().any(|(_, connection)| connection.id() == id && connection.is_outbound())
    }

    /// Close a connection that can't work any more.
    #[cfg(feature = "node")]
    pub(crate) fn close_connection(&mut self, peer: PeerId, connection: ConnectionId, reason: &'static str) {
        self.close(peer, connection, reason);
    }

    /// Make a handle that was given out before lead here too.
    #[cfg(feature = "node")]
    pub(crate) fn with_handle(mut self, handle: &Handle) -> Self {
        let core = Arc::downgrade(&self.core);
        handle.lead_into(core);
        self.handle = handle.clone();
        self
    }

    #[cfg(feature = "node")]
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The answer to [`Event::AddressesWanted`]; none at all ends the calls that wait.
    #[cfg(feature = "node")]
    pub(crate) fn addresses_found(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let next = self.connections.addresses_found(peer, addresses);
        self.carry_out(next);
    }

    /// Calls that wait for this peer can have it dialled there.
    #[cfg(feature = "node")]
    pub(crate) fn address_told(&mut self, peer: PeerId, address: Multiaddr) {
        let next = self.connections.address_told(peer, address);
        self.carry_out(next);
    }

    fn push(&mut self, event: ToSwarm<Event, ToHandler>) {
        self.events.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour").field("protocol", &self.protocol).field("core", &self.core).finish_non_exhaustive()
    }
}

//! What a node is told before it starts.

use std::fmt;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "pnet")]
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use super::Node;
use super::error::StartError;
use super::identity::Identity;
use super::net::address::{IntoAddress, InvalidAddress, ListenAddress, check_dialable};
use super::net::admission::{Admission, Direction};
#[cfg(feature = "pnet")]
use super::net::private_network::PreSharedKey;
use super::net::reachability::Reachability;
use super::net::resolver::name_in;
use crate::behaviour::InvalidProtocol;
use crate::call::CallInfo;
use crate::call::Handle;
use crate::codec::CodecId;
use crate::limits::Limits;
use crate::service::Layers;
use crate::service::Service;

const DEFAULT_PROTOCOL: &str = "/p2prpc";
const DEFAULT_KAD_PROTOCOL: &str = "/ipfs/kad/1.0.0";
const DEFAULT_CONNECTED_MEMBERS: usize = 512;
/// A name is whatever its owner says at each lookup: who dials one at the word of strangers is their scanner.
const NAME_IS_NOT_REACHABLE: &str =
    "peers don't look up names that others tell them: give Reachability::Public the IP addresses that it stands for";
#[cfg(feature = "pnet")]
const QUIC_HAS_NO_KEY: &str = "QUIC can't be used with a pre-shared key: give a TCP address";
const DEFAULT_LISTEN: &str = "/ip4/0.0.0.0/tcp/0";

type Visible = Arc<dyn Fn(&PeerId, &str) -> bool + Send + Sync>;

/// Puts a [`Node`] together: [`Node::builder`] makes one, [`start`](NodeBuilder::start) ends it.
///
/// Everything has a default. A value that is wrong is reported by `start`, by its own words.
pub struct NodeBuilder {
    pub(super) identity: Option<Identity>,
    pub(super) listen: Vec<ListenAddress>,
    pub(super) protocol: String,
    pub(super) kad_protocol: String,
    pub(super) bootstrap: Vec<(PeerId, Multiaddr)>,
    pub(super) peer_cache: Option<PathBuf>,
    pub(super) rendezvous: Vec<Arc<str>>,
    pub(super) services: Vec<Service>,
    pub(super) layers: Layers,
    pub(super) strict_methods: bool,
    pub(super) private: bool,
    #[cfg(feature = "pnet")]
    pub(super) pre_shared_key: Option<PreSharedKey>,
    pub(super) admission: Admission,
    pub(super) visible: Option<Visible>,
    pub(super) limits: Limits,
    pub(super) timeout: Duration,
    pub(super) codec: CodecId,
    pub(super) reachability: Reachability,
    pub(super) max_connected_members: usize,
    pub(super) max_connections: usize,
    #[cfg(feature = "mdns")]
    pub(super) mdns: bool,
    #[cfg(feature = "gorpc")]
    pub(super) gorpc: bool,
    pub(super) handle: Handle,
    /// The first value that was wrong.
    error: Option<StartError>,
}

impl NodeBuilder {
    pub(super) fn new() -> Self {
        NodeBuilder {
            identity: None,
            listen: Vec::new(),
            protocol: DEFAULT_PROTOCOL.into(),
            kad_protocol: DEFAULT_KAD_PROTOCOL.into(),
            bootstrap: Vec::new(),
            peer_cache: None,
            rendezvous: Vec::new(),
            services: Vec::new(),
            layers: Layers::default(),
            strict_methods: false,
            private: false,
            #[cfg(feature = "pnet")]
            pre_shared_key: None,
            admission: Admission::default(),
            visible: None,
            limits: Limits::default(),
            timeout: Duration::from_secs(10),
            codec: CodecId::default(),
            reachability: Reachability::default(),
            max_connected_members: DEFAULT_CONNECTED_MEMBERS,
            max_connections: 1024,
            #[cfg(feature = "mdns")]
            mdns: false,
            #[cfg(feature = "gorpc")]
            gorpc: false,
            handle: Handle::unstarted(),
            error: None,
        }
    }

    pub(super) fn wrong(&mut self, error: impl Into<StartError>) {
        self.error.get_or_insert(error.into());
    }

    /// Who the node is. Default: a fresh [`Identity::generate`], another one at each start.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Listen here: `/ip4/0.0.0.0/tcp/4001`, `/ip6/::1/tcp/0`, and with the feature `quic` `/ip4/0.0.0.0/udp/4001/quic-v1`.
    /// Port 0 is any free one, `0.0.0.0` and `::` are all addresses of this machine. Can be given several times.
    /// Default: `/ip4/0.0.0.0/tcp/0`.
    pub fn listen(mut self, address: impl IntoAddress) -> Self {
        match address.into_address().and_then(ListenAddress::try_from) {
            Ok(address) => self.listen.push(address),
            Err(error) => self.wrong(error),
        }
        self
    }

    /// The name of the application: peers with another one are of no concern. It begins with `/`. Default: `/p2prpc`.
    ///
    /// On the wire it is followed by `/p2prpc/1`, the protocol of this crate.
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        self.protocol = protocol.into();
        self
    }

    /// Speak with Go peers too, that have [go-libp2p-gorpc](https://github.com/libp2p/go-libp2p-gorpc). Default: off.
    ///
    /// [`Config::gorpc`](crate::behaviour::Config::gorpc) says how. Give the node the application's protocol, rendezvous and Kademlia
    /// protocol as the Go peers have them. A connected Go peer that has the application's protocol is a member of the node's first
    /// rendezvous, whatever it came for: it can't be asked which services it has, so `all()` calls it for each. It is called
    /// in gorpc only for services with a name there, `#[p2p_service(gorpc = "..")]`. Connections can have 2,048 streams then, and 1,024 that are
    /// being negotiated, instead of 512 and 128.
    ///
    /// ```no_run
    /// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
    /// use p2prpc::prelude::*;
    ///
    /// #[p2p_service(gorpc = "EchoRPCAPI")]
    /// pub trait EchoService {
    ///     async fn echo(&self, text: String) -> String;
    /// }
    ///
    /// let node = Node::builder().protocol("/p2p/rpc/ldej").rendezvous("ldej/echo").gorpc(true).start().await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "gorpc")]
    pub fn gorpc(mut self, on: bool) -> Self {
        self.gorpc = on;
        self
    }

    pub(super) fn speaks_gorpc(&self) -> bool {
        #[cfg(feature = "gorpc")]
        return self.gorpc;
        #[cfg(not(feature = "gorpc"))]
        false
    }

    /// The protocol of the Kademlia DHT, which begins with `/`. Default: `/ipfs/kad/1.0.0`.
    ///
    /// Nodes with another one don't find each other. A name of the application's own keeps other programs' nodes out of its DHT.
    pub fn kad_protocol(mut self, protocol: impl Into<String>) -> Self {
        self.kad_protocol = protocol.into();
        self
    }

    /// Peers to join through, each with its id at the end: `/ip4/192.0.2.1/tcp/4001/p2p/12D3Koo..`. Can be given several times. Default: none.
    ///
    /// They are dialled until they answer and again whenever they are gone, for ever, with pauses of up to 8 s. The
    /// node's own address among them does no harm, so all nodes can be given the same list.
    pub fn bootstrap<A: IntoAddress>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        for address in addresses {
            let checked = address.into_address().and_then(|address| Ok((check_dialable(&address)?, address)));
            match checked {
                Ok((Some(peer), address)) => self.bootstrap.push((peer, address)),
                Ok((None, address)) => self.wrong(StartError::BootstrapWithoutPeerId { address }),
                Err(error) => self.wrong(error),
            }
        }
        self
    }

    /// Remember members and their addresses in this file, and look for them when the node starts again: so it finds its
    /// group though all its [`bootstrap`](NodeBuilder::bootstrap) peers are gone. Default: none.
    ///
    /// The file is made if it isn't there; its directory has to be. It is text, one address a line, with up to 256 peers
    /// of up to 8 addresses; of more peers those that weren't heard of for longest are left out. It is replaced as a
    /// whole, in one step, no more often than every 10 s, and when the node is shut down. What it says are hints: a peer
    /// is a member only once it is connected and has said so itself. Addresses with names aren't kept.
    ///
    /// A file that is damaged, larger than 1 MiB, can't be read or isn't one of p2prpc's is no error of
    /// [`start`](NodeBuilder::start): that is said in the log (`warn`), it is ignored, and before it is replaced it is
    /// moved aside, to its name and `.bad`. Nor is it an error if the file can't be written. Each node needs its own.
    ///
    /// ```no_run
    /// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
    /// use p2prpc::prelude::*;
    ///
    /// let node = Node::builder()
    ///     .identity(Identity::from_file("node.key")?)
    ///     .rendezvous("my-app")
    ///     .bootstrap(["/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"])
    ///     .peer_cache("node.peers")
    ///     .start()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn peer_cache(mut self, path: impl Into<PathBuf>) -> Self {
        self.peer_cache = Some(path.into());
        self
    }

    /// Meet those who name the same rendezvous: they become members of each other. Any text but the empty one; can be given several times. Default: none.
    ///
    /// It is public, not a secret: whoever knows it can join. [`admit`](NodeBuilder::admit) and
    /// [`authorize`](NodeBuilder::authorize) say who may do what.
    pub fn rendezvous(mut self, rendezvous: impl AsRef<str>) -> Self {
        let rendezvous = rendezvous.as_ref();
        if rendezvous.is_empty() {
            self.wrong(StartError::EmptyRendezvous);
        } else if !self.rendezvous.iter().any(|known| **known == *rendezvous) {
            self.rendezvous.push(rendezvous.into());
        }
        self
    }

    /// Serve this. Can be given several times, once for each name. [`Node::serve`] does it later. Default: nothing, and
    /// such a node isn't advertised in the DHT.
    pub fn serve(mut self, service: impl Into<Service>) -> Self {
        self.services.push(service.into());
        self
    }

    /// Let only those calls through, to whatever service, for which `rule` says `true`; to all others the service doesn't exist
    /// ([`ErrorKind::NotServed`](crate::ErrorKind::NotServed)). A rule that was set before must agree too, and one that
    /// panics denies. Default: all calls.
    ///
    /// It runs for each call, local ones too, before limits are counted and arguments decoded: keep it quick. It isn't asked
    /// for what nodes ask each other: which rendezvous they share, which services they have, and who else is a member. With
    /// [`private`](NodeBuilder::private) it is.
    pub fn authorize(mut self, rule: impl Fn(&CallInfo) -> bool + Send + Sync + 'static) -> Self {
        self.layers.authorize(rule);
        self
    }

    /// Make no call by position ([`CodecId::BINCODE`], [`CodecId::POSTCARD`]) of a method that the peer has declared otherwise: it ends as
    /// [`ErrorKind::BadArguments`](crate::ErrorKind::BadArguments), never sent. Default: off, there is only
    /// [`NodeEvent::MethodDiffers`](crate::NodeEvent::MethodDiffers).
    ///
    /// Members tell each other what their methods look like: a hash of the names and types of the arguments and of the return type as they
    /// are written in the trait, for up to 256 methods. `String` and `std::string::String` differ so, and types with other fields and the same
    /// name don't. Peers that say nothing, Go peers among them, are called as always.
    pub fn strict_methods(mut self, on: bool) -> Self {
        self.strict_methods = on;
        self
    }

    /// Tell strangers nothing: [`authorize`](NodeBuilder::authorize) is asked too for what nodes ask each other. Default: off.
    ///
    /// These are calls of the service `p2prpc-membership`: `Describe`, which rendezvous and services we have, `List`, who else
    /// is a member and where, and `Leaving`. A peer for which the rule says `false` gets the same answer as from a node that
    /// is in no rendezvous at all, is asked nothing either, and can't become a member; so the rule has to
    /// say `true` of members, and the members' rules of this node.
    ///
    /// ```no_run
    /// # async fn doc(friends: std::collections::HashSet<p2prpc::PeerId>) -> Result<(), Box<dyn std::error::Error>> {
    /// use p2prpc::prelude::*;
    ///
    /// let node = Node::builder()
    ///     .rendezvous("my-app")
    ///     .authorize(move |call| friends.contains(&call.peer()))
    ///     .private()
    ///     .start()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// A stranger still gets a connection, and sees that a node with this protocol is there and what its part of the DHT holds.
    /// [`admit`](NodeBuilder::admit) refuses the connection, and a pre-shared key (feature `pnet`) hides the node.
    pub fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Be in a private network: speak only with nodes that have the same key. Default: none.
    ///
    /// All of a connection is encrypted with it, the handshakes too, as in go-libp2p (`libp2p.PrivateNetwork`): without the key nobody can so
    /// much as ask who the node is. It comes on top of Noise, not instead, and is for TCP only: QUIC can't have it, so a
    /// QUIC address is an error then, to listen on and of a bootstrap peer, and others are not dialled.
    ///
    /// ```no_run
    /// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
    /// use p2prpc::PreSharedKey;
    /// use p2prpc::prelude::*;
    ///
    /// let node = Node::builder().pre_shared_key(PreSharedKey::from_file("swarm.key")?).rendezvous("my-app").start().await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "pnet")]
    pub fn pre_shared_key(mut self, key: PreSharedKey) -> Self {
        self.pre_shared_key = Some(key);
        self
    }

    /// Let only those peers be connected for which `rule` says `true`. A rule that panics says no. Default: all peers.
    ///
    /// It is asked for every connection, once the handshake has proven who the peer is and, where it is known before, before
    /// the peer is dialled. A peer that isn't admitted can't be a member. Keep it quick: it runs in the node's own task.
    pub fn admit(mut self, rule: impl Fn(&PeerId, Direction) -> bool + Send + Sync + 'static) -> Self {
        self.admission = Admission::with_rule(rule);
        self
    }

    /// Tell a peer only of those of our services for which `rule` says `true`. A rule that panics says no. Default: all of them.
    ///
    /// It decides what members know of each other, and so whom `all()` asks. It forbids no call: that is what
    /// [`authorize`](NodeBuilder::authorize) does.
    pub fn visible(mut self, rule: impl Fn(&PeerId, &str) -> bool + Send + Sync + 'static) -> Self {
        self.visible = Some(Arc::new(rule));
        self
    }

    /// How much peers may have under way. Default: [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long a call may take that doesn't say otherwise. Default: 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Encode calls that don't say otherwise, nor whose client does, with this codec. Default: [`CodecId::default`].
    ///
    /// A peer answers in the codec of the call, if it is compiled in there. What nodes ask each other isn't changed by it.
    pub fn codec(mut self, codec: CodecId) -> Self {
        if codec.is_supported() {
            self.codec = codec;
        } else {
            self.wrong(StartError::UnsupportedCodec { codec });
        }
        self
    }

    /// Where others can reach the node. Default: [`Reachability::Private`].
    pub fn reachability(mut self, reachability: Reachability) -> Self {
        self.reachability = reachability;
        self
    }

    /// Keep a connection to so many members. Default: 512. Members past it are known, and connected when they are called. More than
    /// 512 raise [`max_connections`](NodeBuilder::max_connections) to twice as many.
    pub fn max_connected_members(mut self, members: usize) -> Self {
        self.max_connected_members = members;
        self
    }

    /// Have so many connections at once, at least 4. Default: 1,024. Three quarters of them can be opened by others, and a
    /// quarter from one public network (IPv4 /24, IPv6 /56).
    ///
    /// Past it the oldest that others have opened makes room, if its peer is no member and no call is under way on it;
    /// otherwise the new one is refused. Whatever this says, a peer has 4 at most, and of those that others open 128 can
    /// be in their handshake at once: one more ends the oldest.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.max(4);
        self
    }

    /// Look for peers on the local network too, and be found there, by [mDNS](https://github.com/libp2p/specs/blob/master/discovery/mdns.md). Default: off.
    ///
    /// Every libp2p program on the network is seen; those that don't speak this application's protocol are let go again.
    #[cfg(feature = "mdns")]
    pub fn mdns(mut self) -> Self {
        self.mdns = true;
        self
    }

    /// A handle of the node to come, for services that call other peers. Calls through it end as
    /// [`ErrorKind::NotStarted`](crate::ErrorKind::NotStarted) until the node has started.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Start the node. It listens when this returns, and looks for its peers from then on.
    ///
    /// # Errors
    /// If a value is wrong, an address can't be listened on, or there is no Tokio runtime.
    pub async fn start(mut self) -> Result<Node, StartError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(StartError::NoRuntime);
        }
        if !has_drivers() {
            return Err(StartError::NoDrivers);
        }
        if self.listen.is_empty() {
            self = self.listen(DEFAULT_LISTEN);
        }
        if self.max_connected_members > DEFAULT_CONNECTED_MEMBERS {
            self.max_connections = self.max_connections.max(self.max_connected_members.saturating_mul(2));
        }
        self.check_external()?;
        if self.private && self.layers.is_empty() {
            return Err(StartError::PrivateWithoutRule);
        }
        #[cfg(feature = "pnet")]
        self.check_private_network()?;
        Node::start(self).await
    }

    fn check_external(&self) -> Result<(), StartError> {
        if let Reachability::Public(addresses) = &self.reachability {
            for address in addresses {
                check_dialable(address)?;
                if name_in(address).is_some() {
                    return Err(InvalidAddress::new(address, NAME_IS_NOT_REACHABLE).into());
                }
            }
        }
        Ok(())
    }

    #[cfg(feature = "pnet")]
    fn check_private_network(&self) -> Result<(), StartError> {
        if self.pre_shared_key.is_none() {
            return Ok(());
        }
        let listened = self.listen.iter().map(|listen| &listen.address);
        let mut all = listened.chain(self.bootstrap.iter().map(|(_, address)| address));
        match all.find(|address| address.iter().any(|part| part == Protocol::QuicV1)) {
            Some(quic) => Err(InvalidAddress::new(quic, QUIC_HAS_NO_KEY).into()),
            None => Ok(()),
        }
    }

    pub(super) fn checked_kad_protocol(&self) -> Result<StreamProtocol, StartError> {
        // It follows the same rules as the application's, and names itself in the same way.
        crate::behaviour::Config::new(&self.kad_protocol)?;
        let invalid = || InvalidProtocol(self.kad_protocol.clone());
        Ok(StreamProtocol::try_from_owned(self.kad_protocol.clone()).map_err(|_| invalid())?)
    }
}

/// True if the runtime of now has I/O and time. Tokio has no other way to say so.
fn has_drivers() -> bool {
    let time = catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO)));
    let io = catch_unwind(|| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        // That there is no socket is for whoever listens to say.
        socket.map(tokio::net::UdpSocket::from_std).is_ok()
    });
    time.is_ok() && io.is_ok()
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeBuilder")
            .field("identity", &self.identity)
            .field("listen", &self.listen)
            .field("protocol", &self.protocol)
            .field("kad_protocol", &self.kad_protocol)
            .field("bootstrap", &self.bootstrap)
            .field("peer_cache", &self.peer_cache)
            .field("rendezvous", &self.rendezvous)
            .field("services", &self.services)
            .field("limits", &self.limits)
            .field("timeout", &self.timeout)
            .field("codec", &self.codec)
            .field("reachability", &self.reachability)
            .field("max_connected_members", &self.max_connected_members)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

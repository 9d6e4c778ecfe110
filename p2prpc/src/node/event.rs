//! What a program can watch of its node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::{self, BoxStream, StreamExt};
use libp2p::{Multiaddr, PeerId};
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::membership::Relation;

/// Events that a receiver may be behind before it misses some.
const BACKLOG: usize = 1024;

/// Something happened at a node. [`Node::events`](crate::Node::events) gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeEvent {
    /// The node can be reached at this address.
    Listening {
        /// In full, with the node's own `/p2p/` part.
        address: Multiaddr,
    },
    /// The node can no longer be reached at this address: an interface is gone.
    ListeningEnded {
        /// In full, with the node's own `/p2p/` part.
        address: Multiaddr,
    },
    /// A peer is a member now.
    PeerJoined {
        /// The peer.
        peer: PeerId,
    },
    /// A peer is no member any more: it left, crashed, fell silent or was blocked.
    PeerLeft {
        /// The peer.
        peer: PeerId,
    },
    /// A connected peer is no member: it is of another application, or shares no rendezvous with this node. Said once while it is
    /// connected; what is known of it now [`Node::diagnose`](crate::Node::diagnose) says.
    Stranger {
        /// The peer.
        peer: PeerId,
        /// What it is: [`OtherRendezvous`](Relation::OtherRendezvous) or [`OtherProtocol`](Relation::OtherProtocol).
        relation: Relation,
    },
    /// A member has declared a method otherwise than this node: names or types of its arguments, or its return type, are not written as
    /// here. Arguments that are written by position (bincode, Postcard) may be read there as something else, without an error. It is seen when
    /// the peer becomes a member, for methods that this node serves, and with the first call, for others; and said once as long as it is a member.
    /// See [`changing a service`](crate::docs::changing), and [`NodeBuilder::strict_methods`](crate::NodeBuilder::strict_methods).
    MethodDiffers {
        /// The peer.
        peer: PeerId,
        /// `Service.Method`.
        method: String,
    },
    /// A bootstrap peer is connected, and hasn't closed the connection at once.
    BootstrapConnected {
        /// The bootstrap peer.
        peer: PeerId,
    },
    /// A bootstrap peer could not be reached at this address. It is tried again, for ever, with growing pauses. A peer that can't be
    /// reached at several addresses makes an event for each; what was said before of an address isn't said again.
    BootstrapFailed {
        /// Where it was tried, with its `/p2p/` part.
        address: Multiaddr,
        /// Why it failed.
        error: String,
    },
    /// A connection was asked for a sign of life and is silent. Calls go over another connection to the peer if there is one that
    /// answers; if not, the peer is dialled.
    ConnectionSuspected {
        /// The peer.
        peer: PeerId,
        /// The other end of the connection.
        address: Multiaddr,
    },
    /// A connection that had been suspected has given a sign of life.
    ConnectionRecovered {
        /// The peer.
        peer: PeerId,
        /// The other end of the connection.
        address: Multiaddr,
    },
    /// New calls to the peer go over another connection from now on.
    ConnectionMoved {
        /// The peer.
        peer: PeerId,
        /// The other end of the connection that is silent.
        from: Multiaddr,
        /// The other end of the one that carries calls now.
        to: Multiaddr,
    },
    /// The node has closed a connection that had died.
    ConnectionClosed {
        /// The peer.
        peer: PeerId,
        /// The other end of the connection.
        address: Multiaddr,
        /// Why: it is silent while another connection to the peer is not, or its local address is gone.
        reason: String,
    },
    /// An address of this machine is gone, of whatever interface. The connections that were bound to it are closed, all others are
    /// asked for a sign of life.
    LocalAddressGone {
        /// The address.
        ip: IpAddr,
    },
    /// Names in addresses can't be looked up: this system has no name servers, or none of them answers. Addresses with names can't be
    /// dialled until [`ResolverRestored`](NodeEvent::ResolverRestored). It is seen when a name is looked up, and tried again with each
    /// dial, by the system's configuration of then.
    ResolverUnavailable {
        /// Why not.
        error: String,
    },
    /// Names can be looked up again.
    ResolverRestored,
    /// This receiver was too slow and missed so many events.
    Lagged(
        /// How many.
        u64,
    ),
}

/// The events of a node from now on, and first what holds now: the addresses it listens on, that names can't be looked up, the
/// bootstrap peers that can't be reached, those that are connected, connected peers that are no members, the members, connections that
/// are silent. It ends with the node.
///
/// Each receiver gets all events. One that is more than 1,024 events behind loses the oldest and is told so by [`NodeEvent::Lagged`].
#[must_use = "a stream does nothing until it is polled"]
pub struct Events {
    stream: BoxStream<'static, NodeEvent>,
}

impl Stream for Events {
    type Item = NodeEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<NodeEvent>> {
        self.stream.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// Tells all receivers what happens, and knows what holds now.
#[derive(Debug)]
pub(super) struct Announcer {
    local: PeerId,
    events: broadcast::Sender<NodeEvent>,
    /// Its lock orders events with new receivers.
    now: Mutex<Now>,
}

/// What a new receiver is told first.
#[derive(Debug, Default)]
struct Now {
    /// Where the node listens, without the `/p2p/` part.
    addresses: Vec<Multiaddr>,
    members: BTreeSet<PeerId>,
    /// Bootstrap peers that failed last: where, and why there.
    out_of_reach: BTreeMap<PeerId, BTreeMap<Multiaddr, String>>,
    /// Bootstrap peers that are connected.
    bootstrapped: BTreeSet<PeerId>,
    /// Connected peers that are none of ours.
    strangers: BTreeMap<PeerId, Relation>,
    /// Methods that members have declared otherwise.
    differing: BTreeMap<PeerId, BTreeSet<&'static str>>,
    /// Connections that are silent.
    suspected: BTreeSet<(PeerId, Multiaddr)>,
    /// Why names can't be looked up.
    resolver_error: Option<String>,
}

impl Announcer {
    pub(super) fn new(local: PeerId) -> Self {
        Announcer { local, events: broadcast::Sender::new(BACKLOG), now: Mutex::default() }
    }

    fn send(&self, event: NodeEvent) {
        // Fails only if nobody listens.
        let _ = self.events.send(event);
    }

    /// Something happened that doesn't last.
    pub(super) fn announce(&self, event: NodeEvent) {
        // Its lock orders events with new receivers.
        let _now = self.now.lock();
        self.send(event);
    }

    pub(super) fn stranger(&self, peer: PeerId, relation: Relation) {
        let mut now = self.now.lock();
        now.strangers.insert(peer, relation.clone());
        self.send(NodeEvent::Stranger { peer, relation });
    }

    /// A member has declared a method otherwise. It is said once as long as it is a member.
    pub(super) fn method_differs(&self, peer: PeerId, method: &'static str) {
        let mut now = self.now.lock();
        if now.members.contains(&peer) && now.differing.entry(peer).or_default().insert(method) {
            tracing::warn!(%peer, method, "a member has declared a method otherwise");
            self.send(NodeEvent::MethodDiffers { peer, method: method.into() });
        }
    }

    /// A connection is silent, or no longer.
    pub(super) fn suspected(&self, peer: PeerId, address: Multiaddr, is: bool) {
        let mut now = self.now.lock();
        let connection = (peer, address.clone());
        self.send(if is {
            now.suspected.insert(connection);
            NodeEvent::ConnectionSuspected { peer, address }
        } else {
            now.suspected.remove(&connection);
            NodeEvent::ConnectionRecovered { peer, address }
        });
    }

    /// A connection has ended, and what held of it with it; `last` if it was the peer's only one.
    pub(super) fn connection_ended(&self, peer: PeerId, address: &Multiaddr, last: bool) {
        let mut now = self.now.lock();
        now.suspected.remove(&(peer, address.clone()));
        if last {
            now.strangers.remove(&peer);
            now.bootstrapped.remove(&peer);
        }
    }

    pub(super) fn listening(&self, address: &Multiaddr) {
        let mut now = self.now.lock();
        if !now.addresses.contains(address) {
            now.addresses.push(address.clone());
            self.send(NodeEvent::Listening { address: self.full(address) });
        }
    }

    pub(super) fn listening_ended(&self, address: &Multiaddr) {
        let mut now = self.now.lock();
        if let Some(at) = now.addresses.iter().position(|known| known == address) {
            now.addresses.remove(at);
            self.send(NodeEvent::ListeningEnded { address: self.full(address) });
        }
    }

    pub(super) fn joined(&self, peer: PeerId) {
        let mut now = self.now.lock();
        now.members.insert(peer);
        now.strangers.remove(&peer);
        self.send(NodeEvent::PeerJoined { peer });
    }

    pub(super) fn left(&self, peer: PeerId) {
        let mut now = self.now.lock();
        now.members.remove(&peer);
        now.differing.remove(&peer);
        self.send(NodeEvent::PeerLeft { peer });
    }

    pub(super) fn bootstrap_connected(&self, peer: PeerId) {
        let mut now = self.now.lock();
        now.out_of_reach.remove(&peer);
        now.bootstrapped.insert(peer);
        self.send(NodeEvent::BootstrapConnected { peer });
    }

    pub(super) fn bootstrap_failed(&self, peer: PeerId, address: Multiaddr, error: String) {
        let mut now = self.now.lock();
        now.bootstrapped.remove(&peer);
        now.out_of_reach.entry(peer).or_default().insert(address.clone(), error.clone());
        self.send(NodeEvent::BootstrapFailed { address, error });
    }

    /// Names can't be looked up any more, for this reason, or can again.
    pub(super) fn resolver(&self, error: Option<&str>) {
        let mut now = self.now.lock();
        now.resolver_error = error.map(str::to_owned);
        self.send(match error {
            Some(error) => NodeEvent::ResolverUnavailable { error: error.to_owned() },
            None => NodeEvent::ResolverRestored,
        });
    }

    pub(super) fn addresses(&self) -> Vec<Multiaddr> {
        self.now.lock().addresses.iter().map(|address| self.full(address)).collect()
    }

    fn full(&self, address: &Multiaddr) -> Multiaddr {
        address.clone().with_p2p(self.local).unwrap_or_else(|address| address)
    }

    pub(super) fn receiver(&self) -> Events {
        let now = self.now.lock();
        let receiver = self.events.subscribe();
        let addresses = now.addresses.iter().map(|address| NodeEvent::Listening { address: self.full(address) });
        let failed = now.out_of_reach.values().flatten().map(|(address, error)| (address.clone(), error.clone()));
        let failed = failed.map(|(address, error)| NodeEvent::BootstrapFailed { address, error });
        let bootstrapped = now.bootstrapped.iter().map(|peer| NodeEvent::BootstrapConnected { peer: *peer });
        let members = now.members.iter().map(|peer| NodeEvent::PeerJoined { peer: *peer });
        let differing = now.differing.iter().flat_map(|(peer, methods)| {
            methods.iter().map(|method| NodeEvent::MethodDiffers { peer: *peer, method: (*method).into() })
        });
        let strangers = now.strangers.iter();
        let strangers = strangers.map(|(peer, it)| NodeEvent::Stranger { peer: *peer, relation: it.clone() });
        let suspected = now.suspected.iter().cloned();
        let suspected = suspected.map(|(peer, address)| NodeEvent::ConnectionSuspected { peer, address });
        let resolver = now.resolver_error.clone().map(|error| NodeEvent::ResolverUnavailable { error });
        let now: Vec<_> = addresses
            .chain(resolver)
            .chain(failed)
            .chain(bootstrapped)
            .chain(strangers)
            .chain(differing)
            .chain(members)
            .chain(suspected)
            .collect();
        let later = stream::unfold(receiver, |mut receiver| async move {
            let event = match receiver.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(missed)) => NodeEvent::Lagged(missed),
                Err(RecvError::Closed) => return None,
            };
            Some((event, receiver))
        });
        Events { stream: stream::iter(now).chain(later).boxed() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    #[tokio::test]
    async fn a_receiver_gets_the_addresses_of_now_and_then_what_happens() {
        let announcer = Announcer::new(PeerId::random());
        announcer.listening(&address(1));
        let mut events = announcer.receiver();
        announcer.listening(&address(2));
        announcer.listening(&address(2));
        announcer.listening_ended(&address(1));
        let full = |port| announcer.full(&address(port));
        assert_eq!(events.next().await, Some(NodeEvent::Listening { address: full(1) }));
        assert_eq!(events.next().await, Some(NodeEvent::Listening { address: full(2) }));
        assert_eq!(events.next().await, Some(NodeEvent::ListeningEnded { address: full(1) }));
        assert_eq!(announcer.addresses(), [full(2)]);
        drop(announcer);
        assert_eq!(events.next().await, None);
    }

    #[tokio::test]
    async fn a_late_receiver_gets_what_still_holds() {
        let announcer = Announcer::new(PeerId::random());
        let (gone, here) = (PeerId::random(), PeerId::random());
        announcer.bootstrap_failed(gone, address(1), "refused".into());
        announcer.bootstrap_failed(here, address(2), "refused".into());
        announcer.bootstrap_connected(here);
        announcer.resolver(Some("no name server answers"));
        announcer.joined(here);
        announcer.joined(gone);
        announcer.left(gone);
        let mut events = announcer.receiver();
        drop(announcer);
        let unavailable = NodeEvent::ResolverUnavailable { error: "no name server answers".into() };
        assert_eq!(events.next().await, Some(unavailable));
        let failed = NodeEvent::BootstrapFailed { address: address(1), error: "refused".into() };
        assert_eq!(events.next().await, Some(failed));
        assert_eq!(events.next().await, Some(NodeEvent::BootstrapConnected { peer: here }));
        assert_eq!(events.next().await, Some(NodeEvent::PeerJoined { peer: here }));
        assert_eq!(events.next().await, None);
    }

    #[tokio::test]
    async fn a_late_receiver_gets_nothing_of_connections_that_have_ended() {
        let announcer = Announcer::new(PeerId::random());
        let (gone, here) = (PeerId::random(), PeerId::random());
        for peer in [gone, here] {
            announcer.bootstrap_connected(peer);
            announcer.stranger(peer, Relation::OtherRendezvous);
            announcer.suspected(peer, address(1), true);
        }
        announcer.suspected(gone, address(2), true);
        announcer.suspected(gone, address(2), false);
        announcer.connection_ended(gone, &address(1), true);
        announcer.connection_ended(here, &address(3), false);
        let events = announcer.receiver();
        drop(announcer);
        let expected = [
            NodeEvent::BootstrapConnected { peer: here },
            NodeEvent::Stranger { peer: here, relation: Relation::OtherRendezvous },
            NodeEvent::ConnectionSuspected { peer: here, address: address(1) },
        ];
        assert_eq!(events.collect::<Vec<_>>().await, expected);
    }

    #[tokio::test]
    async fn a_slow_receiver_is_told_what_it_missed() {
        let announcer = Announcer::new(PeerId::random());
        let mut events = announcer.receiver();
        let peer = PeerId::random();
        for _ in 0..BACKLOG + 7 {
            announcer.joined(peer);
        }
        assert_eq!(events.next().await, Some(NodeEvent::Lagged(7)));
        assert_eq!(events.next().await, Some(NodeEvent::PeerJoined { peer }));
    }
}

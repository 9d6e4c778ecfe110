//! The part of the swarm that lets connections in and out: who is admitted, how many there may be, and where peers are
//! that the user told us of.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::admission::{Admission, Direction};
use super::given::GivenAddresses;

/// Connections that one peer may have with us, both directions.
const MAX_PER_PEER: usize = 4;
/// Inbound connections whose handshake is under way.
const MAX_SETTING_UP: usize = 128;

/// Not libp2p's `connection_limits`: that keeps an entry for every peer that was ever connected.
#[derive(Debug)]
pub(super) struct Gate {
    admission: Admission,
    max_connections: usize,
    setting_up: HashSet<ConnectionId>,
    inbound: usize,
    outbound: usize,
    of_peer: HashMap<PeerId, usize>,
    given: GivenAddresses,
    /// The node is going: nobody new gets in.
    leaving: bool,
}

/// Why a connection was not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the peer is blocked")]
    Blocked,
    #[error("the peer is not admitted")]
    NotAdmitted,
    #[error("the peer has {MAX_PER_PEER} connections already")]
    TooManyOfPeer,
    #[error("the limit of {0} connections is reached")]
    TooMany(usize),
    #[error("the limit of {0} inbound connections is reached")]
    TooManyInbound(usize),
    #[error("the limit of {MAX_SETTING_UP} connections being set up is reached")]
    TooManySettingUp,
    #[error("the node is shutting down")]
    Leaving,
}

impl Gate {
    pub(super) fn new(admission: Admission, given: GivenAddresses, max_connections: usize) -> Self {
        Gate {
            admission,
            max_connections,
            setting_up: HashSet::new(),
            inbound: 0,
            outbound: 0,
            of_peer: HashMap::new(),
            given,
            leaving: false,
        }
    }

    /// Let no new connection in.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    fn admit(&self, peer: &PeerId, direction: Direction) -> Result<(), Refusal> {
        if self.admission.is_blocked(peer) {
            Err(Refusal::Blocked)
        } else if self.admission.admits(peer, direction) {
            Ok(())
        } else {
            Err(Refusal::NotAdmitted)
        }
    }

    fn room(&self, direction: Direction) -> Result<(), Refusal> {
        // A quarter is kept for connections of our own making: strangers can't shut us in.
        let max_inbound = self.max_connections - self.max_connections / 4;
        if direction == Direction::Inbound && self.inbound >= max_inbound {
            return Err(Refusal::TooManyInbound(max_inbound));
        }
        if self.inbound + self.outbound >= self.max_connections {
            return Err(Refusal::TooMany(self.max_connections));
        }
        Ok(())
    }

    fn established(&self, peer: &PeerId, direction: Direction) -> Result<(), Refusal> {
        self.room(direction)?;
        if self.of_peer.get(peer).is_some_and(|connections| *connections >= MAX_PER_PEER) {
            return Err(Refusal::TooManyOfPeer);
        }
        self.admit(peer, direction)
    }

    fn counter(&mut self, endpoint: &ConnectedPoint) -> &mut usize {
        match endpoint {
            ConnectedPoint::Dialer { .. } => &mut self.outbound,
            ConnectedPoint::Listener { .. } => &mut self.inbound,
        }
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.leaving {
            return Err(ConnectionDenied::new(Refusal::Leaving));
        }
        self.room(Direction::Inbound).map_err(ConnectionDenied::new)?;
        if self.setting_up.len() >= MAX_SETTING_UP {
            return Err(ConnectionDenied::new(Refusal::TooManySettingUp));
        }
        self.setting_up.insert(connection);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.setting_up.remove(&connection);
        self.established(&peer, Direction::Inbound).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.room(Direction::Outbound).map_err(ConnectionDenied::new)?;
        let Some(peer) = peer else { return Ok(Vec::new()) };
        self.admit(&peer, Direction::Outbound).map_err(ConnectionDenied::new)?;
        Ok(self.given.of(&peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.established(&peer, Direction::Outbound).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, endpoint, .. }) => {
                *self.counter(endpoint) += 1;
                *self.of_peer.entry(peer_id).or_default() += 1;
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, endpoint, remaining_established, .. }) => {
                let counter = self.counter(endpoint);
                *counter = counter.saturating_sub(1);
                if remaining_established == 0 {
                    self.of_peer.remove(&peer_id);
                } else {
                    self.of_peer.insert(peer_id, remaining_established);
                }
            }
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.setting_up.remove(&connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Connections {
        gate: Gate,
        next: usize,
    }

    impl Connections {
        fn new(max: usize) -> Self {
            Connections { gate: Gate::new(Admission::default(), GivenAddresses::default(), max), next: 0 }
        }

        fn open(&mut self, peer: PeerId, endpoint: &ConnectedPoint) -> Result<(), Refusal> {
            let id = ConnectionId::new_unchecked(self.next);
            self.next += 1;
            let address = Multiaddr::empty();
            let opened = match endpoint {
                ConnectedPoint::Listener { .. } => self
                    .gate
                    .handle_pending_inbound_connection(id, &address, &address)
                    .and_then(|()| self.gate.handle_established_inbound_connection(id, peer, &address, &address)),
                ConnectedPoint::Dialer { .. } => {
                    self.gate.handle_pending_outbound_connection(id, Some(peer), &[], Endpoint::Dialer).and_then(|_| {
                        let port = PortUse::New;
                        self.gate.handle_established_outbound_connection(id, peer, &address, Endpoint::Dialer, port)
                    })
                }
            };
            opened.map_err(|denied| denied.downcast::<Refusal>().unwrap())?;
            self.gate.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: peer,
                connection_id: id,
                endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
            Ok(())
        }

        fn close(&mut self, peer: PeerId, endpoint: &ConnectedPoint, remaining_established: usize) {
            self.gate.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id: peer,
                connection_id: ConnectionId::new_unchecked(0),
                endpoint,
                cause: None,
                remaining_established,
            }));
        }
    }

    fn inbound() -> ConnectedPoint {
        ConnectedPoint::Listener { local_addr: Multiaddr::empty(), send_back_addr: Multiaddr::empty() }
    }

    fn outbound() -> ConnectedPoint {
        ConnectedPoint::Dialer { address: Multiaddr::empty(), role_override: Endpoint::Dialer, port_use: PortUse::New }
    }

    #[test]
    fn a_peer_has_four_connections() {
        let mut connections = Connections::new(100);
        let peer = PeerId::random();
        for endpoint in [inbound(), outbound(), inbound(), outbound()] {
            connections.open(peer, &endpoint).unwrap();
        }
        assert_eq!(connections.open(peer, &inbound()), Err(Refusal::TooManyOfPeer));
        assert_eq!(connections.open(peer, &outbound()), Err(Refusal::TooManyOfPeer));
        connections.close(peer, &inbound(), 3);
        connections.open(peer, &inbound()).unwrap();
    }

    #[test]
    fn strangers_take_three_quarters_and_no_more() {
        let mut connections = Connections::new(8);
        for _ in 0..6 {
            connections.open(PeerId::random(), &inbound()).unwrap();
        }
        assert_eq!(connections.open(PeerId::random(), &inbound()), Err(Refusal::TooManyInbound(6)));
        for _ in 0..2 {
            connections.open(PeerId::random(), &outbound()).unwrap();
        }
        assert_eq!(connections.open(PeerId::random(), &outbound()), Err(Refusal::TooMany(8)));
    }

    #[test]
    fn handshakes_under_way_are_limited() {
        let mut gate = Gate::new(Admission::default(), GivenAddresses::default(), 1_024);
        let address = Multiaddr::empty();
        let mut begin =
            |id| gate.handle_pending_inbound_connection(ConnectionId::new_unchecked(id), &address, &address).is_ok();
        assert!((0..MAX_SETTING_UP).all(&mut begin));
        assert!(!begin(MAX_SETTING_UP));
    }

    #[test]
    fn nothing_is_kept_of_a_peer_that_is_gone() {
        let mut connections = Connections::new(100);
        let peer = PeerId::random();
        connections.open(peer, &inbound()).unwrap();
        connections.close(peer, &inbound(), 0);
        assert!(connections.gate.of_peer.is_empty() && connections.gate.setting_up.is_empty());
        assert_eq!(connections.gate.inbound, 0);
    }

    #[test]
    fn the_blocked_are_not_even_dialled() {
        let admission = Admission::default();
        let mut connections = Connections::new(100);
        connections.gate.admission = admission.clone();
        let peer = PeerId::random();
        admission.block(peer);
        assert_eq!(connections.open(peer, &outbound()), Err(Refusal::Blocked));
        assert_eq!(connections.open(peer, &inbound()), Err(Refusal::Blocked));
    }
}

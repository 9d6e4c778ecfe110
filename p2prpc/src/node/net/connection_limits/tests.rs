use super::*;
use crate::networks::Networks;

struct Connections {
    limits: ConnectionLimits,
    next: usize,
}

/// No connection is silent.
fn quiet(since: impl Fn(&PeerId) -> Option<Option<Instant>> + Send + 'static) -> Quiet {
    Quiet { since: Box::new(since), silent: Box::new(|_| Vec::new()) }
}

/// Everybody is busy.
fn nobody() -> Quiet {
    quiet(|_| None)
}

impl Connections {
    fn new(max: usize) -> Self {
        Self::with(max, nobody())
    }

    fn with(max: usize, quiet: Quiet) -> Self {
        let dials = Dials::new(Networks::fixed([]), AddressBook::default());
        Connections {
            limits: ConnectionLimits::new(Admission::default(), AddressBook::default(), dials, max, quiet),
            next: 0,
        }
    }

    fn open(&mut self, peer: PeerId, endpoint: &ConnectedPoint) -> Result<(), Refusal> {
        let id = ConnectionId::new_unchecked(self.next);
        self.next += 1;
        let address = Multiaddr::empty();
        let opened = match endpoint {
            ConnectedPoint::Listener { send_back_addr: remote, .. } => self
                .limits
                .handle_pending_inbound_connection(id, &address, remote)
                .and_then(|()| self.limits.handle_established_inbound_connection(id, peer, &address, remote)),
            ConnectedPoint::Dialer { .. } => {
                self.limits.handle_pending_outbound_connection(id, Some(peer), &[], Endpoint::Dialer).and_then(|_| {
                    let port = PortUse::New;
                    self.limits.handle_established_outbound_connection(id, peer, &address, Endpoint::Dialer, port)
                })
            }
        };
        opened.map_err(|denied| denied.downcast::<Refusal>().unwrap())?;
        self.limits.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: peer,
            connection_id: id,
            endpoint,
            failed_addresses: &[],
            other_established: 0,
        }));
        Ok(())
    }

    fn close(&mut self, peer: PeerId, endpoint: &ConnectedPoint, remaining_established: usize) {
        self.close_one(0, peer, endpoint, remaining_established);
    }

    fn close_one(&mut self, id: usize, peer: PeerId, endpoint: &ConnectedPoint, remaining_established: usize) {
        self.limits.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: peer,
            connection_id: ConnectionId::new_unchecked(id),
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
fn a_peer_that_has_come_back_is_not_kept_out_by_its_silent_connections() {
    let silent: Vec<_> = (0..MAX_PER_PEER).map(ConnectionId::new_unchecked).collect();
    let mut connections =
        Connections::with(100, Quiet { since: Box::new(|_| None), silent: Box::new(move |_| silent.clone()) });
    let peer = PeerId::random();
    for n in 0..2 * MAX_PER_PEER {
        connections.open(peer, &inbound()).unwrap_or_else(|error| panic!("connection {n}: {error}"));
    }
    assert_eq!(dismissed(&mut connections.limits).len(), MAX_PER_PEER);
    assert_eq!(connections.open(peer, &inbound()), Err(Refusal::TooManyOfPeer), "each makes room once");
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

fn from(remote: &str) -> ConnectedPoint {
    ConnectedPoint::Listener { local_addr: Multiaddr::empty(), send_back_addr: remote.parse().unwrap() }
}

fn dismissed(limits: &mut ConnectionLimits) -> Vec<PeerId> {
    std::iter::from_fn(|| limits.inbound.to_close.pop_front()).map(|(peer, _)| peer).collect()
}

#[test]
fn the_oldest_idle_stranger_makes_room_and_nobody_else() {
    let busy = PeerId::random();
    let but_one = quiet(move |peer| (*peer != busy).then_some(None));
    let mut connections = Connections::with(8, but_one);
    let peers: Vec<_> = std::iter::once(busy).chain((0..5).map(|_| PeerId::random())).collect();
    for peer in &peers {
        connections.open(*peer, &inbound()).unwrap();
    }
    for oldest in &peers[1..4] {
        connections.open(PeerId::random(), &inbound()).unwrap();
        assert_eq!(dismissed(&mut connections.limits), [*oldest]);
        assert_eq!(connections.limits.inbound.len(), 6);
    }
    connections.close_one(1, peers[1], &inbound(), 0);
    assert_eq!((connections.limits.inbound.len(), connections.limits.inbound.open.len()), (6, 8));
}

#[test]
fn a_prefix_has_a_quarter_and_loopback_is_none() {
    let mut connections = Connections::new(1_024);
    // Behind one address there may be many.
    for _ in 0..256 {
        connections.open(PeerId::random(), &from("/ip4/203.0.113.7/tcp/1")).unwrap();
    }
    let refused = connections.open(PeerId::random(), &from("/ip4/203.0.113.9/tcp/1"));
    assert_eq!(refused, Err(Refusal::TooManyOfPrefix(256)));
    connections.open(PeerId::random(), &from("/ip4/198.51.100.7/tcp/1")).unwrap();
    for _ in 0..500 {
        connections.open(PeerId::random(), &from("/ip4/127.0.0.1/tcp/1")).unwrap();
    }
    let mut connections = Connections::with(1_024, quiet(|_| Some(None)));
    for _ in 0..1_000 {
        connections.open(PeerId::random(), &from("/ip4/203.0.113.7/tcp/1")).unwrap();
    }
    assert_eq!(connections.limits.inbound.len(), 256);
}

#[test]
fn nothing_is_kept_of_a_peer_that_is_gone() {
    let mut connections = Connections::new(100);
    let peer = PeerId::random();
    connections.open(peer, &inbound()).unwrap();
    connections.close(peer, &inbound(), 0);
    assert!(connections.limits.of_peer.is_empty() && connections.limits.inbound.numbers.is_empty());
    assert_eq!(connections.limits.inbound.len(), 0);
}

#[test]
fn the_blocked_are_not_even_dialled() {
    let admission = Admission::default();
    let mut connections = Connections::new(100);
    connections.limits.admission = admission.clone();
    let peer = PeerId::random();
    admission.block(peer);
    assert_eq!(connections.open(peer, &outbound()), Err(Refusal::Blocked));
    assert_eq!(connections.open(peer, &inbound()), Err(Refusal::Blocked));
}

//! The part of the swarm that lets connections in and out: who is admitted, how many there may be, and where peers are
//! that the user told us of.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::address_book::AddressBook;
use super::admission::{Admission, Direction};
use super::staggered::Dials;
use crate::behaviour::Core;
use crate::prefix::Prefix;

/// Connections that one peer may have with us, both directions.
pub(in crate::node) const MAX_PER_PEER: usize = 4;
/// Who was heard on a call stream within this time makes room only if nobody else can.
pub(in crate::node) const HEARD_LATELY: Duration = Duration::from_secs(10);

/// Not libp2p's `connection_limits`: that keeps an entry for every peer that was ever connected.
#[derive(Debug)]
pub(in crate::node) struct ConnectionLimits {
    admission: Admission,
    max_connections: usize,
    inbound: Inbound,
    outbound: usize,
    of_peer: HashMap<PeerId, usize>,
    /// Connections of peers that have come back, and are being closed.
    replaced: HashSet<ConnectionId>,
    address_book: AddressBook,
    dials: Dials,
    quiet: Quiet,
    /// The node is going: nobody new gets in.
    leaving: bool,
}

/// The inbound connections.
#[derive(Debug, Default)]
struct Inbound {
    last: u64,
    /// The oldest first.
    open: BTreeMap<u64, Opened>,
    numbers: HashMap<ConnectionId, u64>,
    of_prefix: HashMap<Prefix, usize>,
    /// Told to go, and not gone yet: they hold no place.
    leaving: HashSet<u64>,
    to_close: VecDeque<(PeerId, ConnectionId)>,
}

#[derive(Clone, Copy, Debug)]
struct Opened {
    peer: PeerId,
    connection: ConnectionId,
    prefix: Option<Prefix>,
    since: Instant,
}

impl Inbound {
    fn add(&mut self, peer: PeerId, connection: ConnectionId, remote: &Multiaddr) {
        self.last += 1;
        let prefix = Prefix::of_address(remote);
        self.open.insert(self.last, Opened { peer, connection, prefix, since: Instant::now() });
        self.numbers.insert(connection, self.last);
        if let Some(prefix) = prefix {
            *self.of_prefix.entry(prefix).or_default() += 1;
        }
    }

    fn remove(&mut self, connection: &ConnectionId) {
        let Some(number) = self.numbers.remove(connection) else { return };
        let opened = self.open.remove(&number);
        if !self.leaving.remove(&number)
            && let Some(opened) = opened
        {
            self.free(opened.prefix);
        }
    }

    fn free(&mut self, prefix: Option<Prefix>) {
        if let Some(prefix) = prefix
            && let Some(count) = self.of_prefix.get_mut(&prefix)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_prefix.remove(&prefix);
            }
        }
    }

    fn len(&self) -> usize {
        self.open.len() - self.leaving.len()
    }

    /// Whom nobody would miss, of one prefix or of all: the oldest that was not heard lately, or else the oldest.
    fn dispensable(&self, of: Option<Prefix>, quiet: &Quiet) -> Option<u64> {
        let now = Instant::now();
        let mut second = None;
        for (number, opened) in &self.open {
            if self.leaving.contains(number) || (of.is_some() && opened.prefix != of) {
                continue;
            }
            let Some(heard) = (quiet.since)(&opened.peer) else { continue };
            if now.saturating_duration_since(heard.unwrap_or(opened.since)) >= HEARD_LATELY {
                return Some(*number);
            }
            second = second.or(Some(*number));
        }
        second
    }

    fn dismiss(&mut self, number: u64) {
        if let Some(opened) = self.open.get(&number).copied()
            && self.leaving.insert(number)
        {
            tracing::debug!(peer = %opened.peer, "an idle connection makes room");
            self.free(opened.prefix);
            self.to_close.push_back((opened.peer, opened.connection));
        }
    }
}

/// Says who is silent.
pub(in crate::node) struct Quiet {
    /// Since when nothing was heard of a peer that nobody would miss.
    since: QuietSince,
    /// The connections of a peer that have given no sign of life when they were asked, the oldest first.
    silent: SilentConnections,
}

type QuietSince = Box<dyn Fn(&PeerId) -> Option<Option<Instant>> + Send>;
type SilentConnections = Box<dyn Fn(&PeerId) -> Vec<ConnectionId> + Send>;

impl Quiet {
    pub(in crate::node) fn of(core: &Arc<Core>) -> Self {
        let (of_peers, of_connections) = (Arc::downgrade(core), Arc::downgrade(core));
        Quiet {
            since: Box::new(move |peer| of_peers.upgrade()?.quiet_since(peer)),
            silent: Box::new(move |peer| {
                of_connections.upgrade().map(|core| core.silent_connections(peer)).unwrap_or_default()
            }),
        }
    }
}

impl fmt::Debug for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quiet").finish_non_exhaustive()
    }
}

/// Why a connection was not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::node) enum Refusal {
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
    #[error("the limit of {0} inbound connections of one network is reached")]
    TooManyOfPrefix(usize),
    #[error("the node is shutting down")]
    Leaving,
}

impl ConnectionLimits {
    pub(in crate::node) fn new(
        admission: Admission,
        address_book: AddressBook,
        dials: Dials,
        max_connections: usize,
        quiet: Quiet,
    ) -> Self {
        ConnectionLimits {
            admission,
            max_connections,
            inbound: Inbound::default(),
            outbound: 0,
            of_peer: HashMap::new(),
            replaced: HashSet::new(),
            address_book,
            dials,
            quiet,
            leaving: false,
        }
    }

    /// Let no new connection in.
    pub(in crate::node) fn leave(&mut self) {
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

    fn outbound_room(&self) -> Result<(), Refusal> {
        match self.inbound.len() + self.outbound >= self.max_connections {
            true => Err(Refusal::TooMany(self.max_connections)),
            false => Ok(()),
        }
    }

    /// Who makes room for one more from there: `None` if nobody has to.
    fn inbound_room(&self, remote: &Multiaddr) -> Result<Option<u64>, Refusal> {
        let prefix = Prefix::of_address(remote);
        let max_of_prefix = (self.max_connections / 4).max(1);
        let of_prefix = prefix.and_then(|prefix| self.inbound.of_prefix.get(&prefix)).copied().unwrap_or_default();
        // A quarter is kept for connections of our own making: strangers can't shut us in.
        let max_inbound = self.max_connections - self.max_connections / 4;
        let (of, refusal) = if of_prefix >= max_of_prefix {
            (prefix, Refusal::TooManyOfPrefix(max_of_prefix))
        } else if self.inbound.len() >= max_inbound {
            (None, Refusal::TooManyInbound(max_inbound))
        } else if self.inbound.len() + self.outbound >= self.max_connections {
            (None, Refusal::TooMany(self.max_connections))
        } else {
            return Ok(None);
        };
        self.inbound.dispensable(of, &self.quiet).map(Some).ok_or(refusal)
    }

    fn established(&mut self, peer: &PeerId, direction: Direction) -> Result<(), Refusal> {
        self.admit(peer, direction)?;
        let connections = self.of_peer.get(peer).copied().unwrap_or_default();
        if connections < MAX_PER_PEER {
            return Ok(());
        }
        // It has come back, and its former lives are silent: they hold no place, as long as they do end.
        let mut silent = (self.quiet.silent)(peer).into_iter().filter(|connection| !self.replaced.contains(connection));
        let Some(connection) = silent.next().filter(|_| connections < 2 * MAX_PER_PEER) else {
            return Err(Refusal::TooManyOfPeer);
        };
        self.replaced.insert(connection);
        self.inbound.to_close.push_back((*peer, connection));
        Ok(())
    }
}

impl NetworkBehaviour for ConnectionLimits {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.leaving {
            return Err(ConnectionDenied::new(Refusal::Leaving));
        }
        self.inbound_room(remote).map(drop).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.established(&peer, Direction::Inbound).map_err(ConnectionDenied::new)?;
        if let Some(number) = self.inbound_room(remote).map_err(ConnectionDenied::new)? {
            self.inbound.dismiss(number);
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.outbound_room().map_err(ConnectionDenied::new)?;
        self.dials.begin(peer);
        let Some(peer) = peer else { return Ok(Vec::new()) };
        self.admit(&peer, Direction::Outbound).map_err(ConnectionDenied::new)?;
        Ok(self.address_book.of(&peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.outbound_room().map_err(ConnectionDenied::new)?;
        self.established(&peer, Direction::Outbound).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, endpoint, .. }) => {
                match endpoint {
                    ConnectedPoint::Dialer { .. } => self.outbound += 1,
                    ConnectedPoint::Listener { send_back_addr, .. } => {
                        self.inbound.add(peer_id, connection_id, send_back_addr);
                    }
                }
                *self.of_peer.entry(peer_id).or_default() += 1;
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                endpoint,
                remaining_established,
                ..
            }) => {
                self.replaced.remove(&connection_id);
                match endpoint {
                    ConnectedPoint::Dialer { .. } => self.outbound = self.outbound.saturating_sub(1),
                    ConnectedPoint::Listener { .. } => self.inbound.remove(&connection_id),
                }
                if remaining_established == 0 {
                    self.of_peer.remove(&peer_id);
                } else {
                    self.of_peer.insert(peer_id, remaining_established);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    /// Connections are dismissed while the swarm is being polled: it asks again after each.
    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.inbound.to_close.pop_front() {
            Some((peer_id, connection)) => {
                Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(connection) })
            }
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;

//! Connections whose other end may be about to close them: a peer that doesn't admit us can say so only once it knows who we are,
//! when the connection is made as far as we can see.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::swarm::{ConnectionError, ConnectionId};

use super::Driver;
use crate::clock::now;
use crate::membership::Input;

/// A connection that has lasted so long was let in, even if nothing came on it.
const LASTS: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Fresh {
    connections: HashMap<ConnectionId, (PeerId, Instant)>,
}

impl Fresh {
    pub(super) fn add(&mut self, connection: ConnectionId, peer: PeerId) {
        self.connections.insert(connection, (peer, now()));
    }

    pub(super) fn contains(&self, connection: ConnectionId) -> bool {
        self.connections.contains_key(&connection)
    }

    /// True if it was refused by the other end.
    pub(super) fn ended(&mut self, connection: ConnectionId, cause: Option<&ConnectionError>) -> bool {
        self.connections.remove(&connection).is_some() && matches!(cause, Some(ConnectionError::IO(_)))
    }

    fn of(&self, peer: PeerId) -> Vec<ConnectionId> {
        self.connections.iter().filter(|(_, (of, _))| *of == peer).map(|(connection, _)| *connection).collect()
    }
}

impl Driver {
    /// The other end has let the connection in.
    pub(super) fn admitted(&mut self, connection: ConnectionId) {
        if let Some((peer, _)) = self.fresh.connections.remove(&connection) {
            self.connection_stays(peer, connection);
            self.feed(Input::Admitted { peer });
        }
    }

    /// A connection to the peer that may be about to be closed, if there is no other kind.
    pub(super) fn fresh_connection(&self, peer: PeerId) -> Option<ConnectionId> {
        let fresh = self.fresh.of(peer);
        let all = self.core.connections_with(&peer).len();
        fresh.last().copied().filter(|_| all <= fresh.len())
    }

    pub(super) fn peer_admits(&mut self, peer: PeerId) {
        for connection in self.fresh.of(peer) {
            self.admitted(connection);
        }
    }

    pub(super) fn admit_what_lasts(&mut self, now: Instant) {
        let rpc = &self.swarm.behaviour().rpc;
        let lasts = |peer: &PeerId, since: Instant| {
            now.saturating_duration_since(since) >= LASTS || rpc.last_heard(peer).is_some_and(|heard| heard > since)
        };
        let lasting = self.fresh.connections.iter().filter(|(_, (peer, since))| lasts(peer, *since));
        for connection in lasting.map(|(connection, _)| *connection).collect::<Vec<_>>() {
            self.admitted(connection);
        }
    }
}

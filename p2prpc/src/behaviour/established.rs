//! The connections of one peer: which of them carries new calls, and which has died.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;

use super::opens::Fruitless;
use crate::peer::{Connection, PeerSession, by_evidence};

/// A silent connection is closed after so long, or so many round trips, if another to the same peer lives.
const CLOSE_AFTER: Duration = Duration::from_secs(3);
const CLOSE_AFTER_TRIPS: u32 = 4;
/// The other one must have lived for so long: after a stall of the whole path one connection recovers before the other.
const SOUND_FOR: Duration = Duration::from_millis(2500);
/// And have been heard within this time.
const HEARD_WITHIN: Duration = Duration::from_millis(1500);
/// A peer whose connections are all silent is dialled after so long, or so many round trips.
const DIAL_AFTER: Duration = Duration::from_millis(1200);
const DIAL_AFTER_TRIPS: u32 = 6;
/// The same where the round-trip time isn't known.
const DIAL_AFTER_UNKNOWN: Duration = Duration::from_secs(3);
/// And again so often.
const DIAL_EVERY: Duration = Duration::from_secs(2);
/// A peer with so many silent connections isn't dialled any more until one of them has ended.
const MAX_SILENT: usize = 3;

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) session: Arc<PeerSession>,
    /// The oldest first.
    connections: Vec<Arc<Connection>>,
    /// Those that are being closed: it may take minutes until they are.
    closing: Vec<ConnectionId>,
    pub(super) opening_on: Option<ConnectionId>,
    pub(super) fruitless: Fruitless,
    dialled: Option<Instant>,
}

/// What the silence of a connection leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Nothing but patience.
    Wait,
    /// Calls go on on this connection.
    Leave { to: ConnectionId },
    /// The connection is dead.
    Close,
    /// All connections are silent: another is to be made.
    Dial,
}

impl Peer {
    pub(super) fn new(session: Arc<PeerSession>) -> Self {
        Peer {
            session,
            connections: Vec::new(),
            closing: Vec::new(),
            opening_on: None,
            fruitless: Fruitless::default(),
            dialled: None,
        }
    }

    pub(super) fn connections(&self) -> &[Arc<Connection>] {
        &self.connections
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Older connections have to show that they live: the peer may have come back, and not know of them any more.
    pub(super) fn add(&mut self, connection: Arc<Connection>) {
        self.connections.iter().for_each(|older| older.check());
        self.connections.push(connection);
    }

    pub(super) fn remove(&mut self, id: ConnectionId) {
        self.connections.retain(|connection| connection.id() != id);
        self.closing.retain(|closing| *closing != id);
    }

    pub(super) fn is_closing(&mut self, id: ConnectionId) {
        if !self.closing.contains(&id) {
            self.closing.push(id);
        }
    }

    fn usable(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.connections.iter().filter(|connection| !self.closing.contains(&connection.id()))
    }

    /// The connection for new calls; `None` if all are being closed.
    pub(super) fn best(&self) -> Option<&Arc<Connection>> {
        self.usable().max_by(|one, other| by_evidence(one, other))
    }

    /// This connection has been silent for this time, although it was asked.
    pub(super) fn silent(&mut self, id: ConnectionId, time: Duration, now: Instant) -> Silence {
        let Some(silent) = self.usable().find(|connection| connection.id() == id).cloned() else {
            return Silence::Wait;
        };
        let after =
            |least: Duration, trips: u32| silent.rtt().map_or(least, |rtt| rtt.saturating_mul(trips).max(least));
        let sound = self.usable().filter(|other| !other.is_suspected()).max_by(|one, other| by_evidence(one, other));
        if let Some(other) = sound {
            let lives = now.saturating_duration_since(other.sound_since()) >= SOUND_FOR
                && now.saturating_duration_since(other.heard()) <= HEARD_WITHIN;
            if lives && time >= after(CLOSE_AFTER, CLOSE_AFTER_TRIPS) {
                return Silence::Close;
            }
            other.check();
            return Silence::Leave { to: other.id() };
        }
        // Each may be of a former life of the peer, whose next one has to find room.
        let last_heard = self.usable().all(|other| other.heard() >= silent.heard());
        if last_heard && self.usable().count() >= MAX_SILENT && time >= after(CLOSE_AFTER, CLOSE_AFTER_TRIPS) {
            return Silence::Close;
        }
        let wait = silent.rtt().map_or(DIAL_AFTER_UNKNOWN, |_| after(DIAL_AFTER, DIAL_AFTER_TRIPS));
        let lately = self.dialled.is_some_and(|at| now.saturating_duration_since(at) < DIAL_EVERY);
        if time < wait || lately || self.connections.len() >= MAX_SILENT {
            return Silence::Wait;
        }
        self.dialled = Some(now);
        Silence::Dial
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    const SHORT: Duration = Duration::from_millis(500);

    fn peer(connections: &[&Arc<Connection>]) -> Peer {
        let mut peer = Peer::new(PeerSession::of_test());
        connections.iter().for_each(|connection| peer.add((*connection).clone()));
        peer
    }

    #[tokio::test(start_paused = true)]
    async fn calls_leave_a_silent_connection_at_once_and_it_is_closed_once_another_has_lived_for_long_enough() {
        let (old, new) = (Connection::of_test(1), Connection::of_test(2));
        let mut peer = peer(&[&old, &new]);
        old.set_suspected(true);
        assert_eq!(peer.silent(old.id(), SHORT, now()), Silence::Leave { to: new.id() });
        assert_eq!(peer.best().unwrap().id(), new.id());
        tokio::time::advance(CLOSE_AFTER).await;
        assert_eq!(
            peer.silent(old.id(), CLOSE_AFTER, now()),
            Silence::Leave { to: new.id() },
            "it was not heard lately"
        );
        new.note_pinged();
        assert_eq!(peer.silent(old.id(), CLOSE_AFTER, now()), Silence::Close);
        peer.is_closing(old.id());
        assert_eq!(peer.silent(old.id(), CLOSE_AFTER, now()), Silence::Wait);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_recovers_later_than_another_after_a_stall_of_both_is_not_closed_at_once() {
        let (slow, fast) = (Connection::of_test(1), Connection::of_test(2));
        let mut peer = peer(&[&slow, &fast]);
        slow.set_suspected(true);
        fast.set_suspected(true);
        tokio::time::advance(Duration::from_secs(12)).await;
        fast.note_pinged();
        fast.set_suspected(false);
        let silent = Duration::from_secs(12);
        assert_eq!(peer.silent(slow.id(), silent, now()), Silence::Leave { to: fast.id() });
        tokio::time::advance(SOUND_FOR).await;
        fast.note_pinged();
        assert_eq!(peer.silent(slow.id(), silent, now()), Silence::Close);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_silent_on_all_connections_is_dialled_now_and_then() {
        let only = Connection::of_test(1);
        only.note_rtt(Duration::from_millis(1));
        let mut peer = peer(&[&only]);
        only.set_suspected(true);
        assert_eq!(peer.silent(only.id(), SHORT, now()), Silence::Wait);
        assert_eq!(peer.silent(only.id(), DIAL_AFTER, now()), Silence::Dial);
        assert_eq!(peer.silent(only.id(), DIAL_AFTER, now()), Silence::Wait);
        tokio::time::advance(DIAL_EVERY).await;
        assert_eq!(peer.silent(only.id(), DIAL_AFTER, now()), Silence::Dial);
        only.note_rtt(Duration::from_secs(8));
        tokio::time::advance(DIAL_EVERY).await;
        assert_eq!(peer.silent(only.id(), DIAL_AFTER, now()), Silence::Wait, "a long way takes its time");
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_silent_connections_the_one_that_was_heard_first_goes() {
        let connections: Vec<_> = (1..=3).map(Connection::of_test).collect();
        let mut peer = peer(&connections.iter().collect::<Vec<_>>());
        for connection in &connections {
            tokio::time::advance(Duration::from_secs(1)).await;
            connection.note_used();
            connection.set_suspected(true);
        }
        let [first, second, _] = &connections[..] else { panic!("three") };
        assert_eq!(peer.silent(second.id(), CLOSE_AFTER, now()), Silence::Wait);
        assert_eq!(peer.silent(first.id(), SHORT, now()), Silence::Wait);
        assert_eq!(peer.silent(first.id(), CLOSE_AFTER, now()), Silence::Close);
        peer.is_closing(first.id());
        assert_ne!(peer.silent(second.id(), CLOSE_AFTER, now()), Silence::Close, "two are left");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_makes_the_older_ones_show_that_they_live() {
        let (old, new) = (Connection::of_test(1), Connection::of_test(2));
        let mut peer = peer(&[&old]);
        assert_eq!(old.take_wanted(), None);
        peer.add(new);
        assert!(old.take_wanted().is_some());
    }
}

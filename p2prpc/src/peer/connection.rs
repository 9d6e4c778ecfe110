//! One connection: when its other end was last heard, and whether it is believed dead.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;

use super::now;
use crate::clock::later;

/// A call on a connection that was silent for longer than this asks for a sign of life.
const QUIET: Duration = Duration::from_millis(500);
/// A call that ends without an answer is no reason to doubt a connection that was heard within this time.
const HEARD_LATELY: Duration = Duration::from_millis(500);

/// Why a connection ended on which its other end never said a word.
pub(crate) const NOT_ADMITTED: &str = "the peer does not admit us: it closed the connection at once";

/// An established connection, as those who use it and those who watch it share it.
pub(crate) struct Connection {
    id: ConnectionId,
    remote: Multiaddr,
    #[cfg_attr(not(feature = "node"), expect(dead_code, reason = "it is for those who look at a node"))]
    outbound: bool,
    established: Instant,
    /// When the last byte came on a stream for calls, in µs since `established`.
    used: AtomicU64,
    /// When the last answer to a ping came, or a ping, in µs since `established`.
    pinged: AtomicU64,
    /// When it was last found to live, in µs since `established`.
    sound_since: AtomicU64,
    /// The round-trip time in µs, 0 while it isn't known.
    rtt: AtomicU64,
    suspected: AtomicBool,
    wanted: AtomicU8,
    /// Wakes the connection's task.
    waker: Arc<AtomicWaker>,
}

/// A sign of life that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// If none comes by itself.
    Soon,
    /// At once.
    Now,
}

const NOTHING: u8 = 0;
const SOON: u8 = 1;
const NOW: u8 = 2;

impl Connection {
    pub(crate) fn new(id: ConnectionId, remote: Multiaddr, outbound: bool, waker: Arc<AtomicWaker>) -> Arc<Self> {
        Arc::new(Connection {
            id,
            remote,
            outbound,
            established: now(),
            used: AtomicU64::new(0),
            pinged: AtomicU64::new(0),
            sound_since: AtomicU64::new(0),
            rtt: AtomicU64::new(0),
            suspected: AtomicBool::new(false),
            wanted: AtomicU8::new(NOTHING),
            waker,
        })
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn remote(&self) -> &Multiaddr {
        &self.remote
    }

    #[cfg(feature = "node")]
    pub(crate) fn is_outbound(&self) -> bool {
        self.outbound
    }

    #[cfg(feature = "node")]
    pub(crate) fn established(&self) -> Instant {
        self.established
    }

    /// What wakes the connection's task.
    pub(crate) fn waker(&self) -> &Arc<AtomicWaker> {
        &self.waker
    }

    fn since_established(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.established).as_micros()).unwrap_or(u64::MAX)
    }

    /// A byte came on a stream for calls.
    pub(crate) fn note_used(&self) {
        self.used.store(self.since_established(now()), Ordering::Relaxed);
    }

    /// A byte came on a stream for pings.
    pub(crate) fn note_pinged(&self) {
        self.pinged.store(self.since_established(now()), Ordering::Relaxed);
    }

    /// When the last byte came; at first, when the connection was made.
    pub(crate) fn heard(&self) -> Instant {
        let heard = self.used.load(Ordering::Relaxed).max(self.pinged.load(Ordering::Relaxed));
        later(self.established, Duration::from_micros(heard))
    }

    /// True if its other end never said a word.
    pub(crate) fn is_mute(&self) -> bool {
        self.heard() == self.established
    }

    /// When the last byte came on a stream for calls, if one ever came.
    pub(crate) fn used(&self) -> Option<Instant> {
        match self.used.load(Ordering::Relaxed) {
            0 => None,
            used => Some(later(self.established, Duration::from_micros(used))),
        }
    }

    pub(crate) fn sound_since(&self) -> Instant {
        later(self.established, Duration::from_micros(self.sound_since.load(Ordering::Relaxed)))
    }

    /// Smoothed as TCP does it ([RFC 6298](https://www.rfc-editor.org/rfc/rfc6298), section 2).
    pub(crate) fn note_rtt(&self, sample: Duration) {
        let sample = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX).max(1);
        let known = self.rtt.load(Ordering::Relaxed);
        let smoothed = if known == 0 { sample } else { known.saturating_sub(known / 8).saturating_add(sample / 8) };
        self.rtt.store(smoothed.max(1), Ordering::Relaxed);
    }

    pub(crate) fn rtt(&self) -> Option<Duration> {
        match self.rtt.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    /// A sign of life was asked for and has not come. Another connection to the same peer is better.
    pub(crate) fn is_suspected(&self) -> bool {
        self.suspected.load(Ordering::Relaxed)
    }

    /// True if that is news.
    pub(crate) fn set_suspected(&self, suspected: bool) -> bool {
        let before = self.suspected.swap(suspected, Ordering::Relaxed);
        if before && !suspected {
            self.sound_since.store(self.since_established(now()), Ordering::Relaxed);
        }
        before != suspected
    }

    /// A call goes out on it.
    pub(crate) fn note_call(&self, now: Instant) {
        if now.saturating_duration_since(self.heard()) > QUIET {
            self.want(SOON);
        }
    }

    /// A call on it ended without an answer.
    pub(crate) fn note_unanswered(&self, now: Instant) {
        if now.saturating_duration_since(self.heard()) > HEARD_LATELY {
            self.want(NOW);
        }
    }

    /// Ask for a sign of life at once.
    pub(crate) fn check(&self) {
        self.want(NOW);
    }

    fn want(&self, what: u8) {
        if self.wanted.fetch_max(what, Ordering::Relaxed) < what {
            self.waker.wake();
        }
    }

    pub(crate) fn take_wanted(&self) -> Option<Wanted> {
        if self.wanted.load(Ordering::Relaxed) == NOTHING {
            return None;
        }
        match self.wanted.swap(NOTHING, Ordering::Relaxed) {
            SOON => Some(Wanted::Soon),
            NOW => Some(Wanted::Now),
            _ => None,
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("remote", &self.remote)
            .field("suspected", &self.is_suspected())
            .finish_non_exhaustive()
    }
}

/// The better of two that could carry calls: one that isn't suspected, and of these the one heard last.
pub(crate) fn by_evidence(one: &Connection, other: &Connection) -> std::cmp::Ordering {
    let rank = |connection: &Connection| (!connection.is_suspected(), connection.heard());
    rank(one).cmp(&rank(other))
}

#[cfg(test)]
impl Connection {
    /// A connection of a test.
    pub(crate) fn of_test(id: usize) -> Arc<Self> {
        Connection::new(ConnectionId::new_unchecked(id), Multiaddr::empty(), true, Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_on_a_silent_connection_asks_for_a_sign_of_life_and_one_on_a_busy_one_does_not() {
        let connection = Connection::of_test(1);
        connection.note_call(now());
        assert_eq!(connection.take_wanted(), None);
        tokio::time::advance(QUIET * 2).await;
        connection.note_call(now());
        assert_eq!(connection.take_wanted(), Some(Wanted::Soon));
        connection.note_call(now());
        connection.check();
        connection.note_call(now());
        assert_eq!(connection.take_wanted(), Some(Wanted::Now));
        connection.note_pinged();
        connection.note_call(now());
        connection.note_unanswered(now());
        assert_eq!(connection.take_wanted(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_better_connection_is_not_suspected_and_was_heard_last() {
        let (old, new) = (Connection::of_test(1), Connection::of_test(2));
        tokio::time::advance(Duration::from_secs(1)).await;
        new.note_pinged();
        assert!(by_evidence(&new, &old).is_gt());
        new.set_suspected(true);
        assert!(by_evidence(&new, &old).is_lt());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(new.set_suspected(false) && !new.set_suspected(false));
        assert_eq!(new.sound_since(), now());
    }
}

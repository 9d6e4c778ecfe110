//! What the sessions of a node share: limits, counters, and who hears what they find.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use libp2p::PeerId;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::limits::Limits;
use crate::runtime::Spawner;

/// Who hears what calls tell of a peer.
pub(crate) trait Reports: Send + Sync + 'static {
    /// This peer has shown that it speaks the protocol. (When a stream is negotiated it may not have: negotiation can be lazy.)
    fn greeted(&self, peer: PeerId);
    /// This peer has answered a call in gorpc.
    fn answered_in_gorpc(&self, peer: PeerId);
    /// This peer has declared a method otherwise than we have.
    fn method_differs(&self, peer: PeerId, method: &'static str);
}

/// What all sessions of a node share.
pub(crate) struct SessionConfig {
    pub(crate) limits: Limits,
    pub(crate) idle_timeout: Duration,
    pub(crate) reports: Arc<dyn Reports>,
    /// Peers may speak gorpc.
    pub(super) gorpc: bool,
    /// Calls of methods that differ are errors.
    pub(super) strict_methods: bool,
    pub(super) in_flight: CachePadded<Counters>,
    /// So many wait until there is room among the bytes in flight to all peers.
    waiting_for_room: AtomicUsize,
    room: Notify,
    /// Bytes that have come of replies that aren't whole yet, from all peers.
    received_bytes: AtomicUsize,
    closed: AtomicBool,
    pub(super) spawner: Spawner,
}

/// Counters that each call changes, apart from what each call reads.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Bytes of request bodies in flight.
    pub(super) bytes: AtomicUsize,
    /// Own calls in flight; of a node those that wait too.
    pub(super) calls: AtomicUsize,
    /// A call waits until there is room among the bytes in flight to this peer.
    pub(super) wanted: AtomicBool,
}

impl Counters {
    /// True if a call waits for room that there may be now.
    pub(super) fn take_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst) && self.wanted.swap(false, Ordering::SeqCst)
    }
}

/// Somebody waits for room among the bytes in flight to all peers, and is woken when some end.
pub(super) struct WaitsForRoom<'a>(&'a SessionConfig);

impl Drop for WaitsForRoom<'_> {
    fn drop(&mut self) {
        self.0.waiting_for_room.fetch_sub(1, Ordering::SeqCst);
    }
}

impl SessionConfig {
    pub(crate) fn new(limits: Limits, idle_timeout: Duration, gorpc: bool, reports: Arc<dyn Reports>) -> Self {
        SessionConfig {
            limits,
            idle_timeout,
            reports,
            gorpc,
            strict_methods: false,
            in_flight: CachePadded::default(),
            waiting_for_room: AtomicUsize::new(0),
            room: Notify::new(),
            received_bytes: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            spawner: Spawner::here(),
        }
    }

    /// Calls of methods that differ are errors.
    pub(crate) fn strict_methods(mut self, on: bool) -> Self {
        self.strict_methods = on;
        self
    }

    /// No call goes out from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether there is room is to be looked at again once this is held: what ends from then on wakes its [`Notified`].
    pub(super) fn wait_for_room(&self) -> (WaitsForRoom<'_>, Notified<'_>) {
        self.waiting_for_room.fetch_add(1, Ordering::SeqCst);
        (WaitsForRoom(self), self.room.notified())
    }

    /// So many bytes of arguments are in flight no more.
    pub(super) fn make_room(&self, bytes: usize) {
        self.in_flight.bytes.fetch_sub(bytes, Ordering::SeqCst);
        if self.waiting_for_room.load(Ordering::SeqCst) > 0 {
            self.room.notify_waiters();
        }
    }

    /// So many bytes of a reply have come that isn't whole yet. False past the limit.
    pub(super) fn receive(&self, bytes: usize) -> bool {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= self.limits.max_bytes
    }

    /// So many bytes of a reply are handed on, or given up.
    pub(super) fn let_go(&self, bytes: usize) {
        self.received_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn calls_under_way(&self) -> usize {
        self.in_flight.calls.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
impl SessionConfig {
    /// Own calls under way, and the bytes of their bodies and of what has come of their replies.
    pub(super) fn in_use(&self) -> (usize, usize) {
        let bytes = self.in_flight.bytes.load(Ordering::Relaxed) + self.received_bytes.load(Ordering::Relaxed);
        (self.calls_under_way(), bytes)
    }
}

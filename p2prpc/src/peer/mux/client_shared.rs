//! What those who call and the task of their stream share.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::in_flight::Calls;
use super::send_queue::SendQueue;
use crate::call::{CallHead, PendingCall};
use crate::error::{ErrorKind, RpcError};
use crate::limits::MESSAGE_LIMIT;
use crate::metadata::Metadata;
use crate::peer::session_config::{Counters, SessionConfig};
use crate::wire::{self, Hello};

/// Calls wait while more bytes of small requests than this wait to be written.
const MAX_QUEUED: usize = 32 << 20;

/// Why a stream didn't take a call.
pub(crate) enum Refused {
    /// It takes none any more.
    Gone,
    /// The bytes in flight to this peer leave no room, or it hasn't said yet how much it takes.
    NoRoomYet,
    /// The bytes in flight to all peers leave no room.
    NoRoomForAll,
    /// The call can't be made.
    Failed(RpcError),
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) out: SendQueue<Metadata>,
    pub(crate) calls: Calls<InFlight>,
    /// What is in flight to the peer, on whichever stream.
    pub(super) of_peer: Arc<Counters>,
    /// What the other end takes: the defaults of the wire until it has said so.
    pub(crate) peer: PeerLimits,
    pub(crate) taking: bool,
    /// It is to end, whatever waits for an answer.
    pub(crate) cut_off: bool,
    /// Its connection is no more: nothing comes but what is here already.
    pub(crate) lost: bool,
    /// No deadline of `calls` is earlier.
    pub(crate) next_deadline: Option<Instant>,
    /// Some call waits until the other end has said what it takes.
    pub(crate) wanted: bool,
    /// Some call waits until less waits to be written.
    pub(crate) was_full: bool,
    /// Calls that were given up while their reply was coming in.
    pub(crate) dropped: Vec<u64>,
}

#[derive(Debug)]
pub(crate) struct PeerLimits {
    pub(crate) known: bool,
    pub(super) calls: usize,
    pub(super) message: usize,
    pub(super) bytes: usize,
}

/// A call under way.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) call: Arc<PendingCall>,
    pub(crate) head: CallHead,
    pub(crate) bytes: usize,
    pub(crate) resends: u8,
}

impl Shared {
    pub(crate) fn room_for(&mut self, bytes: usize, config: &SessionConfig) -> Result<(), Refused> {
        if !self.taking {
            return Err(Refused::Gone);
        }
        let calls = self.of_peer.calls.load(Ordering::Relaxed);
        if calls >= self.peer.calls.min(config.limits.max_calls_per_peer) {
            let detail = format!("{calls} calls to this peer are in flight (Limits::max_calls_per_peer)");
            return Err(Refused::Failed(RpcError::never_sent(ErrorKind::Overloaded, detail)));
        }
        // What was cancelled counts no more, and still waits to be written.
        if self.is_full() {
            self.was_full = true;
            return Err(Refused::NoRoomYet);
        }
        if bytes > self.peer.message {
            if !self.peer.known {
                self.wanted = true;
                return Err(Refused::NoRoomYet);
            }
            let detail = format!(
                "the peer takes at most {} bytes ({MESSAGE_LIMIT}), the arguments have {bytes}",
                self.peer.message
            );
            return Err(Refused::Failed(RpcError::never_sent(ErrorKind::TooLarge, detail)));
        }
        if !self.fits_peer(bytes, config) {
            self.of_peer.wanted.store(true, Ordering::SeqCst);
            // What ended just now didn't see that it is waited for.
            if !self.fits_peer(bytes, config) {
                return Err(Refused::NoRoomYet);
            }
        }
        let all = config.in_flight.bytes.load(Ordering::SeqCst);
        if all > 0 && all.saturating_add(bytes) > config.limits.max_bytes {
            return Err(Refused::NoRoomForAll);
        }
        Ok(())
    }

    fn fits_peer(&self, bytes: usize, config: &SessionConfig) -> bool {
        let in_flight = self.of_peer.bytes.load(Ordering::SeqCst);
        in_flight == 0 || in_flight.saturating_add(bytes) <= self.peer.bytes.min(config.limits.max_bytes_per_peer)
    }

    /// Too much waits to be written for one more call.
    pub(crate) fn is_full(&self) -> bool {
        self.out.queued_frames().len() >= MAX_QUEUED
    }

    /// Forget a call.
    pub(crate) fn take(&mut self, id: u64, config: &SessionConfig) -> Option<InFlight> {
        let call = self.calls.remove(id)?;
        self.of_peer.bytes.fetch_sub(call.bytes, Ordering::SeqCst);
        self.of_peer.calls.fetch_sub(1, Ordering::Relaxed);
        config.make_room(call.bytes);
        config.in_flight.calls.fetch_sub(1, Ordering::Relaxed);
        Some(call)
    }

    /// Tell the other end that nobody waits for this call any more. True if the request had not left as a whole.
    pub(crate) fn give_up(&mut self, id: u64) -> bool {
        let incomplete = self.out.remove_bulk(id).is_some();
        // An id of ours is never 0.
        let _ = wire::encode_cancel(self.out.frames(), id);
        self.dropped.push(id);
        incomplete
    }
}

impl PeerLimits {
    pub(crate) fn of(hello: &Hello, known: bool) -> Self {
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        PeerLimits {
            known,
            calls: size(hello.max_calls),
            // A body past either is never sent.
            message: size(hello.max_message.min(hello.max_bytes_in_flight)),
            bytes: size(hello.max_bytes_in_flight),
        }
    }
}

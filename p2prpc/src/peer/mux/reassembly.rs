//! A body that comes in more than one frame.

use std::time::Instant;

use bytes::Bytes;

use crate::clock::later;
use crate::peer::{MIN_BODY_RATE, MOVE_TIMEOUT};
use crate::scratch::Scratch;

/// So much room is made at first, and cleared at a time.
const STEP: usize = 64 * 1024;
/// Room that is made later, in times of what has come.
const GROWTH: usize = 16;

/// So much has to come in each [`MOVE_TIMEOUT`], over all.
const A_WINDOW: u64 = MIN_BODY_RATE * MOVE_TIMEOUT.as_secs();

/// What has come of a body so far. It grows with the bytes that came, never with the bytes announced.
#[derive(Debug)]
pub(crate) struct Reassembly<T> {
    pub(crate) of: T,
    len: usize,
    /// What has come, and room for what comes next.
    bytes: Scratch,
    received: usize,
    began: Instant,
    moved: Instant,
}

impl<T> Reassembly<T> {
    pub(crate) fn new(of: T, len: usize, chunk: &[u8], now: Instant) -> Self {
        Reassembly { of, len, bytes: Scratch(chunk.to_vec()), received: chunk.len(), began: now, moved: now }
    }

    /// Room for `n` bytes or less of what comes next. `None` if the body ends before.
    pub(crate) fn room(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.missing() {
            return None;
        }
        let end = self.received.saturating_add(n.min(STEP));
        self.reserve(end);
        let bytes = &mut self.bytes.0;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes.get_mut(self.received..end)
    }

    /// So much has been put into the room. True if the body is whole now.
    pub(crate) fn fill(&mut self, n: usize, now: Instant) -> bool {
        self.received = self.received.saturating_add(n);
        self.moved = now;
        self.received == self.len
    }

    /// Add a chunk of which `rest` bytes are still to come: `Some(true)` if the body is whole now, `None` if the chunk goes
    /// past it.
    pub(crate) fn push(&mut self, chunk: &[u8], rest: usize, now: Instant) -> Option<bool> {
        if chunk.len().saturating_add(rest) > self.missing() {
            return None;
        }
        self.reserve(self.received.saturating_add(chunk.len()));
        self.bytes.0.truncate(self.received);
        self.bytes.0.extend_from_slice(chunk);
        Some(self.fill(chunk.len(), now))
    }

    fn missing(&self) -> usize {
        self.len.saturating_sub(self.received)
    }

    fn reserve(&mut self, wanted: usize) {
        if wanted > STEP
            && self.bytes.0.capacity() <= STEP
            && let Some(mut large) = Scratch::take_large()
        {
            large.0.truncate(self.len);
            let come = self.bytes.0.get(..self.received).unwrap_or_default();
            let (over, behind) = come.split_at(self.received.min(large.0.len()).min(come.len()));
            if let Some(used) = large.0.get_mut(..over.len()) {
                used.copy_from_slice(over);
            }
            large.0.extend_from_slice(behind);
            self.bytes = large;
        }
        let bytes = &mut self.bytes.0;
        if bytes.capacity() < wanted {
            // Much more than has come, but never past the end: what has come is copied with it.
            let capacity = wanted.max(STEP).max(self.received.saturating_mul(GROWTH)).min(self.len);
            bytes.reserve_exact(capacity.saturating_sub(bytes.len()));
        }
    }

    pub(crate) fn into_parts(mut self) -> (T, Bytes) {
        self.bytes.0.truncate(self.received);
        self.bytes.trim();
        (self.of, self.bytes.into_bytes())
    }

    pub(crate) fn received(&self) -> usize {
        self.received
    }

    pub(crate) fn announced(&self) -> usize {
        self.len
    }

    pub(crate) fn check_at(&self) -> Instant {
        let in_time = later(self.began, MOVE_TIMEOUT.saturating_mul(self.windows()));
        later(self.moved.min(in_time), MOVE_TIMEOUT)
    }

    /// The time until now doesn't count: what came wasn't read.
    pub(crate) fn excuse(&mut self, now: Instant) {
        self.moved = now;
        self.began = now.checked_sub(MOVE_TIMEOUT.saturating_mul(self.windows())).unwrap_or(self.began);
    }

    fn windows(&self) -> u32 {
        u32::try_from(self.received as u64 / A_WINDOW).unwrap_or(u32::MAX)
    }

    /// True if it has stopped, or comes too slowly.
    pub(crate) fn is_stalled(&self, now: Instant) -> bool {
        now >= self.check_at()
    }
}

//! A body that comes in more than one frame.

use std::time::Instant;

use bytes::Bytes;

use super::{MIN_BODY_RATE, MOVE_TIMEOUT};

/// What has come of a body so far. It grows with the bytes that came, never with the bytes announced.
#[derive(Debug)]
pub(super) struct Partial<T> {
    pub(super) of: T,
    len: usize,
    bytes: Vec<u8>,
    began: Instant,
    moved: Instant,
}

impl<T> Partial<T> {
    pub(super) fn new(of: T, len: usize, chunk: &[u8], now: Instant) -> Self {
        Partial { of, len, bytes: chunk.to_vec(), began: now, moved: now }
    }

    /// Add a chunk: `Some(true)` if the body is whole now, `None` if the chunk goes past it.
    pub(super) fn push(&mut self, chunk: &[u8], now: Instant) -> Option<bool> {
        if chunk.len() > self.len - self.bytes.len() {
            return None;
        }
        if self.bytes.capacity() - self.bytes.len() < chunk.len() {
            // Four times as much as has come, but never past the end.
            let more = (3 * self.bytes.len()).max(chunk.len()).min(self.len - self.bytes.len());
            self.bytes.reserve_exact(more);
        }
        self.bytes.extend_from_slice(chunk);
        self.moved = now;
        Some(self.bytes.len() == self.len)
    }

    pub(super) fn into_parts(self) -> (T, Bytes) {
        (self.of, self.bytes.into())
    }

    pub(super) fn received(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn announced(&self) -> usize {
        self.len
    }

    pub(super) fn check_at(&self) -> Instant {
        self.moved.min(self.began + MOVE_TIMEOUT.saturating_mul(self.windows())) + MOVE_TIMEOUT
    }

    /// The time until now doesn't count: what came wasn't read.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.moved = now;
        self.began = now.checked_sub(MOVE_TIMEOUT.saturating_mul(self.windows())).unwrap_or(self.began);
    }

    fn windows(&self) -> u32 {
        let a_window = MIN_BODY_RATE * MOVE_TIMEOUT.as_secs();
        u32::try_from(self.bytes.len() as u64 / a_window).unwrap_or(u32::MAX)
    }

    /// True if it has stopped, or comes too slowly.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        now >= self.check_at()
    }
}

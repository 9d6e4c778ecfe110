//! What the other end sends that is of no use to anybody.

use std::time::{Duration, Instant};

/// Frames that are of no use, in [`USELESS_IN`]. Past it the stream is closed and the peer refused for a while.
pub(crate) const MAX_USELESS_FRAMES: u64 = 10_000;
/// Bytes of bodies that nobody waits for, in [`USELESS_IN`], beside those that may be on their way when a call is refused.
pub(crate) const MAX_USELESS_BYTES: u64 = 16 << 20;
/// The time in which they are counted.
pub(crate) const USELESS_IN: Duration = Duration::from_secs(10);

/// What the other end is told that sends too much of it.
pub(crate) const USELESS: &str = "too much came that is of no use";

/// Counts what is of no use. A call that was over before it was cancelled is nobody's fault, and neither is a body that was on
/// its way when its call was refused: each request pardons one frame, and as many bytes as may be in flight are pardoned.
#[derive(Debug)]
pub(crate) struct Useless {
    since: Instant,
    requests: u64,
    frames: u64,
    bytes: u64,
    pardoned_bytes: u64,
}

impl Useless {
    pub(crate) fn new(pardoned_bytes: u64, now: Instant) -> Self {
        Useless { since: now, requests: 0, frames: 0, bytes: 0, pardoned_bytes }
    }

    pub(crate) fn request(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }

    /// A frame with so many bytes of a body was of no use. False if that is too much.
    pub(crate) fn frame(&mut self, bytes: usize, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= USELESS_IN {
            *self = Useless::new(self.pardoned_bytes, now);
        }
        self.frames = self.frames.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.frames <= MAX_USELESS_FRAMES.saturating_add(self.requests)
            && self.bytes <= MAX_USELESS_BYTES.saturating_add(self.pardoned_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancels_of_calls_that_were_made_are_pardoned_and_others_are_few() {
        let now = Instant::now();
        let mut useless = Useless::new(0, now);
        for _ in 0..1_000_000 {
            useless.request();
            assert!(useless.frame(0, now));
        }
        assert_eq!((0..1_000_000).take_while(|_| useless.frame(0, now)).count(), 10_000);
        assert!(useless.frame(0, now + USELESS_IN));
    }

    #[test]
    fn bytes_are_few() {
        let now = Instant::now();
        let mut useless = Useless::new(64 << 20, now);
        let taken = (0..).take_while(|_| useless.frame(1 << 20, now)).count();
        assert_eq!(taken, 80);
    }
}

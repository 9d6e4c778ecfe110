//! Calls that are made and cancelled: each starts a handler that nobody waits for.

use std::time::{Duration, Instant};

/// Calls that are cancelled in [`CANCELLED_IN`], if they are more than half of all. Past it reading of the stream rests now and then.
pub(crate) const MAX_CANCELLED: u64 = 1024;
/// The time in which they are counted.
pub(crate) const CANCELLED_IN: Duration = Duration::from_secs(10);
/// So many a second are read past it.
pub(crate) const CANCELLED_A_SECOND: u64 = 10_000;
/// One rest makes up for so many: timers are no finer than a millisecond.
const CANCELLED_A_REST: u64 = CANCELLED_A_SECOND / 100;
const REST: Duration = Duration::from_millis(10);

/// Counts the calls of one stream, and those among them that were cancelled before they were answered.
#[derive(Debug)]
pub(crate) struct Cancelled {
    since: Instant,
    requests: u64,
    cancelled: u64,
}

impl Cancelled {
    pub(crate) fn new(now: Instant) -> Self {
        Cancelled { since: now, requests: 0, cancelled: 0 }
    }

    /// A time begins with a call: one that was made before it and is cancelled in it would be one too many.
    pub(crate) fn request(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= CANCELLED_IN {
            *self = Cancelled::new(now);
        }
        self.requests = self.requests.saturating_add(1);
    }

    /// One was cancelled. Gives for how long nothing more is to be read, if there were too many.
    pub(crate) fn cancel(&mut self) -> Option<Duration> {
        self.cancelled = self.cancelled.saturating_add(1);
        let past = self.cancelled.saturating_sub(MAX_CANCELLED);
        let most_are = self.cancelled > self.requests / 2;
        (past > 0 && past.is_multiple_of(CANCELLED_A_REST) && most_are).then_some(REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often reading rests while of four calls so many are cancelled, for 100 s.
    fn rests(cancelled_of_four: usize) -> usize {
        let mut now = Instant::now();
        let mut cancelled = Cancelled::new(now);
        let mut rests = 0;
        for call in 0..400_000 {
            now += Duration::from_micros(250);
            cancelled.request(now);
            if call % 4 >= 4 - cancelled_of_four {
                rests += usize::from(cancelled.cancel().is_some());
            }
        }
        rests
    }

    #[test]
    fn who_cancels_half_of_its_calls_is_read_and_who_cancels_more_rests() {
        assert_eq!(rests(2), 0);
        assert!(rests(3) > 1000, "{}", rests(3));
    }
}

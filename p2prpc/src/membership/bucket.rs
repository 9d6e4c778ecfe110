//! So much a second, and a little at once.

use std::time::Instant;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) burst: f64,
    pub(super) a_second: f64,
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: Rate,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn full(rate: Rate, now: Instant) -> Self {
        Bucket { rate, tokens: rate.burst, filled: now }
    }

    pub(super) fn has_one(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate.a_second).min(self.rate.burst);
        self.filled = now;
        self.tokens >= 1.0
    }

    pub(super) fn take(&mut self) {
        self.take_many(1);
    }

    /// What isn't there is owed.
    pub(super) fn take_many(&mut self, n: u32) {
        self.tokens -= f64::from(n);
    }
}

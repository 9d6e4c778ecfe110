//! The time after our own network has changed, in which everything is tried again and often.

use std::time::{Duration, Instant};

use rand::Rng;

/// A route often comes a moment after its address, and names later still.
const EAGER_FOR: Duration = Duration::from_secs(10);
/// The longest pause until then.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// When pauses are cut short.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Eager {
    until: Option<Instant>,
}

impl Eager {
    pub(super) fn starts(&mut self, now: Instant) {
        self.until = Some(now + EAGER_FOR);
    }

    pub(super) fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// When to try again that would be tried after `pause`.
    pub(super) fn after(&self, pause: Duration, now: Instant, rng: &mut impl Rng) -> Instant {
        match self.is_on(now) && pause > LONGEST_PAUSE {
            true => now + LONGEST_PAUSE.mul_f64(rng.random_range(0.75..=1.0)),
            false => now + pause,
        }
    }
}

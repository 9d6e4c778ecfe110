//! How often streams are opened to a peer that says nothing on them.

use std::time::Instant;

/// Streams that are opened to a peer in a row without a word from it.
pub(super) const FRUITLESS_OPENS: u32 = 4;
/// And then so many a second.
pub(super) const FRUITLESS_OPENS_A_SECOND: u32 = 8;

/// The streams that were opened to one peer and came to nothing.
#[derive(Debug)]
pub(super) struct Fruitless {
    left: f64,
    last: Option<Instant>,
}

impl Default for Fruitless {
    fn default() -> Self {
        Fruitless { left: FRUITLESS_OPENS.into(), last: None }
    }
}

impl Fruitless {
    /// True if one more may be opened. `heard` is when the peer last said something on a stream.
    pub(super) fn may_open(&mut self, heard: Option<Instant>, now: Instant) -> bool {
        if let Some(last) = self.last {
            if heard.is_some_and(|heard| heard >= last) {
                *self = Fruitless::default();
            } else {
                let passed = now.saturating_duration_since(last).as_secs_f64();
                self.left = (self.left + passed * f64::from(FRUITLESS_OPENS_A_SECOND)).min(FRUITLESS_OPENS.into());
            }
        }
        self.last = Some(now);
        self.left >= 1.0
    }

    /// One more is opened.
    pub(super) fn count(&mut self, heard: Option<Instant>, now: Instant) {
        let may = self.may_open(heard, now);
        self.left -= if may { 1.0 } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn fruitless_opens_are_few_and_fruitful_ones_as_many_as_are_wanted() {
        let (mut opens, mut now) = (Fruitless::default(), Instant::now());
        let open = |opens: &mut Fruitless, heard, now| {
            let may = opens.may_open(heard, now);
            if may {
                opens.count(heard, now);
            }
            may
        };
        assert_eq!((0..1000).filter(|_| open(&mut opens, None, now)).count(), 4);
        let mut opened = 0;
        for _ in 0..10_000 {
            now += Duration::from_millis(1);
            opened += usize::from(open(&mut opens, None, now));
        }
        assert!((78..=82).contains(&opened), "{opened} in ten seconds");
        for _ in 0..1000 {
            now += Duration::from_micros(10);
            assert!(open(&mut opens, Some(now), now));
        }
    }
}

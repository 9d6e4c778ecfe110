//! What came of a node's calls.

use std::collections::BTreeSet;
use std::time::Duration;

use hdrhistogram::Histogram;
use p2prpc::PeerId;

/// Percentiles are right to three digits.
const DIGITS: u8 = 3;

/// Counts one node's calls. Its size doesn't grow with their number.
#[derive(Debug)]
pub(crate) struct Tally {
    found: BTreeSet<PeerId>,
    echoed: BTreeSet<PeerId>,
    errors: u64,
    /// Microseconds of the calls that were echoed.
    micros: Option<Histogram<u64>>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Tally { found: BTreeSet::new(), echoed: BTreeSet::new(), errors: 0, micros: Histogram::new(DIGITS).ok() }
    }

    pub(crate) fn found(&mut self, peer: PeerId) {
        self.found.insert(peer);
    }

    pub(crate) fn echoed(&mut self, peer: PeerId, took: Duration) {
        self.echoed.insert(peer);
        if let Some(micros) = &mut self.micros {
            // It grows with the values, and there are none that it can't hold.
            let _ = micros.record(micros_of(took));
        }
    }

    pub(crate) fn failed(&mut self) {
        self.errors += 1;
    }

    pub(crate) fn has_echo_of(&self, peer: &PeerId) -> bool {
        self.echoed.contains(peer)
    }

    pub(crate) fn summary(&self) -> Summary {
        let echoes = self.micros.as_ref().map_or(0, Histogram::len);
        let quantile = |quantile| {
            let micros = self.micros.as_ref().filter(|micros| !micros.is_empty())?;
            Some(Duration::from_micros(micros.value_at_quantile(quantile)))
        };
        Summary {
            peers: self.found.len(),
            calls: echoes + self.errors,
            errors: self.errors,
            p50: quantile(0.5),
            p99: quantile(0.99),
        }
    }
}

/// A node's calls in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// How many different peers joined.
    pub(crate) peers: usize,
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    /// Half of the echoes took no longer; `None` if there was none.
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
}

/// Whole microseconds.
pub(crate) fn micros_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_called_has_no_percentiles() {
        let empty = Summary { peers: 0, calls: 0, errors: 0, p50: None, p99: None };
        assert_eq!(Tally::new().summary(), empty);
    }

    #[test]
    fn percentiles_are_of_echoes_only_and_errors_are_calls() {
        let mut tally = Tally::new();
        let peer = PeerId::random();
        tally.found(peer);
        tally.found(peer);
        for micros in 1..=100 {
            tally.echoed(peer, Duration::from_micros(micros));
        }
        tally.failed();
        assert_eq!(
            tally.summary(),
            Summary {
                peers: 1,
                calls: 101,
                errors: 1,
                p50: Some(Duration::from_micros(50)),
                p99: Some(Duration::from_micros(99)),
            }
        );
        assert!(tally.has_echo_of(&peer) && !tally.has_echo_of(&PeerId::random()));
    }

    #[test]
    fn a_long_wait_keeps_three_digits() {
        let mut tally = Tally::new();
        tally.echoed(PeerId::random(), Duration::from_secs(9));
        let p99 = tally.summary().p99.unwrap().as_secs_f64();
        assert!((p99 - 9.0).abs() < 0.01, "{p99}");
    }
}

//! Members that went without a word: looked for a while longer, for a process can be stopped and a network parted.

use std::time::{Duration, Instant};

use hashlink::LruCache;
use libp2p::{Multiaddr, PeerId};
use rand::Rng;

use super::bootstrap::backoff;

/// More than these are not looked for; the one that went first is dropped.
const MAX_FORMER: usize = 4096;
/// How long one is looked for.
const SOUGHT_FOR: Duration = Duration::from_secs(10 * 60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Lost {
    addresses: Vec<Multiaddr>,
    since: Instant,
    due: Instant,
    failures: u32,
}

#[derive(Debug)]
pub(super) struct Former {
    table: LruCache<PeerId, Lost>,
}

impl Former {
    pub(super) fn new() -> Self {
        Former { table: LruCache::new(MAX_FORMER) }
    }

    pub(super) fn add(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, now: Instant, rng: &mut impl Rng) {
        if !addresses.is_empty() {
            let due = now + backoff(0, FIRST_PAUSE, LONGEST_PAUSE, rng);
            self.table.insert(peer, Lost { addresses, since: now, due, failures: 0 });
        }
    }

    /// It is back, or of no interest any more.
    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.table.remove(peer);
    }

    /// A dial of it failed.
    pub(super) fn failed(&mut self, peer: &PeerId, now: Instant, rng: &mut impl Rng) {
        if let Some(lost) = self.table.get_mut(peer) {
            lost.failures = lost.failures.saturating_add(1);
            lost.due = now + backoff(lost.failures, FIRST_PAUSE, LONGEST_PAUSE, rng);
        }
    }

    pub(super) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.table.peek(peer).map_or(&[], |lost| &lost.addresses)
    }

    /// Those that are due; `dial` says if it could be dialled.
    pub(super) fn try_due(&mut self, now: Instant, mut dial: impl FnMut(PeerId, &[Multiaddr]) -> bool) {
        self.table.retain(|_, lost| now.saturating_duration_since(lost.since) < SOUGHT_FOR);
        for (peer, lost) in self.table.iter_mut() {
            if lost.due <= now && dial(*peer, &lost.addresses) {
                // If nothing is heard of the dial, it is tried again.
                lost.due = now + LONGEST_PAUSE;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn is_sought_with_backoff_and_given_up() {
        let (start, mut rng) = (Instant::now(), SmallRng::seed_from_u64(1));
        let mut former = Former::new();
        let peer = PeerId::random();
        former.add(peer, vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()], start, &mut rng);
        let mut dials = Vec::new();
        for tenths in 0..9_000 {
            let now = start + Duration::from_millis(100 * tenths);
            let mut dialled = false;
            former.try_due(now, |_, _| {
                dialled = true;
                true
            });
            if dialled {
                dials.push(now - start);
                former.failed(&peer, now, &mut rng);
            }
        }
        assert!(dials[0] <= Duration::from_millis(1100));
        assert!((20..50).contains(&dials.len()), "{}", dials.len());
        assert!(dials.last().unwrap() <= &SOUGHT_FOR);
        assert!(former.addresses(&peer).is_empty());
    }

    #[test]
    fn the_table_is_bounded() {
        let (now, mut rng) = (Instant::now(), SmallRng::seed_from_u64(1));
        let mut former = Former::new();
        for _ in 0..2 * MAX_FORMER {
            former.add(PeerId::random(), vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()], now, &mut rng);
        }
        assert_eq!(former.table.len(), MAX_FORMER);
    }
}

//! Peers that have sent too much that is of no use.

use std::time::{Duration, Instant};

use hashbrown::HashMap;
use libp2p::PeerId;
use parking_lot::Mutex;

/// For so long their streams are refused.
pub(crate) const REFUSED_FOR: Duration = Duration::from_secs(30);
/// So many are remembered; one more makes the one refused longest go.
const MAX_REFUSED: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<HashMap<PeerId, Instant>>);

impl Refused {
    pub(super) fn add(&self, peer: PeerId, now: Instant) {
        let mut peers = self.0.lock();
        if peers.len() >= MAX_REFUSED {
            peers.retain(|_, since| now.saturating_duration_since(*since) < REFUSED_FOR);
        }
        if peers.len() >= MAX_REFUSED
            && let Some(oldest) = peers.iter().min_by_key(|(_, since)| **since).map(|(peer, _)| *peer)
        {
            peers.remove(&oldest);
        }
        peers.insert(peer, now);
    }

    pub(super) fn contains(&self, peer: &PeerId, now: Instant) -> bool {
        let mut peers = self.0.lock();
        let Some(since) = peers.get(peer) else { return false };
        let refused = now.saturating_duration_since(*since) < REFUSED_FOR;
        if !refused {
            peers.remove(peer);
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_for_half_a_minute_and_few_are_remembered() {
        let (refused, now, peer) = (Refused::default(), Instant::now(), PeerId::random());
        refused.add(peer, now);
        assert!(refused.contains(&peer, now + REFUSED_FOR / 2));
        assert!(!refused.contains(&peer, now + REFUSED_FOR));
        assert!(refused.0.lock().is_empty());
        for _ in 0..MAX_REFUSED + 100 {
            refused.add(PeerId::random(), now);
        }
        assert_eq!(refused.0.lock().len(), MAX_REFUSED);
    }
}

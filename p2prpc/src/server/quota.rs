//! How many calls of one method one peer may make: at once, and in a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use parking_lot::Mutex;

use super::{MethodEntry, Refusal};
use crate::service::MethodDescriptor;

/// What one method allows a peer.
#[derive(Debug)]
pub(super) struct Quota {
    at_once: Option<u32>,
    rate: Option<(u32, Duration)>,
    peers: Mutex<HashMap<PeerId, Used>>,
}

/// What one peer has of it.
#[derive(Clone, Copy, Debug)]
struct Used {
    in_flight: u32,
    /// Calls that it may make at once now, as far as the rate goes.
    left: f64,
    counted: Instant,
}

impl Quota {
    /// `None` for a method that sets no limit.
    pub(super) fn of(method: &MethodDescriptor) -> Option<Self> {
        let (at_once, rate) = (method.max_in_flight, method.rate);
        (at_once.is_some() || rate.is_some()).then(|| Quota { at_once, rate, peers: Mutex::default() })
    }

    fn take(&self, peer: PeerId, now: Instant) -> Result<(), Refusal> {
        let mut peers = self.peers.lock();
        if peers.len() == peers.capacity() {
            peers.retain(|_, used| used.in_flight > 0 || self.left(used, now).is_some());
        }
        let most = self.rate.map_or(0.0, |(calls, _)| f64::from(calls));
        let used = peers.entry(peer).or_insert(Used { in_flight: 0, left: most, counted: now });
        if self.at_once.is_some_and(|most| used.in_flight >= most) {
            return Err(Refusal::NoRoomInMethod);
        }
        if self.rate.is_some() {
            used.left = self.left(used, now).unwrap_or(most);
            used.counted = now;
            if used.left < 1.0 {
                return Err(Refusal::TooOften);
            }
            used.left -= 1.0;
        }
        used.in_flight += 1;
        Ok(())
    }

    /// The calls that the rate leaves; `None` for all of them.
    fn left(&self, used: &Used, now: Instant) -> Option<f64> {
        let (calls, time) = self.rate?;
        let passed = now.saturating_duration_since(used.counted).as_secs_f64() / time.as_secs_f64();
        let left = used.left + passed * f64::from(calls);
        (left < f64::from(calls)).then_some(left)
    }

    fn give_back(&self, peer: &PeerId) {
        let mut peers = self.peers.lock();
        if let Some(used) = peers.get_mut(peer) {
            used.in_flight = used.in_flight.saturating_sub(1);
            if used.in_flight == 0 && self.rate.is_none() {
                peers.remove(peer);
            }
        }
    }
}

/// A place among the calls of one method and peer; dropped with the handler.
#[derive(Debug)]
pub(crate) struct MethodPermit {
    entry: Arc<MethodEntry>,
    peer: PeerId,
}

impl MethodPermit {
    /// A place for one more call, or for any number where the method sets no limit.
    ///
    /// # Errors
    /// Past a limit.
    pub(super) fn take(entry: &Arc<MethodEntry>, peer: PeerId, now: Instant) -> Result<Option<Self>, Refusal> {
        let Some(quota) = &entry.quota else { return Ok(None) };
        quota.take(peer, now)?;
        Ok(Some(MethodPermit { entry: entry.clone(), peer }))
    }
}

impl Drop for MethodPermit {
    fn drop(&mut self) {
        if let Some(quota) = &self.entry.quota {
            quota.give_back(&self.peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_may_call_so_often_and_who_has_not_called_for_long_is_forgotten() {
        let (mut now, peer) = (Instant::now(), PeerId::random());
        let method = crate::service::method("A", "S.A", "", false, None, 0).rate(10, Duration::from_secs(1));
        let quota = Quota::of(&method).unwrap();
        let call = |peer, now| {
            let taken = quota.take(peer, now);
            if taken.is_ok() {
                quota.give_back(&peer);
            }
            taken
        };
        assert_eq!((0..100).filter(|_| call(peer, now).is_ok()).count(), 10, "at once");
        assert_eq!(call(peer, now), Err(Refusal::TooOften));
        assert!(call(PeerId::random(), now).is_ok(), "another one");
        let mut made = 0;
        for _ in 0..10_000 {
            now += Duration::from_millis(1);
            made += usize::from(call(peer, now).is_ok());
        }
        assert!((99..=101).contains(&made), "{made} in ten seconds");
        for _ in 0..10_000 {
            now += Duration::from_millis(10);
            assert!(call(PeerId::random(), now).is_ok());
        }
        let kept = quota.peers.lock().len();
        assert!(kept < 1000, "{kept}");
    }
}

//! From a suspicion to a leave: one more dial in between, so that a stall is not a leave.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use libp2p::PeerId;

/// Nothing was heard of a peer for so long: two pings have failed, the second one with all its patience.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(15);
/// A lost member has so long to be reached again. A killed QUIC peer is noticed after 5 s and must be out within 10.
const REACHED_WITHIN: Duration = Duration::from_secs(3);
/// One whose addresses we don't know has so long to come back by itself.
const BACK_WITHIN: Duration = Duration::from_secs(1);
/// Dials of lost members at the same time: when a switch fails, all go at once.
const AT_ONCE: usize = 64;
/// Time between two ticks past this was lost to a stall of our own.
const OWN_STALL: Duration = Duration::from_secs(2);

/// Members that were lost, until they are reached or given up.
#[derive(Debug, Default)]
pub(super) struct Redials {
    waiting: VecDeque<PeerId>,
    running: HashMap<PeerId, Instant>,
    /// Of those, the ones that could not be dialled yet.
    undialled: Vec<PeerId>,
}

/// What to do about a lost member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redial {
    Dial(PeerId),
    GiveUp(PeerId),
}

impl Redials {
    pub(super) fn add(&mut self, peer: PeerId) {
        if !self.contains(&peer) {
            self.waiting.push_back(peer);
        }
    }

    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.running.contains_key(peer) || self.waiting.contains(peer)
    }

    /// It is reached, or given up.
    pub(super) fn remove(&mut self, peer: &PeerId) {
        if self.running.remove(peer).is_none() {
            self.waiting.retain(|waiting| waiting != peer);
        }
    }

    /// It could not be dialled now: it is tried again until it is given up.
    pub(super) fn refused(&mut self, peer: PeerId) {
        self.undialled.push(peer);
    }

    /// What is to be done now. `known` says if we have addresses of a peer.
    pub(super) fn due(&mut self, now: Instant, known: impl Fn(&PeerId) -> bool) -> Vec<Redial> {
        let late = self.running.iter().filter(|(_, until)| **until <= now);
        let mut due: Vec<Redial> = late.map(|(peer, _)| Redial::GiveUp(*peer)).collect();
        for redial in &due {
            if let Redial::GiveUp(peer) = redial {
                self.running.remove(peer);
            }
        }
        let again = std::mem::take(&mut self.undialled);
        due.extend(again.into_iter().filter(|peer| self.running.contains_key(peer)).map(Redial::Dial));
        while self.running.len() < AT_ONCE {
            let Some(peer) = self.waiting.pop_front() else { break };
            if known(&peer) {
                self.running.insert(peer, now + REACHED_WITHIN);
                due.push(Redial::Dial(peer));
            } else {
                self.running.insert(peer, now + BACK_WITHIN);
            }
        }
        due
    }

    /// We ourselves have stood still for this time.
    pub(super) fn stalled(&mut self, time: Duration) {
        for until in self.running.values_mut() {
            *until += time;
        }
    }
}

/// The time that we ourselves stood still, if we did, by the time of the last tick.
pub(super) fn own_stall(last_tick: Instant, now: Instant) -> Option<Duration> {
    let passed = now.saturating_duration_since(last_tick);
    (passed >= OWN_STALL).then_some(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_member_is_dialled_once_and_then_given_up() {
        let mut now = Instant::now();
        let mut redials = Redials::default();
        let peer = PeerId::random();
        redials.add(peer);
        redials.add(peer);
        assert_eq!(redials.due(now, |_| true), [Redial::Dial(peer)]);
        assert!(redials.due(now, |_| true).is_empty());
        now += REACHED_WITHIN;
        assert_eq!(redials.due(now, |_| true), [Redial::GiveUp(peer)]);
        assert!(!redials.contains(&peer));
    }

    #[test]
    fn one_that_could_not_be_dialled_is_tried_again_until_it_is_given_up() {
        let now = Instant::now();
        let mut redials = Redials::default();
        let peer = PeerId::random();
        redials.add(peer);
        for _ in 0..5 {
            assert_eq!(redials.due(now, |_| true), [Redial::Dial(peer)]);
            redials.refused(peer);
        }
        assert_eq!(redials.due(now + REACHED_WITHIN, |_| true), [Redial::GiveUp(peer)]);
        assert!(redials.due(now, |_| true).is_empty());
    }

    #[test]
    fn one_without_addresses_may_come_back_by_itself() {
        let now = Instant::now();
        let mut redials = Redials::default();
        let peer = PeerId::random();
        redials.add(peer);
        assert!(redials.due(now, |_| false).is_empty());
        assert_eq!(redials.due(now + BACK_WITHIN, |_| false), [Redial::GiveUp(peer)]);
    }

    #[test]
    fn many_are_dialled_a_few_at_a_time() {
        let now = Instant::now();
        let mut redials = Redials::default();
        for _ in 0..500 {
            redials.add(PeerId::random());
        }
        let first = redials.due(now, |_| true);
        assert_eq!(first.len(), AT_ONCE);
        assert!(redials.due(now, |_| true).is_empty());
        let Some(Redial::Dial(peer)) = first.first() else { panic!("it is dialled") };
        redials.remove(peer);
        assert_eq!(redials.due(now, |_| true).len(), 1);
    }

    #[test]
    fn a_stall_of_our_own_is_nobodys_leave() {
        let mut now = Instant::now();
        let mut redials = Redials::default();
        redials.add(PeerId::random());
        redials.due(now, |_| true);
        let woken = now + Duration::from_secs(60);
        redials.stalled(own_stall(now, woken).unwrap());
        now = woken;
        assert!(redials.due(now, |_| true).is_empty());
        assert_eq!(own_stall(now, now + Duration::from_millis(300)), None);
    }
}

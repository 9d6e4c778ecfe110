//! From a suspicion to a leave: one more dial in between, so that a stall is not a leave.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use libp2p::PeerId;

/// Nothing was heard of a peer for so long: a ping each 5 s, the round trip of a slow link (1.5 s) and a stall of it (12 s) are in it.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(20);
/// A lost member has so long to be reached again. A killed QUIC peer is noticed after 5 s and must be out within 10.
const REACHED_WITHIN: Duration = Duration::from_secs(3);
/// One whose addresses we don't know has so long to come back by itself.
const BACK_WITHIN: Duration = Duration::from_secs(1);
/// The same for one to whom our own network had no way, and how often it is tried. That is no word of the peer's death.
const ROUTE_WITHIN: Duration = Duration::from_secs(8);
const ROUTE_TRIED_EVERY: Duration = Duration::from_millis(500);
/// Dials of lost members at the same time: when a switch fails, all go at once.
const AT_ONCE: usize = 64;
/// Time between two ticks past this was lost to a stall of our own.
const OWN_STALL: Duration = Duration::from_secs(2);

/// Members that were lost, until they are reached or given up.
#[derive(Debug, Default)]
pub(super) struct Redials {
    waiting: VecDeque<PeerId>,
    running: BTreeMap<PeerId, Attempt>,
}

#[derive(Debug)]
struct Attempt {
    since: Instant,
    until: Instant,
    /// When it is dialled again, if the network had no way to it.
    again: Option<Instant>,
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
    pub(super) fn refused(&mut self, peer: &PeerId, now: Instant) {
        if let Some(attempt) = self.running.get_mut(peer) {
            attempt.again = Some(now);
        }
    }

    /// What is to be done now. `known` says if we have addresses of a peer.
    pub(super) fn due(&mut self, now: Instant, known: impl Fn(&PeerId) -> bool) -> Vec<Redial> {
        let late = self.running.iter().filter(|(_, attempt)| attempt.until <= now);
        let mut due: Vec<Redial> = late.map(|(peer, _)| Redial::GiveUp(*peer)).collect();
        for redial in &due {
            if let Redial::GiveUp(peer) = redial {
                self.running.remove(peer);
            }
        }
        for (peer, attempt) in &mut self.running {
            if attempt.again.is_some_and(|at| at <= now) {
                attempt.again = None;
                due.push(Redial::Dial(*peer));
            }
        }
        while self.running.len() < AT_ONCE {
            let Some(peer) = self.waiting.pop_front() else { break };
            let within = match known(&peer) {
                true => REACHED_WITHIN,
                false => BACK_WITHIN,
            };
            if within == REACHED_WITHIN {
                due.push(Redial::Dial(peer));
            }
            self.running.insert(peer, Attempt { since: now, until: now + within, again: None });
        }
        due
    }

    /// Our network had no way to it: it is tried again before it is given up. False if it has been for long enough.
    pub(super) fn had_no_route(&mut self, peer: PeerId, now: Instant) -> bool {
        self.waiting.retain(|waiting| *waiting != peer);
        let attempt = self.running.entry(peer).or_insert(Attempt { since: now, until: now, again: None });
        attempt.until = attempt.since + ROUTE_WITHIN;
        attempt.again = Some(now + ROUTE_TRIED_EVERY);
        now < attempt.until
    }

    /// Those that have been dialled since then.
    pub(super) fn dialled_before(&self, then: Instant) -> impl Iterator<Item = &PeerId> {
        self.running.iter().filter(move |(_, attempt)| attempt.since <= then).map(|(peer, _)| peer)
    }

    /// There may be a way now to those to whom there was none.
    pub(super) fn network_changed(&mut self, now: Instant) {
        for attempt in self.running.values_mut() {
            if let Some(again) = &mut attempt.again {
                *again = now;
            }
        }
    }

    /// We ourselves have stood still for this time.
    pub(super) fn stalled(&mut self, time: Duration) {
        for attempt in self.running.values_mut() {
            attempt.since += time;
            attempt.until += time;
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
            redials.refused(&peer, now);
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
    fn one_to_whom_there_is_no_way_is_tried_for_some_seconds() {
        let start = Instant::now();
        let mut now = start;
        let mut redials = Redials::default();
        let peer = PeerId::random();
        redials.add(peer);
        assert_eq!(redials.due(now, |_| true), [Redial::Dial(peer)]);
        let mut dials = 0;
        let given_up = loop {
            if !redials.had_no_route(peer, now) {
                break now - start;
            }
            now += ROUTE_TRIED_EVERY;
            match redials.due(now, |_| true)[..] {
                [Redial::Dial(_)] => dials += 1,
                [Redial::GiveUp(_)] => break now - start,
                _ => panic!("nothing is done"),
            }
        };
        assert_eq!(given_up, ROUTE_WITHIN);
        assert_eq!(dials, 15);
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

//! Peers that are missed: looked for until they are found, for ever. A process can be stopped, and a network parted, for
//! as long as anybody likes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hashlink::LruCache;
use libp2p::{Multiaddr, PeerId};
use rand::Rng;

use super::bootstrap::backoff;
use super::eager::Eager;

/// More than these are not looked for; the one that went first is dropped.
const MAX_FORMER: usize = 4096;
/// So many helpers among them.
const MAX_HELPERS: usize = 64;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// A network that is whole again is noticed within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// One that we haven't met ourselves is given up after so many failures, if we have found others.
const PATIENCE_IN_COMPANY: u32 = 8;
/// Dials in one go: the rate of all dials has to leave some for news. More when our own network has changed.
const AT_ONCE: usize = 2;
const EAGER_AT_ONCE: usize = 16;

/// Why a peer is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It was a member.
    Member,
    /// It was one to a node of before, says its file.
    Remembered,
    /// It was of our DHT: looked for only while there is nobody else to ask.
    Helper,
}

#[derive(Debug)]
struct Entry {
    why: Why,
    addresses: Vec<Multiaddr>,
    due: Instant,
    failures: u32,
}

#[derive(Debug)]
pub(super) struct Lost {
    table: LruCache<PeerId, Entry>,
    /// Whose turn it is: the one that has waited longest.
    due: BTreeSet<(Instant, PeerId)>,
    helpers: usize,
    eager: Eager,
}

impl Lost {
    pub(super) fn new() -> Self {
        let eager = Eager::default();
        Lost { table: LruCache::new_unbounded(), due: BTreeSet::new(), helpers: 0, eager }
    }

    /// It is looked for from now on.
    pub(super) fn add(&mut self, peer: PeerId, why: Why, addresses: Vec<Multiaddr>, now: Instant, rng: &mut impl Rng) {
        let is_more = self.table.peek(&peer).is_some_and(|lost| lost.why != Why::Helper);
        if addresses.is_empty() || (why == Why::Helper && is_more) {
            return;
        }
        let due = match why {
            Why::Remembered => now,
            Why::Member | Why::Helper => now + backoff(0, FIRST_PAUSE, LONGEST_PAUSE, rng),
        };
        self.remove(&peer);
        if why == Why::Helper && self.helpers >= MAX_HELPERS {
            self.remove_oldest(|lost| lost.why == Why::Helper);
        } else if self.table.len() >= MAX_FORMER {
            self.remove_oldest(|_| true);
        }
        self.helpers += usize::from(why == Why::Helper);
        self.due.insert((due, peer));
        self.table.insert(peer, Entry { why, addresses, due, failures: 0 });
    }

    fn remove_oldest(&mut self, is_one: impl Fn(&Entry) -> bool) {
        let oldest = self.table.iter().find(|(_, lost)| is_one(lost)).map(|(peer, _)| *peer);
        if let Some(oldest) = oldest {
            self.remove(&oldest);
        }
    }

    /// It is back, or of no interest any more.
    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.table.contains_key(peer)
    }

    pub(super) fn remove(&mut self, peer: &PeerId) {
        if let Some(lost) = self.table.remove(peer) {
            self.due.remove(&(lost.due, *peer));
            self.helpers -= usize::from(lost.why == Why::Helper);
        }
    }

    /// A dial of it failed; `alone` if we have found nobody yet.
    pub(super) fn failed(&mut self, peer: &PeerId, alone: bool, now: Instant, rng: &mut impl Rng) {
        let Some(lost) = self.table.peek(peer) else { return };
        let failures = lost.failures.saturating_add(1);
        if lost.why == Why::Remembered && !alone && failures >= PATIENCE_IN_COMPANY {
            return self.remove(peer);
        }
        let due = self.eager.after(backoff(failures, FIRST_PAUSE, LONGEST_PAUSE, rng), now, rng);
        self.put_off(peer, due, failures);
    }

    fn put_off(&mut self, peer: &PeerId, until: Instant, failures: u32) {
        // Its place in the table stays: that is how long it is gone.
        if let Some(lost) = self.table.peek_mut(peer) {
            self.due.remove(&(lost.due, *peer));
            lost.due = until;
            lost.failures = failures;
            self.due.insert((until, *peer));
        }
    }

    /// All are tried anew.
    pub(super) fn network_changed(&mut self, now: Instant) {
        self.eager.starts(now);
        self.due.clear();
        for (peer, lost) in self.table.iter_mut() {
            lost.due = now;
            lost.failures = 0;
            self.due.insert((now, *peer));
        }
    }

    pub(super) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.table.peek(peer).map_or(&[], |lost| &lost.addresses)
    }

    /// Those that are due, helpers too if they are of use; `dial` says if it could be dialled.
    pub(super) fn try_due(&mut self, helpers: bool, now: Instant, mut dial: impl FnMut(PeerId, &[Multiaddr]) -> bool) {
        let is_wanted = |peer: &PeerId| self.table.peek(peer).is_some_and(|lost| helpers || lost.why != Why::Helper);
        let due = self.due.iter().take_while(|(due, _)| *due <= now).map(|(_, peer)| *peer);
        let due: Vec<PeerId> = due.filter(is_wanted).collect();
        let mut left = if self.eager.is_on(now) { EAGER_AT_ONCE } else { AT_ONCE };
        for peer in due {
            if left == 0 {
                break;
            }
            let Some(lost) = self.table.peek(&peer) else { continue };
            if dial(peer, &lost.addresses) {
                left -= 1;
                // If nothing is heard of the dial, it is tried again.
                let failures = lost.failures;
                self.put_off(&peer, now + LONGEST_PAUSE, failures);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    fn somewhere() -> Vec<Multiaddr> {
        vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()]
    }

    struct Search {
        lost: Lost,
        start: Instant,
        now: Instant,
        rng: SmallRng,
    }

    impl Search {
        fn new() -> Self {
            let now = Instant::now();
            Search { lost: Lost::new(), start: now, now, rng: SmallRng::seed_from_u64(1) }
        }

        fn add(&mut self, why: Why) -> PeerId {
            let peer = PeerId::random();
            self.lost.add(peer, why, somewhere(), self.now, &mut self.rng);
            peer
        }

        /// When which were dialled, each in vain.
        fn run(&mut self, time: Duration, helpers: bool, alone: bool) -> Vec<(Duration, PeerId)> {
            let end = self.now + time;
            let mut dials = Vec::new();
            while self.now < end {
                let at = self.now - self.start;
                let mut dialled = Vec::new();
                self.lost.try_due(helpers, self.now, |peer, _| {
                    dialled.push(peer);
                    true
                });
                for peer in dialled {
                    dials.push((at, peer));
                    self.lost.failed(&peer, alone, self.now, &mut self.rng);
                }
                self.now += Duration::from_millis(250);
            }
            dials
        }
    }

    #[test]
    fn a_member_is_sought_for_ever_once_a_minute() {
        let mut search = Search::new();
        search.add(Why::Member);
        let first = search.run(Duration::from_secs(600), false, false);
        assert!(first[0].0 <= Duration::from_millis(1250));
        assert!((14..22).contains(&first.len()), "{}", first.len());
        search.now += Duration::from_secs(7 * 24 * 3600);
        let late = search.run(Duration::from_secs(600), false, false);
        assert!((10..=14).contains(&late.len()), "{}", late.len());
        assert!(late.windows(2).all(|pair| pair[1].0 - pair[0].0 <= Duration::from_secs(61)));
    }

    #[test]
    fn a_change_of_the_network_makes_it_try_at_once_and_each_second_for_ten() {
        let mut search = Search::new();
        search.add(Why::Member);
        search.run(Duration::from_secs(600), false, false);
        search.lost.network_changed(search.now);
        let changed = search.now - search.start;
        let dials = search.run(Duration::from_secs(120), false, false);
        assert_eq!(dials[0].0, changed);
        let eager: Vec<Duration> =
            dials.iter().map(|(at, _)| *at - changed).filter(|at| *at <= Duration::from_secs(10)).collect();
        assert!(eager.windows(2).all(|pair| pair[1] - pair[0] <= Duration::from_millis(1250)), "{eager:?}");
        assert!(eager.last().unwrap() > &Duration::from_secs(8));
        assert!(dials.len() - eager.len() < 5, "{dials:?}");
    }

    #[test]
    fn one_of_a_file_is_tried_at_once_and_given_up_in_company_only() {
        let mut search = Search::new();
        let peer = search.add(Why::Remembered);
        let dials = search.run(Duration::from_secs(3600), false, true);
        assert_eq!(dials[0].0, Duration::ZERO);
        assert!(dials.len() > 50);
        search.run(Duration::from_secs(60), false, false);
        assert!(search.lost.addresses(&peer).is_empty());
    }

    #[test]
    fn helpers_are_sought_while_there_are_none() {
        let mut search = Search::new();
        let helper = search.add(Why::Helper);
        assert!(search.run(Duration::from_secs(60), false, true).is_empty());
        assert!(!search.run(Duration::from_secs(60), true, true).is_empty());
        assert_eq!(search.lost.helpers, 1);
        search.lost.add(helper, Why::Member, somewhere(), search.now, &mut search.rng);
        search.lost.add(helper, Why::Helper, somewhere(), search.now, &mut search.rng);
        assert_eq!((search.lost.helpers, search.lost.table.len()), (0, 1), "a member is more than a helper");
    }

    #[test]
    fn all_have_their_turn_and_no_more_than_eight_a_second() {
        let mut search = Search::new();
        for _ in 0..200 {
            search.add(Why::Member);
        }
        let dials = search.run(Duration::from_secs(30), false, false);
        assert!(dials.len() <= 240, "{}", dials.len());
        let dialled: BTreeSet<PeerId> = dials.iter().map(|(_, peer)| *peer).collect();
        assert_eq!(dialled.len(), 200);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut search = Search::new();
        for _ in 0..2 * MAX_FORMER {
            search.add(Why::Member);
            search.add(Why::Helper);
        }
        assert_eq!(search.lost.table.len(), MAX_FORMER);
        assert_eq!(search.lost.due.len(), MAX_FORMER);
        assert!(search.lost.helpers <= MAX_HELPERS);
    }
}

//! Peers that may be there, by what others say: bounded, and no more than something to try.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hashlink::LruCache;
use libp2p::{Multiaddr, PeerId};

use super::dial_budget::Teller;

/// Hints that are kept, and of one teller.
const MAX_HINTS: usize = 4096;
const MAX_HINTS_A_TELLER: usize = 256;
/// Tellers of one hint that are kept. Each has addresses of its own, so that none can spoil another's word.
const MAX_SOURCES: usize = 4;
/// A hint is tried so often, with a pause of its own after each failure but the last.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];
/// A hint that came to nothing is not taken again for this time.
const FRUITLESS_FOR: Duration = Duration::from_secs(60);
const MAX_FRUITLESS: usize = 4096;
/// So many hints of a peer's that came to nothing, beside as many for each good one, and it isn't listened to for a while. Of a group that has
/// just lost most of itself an honest member says much that is no longer so.
const MAX_BAD_HINTS: u32 = 8;
const MUTED_FOR: Duration = Duration::from_secs(10 * 60);
const MAX_TELLERS: usize = 4096;

#[derive(Debug)]
struct Hint {
    sources: Vec<Source>,
    due: Instant,
    failures: usize,
}

#[derive(Debug)]
struct Source {
    teller: Teller,
    addresses: Vec<Multiaddr>,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    good: u32,
    bad: u32,
    /// When the last hint came to nothing.
    last: Instant,
}

#[derive(Debug)]
pub(super) struct Hints {
    table: BTreeMap<PeerId, Hint>,
    due: BTreeSet<(Instant, PeerId)>,
    a_teller: BTreeMap<Teller, usize>,
    fruitless: LruCache<PeerId, Instant>,
    /// What became of the hints of peers.
    word: LruCache<PeerId, Word>,
    /// The peers that the user named are listened to whatever they say.
    trusted: BTreeSet<PeerId>,
}

impl Hints {
    pub(super) fn new(trusted: BTreeSet<PeerId>) -> Self {
        Hints {
            table: BTreeMap::new(),
            due: BTreeSet::new(),
            a_teller: BTreeMap::new(),
            fruitless: LruCache::new(MAX_FRUITLESS),
            word: LruCache::new(MAX_TELLERS),
            trusted,
        }
    }

    /// `teller` says that `peer` is at these addresses: to be tried from `due` on. True if that is news and was taken. An address that
    /// nobody has told yet doesn't wait until the others have failed.
    pub(super) fn add(
        &mut self,
        peer: PeerId,
        teller: Teller,
        addresses: Vec<Multiaddr>,
        due: Instant,
        now: Instant,
    ) -> bool {
        if addresses.is_empty() || self.is_fruitless(&peer, now) || self.is_muted(teller, now) {
            return false;
        }
        let told = self.a_teller.get(&teller).copied().unwrap_or_default();
        if let Some(hint) = self.table.get_mut(&peer) {
            let is_told = |address| hint.sources.iter().any(|source| source.addresses.contains(address));
            let news = !addresses.iter().all(is_told);
            if let Some(source) = hint.sources.iter_mut().find(|source| source.teller == teller) {
                source.addresses = addresses;
            } else if hint.sources.len() < MAX_SOURCES && told < MAX_HINTS_A_TELLER {
                hint.sources.push(Source { teller, addresses });
                *self.a_teller.entry(teller).or_default() += 1;
            } else {
                return false;
            }
            if news && due < hint.due {
                self.due.remove(&(hint.due, peer));
                hint.due = due;
                self.due.insert((due, peer));
            }
            return news;
        }
        if told >= MAX_HINTS_A_TELLER {
            return false;
        }
        if self.table.len() >= MAX_HINTS {
            // What has waited longest has been in the way longest.
            let Some((_, oldest)) = self.due.first().copied() else { return false };
            self.remove(&oldest);
        }
        self.table.insert(peer, Hint { sources: vec![Source { teller, addresses }], due, failures: 0 });
        self.due.insert((due, peer));
        *self.a_teller.entry(teller).or_default() += 1;
        true
    }

    pub(super) fn remove(&mut self, peer: &PeerId) {
        let Some(hint) = self.table.remove(peer) else { return };
        self.due.remove(&(hint.due, *peer));
        for source in &hint.sources {
            if let Some(told) = self.a_teller.get_mut(&source.teller) {
                *told = told.saturating_sub(1);
                if *told == 0 {
                    self.a_teller.remove(&source.teller);
                }
            }
        }
    }

    /// A peer that is of no use to us, whatever others say: not to be tried again for a while.
    pub(super) fn fruitless(&mut self, peer: PeerId, now: Instant) {
        self.remove(&peer);
        self.fruitless.insert(peer, now + FRUITLESS_FOR);
    }

    fn is_muted(&self, teller: Teller, now: Instant) -> bool {
        let Teller::Peer(teller) = teller else { return false };
        let Some(word) = self.word.peek(&teller) else { return false };
        word.bad >= MAX_BAD_HINTS.saturating_mul(word.good.saturating_add(1))
            && now.saturating_duration_since(word.last) < MUTED_FOR
    }

    /// The peer is where these said, or nobody is.
    fn judge(&mut self, peer: &PeerId, good: bool, now: Instant) {
        let sources = self.table.get(peer).map(|hint| hint.sources.iter());
        for teller in sources.into_iter().flatten().map(|source| source.teller) {
            if let Teller::Peer(teller) = teller
                && !self.trusted.contains(&teller)
            {
                let lately = |word: &Word| now.saturating_duration_since(word.last) < MUTED_FOR;
                let mut word = self.word.remove(&teller).filter(lately).unwrap_or(Word { good: 0, bad: 0, last: now });
                if good {
                    word.good = word.good.saturating_add(1);
                } else {
                    word = Word { bad: word.bad.saturating_add(1), last: now, ..word };
                }
                self.word.insert(teller, word);
            }
        }
    }

    /// What came to nothing may be there now.
    pub(super) fn network_changed(&mut self, now: Instant) {
        self.word.clear();
        self.fruitless.clear();
        self.due.clear();
        for (peer, hint) in &mut self.table {
            hint.due = now;
            hint.failures = 0;
            self.due.insert((now, *peer));
        }
    }

    fn is_fruitless(&mut self, peer: &PeerId, now: Instant) -> bool {
        match self.fruitless.peek(peer) {
            Some(until) if now < *until => true,
            Some(_) => {
                self.fruitless.remove(peer);
                false
            }
            None => false,
        }
    }

    /// The peer turned out to be one of use.
    pub(super) fn forgive(&mut self, peer: &PeerId, now: Instant) {
        self.fruitless.remove(peer);
        self.judge(peer, true, now);
    }

    /// A dial of the peer failed, whoever asked for it. It may say nothing of the peer: our own network failed.
    pub(super) fn failed(&mut self, peer: &PeerId, says_something: bool, now: Instant) {
        let Some(hint) = self.table.get_mut(peer) else { return };
        let Some(pause) = PAUSES.get(hint.failures) else {
            if says_something {
                self.judge(peer, false, now);
            }
            return self.fruitless(*peer, now);
        };
        self.due.remove(&(hint.due, *peer));
        hint.failures += 1;
        hint.due = now + *pause;
        // Another teller's addresses have their turn.
        hint.sources.rotate_left(1);
        self.due.insert((hint.due, *peer));
    }

    /// What is due, and can be dialled: `dial` says so for each teller of a hint in turn. It stays a hint until it is removed or has failed.
    pub(super) fn try_due(&mut self, now: Instant, mut dial: impl FnMut(PeerId, Teller, &[Multiaddr]) -> bool) {
        let due: Vec<(Instant, PeerId)> = self.due.iter().take_while(|(due, _)| *due <= now).copied().collect();
        for (due, peer) in due {
            let Some(hint) = self.table.get_mut(&peer) else { continue };
            if hint.sources.iter().any(|source| dial(peer, source.teller, &source.addresses)) {
                // If nothing is heard of the dial, it is tried again.
                self.due.remove(&(due, peer));
                hint.due = now + Duration::from_secs(30);
                self.due.insert((hint.due, peer));
            }
        }
    }

    /// Where the peer may be, by all who told us.
    pub(super) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let sources = self.table.get(peer).map(|hint| hint.sources.iter());
        sources.into_iter().flatten().flat_map(|source| source.addresses.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somewhere() -> Vec<Multiaddr> {
        vec!["/ip4/203.0.113.1/tcp/1".parse().unwrap()]
    }

    fn teller() -> Teller {
        Teller::Peer(PeerId::random())
    }

    fn tried(hints: &mut Hints, now: Instant) -> Vec<(PeerId, Teller)> {
        let mut tried = Vec::new();
        hints.try_due(now, |peer, teller, _| {
            tried.push((peer, teller));
            true
        });
        tried
    }

    #[test]
    fn a_hint_is_tried_three_times_and_then_ignored_for_a_while() {
        let mut now = Instant::now();
        let mut hints = Hints::new(BTreeSet::new());
        let peer = PeerId::random();
        assert!(hints.add(peer, teller(), somewhere(), now, now));
        for pause in [2, 8, 0] {
            assert_eq!(tried(&mut hints, now).len(), 1);
            assert!(tried(&mut hints, now).is_empty(), "a dial is under way");
            hints.failed(&peer, true, now);
            assert!(tried(&mut hints, now).is_empty());
            now += Duration::from_secs(pause);
        }
        assert!(!hints.add(peer, teller(), somewhere(), now, now));
        now += FRUITLESS_FOR;
        assert!(hints.add(peer, teller(), somewhere(), now, now));
    }

    #[test]
    fn a_second_teller_gets_its_turn() {
        let mut now = Instant::now();
        let mut hints = Hints::new(BTreeSet::new());
        let (peer, first, second) = (PeerId::random(), teller(), teller());
        hints.add(peer, first, somewhere(), now, now);
        assert!(!hints.add(peer, second, somewhere(), now, now), "no news");
        assert_eq!(tried(&mut hints, now), [(peer, first)]);
        hints.failed(&peer, true, now);
        now += PAUSES[0];
        assert_eq!(tried(&mut hints, now), [(peer, second)]);
    }

    #[test]
    fn an_address_that_is_new_does_not_wait_for_the_dial_of_the_others() {
        let now = Instant::now();
        let mut hints = Hints::new(BTreeSet::new());
        let (peer, teller) = (PeerId::random(), teller());
        hints.add(peer, teller, somewhere(), now, now);
        assert_eq!(tried(&mut hints, now).len(), 1);
        assert!(!hints.add(peer, teller, somewhere(), now, now));
        assert!(tried(&mut hints, now).is_empty(), "it is being dialled there");
        assert!(hints.add(peer, teller, vec!["/ip4/203.0.113.2/tcp/1".parse().unwrap()], now, now));
        assert_eq!(tried(&mut hints, now), [(peer, teller)]);
    }

    #[test]
    fn one_teller_cannot_fill_the_table() {
        let now = Instant::now();
        let mut hints = Hints::new(BTreeSet::new());
        let liar = teller();
        let taken = (0..10_000).filter(|_| hints.add(PeerId::random(), liar, somewhere(), now, now)).count();
        assert_eq!(taken, MAX_HINTS_A_TELLER);
        assert!(hints.add(PeerId::random(), teller(), somewhere(), now, now));
    }

    #[test]
    fn many_tellers_cannot_grow_the_table() {
        let now = Instant::now();
        let mut hints = Hints::new(BTreeSet::new());
        for _ in 0..10 * MAX_HINTS {
            hints.add(PeerId::random(), teller(), somewhere(), now, now);
        }
        assert_eq!(hints.table.len(), MAX_HINTS);
        assert_eq!(hints.due.len(), MAX_HINTS);
        assert_eq!(hints.a_teller.len(), MAX_HINTS);
        let peers: Vec<PeerId> = hints.table.keys().copied().collect();
        for peer in &peers {
            hints.fruitless(*peer, now);
        }
        assert!(hints.table.is_empty() && hints.due.is_empty() && hints.a_teller.is_empty());
        assert!(hints.fruitless.len() <= MAX_FRUITLESS);
    }

    /// A hint that is tried as often as it may, in vain.
    fn comes_to_nothing(hints: &mut Hints, teller: Teller, now: Instant) -> bool {
        let peer = PeerId::random();
        let taken = hints.add(peer, teller, somewhere(), now, now);
        (0..=PAUSES.len()).for_each(|_| hints.failed(&peer, true, now));
        taken
    }

    #[test]
    fn one_whose_hints_come_to_nothing_is_not_listened_to_for_a_while() {
        let (now, liar, named) = (Instant::now(), teller(), PeerId::random());
        let mut hints = Hints::new([named].into());
        let bad = (0..100).filter(|_| comes_to_nothing(&mut hints, liar, now)).count();
        assert_eq!(bad, MAX_BAD_HINTS as usize);
        assert!(hints.add(PeerId::random(), teller(), somewhere(), now, now), "others are");
        assert!(hints.add(PeerId::random(), Teller::Kademlia, somewhere(), now, now));
        assert!(
            (0..20).all(|_| comes_to_nothing(&mut hints, Teller::Peer(named), now)),
            "the user knows whom to trust"
        );
        assert!(hints.add(PeerId::random(), liar, somewhere(), now, now + MUTED_FOR));
        // One of a group that has just lost half of itself isn't a liar.
        let honest = teller();
        for _ in 0..40 {
            let there = PeerId::random();
            assert!(hints.add(there, honest, somewhere(), now, now));
            hints.forgive(&there, now);
            hints.remove(&there);
        }
        assert!((0..40).all(|_| comes_to_nothing(&mut hints, honest, now)));
        for _ in 0..2 * MAX_TELLERS {
            comes_to_nothing(&mut hints, teller(), now);
        }
        assert!(hints.word.len() <= MAX_TELLERS);
    }
}

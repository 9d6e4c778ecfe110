//! Peers that may be there, by what others say: bounded, and no more than something to try.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hashlink::LruCache;
use libp2p::{Multiaddr, PeerId};

use super::dial_budget::Source;

/// Candidates that are kept, and of one source.
const MAX_CANDIDATES: usize = 4096;
const MAX_CANDIDATES_A_SOURCE: usize = 256;
/// Sources of one candidate that are kept. Each has addresses of its own, so that none can spoil another's word.
const MAX_SOURCES: usize = 4;
/// A candidate is tried so often, with a pause of its own after each failure but the last.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];
/// A candidate that came to nothing is not taken again for this time.
const BANNED_FOR: Duration = Duration::from_secs(60);
const MAX_BANNED: usize = 4096;
/// So many hints of a peer's that came to nothing, beside as many for each good one, and it isn't listened to for a while. Of a group that has
/// just lost most of itself an honest member says much that is no longer so.
const MAX_BAD_CANDIDATES: u32 = 8;
const MUTED_FOR: Duration = Duration::from_secs(10 * 60);
/// Peers whose word is remembered.
const MAX_WORDS: usize = 4096;

#[derive(Debug)]
struct Candidate {
    told: Vec<Told>,
    due: Instant,
    failures: usize,
}

#[derive(Debug)]
struct Told {
    source: Source,
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
pub(super) struct Candidates {
    table: BTreeMap<PeerId, Candidate>,
    due: BTreeSet<(Instant, PeerId)>,
    a_source: BTreeMap<Source, usize>,
    banned: LruCache<PeerId, Instant>,
    /// What became of the hints of peers.
    word: LruCache<PeerId, Word>,
    /// The peers that the user named are listened to whatever they say.
    trusted: BTreeSet<PeerId>,
}

impl Candidates {
    pub(super) fn new(trusted: BTreeSet<PeerId>) -> Self {
        Candidates {
            table: BTreeMap::new(),
            due: BTreeSet::new(),
            a_source: BTreeMap::new(),
            banned: LruCache::new(MAX_BANNED),
            word: LruCache::new(MAX_WORDS),
            trusted,
        }
    }

    /// `source` says that `peer` is at these addresses: to be tried from `due` on. True if that is news and was taken. An address that
    /// nobody has told yet doesn't wait until the others have failed.
    pub(super) fn add(
        &mut self,
        peer: PeerId,
        source: Source,
        addresses: Vec<Multiaddr>,
        due: Instant,
        now: Instant,
    ) -> bool {
        if addresses.is_empty() || self.is_banned(&peer, now) || self.is_muted(source, now) {
            return false;
        }
        let told = self.a_source.get(&source).copied().unwrap_or_default();
        if let Some(candidate) = self.table.get_mut(&peer) {
            let is_told = |address| candidate.told.iter().any(|told| told.addresses.contains(address));
            let news = !addresses.iter().all(is_told);
            if let Some(known) = candidate.told.iter_mut().find(|told| told.source == source) {
                known.addresses = addresses;
            } else if candidate.told.len() < MAX_SOURCES && told < MAX_CANDIDATES_A_SOURCE {
                candidate.told.push(Told { source, addresses });
                *self.a_source.entry(source).or_default() += 1;
            } else {
                return false;
            }
            if news && due < candidate.due {
                self.due.remove(&(candidate.due, peer));
                candidate.due = due;
                self.due.insert((due, peer));
            }
            return news;
        }
        if told >= MAX_CANDIDATES_A_SOURCE {
            return false;
        }
        if self.table.len() >= MAX_CANDIDATES {
            // What has waited longest has been in the way longest.
            let Some((_, oldest)) = self.due.first().copied() else { return false };
            self.remove(&oldest);
        }
        self.table.insert(peer, Candidate { told: vec![Told { source, addresses }], due, failures: 0 });
        self.due.insert((due, peer));
        *self.a_source.entry(source).or_default() += 1;
        true
    }

    pub(super) fn remove(&mut self, peer: &PeerId) {
        let Some(candidate) = self.table.remove(peer) else { return };
        self.due.remove(&(candidate.due, *peer));
        for Told { source, .. } in &candidate.told {
            if let Some(told) = self.a_source.get_mut(source) {
                *told = told.saturating_sub(1);
                if *told == 0 {
                    self.a_source.remove(source);
                }
            }
        }
    }

    /// A peer that is of no use to us, whatever others say: not to be tried again for a while.
    pub(super) fn ban(&mut self, peer: PeerId, now: Instant) {
        self.remove(&peer);
        self.banned.insert(peer, now + BANNED_FOR);
    }

    fn is_muted(&self, source: Source, now: Instant) -> bool {
        let Source::Peer(source) = source else { return false };
        let Some(word) = self.word.peek(&source) else { return false };
        word.bad >= MAX_BAD_CANDIDATES.saturating_mul(word.good.saturating_add(1))
            && now.saturating_duration_since(word.last) < MUTED_FOR
    }

    /// The peer is where these said, or nobody is.
    fn judge(&mut self, peer: &PeerId, good: bool, now: Instant) {
        let told = self.table.get(peer).map(|candidate| candidate.told.iter());
        for source in told.into_iter().flatten().map(|told| told.source) {
            if let Source::Peer(source) = source
                && !self.trusted.contains(&source)
            {
                let lately = |word: &Word| now.saturating_duration_since(word.last) < MUTED_FOR;
                let mut word = self.word.remove(&source).filter(lately).unwrap_or(Word { good: 0, bad: 0, last: now });
                if good {
                    word.good = word.good.saturating_add(1);
                } else {
                    word = Word { bad: word.bad.saturating_add(1), last: now, ..word };
                }
                self.word.insert(source, word);
            }
        }
    }

    /// What came to nothing may be there now.
    pub(super) fn network_changed(&mut self, now: Instant) {
        self.word.clear();
        self.banned.clear();
        self.due.clear();
        for (peer, candidate) in &mut self.table {
            candidate.due = now;
            candidate.failures = 0;
            self.due.insert((now, *peer));
        }
    }

    fn is_banned(&mut self, peer: &PeerId, now: Instant) -> bool {
        match self.banned.peek(peer) {
            Some(until) if now < *until => true,
            Some(_) => {
                self.banned.remove(peer);
                false
            }
            None => false,
        }
    }

    /// The peer turned out to be one of use.
    pub(super) fn unban(&mut self, peer: &PeerId, now: Instant) {
        self.banned.remove(peer);
        self.judge(peer, true, now);
    }

    /// A dial of the peer failed, whoever asked for it. It may say nothing of the peer: our own network failed.
    pub(super) fn failed(&mut self, peer: &PeerId, says_something: bool, now: Instant) {
        let Some(candidate) = self.table.get_mut(peer) else { return };
        let Some(pause) = PAUSES.get(candidate.failures) else {
            if says_something {
                self.judge(peer, false, now);
            }
            return self.ban(*peer, now);
        };
        self.due.remove(&(candidate.due, *peer));
        candidate.failures += 1;
        candidate.due = now + *pause;
        // Another source's addresses have their turn.
        candidate.told.rotate_left(1);
        self.due.insert((candidate.due, *peer));
    }

    /// What is due, and can be dialled: `dial` says so for each source of a candidate in turn. It stays one until it is removed or has failed.
    pub(super) fn try_due(&mut self, now: Instant, mut dial: impl FnMut(PeerId, Source, &[Multiaddr]) -> bool) {
        let due: Vec<(Instant, PeerId)> = self.due.iter().take_while(|(due, _)| *due <= now).copied().collect();
        for (due, peer) in due {
            let Some(candidate) = self.table.get_mut(&peer) else { continue };
            if candidate.told.iter().any(|told| dial(peer, told.source, &told.addresses)) {
                // If nothing is heard of the dial, it is tried again.
                self.due.remove(&(due, peer));
                candidate.due = now + Duration::from_secs(30);
                self.due.insert((candidate.due, peer));
            }
        }
    }

    /// Where the peer may be, by all who told us.
    pub(super) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let told = self.table.get(peer).map(|candidate| candidate.told.iter());
        told.into_iter().flatten().flat_map(|told| told.addresses.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somewhere() -> Vec<Multiaddr> {
        vec!["/ip4/203.0.113.1/tcp/1".parse().unwrap()]
    }

    fn source() -> Source {
        Source::Peer(PeerId::random())
    }

    fn tried(candidates: &mut Candidates, now: Instant) -> Vec<(PeerId, Source)> {
        let mut tried = Vec::new();
        candidates.try_due(now, |peer, source, _| {
            tried.push((peer, source));
            true
        });
        tried
    }

    #[test]
    fn a_hint_is_tried_three_times_and_then_ignored_for_a_while() {
        let mut now = Instant::now();
        let mut candidates = Candidates::new(BTreeSet::new());
        let peer = PeerId::random();
        assert!(candidates.add(peer, source(), somewhere(), now, now));
        for pause in [2, 8, 0] {
            assert_eq!(tried(&mut candidates, now).len(), 1);
            assert!(tried(&mut candidates, now).is_empty(), "a dial is under way");
            candidates.failed(&peer, true, now);
            assert!(tried(&mut candidates, now).is_empty());
            now += Duration::from_secs(pause);
        }
        assert!(!candidates.add(peer, source(), somewhere(), now, now));
        now += BANNED_FOR;
        assert!(candidates.add(peer, source(), somewhere(), now, now));
    }

    #[test]
    fn a_second_source_gets_its_turn() {
        let mut now = Instant::now();
        let mut candidates = Candidates::new(BTreeSet::new());
        let (peer, first, second) = (PeerId::random(), source(), source());
        candidates.add(peer, first, somewhere(), now, now);
        assert!(!candidates.add(peer, second, somewhere(), now, now), "no news");
        assert_eq!(tried(&mut candidates, now), [(peer, first)]);
        candidates.failed(&peer, true, now);
        now += PAUSES[0];
        assert_eq!(tried(&mut candidates, now), [(peer, second)]);
    }

    #[test]
    fn an_address_that_is_new_does_not_wait_for_the_dial_of_the_others() {
        let now = Instant::now();
        let mut candidates = Candidates::new(BTreeSet::new());
        let (peer, source) = (PeerId::random(), source());
        candidates.add(peer, source, somewhere(), now, now);
        assert_eq!(tried(&mut candidates, now).len(), 1);
        assert!(!candidates.add(peer, source, somewhere(), now, now));
        assert!(tried(&mut candidates, now).is_empty(), "it is being dialled there");
        assert!(candidates.add(peer, source, vec!["/ip4/203.0.113.2/tcp/1".parse().unwrap()], now, now));
        assert_eq!(tried(&mut candidates, now), [(peer, source)]);
    }

    #[test]
    fn one_source_cannot_fill_the_table() {
        let now = Instant::now();
        let mut candidates = Candidates::new(BTreeSet::new());
        let liar = source();
        let taken = (0..10_000).filter(|_| candidates.add(PeerId::random(), liar, somewhere(), now, now)).count();
        assert_eq!(taken, MAX_CANDIDATES_A_SOURCE);
        assert!(candidates.add(PeerId::random(), source(), somewhere(), now, now));
    }

    #[test]
    fn many_sources_cannot_grow_the_table() {
        let now = Instant::now();
        let mut candidates = Candidates::new(BTreeSet::new());
        for _ in 0..10 * MAX_CANDIDATES {
            candidates.add(PeerId::random(), source(), somewhere(), now, now);
        }
        assert_eq!(candidates.table.len(), MAX_CANDIDATES);
        assert_eq!(candidates.due.len(), MAX_CANDIDATES);
        assert_eq!(candidates.a_source.len(), MAX_CANDIDATES);
        let peers: Vec<PeerId> = candidates.table.keys().copied().collect();
        for peer in &peers {
            candidates.ban(*peer, now);
        }
        assert!(candidates.table.is_empty() && candidates.due.is_empty() && candidates.a_source.is_empty());
        assert!(candidates.banned.len() <= MAX_BANNED);
    }

    /// A hint that is tried as often as it may, in vain.
    fn comes_to_nothing(candidates: &mut Candidates, source: Source, now: Instant) -> bool {
        let peer = PeerId::random();
        let taken = candidates.add(peer, source, somewhere(), now, now);
        (0..=PAUSES.len()).for_each(|_| candidates.failed(&peer, true, now));
        taken
    }

    #[test]
    fn one_whose_hints_come_to_nothing_is_not_listened_to_for_a_while() {
        let (now, liar, named) = (Instant::now(), source(), PeerId::random());
        let mut candidates = Candidates::new([named].into());
        let bad = (0..100).filter(|_| comes_to_nothing(&mut candidates, liar, now)).count();
        assert_eq!(bad, MAX_BAD_CANDIDATES as usize);
        assert!(candidates.add(PeerId::random(), source(), somewhere(), now, now), "others are");
        assert!(candidates.add(PeerId::random(), Source::Kademlia, somewhere(), now, now));
        assert!(
            (0..20).all(|_| comes_to_nothing(&mut candidates, Source::Peer(named), now)),
            "the user knows whom to trust"
        );
        assert!(candidates.add(PeerId::random(), liar, somewhere(), now, now + MUTED_FOR));
        // One of a group that has just lost half of itself isn't a liar.
        let honest = source();
        for _ in 0..40 {
            let there = PeerId::random();
            assert!(candidates.add(there, honest, somewhere(), now, now));
            candidates.unban(&there, now);
            candidates.remove(&there);
        }
        assert!((0..40).all(|_| comes_to_nothing(&mut candidates, honest, now)));
        for _ in 0..2 * MAX_WORDS {
            comes_to_nothing(&mut candidates, source(), now);
        }
        assert!(candidates.word.len() <= MAX_WORDS);
    }
}

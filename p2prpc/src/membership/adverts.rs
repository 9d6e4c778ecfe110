//! When to look for provider records, and when to become a provider.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::kad::RecordKey;
use rand::Rng;

use super::bootstrap::backoff;
use super::eager::Eager;
use super::key::{Topic, record_key};

/// Between two lookups while nobody else is there: doubling.
const ALONE_FIRST: Duration = Duration::from_secs(1);
const ALONE_LONGEST: Duration = Duration::from_secs(30);
/// Before the first lookup of one who has found company without: it has enough to do with those whom they know.
const JOINED_FIRST: Duration = Duration::from_secs(4);
/// Between two lookups otherwise: members tell each other, so this is for what they can't know.
const LOOKUP_EVERY: Duration = Duration::from_secs(60);
/// Records live for 15 min where they are stored: two renewals may be lost.
const PROVIDE_EVERY: Duration = Duration::from_secs(5 * 60);
/// The first record goes to those we know when we join; the second, to those closest to the key that we know by then.
const SECOND_PROVIDE: Duration = Duration::from_secs(30);
const PROVIDE_AGAIN_FIRST: Duration = Duration::from_secs(2);
const PROVIDE_AGAIN_LONGEST: Duration = Duration::from_secs(60);
/// A peer that comes brings several connections, of which one stays: what was asked over another waits out its 10 s.
/// So it is asked again after this.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// Peers past these bring nothing that the others didn't, and so often it is asked again for those before.
const FEW: usize = 8;
const SETTLED_EVERY: Duration = Duration::from_secs(10);
/// Addresses tend to change several at a time.
const SETTLE: Duration = Duration::from_millis(500);
/// A query whose end was never said is over after this.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(120);

/// What is to be done in the DHT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Query {
    Get(RecordKey),
    Provide(RecordKey),
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    next: Instant,
    running_since: Option<Instant>,
    repeats: u32,
}

impl Timer {
    fn at(next: Instant) -> Self {
        Timer { next, running_since: None, repeats: 0 }
    }

    fn starts(&mut self, now: Instant) -> bool {
        if self.running_since.is_some_and(|since| now.saturating_duration_since(since) >= FORGOTTEN_AFTER) {
            self.running_since = None;
        }
        let starts = self.running_since.is_none() && self.next <= now;
        if starts {
            self.running_since = Some(now);
            self.next = now + FORGOTTEN_AFTER;
        }
        starts
    }
}

#[derive(Debug)]
struct Watched {
    key: RecordKey,
    alone: bool,
    lookup: Timer,
    advert: Timer,
}

#[derive(Debug)]
pub(super) struct Adverts {
    watched: Vec<Watched>,
    kad_peers: BTreeSet<PeerId>,
    serves: bool,
    reachable: bool,
    /// When the connections to those that came last are settled.
    settled: Option<Instant>,
    last_settled: Option<Instant>,
    eager: Eager,
}

impl Adverts {
    pub(super) fn new(topics: &[Topic], serves: bool, now: Instant) -> Self {
        let watched = topics.iter().map(|topic| Watched {
            key: record_key(topic),
            alone: true,
            lookup: Timer::at(now),
            advert: Timer::at(now),
        });
        Adverts {
            watched: watched.collect(),
            kad_peers: BTreeSet::new(),
            serves,
            reachable: false,
            settled: None,
            last_settled: None,
            eager: Eager::default(),
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &RecordKey> {
        self.watched.iter().map(|watched| &watched.key)
    }

    pub(super) fn has_peers(&self) -> bool {
        !self.kad_peers.is_empty()
    }

    /// A connected peer has our DHT's protocol.
    pub(super) fn peer_came(&mut self, peer: PeerId, now: Instant) {
        if self.kad_peers.is_empty() {
            for watched in &mut self.watched {
                watched.lookup.next = now;
                watched.advert.next = now;
            }
        }
        if self.kad_peers.insert(peer) && self.kad_peers.len() <= FEW && self.settled.is_none() {
            let soon = now + SETTLED_AFTER;
            let next = self.last_settled.map_or(soon, |last| last + SETTLED_EVERY);
            self.settled = Some(soon.max(next));
        }
    }

    /// What was asked before may be waiting on connections that are dead, and what was told be of places that are no more.
    pub(super) fn network_changed(&mut self, now: Instant) {
        self.eager.starts(now);
        for watched in &mut self.watched {
            for timer in [&mut watched.lookup, &mut watched.advert] {
                *timer = Timer::at(now);
            }
        }
        self.last_settled = None;
        self.settled = Some(now + SETTLED_AFTER);
    }

    /// True if it was there.
    pub(super) fn peer_went(&mut self, peer: &PeerId) -> bool {
        self.kad_peers.remove(peer)
    }

    /// Whether there are members of the topic of this number.
    pub(super) fn set_alone(&mut self, topic: usize, alone: bool, now: Instant) {
        let Some(watched) = self.watched.get_mut(topic) else { return };
        if watched.alone != alone {
            watched.alone = alone;
            let before = std::mem::take(&mut watched.lookup.repeats);
            watched.lookup.next = now
                + match (alone, before) {
                    (true, _) => ALONE_FIRST,
                    (false, 0) => JOINED_FIRST,
                    (false, _) => LOOKUP_EVERY,
                };
        }
    }

    pub(super) fn addresses_changed(&mut self, reachable: bool, now: Instant) {
        self.reachable = reachable;
        self.advertise_soon(now);
    }

    pub(super) fn serves_now(&mut self, now: Instant) {
        if !self.serves {
            self.serves = true;
            self.advertise_soon(now);
        }
    }

    fn advertise_soon(&mut self, now: Instant) {
        for watched in &mut self.watched {
            watched.advert.next = now + SETTLE;
            watched.advert.repeats = 0;
        }
    }

    pub(super) fn lookup_done(&mut self, key: &RecordKey, now: Instant, rng: &mut impl Rng) {
        let Some(watched) = self.watched.iter_mut().find(|watched| watched.key == *key) else { return };
        let timer = &mut watched.lookup;
        timer.running_since = None;
        timer.next = match watched.alone {
            true => self.eager.after(backoff(timer.repeats, ALONE_FIRST, ALONE_LONGEST, rng), now, rng),
            false => now + LOOKUP_EVERY.mul_f64(rng.random_range(0.75..=1.0)),
        };
        timer.repeats = timer.repeats.saturating_add(1);
    }

    pub(super) fn provided(&mut self, key: &RecordKey, ok: bool, now: Instant, rng: &mut impl Rng) {
        let Some(watched) = self.watched.iter_mut().find(|watched| watched.key == *key) else { return };
        let timer = &mut watched.advert;
        timer.running_since = None;
        // Unless addresses have changed meanwhile.
        if timer.next <= now + SETTLE {
            return;
        }
        timer.next = match (ok, timer.repeats) {
            (false, repeats) => {
                self.eager.after(backoff(repeats, PROVIDE_AGAIN_FIRST, PROVIDE_AGAIN_LONGEST, rng), now, rng)
            }
            (true, 0) => now + SECOND_PROVIDE,
            (true, _) => now + PROVIDE_EVERY.mul_f64(rng.random_range(0.9..=1.0)),
        };
        timer.repeats = timer.repeats.saturating_add(1);
    }

    /// What is due now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Query> {
        let mut due = Vec::new();
        if self.kad_peers.is_empty() {
            return due;
        }
        let settled = self.settled.is_some_and(|at| at <= now);
        if settled {
            self.settled = None;
            self.last_settled = Some(now);
        }
        for watched in &mut self.watched {
            if self.serves && self.reachable && (watched.advert.starts(now) || settled) {
                due.push(Query::Provide(watched.key.clone()));
            }
            if watched.lookup.starts(now) || (settled && watched.alone) {
                due.push(Query::Get(watched.key.clone()));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::membership::key::topic;

    struct Dht {
        adverts: Adverts,
        now: Instant,
        rng: SmallRng,
    }

    impl Dht {
        fn new(serves: bool) -> Self {
            let now = Instant::now();
            let adverts = Adverts::new(&[topic("ours")], serves, now);
            Dht { adverts, now, rng: SmallRng::seed_from_u64(7) }
        }

        /// The seconds at which lookups and adverts begin, when each takes no time.
        fn run(&mut self, seconds: u64) -> (Vec<u64>, Vec<u64>) {
            let (mut lookups, mut adverts) = (Vec::new(), Vec::new());
            for tick in 0..seconds * 4 {
                for query in self.adverts.due(self.now) {
                    match query {
                        Query::Get(key) => {
                            lookups.push(tick / 4);
                            self.adverts.lookup_done(&key, self.now, &mut self.rng);
                        }
                        Query::Provide(key) => {
                            adverts.push(tick / 4);
                            self.adverts.provided(&key, true, self.now, &mut self.rng);
                        }
                    }
                }
                self.now += Duration::from_millis(250);
            }
            (lookups, adverts)
        }
    }

    #[test]
    fn begins_with_the_first_kad_peer() {
        let mut dht = Dht::new(true);
        dht.adverts.addresses_changed(true, dht.now);
        assert_eq!(dht.run(60), (vec![], vec![]));
        dht.adverts.peer_came(PeerId::random(), dht.now);
        let (lookups, adverts) = dht.run(1);
        assert_eq!((lookups.len(), adverts.len()), (1, 1));
    }

    #[test]
    fn looks_often_while_alone_and_seldom_in_company() {
        let mut dht = Dht::new(true);
        dht.adverts.peer_came(PeerId::random(), dht.now);
        let (alone, _) = dht.run(300);
        assert!(alone[..4].iter().all(|second| *second < 10), "{alone:?}");
        assert!((12..20).contains(&alone.len()), "{alone:?}");
        dht.adverts.set_alone(0, false, dht.now);
        let (in_company, _) = dht.run(600);
        assert!((9..=14).contains(&in_company.len()), "{in_company:?}");
        dht.adverts.set_alone(0, true, dht.now);
        assert!(dht.run(3).0.len() >= 2);
    }

    #[test]
    fn renews_its_record_every_five_minutes_and_when_addresses_change() {
        let mut dht = Dht::new(true);
        dht.adverts.peer_came(PeerId::random(), dht.now);
        assert!(dht.run(60).1.is_empty(), "without an address there is nothing to advertise");
        dht.adverts.addresses_changed(true, dht.now);
        let (_, adverts) = dht.run(1300);
        assert!((5..=7).contains(&adverts.len()), "{adverts:?}");
        assert!(adverts.windows(2).all(|pair| pair[1] - pair[0] <= 300));
        dht.adverts.addresses_changed(true, dht.now);
        assert_eq!(dht.run(2).1.len(), 1);
    }

    #[test]
    fn who_serves_nothing_does_not_advertise() {
        let mut dht = Dht::new(false);
        dht.adverts.peer_came(PeerId::random(), dht.now);
        dht.adverts.addresses_changed(true, dht.now);
        let (lookups, adverts) = dht.run(100);
        assert!(!lookups.is_empty() && adverts.is_empty());
        dht.adverts.serves_now(dht.now);
        assert_eq!(dht.run(2).1.len(), 1);
    }

    #[test]
    fn a_failed_advert_is_repeated_soon() {
        let mut dht = Dht::new(true);
        dht.adverts.peer_came(PeerId::random(), dht.now);
        dht.adverts.addresses_changed(true, dht.now);
        dht.now += SETTLE;
        assert!(dht.adverts.due(dht.now).contains(&Query::Provide(record_key(&topic("ours")))));
        dht.adverts.provided(&record_key(&topic("ours")), false, dht.now, &mut dht.rng);
        assert!(!dht.run(1).1.is_empty() || !dht.run(1).1.is_empty());
    }

    #[test]
    fn is_advertised_again_when_a_connection_is_settled_though_the_first_advert_hangs() {
        let mut dht = Dht::new(true);
        dht.adverts.addresses_changed(true, dht.now);
        dht.now += SETTLE;
        dht.adverts.peer_came(PeerId::random(), dht.now);
        let both = |due: &[Query]| due.len() == 2;
        assert!(both(&dht.adverts.due(dht.now)));
        dht.now += SETTLED_AFTER;
        assert!(both(&dht.adverts.due(dht.now)), "what was asked first has no answer");
        let mut adverts = 0;
        for _ in 0..120 {
            dht.adverts.peer_came(PeerId::random(), dht.now);
            dht.now += Duration::from_millis(500);
            adverts += dht.adverts.due(dht.now).len();
        }
        assert_eq!(adverts, 2, "for the next seven together, and none for the hundred after them");
    }

    #[test]
    fn a_change_of_the_network_asks_and_tells_anew() {
        let mut dht = Dht::new(true);
        dht.adverts.addresses_changed(true, dht.now);
        dht.adverts.peer_came(PeerId::random(), dht.now);
        dht.adverts.set_alone(0, false, dht.now);
        dht.run(60);
        dht.adverts.network_changed(dht.now);
        assert_eq!(dht.adverts.due(dht.now).len(), 2);
        let again: Vec<Query> = (0..12)
            .flat_map(|_| {
                dht.now += Duration::from_millis(250);
                dht.adverts.due(dht.now)
            })
            .collect();
        assert_eq!(again, [Query::Provide(record_key(&topic("ours")))]);
    }
}

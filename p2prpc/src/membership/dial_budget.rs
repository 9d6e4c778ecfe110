//! How fast we dial at the word of others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashlink::LruCache;
use libp2p::{Multiaddr, PeerId};
use parking_lot::Mutex;

use super::address_filter::{Scope, Socket};
use super::bucket::{Bucket, Rate};
use crate::behaviour::MAX_DIALS_OF_PEER;

/// Dials under way at the word of others, in all and for one source.
const MAX_UNDER_WAY: usize = 64;
const MAX_UNDER_WAY_A_SOURCE: usize = 4;
/// Of what we know ourselves more: most of it may be gone without a word, and each such dial takes its 10 s.
const MAX_UNDER_WAY_FROM_MEMORY: usize = 16;
/// The same for the DHT's queries, which go to several peers at once, some of which are gone.
const MAX_UNDER_WAY_OF_QUERIES: usize = 16;
/// The same for members that were just lost: half of a group may go at once.
const MAX_UNDER_WAY_OF_LOST: usize = 32;
/// A dial whose outcome was never said counts no longer than this.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(20);
/// Dials a second to public addresses, in all and for one source.
const PUBLIC: Rate = Rate { burst: 16.0, a_second: 16.0 };
const PUBLIC_A_SOURCE: Rate = Rate { burst: 2.0, a_second: 2.0 };
/// Dials a second to public addresses that the DHT's queries make.
const PUBLIC_OF_QUERIES: Rate = Rate { burst: 8.0, a_second: 8.0 };
/// Addresses dialled that are private or loopback: enough for a hundred nodes of one machine that start at once.
const NEARBY: Rate = Rate { burst: 512.0, a_second: 128.0 };
const NEARBY_A_SOURCE: Rate = Rate { burst: 128.0, a_second: 32.0 };
/// Dials of one private or loopback IP and port: of nodes that start there again and again under new names.
const A_NEARBY_SOCKET: Rate = Rate { burst: 16.0, a_second: 1.0 };
/// Dials of one public IP in a time.
const DIALS_AN_IP: usize = 4;
const IP_PERIOD: Duration = Duration::from_secs(60);
/// A change of our own network makes up for what was dialled over the one before, this often.
const NETWORK_CHANGES_EVERY: Duration = Duration::from_secs(10);
/// Tables of sources and IPs are no longer than this; the one not seen longest goes first.
const MAX_REMEMBERED: usize = 4096;

/// Who said that a peer is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A query in the DHT, which goes on from peer to peer.
    Query,
    /// It was a member a moment ago.
    Lost,
    /// We were connected to it ourselves.
    Memory,
    /// A provider record.
    Kademlia,
    /// The local network.
    Network,
    /// This peer.
    Peer(PeerId),
}

/// The dials of one peer that are under way.
#[derive(Debug)]
struct Dial {
    /// At whose word, once for each.
    sources: Vec<Source>,
    sockets: Vec<Socket>,
    since: Instant,
}

/// What may be dialled now. A dial counts from [`admit`](DialBudget::admit) to [`finished`](DialBudget::finished).
///
/// Whoever dials at the word of others holds it; clones are the same budget.
#[derive(Clone, Debug)]
pub(crate) struct DialBudget(Arc<Mutex<Budget>>);

impl DialBudget {
    pub(crate) fn new(now: Instant) -> Self {
        DialBudget(Arc::new(Mutex::new(Budget::new(now))))
    }

    /// True if no dial at all would be admitted now.
    pub(super) fn is_exhausted(&self) -> bool {
        self.0.lock().is_exhausted()
    }

    /// Those of `addresses`, told by `source`, at which `peer` may be dialled now; none if it has to wait.
    pub(crate) fn admit(&self, peer: PeerId, source: Source, addresses: &[Multiaddr], now: Instant) -> Vec<Multiaddr> {
        self.0.lock().admit(peer, source, addresses, now)
    }

    /// Nothing of what was dialled before came to where it is dialled now.
    pub(super) fn network_changed(&self, now: Instant) {
        self.0.lock().network_changed(now);
    }

    /// The last dial of this IP didn't leave our machine.
    pub(super) fn not_sent(&self, ip: IpAddr) {
        self.0.lock().not_sent(ip);
    }

    /// Whose dials have been under way since then.
    pub(super) fn dialled_before(&self, then: Instant) -> Vec<PeerId> {
        let budget = self.0.lock();
        budget.under_way.iter().filter(|(_, dial)| dial.since <= then).map(|(peer, _)| *peer).collect()
    }

    /// The dial of this peer, if there was one, has ended.
    pub(super) fn finished(&self, peer: &PeerId) {
        self.0.lock().finished(peer);
    }

    /// Forget dials that have been under way for too long.
    pub(super) fn tick(&self, now: Instant) {
        self.0.lock().tick(now);
    }
}

#[derive(Debug)]
struct Budget {
    public: Bucket,
    nearby: Bucket,
    sources: LruCache<(Source, bool), Bucket>,
    ips: LruCache<IpAddr, Vec<Instant>>,
    under_way: BTreeMap<PeerId, Dial>,
    a_source: BTreeMap<Source, usize>,
    sockets: BTreeSet<Socket>,
    network_changed: Option<Instant>,
    nearby_sockets: LruCache<Socket, Bucket>,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Budget {
            public: Bucket::full(PUBLIC, now),
            nearby: Bucket::full(NEARBY, now),
            sources: LruCache::new(MAX_REMEMBERED),
            ips: LruCache::new(MAX_REMEMBERED),
            under_way: BTreeMap::new(),
            a_source: BTreeMap::new(),
            sockets: BTreeSet::new(),
            network_changed: None,
            nearby_sockets: LruCache::new(MAX_REMEMBERED),
        }
    }

    fn network_changed(&mut self, now: Instant) {
        let recent = |last| now.saturating_duration_since(last) < NETWORK_CHANGES_EVERY;
        if !self.network_changed.is_some_and(recent) {
            self.network_changed = Some(now);
            self.ips.clear();
        }
    }

    fn not_sent(&mut self, ip: IpAddr) {
        if let Some(dials) = self.ips.get_mut(&ip) {
            dials.pop();
        }
    }

    fn is_exhausted(&self) -> bool {
        self.under_way.len() >= MAX_UNDER_WAY
    }

    fn admit(&mut self, peer: PeerId, source: Source, addresses: &[Multiaddr], now: Instant) -> Vec<Multiaddr> {
        let max_under_way = match source {
            Source::Query => MAX_UNDER_WAY_OF_QUERIES,
            Source::Memory => MAX_UNDER_WAY_FROM_MEMORY,
            Source::Lost => MAX_UNDER_WAY_OF_LOST,
            _ => MAX_UNDER_WAY_A_SOURCE,
        };
        let busy = self.a_source.get(&source).is_some_and(|dials| *dials >= max_under_way);
        // Another address may be told while a dead one is being dialled.
        let of_peer = self.under_way.get(&peer).map_or(0, |dial| dial.sources.len());
        if busy || self.is_exhausted() || of_peer >= MAX_DIALS_OF_PEER {
            return Vec::new();
        }
        let (mut admitted, mut sockets, mut public) = (Vec::new(), Vec::new(), false);
        for address in addresses {
            let Some(socket) = Socket::of(address) else { continue };
            let is_public = socket.scope() == Scope::Public;
            if self.sockets.contains(&socket) || sockets.contains(&socket) || !self.has_room(socket, is_public, now) {
                continue;
            }
            public |= is_public;
            sockets.push(socket);
            admitted.push(address.clone());
        }
        if admitted.is_empty() || !self.take_token(source, public, now) {
            return Vec::new();
        }
        for (n, socket) in sockets.iter().enumerate() {
            self.sockets.insert(*socket);
            if socket.scope() == Scope::Public {
                self.count_ip(socket.ip, now);
            } else {
                // The first has been paid for with the dial.
                self.nearby.take_many(u32::from(n > 0));
                self.nearby_sockets.entry(*socket).or_insert_with(|| Bucket::full(A_NEARBY_SOCKET, now)).take();
            }
        }
        *self.a_source.entry(source).or_default() += 1;
        let dial =
            self.under_way.entry(peer).or_insert_with(|| Dial { sources: Vec::new(), sockets: Vec::new(), since: now });
        dial.sources.push(source);
        dial.sockets.extend(sockets);
        admitted
    }

    fn take_token(&mut self, source: Source, public: bool, now: Instant) -> bool {
        let (all, rate) = match (public, source) {
            (true, Source::Query) => (&mut self.public, PUBLIC_OF_QUERIES),
            (true, _) => (&mut self.public, PUBLIC_A_SOURCE),
            (false, _) => (&mut self.nearby, NEARBY_A_SOURCE),
        };
        if !all.has_one(now) {
            return false;
        }
        if !matches!(source, Source::Memory | Source::Lost) {
            let own = self.sources.entry((source, public)).or_insert_with(|| Bucket::full(rate, now));
            if !own.has_one(now) {
                return false;
            }
            own.take();
        }
        all.take();
        true
    }

    fn has_room(&mut self, socket: Socket, is_public: bool, now: Instant) -> bool {
        if is_public {
            return self.ip_has_room(socket.ip, now);
        }
        self.nearby_sockets.get_mut(&socket).is_none_or(|bucket| bucket.has_one(now))
    }

    fn ip_has_room(&mut self, ip: IpAddr, now: Instant) -> bool {
        let Some(dials) = self.ips.get_mut(&ip) else { return true };
        dials.retain(|at| now.saturating_duration_since(*at) < IP_PERIOD);
        dials.len() < DIALS_AN_IP
    }

    fn count_ip(&mut self, ip: IpAddr, now: Instant) {
        self.ips.entry(ip).or_insert_with(Vec::new).push(now);
    }

    fn finished(&mut self, peer: &PeerId) {
        let Some(dial) = self.under_way.remove(peer) else { return };
        for socket in &dial.sockets {
            self.sockets.remove(socket);
        }
        for source in &dial.sources {
            if let Some(dials) = self.a_source.get_mut(source) {
                *dials = dials.saturating_sub(1);
                if *dials == 0 {
                    self.a_source.remove(source);
                }
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        let old = |dial: &Dial| now.saturating_duration_since(dial.since) >= FORGOTTEN_AFTER;
        let forgotten: Vec<PeerId> =
            self.under_way.iter().filter(|(_, dial)| old(dial)).map(|(peer, _)| *peer).collect();
        for peer in forgotten {
            self.finished(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ip: &str, port: u16) -> Vec<Multiaddr> {
        vec![format!("/ip4/{ip}/tcp/{port}").parse().unwrap()]
    }

    struct Clock(DialBudget, Instant);

    impl Clock {
        fn new() -> Self {
            let now = Instant::now();
            Clock(DialBudget::new(now), now)
        }

        fn wait(&mut self, seconds: f64) {
            self.1 += Duration::from_secs_f64(seconds);
        }

        /// Dial a new peer there, and see it end at once.
        fn dials(&mut self, source: Source, addresses: &[Multiaddr]) -> bool {
            let peer = PeerId::random();
            let admitted = !self.0.admit(peer, source, addresses, self.1).is_empty();
            self.0.finished(&peer);
            admitted
        }
    }

    fn public(n: u8) -> Vec<Multiaddr> {
        address(&format!("203.0.113.{n}"), 1)
    }

    #[test]
    fn one_source_makes_us_dial_twice_a_second() {
        let mut clock = Clock::new();
        let source = Source::Peer(PeerId::random());
        let mut dials = (0..100).filter(|n| clock.dials(source, &public(*n))).count();
        assert_eq!(dials, 2);
        clock.wait(1.0);
        dials = (100..200).filter(|n| clock.dials(source, &public(*n))).count();
        assert_eq!(dials, 2);
    }

    #[test]
    fn all_sources_make_us_dial_sixteen_times_a_second() {
        let mut clock = Clock::new();
        let dials = (0..100).filter(|n| clock.dials(Source::Peer(PeerId::random()), &public(*n))).count();
        assert_eq!(dials, 16);
    }

    #[test]
    fn a_public_ip_is_dialled_four_times_a_minute() {
        let mut clock = Clock::new();
        let count = |clock: &mut Clock, ip: &str| {
            (1..=10).filter(|port| clock.dials(Source::Memory, &address(ip, *port))).count()
        };
        assert_eq!(count(&mut clock, "203.0.113.1"), 4);
        clock.wait(59.0);
        assert_eq!(count(&mut clock, "203.0.113.1"), 0);
        clock.wait(2.0);
        assert_eq!(count(&mut clock, "203.0.113.1"), 4);
        assert_eq!(count(&mut clock, "127.0.0.1"), 10);
        assert_eq!(count(&mut clock, "10.0.0.1"), 10);
    }

    #[test]
    fn dials_that_did_not_leave_the_machine_do_not_count() {
        let mut clock = Clock::new();
        let ip = "203.0.113.1".parse().unwrap();
        for port in 1..=10 {
            assert!(clock.dials(Source::Memory, &address("203.0.113.1", port)));
            clock.0.not_sent(ip);
        }
        for port in 1..=4 {
            assert!(clock.dials(Source::Memory, &address("203.0.113.1", port)));
        }
        assert!(!clock.dials(Source::Memory, &address("203.0.113.1", 5)));
        clock.0.network_changed(clock.1);
        assert!(clock.dials(Source::Memory, &address("203.0.113.1", 5)));
    }

    #[test]
    fn one_neighbours_socket_is_not_dialled_under_ever_new_names() {
        let mut clock = Clock::new();
        let here = address("127.0.0.1", 4001);
        assert_eq!((0..1000).filter(|_| clock.dials(Source::Query, &here)).count(), 16);
        clock.wait(5.0);
        assert_eq!((0..1000).filter(|_| clock.dials(Source::Memory, &here)).count(), 5);
    }

    #[test]
    fn queries_of_the_dht_leave_half_of_all_dials_to_others() {
        let mut clock = Clock::new();
        assert_eq!((0..100).filter(|n| clock.dials(Source::Query, &public(*n))).count(), 8);
        let others = (100..200).filter(|n| clock.dials(Source::Peer(PeerId::random()), &public(*n)));
        assert_eq!(others.count(), 8);
    }

    #[test]
    fn what_is_told_during_a_dial_is_dialled_beside_it_three_times_at_most() {
        let Clock(budget, now) = Clock::new();
        let (peer, other) = (PeerId::random(), Source::Peer(PeerId::random()));
        assert_eq!(budget.admit(peer, Source::Memory, &address("10.0.0.1", 1), now).len(), 1);
        assert!(budget.admit(peer, other, &address("10.0.0.1", 1), now).is_empty(), "it is being dialled there");
        assert_eq!(budget.admit(peer, other, &address("10.0.0.2", 1), now).len(), 1);
        assert_eq!(budget.admit(peer, Source::Kademlia, &address("10.0.0.3", 1), now).len(), 1);
        assert!(budget.admit(peer, Source::Network, &address("10.0.0.4", 1), now).is_empty());
        budget.finished(&peer);
        let budget = budget.0.lock();
        assert!(budget.under_way.is_empty() && budget.a_source.is_empty() && budget.sockets.is_empty());
    }

    #[test]
    fn a_socket_is_dialled_once_at_a_time() {
        let Clock(budget, now) = Clock::new();
        let here = address("127.0.0.1", 4001);
        let (first, second) = (PeerId::random(), PeerId::random());
        assert!(!budget.admit(first, Source::Network, &here, now).is_empty());
        assert!(budget.admit(second, Source::Memory, &here, now).is_empty());
        budget.finished(&first);
        assert!(!budget.admit(second, Source::Memory, &here, now).is_empty());
    }

    #[test]
    fn a_hundred_neighbours_are_dialled_at_once_but_not_all_at_the_same_time() {
        let mut clock = Clock::new();
        let source = Source::Peer(PeerId::random());
        let dials = (1..=100).filter(|port| clock.dials(source, &address("127.0.0.1", *port))).count();
        assert_eq!(dials, 100);
        let Clock(budget, now) = clock;
        let dials = (1000..2000)
            .filter(|port| !budget.admit(PeerId::random(), source, &address("127.0.0.1", *port), now).is_empty())
            .count();
        assert_eq!(dials, MAX_UNDER_WAY_A_SOURCE);
    }

    #[test]
    fn dials_without_an_outcome_do_not_count_for_ever() {
        let Clock(budget, mut now) = Clock::new();
        let fill = |budget: &DialBudget, now| {
            (1..1000)
                .filter(|port| {
                    let source = Source::Peer(PeerId::random());
                    !budget.admit(PeerId::random(), source, &address("10.0.0.1", *port), now).is_empty()
                })
                .count()
        };
        assert_eq!(fill(&budget, now), MAX_UNDER_WAY);
        assert!(budget.is_exhausted());
        now += FORGOTTEN_AFTER;
        budget.tick(now);
        assert_eq!(fill(&budget, now), MAX_UNDER_WAY);
    }
}

//! What we tell others of ourselves and of the members that we are connected to.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use hashlink::LruCache;
use libp2p::{Multiaddr, PeerId};
use parking_lot::Mutex;

use super::address_filter::Scope;
use super::bucket::{Bucket, Rate};
use super::flapping::Flapping;
use super::key::Topic;
use super::messages::{Blob, Cursor, Description, Listed, Listing, MAX_METHODS};
use crate::fingerprint::Fingerprint;
use crate::service::Service;

/// Members in one answer, and as many that are gone.
pub(super) const PAGE: usize = 256;
/// In a first answer, so many of those that come and go all the time: they leave room for the steady ones.
const MAX_UNSTEADY: usize = 64;
/// Of those that left, so many are remembered.
const MAX_GONE: usize = 4096;
/// Bytes of answers to one asker: twice a full list at once, and about one a minute. Past it an answer says nothing new, and
/// the asker may ask again from where it was.
const ANSWERS: Rate = Rate { burst: 512.0 * 1024.0, a_second: 8.0 * 1024.0 };
/// Bytes of answers to all askers.
const ALL_ANSWERS: Rate = Rate { burst: 64.0 * 1024.0 * 1024.0, a_second: 8.0 * 1024.0 * 1024.0 };
/// What an answer takes, and each entry of it, beside its bytes.
const OVERHEAD: usize = 64;
/// So many askers are remembered; one who isn't asks for the first time.
const MAX_ASKERS: usize = 4096;
/// Topics of a question past these are not looked at.
const MAX_TOPICS: usize = 1024;

/// The services that a peer may see.
pub(crate) type VisibleServices = Arc<dyn Fn(&PeerId) -> Vec<Service> + Send + Sync>;

/// Shared between discovery, which keeps it true, and the internal service, which reads it out.
///
/// Each change has a number, so that one who asks again is told only what is new.
pub(super) struct MemberLog {
    topics: Vec<Topic>,
    visible: VisibleServices,
    state: Mutex<State>,
    answers: Mutex<Answers>,
}

/// How many bytes of answers were given of late.
#[derive(Debug)]
struct Answers {
    all: Option<Bucket>,
    askers: LruCache<PeerId, Bucket>,
}

impl Answers {
    fn buckets(&mut self, asker: PeerId, now: Instant) -> [&mut Bucket; 2] {
        let asker = self.askers.entry(asker).or_insert_with(|| Bucket::full(ANSWERS, now));
        [self.all.get_or_insert_with(|| Bucket::full(ALL_ANSWERS, now)), asker]
    }

    fn has_room(&mut self, asker: PeerId, now: Instant) -> bool {
        self.buckets(asker, now).into_iter().all(|bucket| bucket.has_one(now))
    }

    fn count(&mut self, asker: PeerId, listing: &Listing, now: Instant) {
        let listed = listing.members.iter().flat_map(|listed| listed.addresses.iter().chain([&listed.peer]));
        let bytes: usize = listed.chain(&listing.gone).map(|blob| blob.0.len() + OVERHEAD).sum();
        let bytes = u32::try_from(bytes + OVERHEAD).unwrap_or(u32::MAX);
        self.buckets(asker, now).into_iter().for_each(|bucket| bucket.take_many(bytes));
    }
}

#[derive(Debug, Default)]
struct State {
    /// Tells the numbers of this process from those of one before it.
    epoch: u64,
    version: u64,
    services_version: u64,
    entries: BTreeMap<PeerId, Entry>,
    log: BTreeMap<u64, PeerId>,
    /// The versions at which members left, oldest first.
    gone: BTreeMap<u64, PeerId>,
    flapping: Flapping,
}

#[derive(Debug)]
struct Entry {
    version: u64,
    topics: Arc<[Topic]>,
    /// `None` once it has left.
    listed: Option<Listed>,
}

impl MemberLog {
    pub(super) fn new(topics: Vec<Topic>, visible: VisibleServices, epoch: u64) -> Self {
        let answers = Mutex::new(Answers { all: None, askers: LruCache::new(MAX_ASKERS) });
        MemberLog { topics, visible, state: Mutex::new(State { epoch, ..State::default() }), answers }
    }

    pub(super) fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// A member is connected and can be reached there.
    pub(super) fn connected(&self, peer: PeerId, topics: Arc<[Topic]>, addresses: &[Multiaddr], now: Instant) {
        let listed = Listed {
            peer: Blob(peer.to_bytes()),
            addresses: addresses.iter().filter(|it| can_be_told(it)).map(|address| Blob(address.to_vec())).collect(),
        };
        let mut state = self.state.lock();
        if state.flapping.update(&peer, &topics, &listed) {
            return;
        }
        let known = state.entries.get(&peer).filter(|entry| entry.listed.is_some());
        if known.is_some_and(|entry| entry.topics == topics && entry.listed.as_ref() == Some(&listed)) {
            return;
        }
        if known.is_none() && state.flapping.came(peer, &topics, &listed, now) {
            // It isn't gone either.
            return state.drop_entry(&peer);
        }
        state.put(peer, topics, Some(listed));
    }

    /// A member isn't connected any more; others may be connected to it.
    pub(super) fn disconnected(&self, peer: &PeerId) {
        let mut state = self.state.lock();
        state.flapping.went(peer);
        if state.entries.get(peer).is_some_and(|entry| entry.listed.is_some()) {
            state.drop_entry(peer);
        }
    }

    /// A member has left.
    pub(super) fn left(&self, peer: PeerId, topics: Arc<[Topic]>) {
        let mut state = self.state.lock();
        state.flapping.went(&peer);
        state.put(peer, topics, None);
        while state.gone.len() > MAX_GONE {
            let Some((_, oldest)) = state.gone.pop_first() else { break };
            state.drop_entry(&oldest);
        }
    }

    /// Our own services are others now.
    pub(super) fn services_changed(&self) {
        self.state.lock().services_version += 1;
    }

    pub(super) fn describe(&self, asker: &PeerId, topics: &[Topic]) -> Description {
        // Taken first: a change that comes in between is told once too often rather than never.
        let version = self.state.lock().services_version;
        let shared = self.shared(topics);
        let services = match shared.is_empty() {
            true => Vec::new(),
            false => catch_unwind(AssertUnwindSafe(|| (self.visible)(asker))).unwrap_or_default(),
        };
        let methods = services.iter().flat_map(Service::methods).map(Fingerprint::from).take(MAX_METHODS).collect();
        Description {
            shared,
            services: services.iter().map(|service| service.name().into()).collect(),
            version,
            methods,
        }
    }

    /// The news since then, as far as the asker has not been given too much already.
    pub(super) fn list(&self, asker: &PeerId, topics: &[Topic], since: Cursor, now: Instant) -> Listing {
        let room = self.answers.lock().has_room(*asker, now);
        let listing = self.news(asker, if room { topics } else { &[] }, since, now);
        if room {
            self.answers.lock().count(*asker, &listing, now);
            return listing;
        }
        // It hasn't heard anything, so it is where it was.
        let version = if since.epoch == listing.cursor.epoch { since.version } else { 0 };
        Listing { cursor: Cursor { version, ..listing.cursor }, ..listing }
    }

    fn news(&self, asker: &PeerId, topics: &[Topic], since: Cursor, now: Instant) -> Listing {
        let shared = self.shared(topics);
        let mut state = self.state.lock();
        for (peer, settled) in state.flapping.settled(now) {
            state.put(peer, settled.topics, Some(settled.listed));
        }
        let since = if since.epoch == state.epoch { since.version } else { 0 };
        let mut listing = Listing {
            cursor: Cursor { epoch: state.epoch, version: state.version },
            more: false,
            members: Vec::new(),
            gone: Vec::new(),
            description: state.services_version,
        };
        if shared.is_empty() {
            return listing;
        }
        let is_for_it = |peer: &PeerId, topics: &[Topic]| peer != asker && topics.iter().any(|it| shared.contains(it));
        if since == 0 {
            // No news, but who hears of us for the first time may have nobody else to hear of them.
            let unsteady = state.flapping.here().filter(|(peer, it)| is_for_it(peer, &it.topics));
            listing.members.extend(unsteady.take(MAX_UNSTEADY).map(|(_, it)| it.listed.clone()));
        }
        for (version, peer) in state.log.range(since.saturating_add(1)..) {
            let Some(entry) = state.entries.get(peer) else { continue };
            if !is_for_it(peer, &entry.topics) {
                continue;
            }
            if listing.members.len() == PAGE || listing.gone.len() == PAGE {
                listing.cursor.version = version - 1;
                listing.more = true;
                break;
            }
            match &entry.listed {
                Some(listed) => listing.members.push(listed.clone()),
                // Who hears of us for the first time hasn't heard of those before.
                None if since > 0 => listing.gone.push(Blob(peer.to_bytes())),
                None => {}
            }
        }
        listing
    }

    fn shared(&self, topics: &[Topic]) -> Vec<Topic> {
        let asked = topics.get(..MAX_TOPICS).unwrap_or(topics);
        self.topics.iter().filter(|topic| asked.contains(topic)).copied().collect()
    }
}

/// What nobody could believe isn't told: names that the user dialled, and addresses of one link.
fn can_be_told(address: &Multiaddr) -> bool {
    Scope::of(address).is_some()
}

impl State {
    fn put(&mut self, peer: PeerId, topics: Arc<[Topic]>, listed: Option<Listed>) {
        self.drop_entry(&peer);
        self.version += 1;
        let version = self.version;
        self.log.insert(version, peer);
        if listed.is_none() {
            self.gone.insert(version, peer);
        }
        self.entries.insert(peer, Entry { version, topics, listed });
    }

    fn drop_entry(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.remove(peer) {
            self.log.remove(&entry.version);
            self.gone.remove(&entry.version);
        }
    }
}

impl fmt::Debug for MemberLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberLog").field("state", &self.state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::key::topic;

    const NEW: Cursor = Cursor { epoch: 0, version: 0 };

    fn log_of(topics: &[&str]) -> MemberLog {
        let visible: VisibleServices = Arc::new(|_| vec![Service::of_test("EchoService")]);
        MemberLog::new(topics.iter().map(|name| topic(name)).collect(), visible, 77)
    }

    fn in_topics(names: &[&str]) -> Arc<[Topic]> {
        names.iter().map(|name| topic(name)).collect()
    }

    fn somewhere() -> Vec<Multiaddr> {
        vec!["/ip4/203.0.113.1/tcp/1".parse().unwrap()]
    }

    fn peers(listing: &Listing) -> Vec<PeerId> {
        listing.members.iter().map(|listed| PeerId::from_bytes(&listed.peer.0).unwrap()).collect()
    }

    #[test]
    fn describes_what_is_shared_and_visible() {
        let log = log_of(&["a", "b"]);
        let asker = PeerId::random();
        let description = log.describe(&asker, &[topic("b"), topic("c")]);
        assert_eq!(description.shared, [topic("b")]);
        assert_eq!(description.services, ["EchoService"]);
        let stranger = log.describe(&asker, &[topic("c")]);
        assert!(stranger.shared.is_empty() && stranger.services.is_empty());
    }

    #[test]
    fn a_rule_that_panics_shows_nothing() {
        let visible: VisibleServices = Arc::new(|_| panic!("no"));
        let log = MemberLog::new(vec![topic("a")], visible, 1);
        assert!(log.describe(&PeerId::random(), &[topic("a")]).services.is_empty());
    }

    #[test]
    fn tells_only_what_is_new() {
        let log = log_of(&["a"]);
        let (asker, one, two) = (PeerId::random(), PeerId::random(), PeerId::random());
        log.connected(asker, in_topics(&["a"]), &somewhere(), Instant::now());
        log.connected(one, in_topics(&["a"]), &somewhere(), Instant::now());
        let first = log.list(&asker, &[topic("a")], NEW, Instant::now());
        assert_eq!(peers(&first), [one]);
        log.connected(one, in_topics(&["a"]), &somewhere(), Instant::now());
        let nothing = log.list(&asker, &[topic("a")], first.cursor, Instant::now());
        assert!(nothing.members.is_empty() && nothing.cursor == first.cursor);
        log.connected(two, in_topics(&["a"]), &somewhere(), Instant::now());
        log.left(one, in_topics(&["a"]));
        let news = log.list(&asker, &[topic("a")], first.cursor, Instant::now());
        assert_eq!(peers(&news), [two]);
        assert_eq!(news.gone, [Blob(one.to_bytes())]);
        let to_a_newcomer =
            log.list(&PeerId::random(), &[topic("a")], Cursor { epoch: 5, version: 99 }, Instant::now());
        assert!(to_a_newcomer.gone.is_empty());
        assert_eq!(to_a_newcomer.members.len(), 2);
    }

    #[test]
    fn lists_only_the_connected_of_a_topic_that_both_are_in() {
        let log = log_of(&["a", "b"]);
        let (one, two, three) = (PeerId::random(), PeerId::random(), PeerId::random());
        log.connected(one, in_topics(&["a"]), &somewhere(), Instant::now());
        log.connected(two, in_topics(&["a", "b"]), &somewhere(), Instant::now());
        log.connected(three, in_topics(&["b"]), &somewhere(), Instant::now());
        log.disconnected(&three);
        let asker = PeerId::random();
        assert_eq!(peers(&log.list(&asker, &[topic("b")], NEW, Instant::now())), [two]);
        assert!(log.list(&asker, &[topic("c")], NEW, Instant::now()).members.is_empty());
    }

    #[test]
    fn gives_many_in_pages() {
        let log = log_of(&["a"]);
        for _ in 0..600 {
            log.connected(PeerId::random(), in_topics(&["a"]), &somewhere(), Instant::now());
        }
        let (mut cursor, mut pages, mut all) = (NEW, 0, 0);
        loop {
            let page = log.list(&PeerId::random(), &[topic("a")], cursor, Instant::now());
            (pages, all, cursor) = (pages + 1, all + page.members.len(), page.cursor);
            if !page.more {
                break;
            }
        }
        assert_eq!((pages, all), (3, 600));
    }

    #[test]
    fn one_who_asks_for_everything_again_and_again_is_told_little() {
        let log = log_of(&["a"]);
        for _ in 0..600 {
            log.connected(PeerId::random(), in_topics(&["a"]), &vec![somewhere().remove(0); 8], Instant::now());
        }
        let (asker, other, mut now) = (PeerId::random(), PeerId::random(), Instant::now());
        let ask = |asker: &PeerId, now| log.list(asker, &[topic("a")], NEW, now);
        let full = ask(&asker, now);
        assert_eq!(full.members.len(), PAGE);
        let told = (0..10_000).filter(|_| !ask(&asker, now).members.is_empty()).count();
        assert!(told < 10, "{told}");
        let nothing = log.list(&asker, &[topic("a")], full.cursor, now);
        assert!(nothing.members.is_empty() && nothing.cursor == full.cursor && !nothing.more, "it may ask again");
        assert!(!ask(&other, now).members.is_empty());
        now += std::time::Duration::from_secs(60);
        assert!(!ask(&asker, now).members.is_empty());
    }

    /// A node that comes back every five seconds knows nothing each time.
    #[test]
    fn one_who_is_restarted_often_is_told_all_of_a_group_each_time() {
        let log = log_of(&["a"]);
        for _ in 0..50 {
            log.connected(PeerId::random(), in_topics(&["a"]), &somewhere(), Instant::now());
        }
        let (asker, start) = (PeerId::random(), Instant::now());
        for restart in 0..100 {
            let now = start + std::time::Duration::from_secs(5 * restart);
            assert_eq!(log.list(&asker, &[topic("a")], NEW, now).members.len(), 50, "{restart}");
        }
    }

    #[test]
    fn one_that_comes_and_goes_all_the_time_is_no_news_until_it_has_stayed() {
        let log = log_of(&["a"]);
        let (asker, restless, start) = (PeerId::random(), PeerId::random(), Instant::now());
        let (topics, at) = (in_topics(&["a"]), |seconds| start + std::time::Duration::from_secs(seconds));
        log.connected(PeerId::random(), topics.clone(), &somewhere(), start);
        let mut cursor = log.list(&asker, &topics, NEW, start).cursor;
        let mut told = 0;
        for restart in 0..40 {
            log.left(restless, topics.clone());
            log.connected(restless, topics.clone(), &somewhere(), at(5 * restart));
            // Where it is may change meanwhile, which makes it no news either.
            log.connected(restless, topics.clone(), &[], at(5 * restart));
            let news = log.list(&asker, &topics, cursor, at(5 * restart));
            told += peers(&news).len();
            cursor = news.cursor;
            let first = log.list(&PeerId::random(), &topics, NEW, at(5 * restart));
            assert!(peers(&first).contains(&restless) && first.members.len() == 2, "a newcomer is told what is there");
        }
        assert_eq!(told, 2);
        assert!(peers(&log.list(&asker, &topics, cursor, at(195 + 299))).is_empty());
        assert_eq!(peers(&log.list(&asker, &topics, cursor, at(195 + 300))), [restless]);
        log.disconnected(&restless);
        assert!(!peers(&log.list(&asker, &topics, NEW, at(195 + 300))).contains(&restless));
    }

    #[test]
    fn many_that_come_and_go_leave_room_for_those_that_stay() {
        let log = log_of(&["a"]);
        let (topics, now) = (in_topics(&["a"]), Instant::now());
        for peer in (0..1000).map(|_| PeerId::random()) {
            for _ in 0..3 {
                log.disconnected(&peer);
                log.connected(peer, topics.clone(), &somewhere(), now);
            }
        }
        let steady = PeerId::random();
        log.connected(steady, topics.clone(), &somewhere(), now);
        let first = log.list(&PeerId::random(), &topics, NEW, now);
        assert!(peers(&first).contains(&steady) && first.members.len() == MAX_UNSTEADY + 1);
    }

    #[test]
    fn remembers_a_bounded_number_of_the_gone() {
        let log = log_of(&["a"]);
        for _ in 0..2 * MAX_GONE {
            log.left(PeerId::random(), in_topics(&["a"]));
        }
        let state = log.state.lock();
        assert_eq!((state.entries.len(), state.log.len(), state.gone.len()), (MAX_GONE, MAX_GONE, MAX_GONE));
    }
}

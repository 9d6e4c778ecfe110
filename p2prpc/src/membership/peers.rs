//! What is kept of a peer while it is connected.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};
use rand::Rng;

use super::address_filter::{Scope, filter_proven};
use super::identified::Heard;
use super::messages::Cursor;
use super::strangers::Names;
use crate::networks::{Networks, ip_of};

/// Between two questions for members: doubling, and from the start again when there was news.
const QUICK_LIST: Duration = Duration::from_millis(250);
const LIST_EVERY: Duration = Duration::from_secs(5);
/// Pages of a long answer that are asked for in a row.
const MAX_PAGES: u32 = 8;

#[derive(Debug)]
pub(super) struct Connected {
    /// From how far it speaks to us: that bounds which addresses it may tell.
    pub(super) scope: Scope,
    pub(super) heard: Instant,
    /// It speaks the application's protocol.
    pub(super) supported: bool,
    /// What it says of itself.
    pub(super) said: Heard,
    /// It has said what it is, as libp2p has it.
    pub(super) identified: bool,
    /// It shares no rendezvous with us, by its own words.
    pub(super) stranger: bool,
    /// The user has been told that it is none of ours.
    pub(super) told: bool,
    /// What it said of itself, as far as it tells a stranger.
    pub(super) names: Names,
    /// It speaks as members do, or is one.
    pub(super) is_ours: bool,
    /// It said that it leaves.
    pub(super) leaving: bool,
    /// It is silent: its connections are being closed, whether they know or not.
    pub(super) suspected: bool,
    pub(super) describing: Handshake,
    pub(super) failures: u32,
    /// Where we reached it, if we dialled it, and where it says that it listens.
    pub(super) addresses: Vec<Multiaddr>,
    /// The other end of its last connection.
    pub(super) remote: Option<IpAddr>,
    /// The other end of its first connection, until the peer is known to want it.
    pub(super) at: Option<Multiaddr>,
    dialled: Option<Multiaddr>,
    /// Present while it is a member.
    pub(super) asking: Option<Polling>,
}

/// How far we are with learning who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handshake {
    NotYet,
    At(Instant),
    UnderWay,
    /// It said so, in this version.
    Done(u64),
}

impl Connected {
    pub(super) fn new(peer: PeerId, remote: &Multiaddr, outbound: bool, fallback: Scope, now: Instant) -> Self {
        // The one kind of address without a scope of its own is a name, and that came from the user.
        let scope = Scope::of_remote(remote).unwrap_or(fallback);
        let mut connected = Connected {
            scope,
            heard: now,
            supported: false,
            said: Heard::new(now),
            identified: false,
            stranger: false,
            told: false,
            names: Names::default(),
            is_ours: false,
            leaving: false,
            suspected: false,
            describing: Handshake::NotYet,
            failures: 0,
            addresses: Vec::new(),
            remote: ip_of(remote),
            at: None,
            dialled: None,
            asking: None,
        };
        if outbound {
            connected.dialled_at(peer, remote);
        }
        connected
    }

    pub(super) fn dialled_at(&mut self, peer: PeerId, remote: &Multiaddr) {
        if let Ok(address) = remote.clone().with_p2p(peer) {
            self.addresses.retain(|known| *known != address);
            self.addresses.insert(0, address.clone());
            self.dialled = Some(address);
        }
    }

    pub(super) fn is_dialled(&self) -> bool {
        self.dialled.is_some()
    }

    pub(super) fn listens_at(&mut self, peer: PeerId, listen_addresses: &[Multiaddr], networks: &Networks) {
        self.addresses = filter_proven(&peer, listen_addresses, self.scope, networks, self.remote);
        if let Some(dialled) = &self.dialled {
            self.addresses.retain(|known| known != dialled);
            self.addresses.insert(0, dialled.clone());
        }
    }

    /// True if it has to be asked now who it is; then that is under way.
    pub(super) fn starts_describing(&mut self, now: Instant) -> bool {
        let due = matches!(self.describing, Handshake::At(at) if at <= now) && self.supported && !self.leaving;
        if due {
            self.describing = Handshake::UnderWay;
        }
        due
    }
}

/// The questions to one member for others.
#[derive(Debug)]
pub(super) struct Polling {
    cursor: Cursor,
    next: Instant,
    pause: Duration,
    under_way: bool,
    /// Asked more often while there is news.
    quick: bool,
    pages: u32,
}

impl Polling {
    /// The first question is asked at once of one who is asked quickly, and within a few seconds of others, whose answers
    /// are likely the same.
    pub(super) fn new(quick: bool, now: Instant, rng: &mut impl Rng) -> Self {
        let wait = if quick { Duration::ZERO } else { LIST_EVERY.mul_f64(rng.random_range(0.2..1.0)) };
        let pause = if quick { QUICK_LIST } else { LIST_EVERY };
        Polling { cursor: Cursor::default(), next: now + wait, pause, under_way: false, quick, pages: 0 }
    }

    pub(super) fn is_quick(&self) -> bool {
        self.quick
    }

    /// The question to ask now, if it is time.
    pub(super) fn starts(&mut self, now: Instant) -> Option<Cursor> {
        if self.under_way || self.next > now {
            return None;
        }
        self.under_way = true;
        Some(self.cursor)
    }

    /// It answered: with `news`, and with `more` to come.
    pub(super) fn answered(&mut self, cursor: Cursor, more: bool, news: bool, now: Instant, rng: &mut impl Rng) {
        self.under_way = false;
        self.cursor = cursor;
        if more && self.pages < MAX_PAGES {
            self.pages += 1;
            self.next = now;
            return;
        }
        self.pages = 0;
        if news && self.quick {
            self.pause = QUICK_LIST;
        }
        self.rest(now, rng);
        self.pause = (self.pause * 2).min(LIST_EVERY);
    }

    pub(super) fn failed(&mut self, now: Instant, rng: &mut impl Rng) {
        self.under_way = false;
        self.pause = LIST_EVERY;
        self.rest(now, rng);
    }

    fn rest(&mut self, now: Instant, rng: &mut impl Rng) {
        self.next = now + self.pause.mul_f64(rng.random_range(0.75..1.25));
    }

    /// Hear it out from the beginning again: what came to nothing once may be there now.
    pub(super) fn start_over(&mut self) {
        self.cursor = Cursor::default();
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn asks_often_at_first_and_every_five_seconds_later() {
        let (mut now, mut rng) = (Instant::now(), SmallRng::seed_from_u64(3));
        let mut asking = Polling::new(true, now, &mut rng);
        let mut times = Vec::new();
        let start = now;
        while now < start + Duration::from_secs(60) {
            if asking.starts(now).is_some() {
                times.push(now - start);
                asking.answered(Cursor::default(), false, false, now, &mut rng);
            }
            now += Duration::from_millis(50);
        }
        assert!(times.iter().filter(|at| **at < Duration::from_secs(3)).count() >= 4, "{times:?}");
        assert!((12..=20).contains(&times.len()), "{times:?}");
    }

    #[test]
    fn hears_a_long_answer_out_but_not_an_endless_one() {
        let (now, mut rng) = (Instant::now(), SmallRng::seed_from_u64(3));
        let mut asking = Polling::new(true, now, &mut rng);
        let mut pages = 0;
        while asking.starts(now).is_some() {
            pages += 1;
            asking.answered(Cursor { epoch: 1, version: pages }, true, true, now, &mut rng);
        }
        assert_eq!(pages, u64::from(MAX_PAGES) + 1);
    }

    #[test]
    fn believes_a_peer_within_its_scope() {
        let now = Instant::now();
        let peer = PeerId::random();
        let remote: Multiaddr = "/ip4/203.0.113.1/tcp/4001".parse().unwrap();
        let listen: Vec<Multiaddr> =
            ["/ip4/127.0.0.1/tcp/4001", "/ip4/203.0.113.9/tcp/4001"].iter().map(|text| text.parse().unwrap()).collect();
        let mut dialled = Connected::new(peer, &remote, true, Scope::Loopback, now);
        dialled.listens_at(peer, &listen, &Networks::fixed([]));
        let texts: Vec<String> = dialled.addresses.iter().map(ToString::to_string).collect();
        let expected = ["203.0.113.1", "203.0.113.9"].map(|ip| format!("/ip4/{ip}/tcp/4001/p2p/{peer}"));
        assert_eq!(texts, expected);
        let mut inbound = Connected::new(peer, &remote, false, Scope::Loopback, now);
        assert!(inbound.addresses.is_empty(), "the port it came from is not where it listens");
        inbound.listens_at(peer, &listen, &Networks::fixed([]));
        assert_eq!(inbound.addresses.len(), 1);
    }
}

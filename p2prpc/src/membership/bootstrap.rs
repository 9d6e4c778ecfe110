//! The peers that the user named: dialled until they answer, and again when they are gone, for ever.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};
use rand::Rng;

use super::eager::Eager;
use crate::membership::diagnosis::Reached;
use crate::networks::bare;

/// The pause after the first failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Short enough that a bootstrap peer that comes last is joined within 10 s.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A dial whose outcome was never said is made again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(20);

#[derive(Debug)]
enum State {
    Waiting {
        until: Instant,
    },
    Dialling {
        since: Instant,
    },
    /// It may be about to close the connection: what failed before counts until it is known to want it.
    Connected,
}

#[derive(Debug)]
struct Target {
    addresses: Vec<Multiaddr>,
    state: State,
    failures: u32,
    /// What was said of each address last, so that it isn't said again with each dial.
    errors: BTreeMap<Multiaddr, String>,
}

#[derive(Debug)]
pub(super) struct Bootstrap {
    targets: BTreeMap<PeerId, Target>,
    eager: Eager,
}

/// A pause with jitter, never longer than the backoff it comes from.
pub(super) fn backoff(failures: u32, first: Duration, longest: Duration, rng: &mut impl Rng) -> Duration {
    first.saturating_mul(1 << failures.min(16)).min(longest).mul_f64(rng.random_range(0.75..=1.0))
}

impl Bootstrap {
    pub(super) fn new(addresses: Vec<(PeerId, Multiaddr)>, local: PeerId, now: Instant) -> Self {
        let mut targets: BTreeMap<PeerId, Target> = BTreeMap::new();
        for (peer, address) in addresses {
            if peer == local {
                continue;
            }
            let target = targets.entry(peer).or_insert_with(|| Target {
                addresses: Vec::new(),
                state: State::Waiting { until: now },
                failures: 0,
                errors: BTreeMap::new(),
            });
            if !target.addresses.contains(&address) {
                target.addresses.push(address);
            }
        }
        Bootstrap { targets, eager: Eager::default() }
    }

    /// Those that are not connected are dialled at once.
    pub(super) fn network_changed(&mut self, now: Instant) {
        self.eager.starts(now);
        for target in self.targets.values_mut().filter(|target| !matches!(target.state, State::Connected)) {
            target.failures = 0;
            // The swarm knows whether a dial is under way.
            target.state = State::Waiting { until: now };
        }
    }

    /// Those that have been dialled since then.
    pub(super) fn dialled_before(&self, then: Instant) -> impl Iterator<Item = &PeerId> {
        let is_old = move |state: &State| matches!(state, State::Dialling { since } if *since <= then);
        self.targets.iter().filter(move |(_, target)| is_old(&target.state)).map(|(peer, _)| peer)
    }

    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.targets.contains_key(peer)
    }

    /// Its addresses as the user gave them.
    pub(super) fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.targets.get(peer).map_or(&[], |target| &target.addresses)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &[Multiaddr])> {
        self.targets.iter().map(|(peer, target)| (peer, &target.addresses[..]))
    }

    /// True if it is a bootstrap peer.
    pub(super) fn connected(&mut self, peer: &PeerId) -> bool {
        let Some(target) = self.targets.get_mut(peer) else { return false };
        target.state = State::Connected;
        true
    }

    /// It wants to be connected. True if it is a bootstrap peer.
    pub(super) fn admitted(&mut self, peer: &PeerId) -> bool {
        let Some(target) = self.targets.get_mut(peer) else { return false };
        target.failures = 0;
        target.errors.clear();
        true
    }

    /// It closed its connection at once: a dial that failed, whoever dialled.
    pub(super) fn refused_us(&mut self, peer: &PeerId, now: Instant) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.state = State::Dialling { since: now };
        }
    }

    /// Whatever it said, it is tried now.
    pub(super) fn retry(&mut self, peer: &PeerId, now: Instant) {
        if let Some(target) = self.targets.get_mut(peer).filter(|target| !matches!(target.state, State::Connected)) {
            target.failures = 0;
            target.state = State::Waiting { until: now };
        }
    }

    pub(super) fn disconnected(&mut self, peer: &PeerId, now: Instant, rng: &mut impl Rng) {
        if let Some(target) = self.targets.get_mut(peer) {
            target.state = State::Waiting { until: now + backoff(0, FIRST_PAUSE, LONGEST_PAUSE, rng) };
        }
    }

    /// A dial of it failed, with a reason for each address that was tried. The addresses of the user's that are worth a word, each with
    /// its own.
    pub(super) fn failed(
        &mut self,
        peer: &PeerId,
        error: &str,
        reasons: &[(Multiaddr, String)],
        now: Instant,
        rng: &mut impl Rng,
    ) -> Vec<(Multiaddr, String)> {
        let Some(target) = self.targets.get_mut(peer) else { return Vec::new() };
        let State::Dialling { .. } = target.state else { return Vec::new() };
        let until = self.eager.after(backoff(target.failures, FIRST_PAUSE, LONGEST_PAUSE, rng), now, rng);
        target.state = State::Waiting { until };
        target.failures = target.failures.saturating_add(1);
        let mut news = Vec::new();
        for address in &target.addresses {
            let reason = reasons.iter().find(|(at, _)| bare(at) == bare(address)).map(|(_, reason)| reason.as_str());
            // What stops a dial as a whole stops it at each address.
            let Some(reason) = reason.or(reasons.is_empty().then_some(error)) else { continue };
            if target.errors.get(address).is_none_or(|said| said != reason) {
                target.errors.insert(address.clone(), reason.to_owned());
                news.push((address.clone(), reason.to_owned()));
            }
        }
        news
    }

    /// What came of each address.
    pub(super) fn reached(&self) -> BTreeMap<Multiaddr, Reached> {
        let of = |target: &Target, address: &Multiaddr| match (&target.state, target.errors.get(address)) {
            (State::Connected, None) => Reached::Connected,
            (_, Some(error)) => Reached::Failed(error.clone()),
            _ => Reached::Trying,
        };
        let targets = self.targets.values();
        targets.flat_map(|target| target.addresses.iter().map(move |at| (at.clone(), of(target, at)))).collect()
    }

    /// Those to dial now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut due = Vec::new();
        for (peer, target) in &mut self.targets {
            let is_due = match target.state {
                State::Waiting { until } => until <= now,
                State::Dialling { since } => now.saturating_duration_since(since) >= FORGOTTEN_AFTER,
                State::Connected => false,
            };
            if is_due {
                target.state = State::Dialling { since: now };
                due.push((*peer, target.addresses.clone()));
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

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    /// When it is dialled next.
    fn next_dial(bootstrap: &mut Bootstrap, now: &mut Instant) -> Duration {
        let start = *now;
        while bootstrap.due(*now).is_empty() {
            *now += Duration::from_millis(50);
            assert!(*now < start + Duration::from_secs(60), "never dialled again");
        }
        *now - start
    }

    #[test]
    fn redials_ever_slower_but_for_ever() {
        let (mut now, mut rng) = (Instant::now(), SmallRng::seed_from_u64(1));
        let peer = PeerId::random();
        let mut bootstrap = Bootstrap::new(vec![(peer, address(1)), (peer, address(2))], PeerId::random(), now);
        assert_eq!(bootstrap.due(now), [(peer, vec![address(1), address(2)])]);
        let mut pauses = Vec::new();
        for _ in 0..100 {
            bootstrap.failed(&peer, "refused", &[], now, &mut rng);
            pauses.push(next_dial(&mut bootstrap, &mut now));
        }
        assert!(pauses[0] <= Duration::from_millis(300));
        assert!(pauses[4] > pauses[0]);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE + Duration::from_millis(50)));
        assert!(pauses[99] >= LONGEST_PAUSE / 2);
    }

    #[test]
    fn says_a_failure_once() {
        let (now, mut rng) = (Instant::now(), SmallRng::seed_from_u64(1));
        let peer = PeerId::random();
        let mut bootstrap = Bootstrap::new(vec![(peer, address(1))], PeerId::random(), now);
        let mut say = |error: &str, bootstrap: &mut Bootstrap| {
            bootstrap.due(now + Duration::from_secs(3600));
            !bootstrap.failed(&peer, error, &[], now, &mut rng).is_empty()
        };
        assert!(say("refused", &mut bootstrap));
        assert!(!say("refused", &mut bootstrap));
        assert!(say("another peer answered", &mut bootstrap));
        bootstrap.connected(&peer);
        bootstrap.admitted(&peer);
        bootstrap.disconnected(&peer, now, &mut SmallRng::seed_from_u64(1));
        assert!(say("another peer answered", &mut bootstrap));
    }

    #[test]
    fn names_each_address_that_failed_with_its_own_reason() {
        let (now, mut rng) = (Instant::now(), SmallRng::seed_from_u64(1));
        let peer = PeerId::random();
        let targets = (1..=3).map(|port| (peer, address(port))).collect();
        let mut bootstrap = Bootstrap::new(targets, PeerId::random(), now);
        let mut fails = |reasons: &[(u16, &str)]| {
            bootstrap.due(now + Duration::from_secs(3600));
            let reasons: Vec<_> = reasons.iter().map(|(port, reason)| (address(*port), (*reason).to_owned())).collect();
            bootstrap.failed(&peer, "all of it", &reasons, now, &mut rng)
        };
        let said = |port, reason: &str| (address(port), reason.to_owned());
        assert_eq!(fails(&[(2, "refused"), (9, "of another source")]), [said(2, "refused")]);
        assert_eq!(fails(&[(2, "refused"), (3, "no answer")]), [said(3, "no answer")]);
        assert_eq!(fails(&[]).len(), 3, "a reason for the whole is one for each");
    }

    #[test]
    fn starts_anew_when_a_connected_one_is_gone() {
        let (mut now, mut rng) = (Instant::now(), SmallRng::seed_from_u64(1));
        let peer = PeerId::random();
        let mut bootstrap = Bootstrap::new(vec![(peer, address(1))], PeerId::random(), now);
        for _ in 0..10 {
            next_dial(&mut bootstrap, &mut now);
            bootstrap.failed(&peer, "refused", &[], now, &mut rng);
        }
        bootstrap.connected(&peer);
        bootstrap.admitted(&peer);
        assert!(bootstrap.due(now + Duration::from_secs(3600)).is_empty());
        bootstrap.disconnected(&peer, now, &mut rng);
        assert!(next_dial(&mut bootstrap, &mut now) <= Duration::from_millis(300));
    }

    #[test]
    fn who_closes_the_connection_at_once_is_dialled_ever_slower() {
        let (mut now, mut rng) = (Instant::now(), SmallRng::seed_from_u64(1));
        let peer = PeerId::random();
        let mut bootstrap = Bootstrap::new(vec![(peer, address(1))], PeerId::random(), now);
        for n in 0..10 {
            let pause = next_dial(&mut bootstrap, &mut now);
            assert!(n < 7 || pause >= LONGEST_PAUSE / 2, "{pause:?}");
            bootstrap.connected(&peer);
            bootstrap.refused_us(&peer, now);
            let said = bootstrap.failed(&peer, "it does not admit us", &[], now, &mut rng);
            assert_eq!(said.is_empty(), n > 0, "it is said once");
        }
    }

    #[test]
    fn a_change_of_the_network_makes_it_dial_at_once_and_each_second_for_ten() {
        let (mut now, mut rng) = (Instant::now(), SmallRng::seed_from_u64(1));
        let peer = PeerId::random();
        let mut bootstrap = Bootstrap::new(vec![(peer, address(1))], PeerId::random(), now);
        for _ in 0..10 {
            next_dial(&mut bootstrap, &mut now);
            bootstrap.failed(&peer, "refused", &[], now, &mut rng);
        }
        bootstrap.network_changed(now);
        let changed = now;
        assert_eq!(next_dial(&mut bootstrap, &mut now), Duration::ZERO);
        while now < changed + Duration::from_secs(9) {
            bootstrap.failed(&peer, "no route", &[], now, &mut rng);
            assert!(next_dial(&mut bootstrap, &mut now) <= Duration::from_millis(1050));
        }
    }

    #[test]
    fn does_not_dial_itself() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut bootstrap = Bootstrap::new(vec![(peer, address(1))], peer, now);
        assert!(bootstrap.due(now).is_empty());
    }
}

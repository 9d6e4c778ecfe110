//! Discovery itself: takes what happened to the part it is for, and decides whom to dial.

mod diagnosing;
mod dialing;
mod identifying;
mod lifecycle;
mod network_change;
mod refusals;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashlink::LruCache;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use rand::rngs::SmallRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;

use super::address_filter::{Scope, filter};
use super::adverts::{Adverts, Query};
use super::bootstrap::Bootstrap;
use super::candidates::Candidates;
use super::dial_budget::{DialBudget, Source};
use super::failure_detector::{Redial, Redials, SILENT_AFTER, own_stall};
use super::identified::Said;
use super::key::{Topic, topic};
use super::lost::{Lost, Why};
use super::member::{Departure, Membership};
use super::member_log::MemberLog;
use super::peers::{Connected, Handshake};
use super::protocol::{self, Question, What};
use super::remembered::Remembered;
use super::strangers::Filtered;
use super::{Action, DialFailure, DiscoveryConfig, GorpcName, Input};
use crate::networks::{Networks, ip_of};
use crate::service::Service;

const MAX_DEPARTED: usize = 4096;
/// Addresses at which a lost member is dialled once more.
const MAX_REDIALLED: usize = 4;
/// One member after the other is heard out from the beginning this often.
const START_OVER_EVERY: Duration = Duration::from_secs(20);
/// Our own network works as long as somebody was heard within this: pings come every 5 s.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// One of the members that nobody keeps connected here is dialled this often. As all nodes do it, one that is gone is
/// noticed by somebody soon, and told.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// Whom the user has blocked, and where they were: to be sought when they are unblocked.
type Blocked = BTreeMap<PeerId, Vec<Multiaddr>>;

/// Who wants to know where a peer is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Search {
    a_call: bool,
    a_hint: bool,
}

/// The state machine.
pub(crate) struct Discovery {
    pub(super) local: PeerId,
    pub(super) names: BTreeMap<Topic, Arc<str>>,
    pub(super) member_log: Arc<MemberLog>,
    pub(super) max_connected: usize,
    pub(super) connected: BTreeMap<PeerId, Connected>,
    pub(super) members: BTreeMap<PeerId, Membership>,
    pub(super) bootstrap: Bootstrap,
    pub(super) adverts: Adverts,
    pub(super) candidates: Candidates,
    pub(super) lost: Lost,
    pub(super) remembered: Remembered,
    pub(super) network_changed: Option<Instant>,
    pub(super) redials: Redials,
    pub(super) departed: LruCache<PeerId, Instant>,
    pub(super) blocked: Blocked,
    pub(super) filtered: Filtered,
    pub(super) actions: VecDeque<Action>,
    pub(super) rng: SmallRng,
    pub(super) scope: Scope,
    pub(super) networks: Networks,
    pub(super) application: String,
    pub(super) kad_protocol: StreamProtocol,
    pub(super) gorpc: Option<GorpcName>,
    pub(super) budget: DialBudget,
    pub(super) searches: BTreeMap<PeerId, Search>,
    last_tick: Instant,
    next_start_over: Instant,
    pub(super) next_probe: Instant,
    pub(super) closing: bool,
}

impl Discovery {
    /// How often [`Input::Tick`] has to come.
    pub(crate) const TICK: Duration = Duration::from_millis(250);

    pub(crate) fn new(config: DiscoveryConfig, now: Instant) -> Self {
        let mut rng = SmallRng::seed_from_u64(config.seed);
        let mut topics: Vec<Topic> = Vec::new();
        let mut names = BTreeMap::new();
        for name in &config.rendezvous {
            let topic = topic(name);
            if names.insert(topic, name.clone()).is_none() {
                topics.push(topic);
            }
        }
        let mut discovery = Discovery {
            local: config.local,
            names,
            adverts: Adverts::new(&topics, config.serves, now),
            member_log: Arc::new(MemberLog::new(topics, config.visible, rng.random())),
            max_connected: config.max_connected_members,
            connected: BTreeMap::new(),
            members: BTreeMap::new(),
            candidates: Candidates::new(config.bootstrap.iter().map(|(peer, _)| *peer).collect()),
            bootstrap: Bootstrap::new(config.bootstrap, config.local, now),
            lost: Lost::new(),
            remembered: Remembered::new(),
            network_changed: None,
            redials: Redials::default(),
            departed: LruCache::new(MAX_DEPARTED),
            blocked: Blocked::new(),
            filtered: Filtered::new(),
            actions: VecDeque::new(),
            rng,
            scope: config.scope,
            networks: config.networks,
            application: config.application,
            kad_protocol: config.kad_protocol,
            gorpc: config.gorpc,
            budget: DialBudget::new(now),
            searches: BTreeMap::new(),
            last_tick: now,
            next_start_over: now + START_OVER_EVERY,
            next_probe: now + PROBE_EVERY,
            closing: false,
        };
        for (peer, addresses) in config.remembered {
            discovery.remember(peer, &addresses, now);
        }
        if config.private {
            discovery.warn_of_public_bootstrap();
        }
        discovery.tick(now);
        discovery
    }

    /// For others who dial at the word of others.
    pub(crate) fn dial_budget(&self) -> DialBudget {
        self.budget.clone()
    }

    fn warn_of_public_bootstrap(&mut self) {
        let mut addresses = self.bootstrap.iter().flat_map(|(_, addresses)| addresses);
        if let Some(public) = addresses.find(|address| Scope::of(address) == Some(Scope::Public)) {
            let warning = format!(
                "the bootstrap peer {public} is on the internet, and this node gives its private addresses as its own, \
                 which peers there can't reach: set reachability(Reachability::Public(..)) or Reachability::Client"
            );
            self.actions.push_back(Action::Warn(warning));
        }
    }

    /// The service that answers other nodes; to be served beside those of the user. What comes out of the other end of
    /// `leaving` has to come in as [`Input::PeerIsLeaving`].
    pub(crate) fn service(&self, leaving: mpsc::Sender<PeerId>) -> Service {
        protocol::service(self.member_log.clone(), leaving)
    }

    /// What to do next; to be asked until there is nothing left, after each input.
    pub(crate) fn next_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front()?;
        tracing::trace!(node = %self.local, ?action);
        Some(action)
    }

    /// Something happened.
    pub(crate) fn input(&mut self, input: Input, now: Instant) {
        if !matches!(input, Input::Tick | Input::Heard { .. }) {
            tracing::trace!(node = %self.local, ?input);
        }
        if self.closing {
            if let Input::AddressesWanted { peer } = input {
                self.actions.push_back(Action::AddressesFound { peer, addresses: Vec::new() });
            }
            return;
        }
        match input {
            Input::Tick => self.tick(now),
            Input::Connected { peer, address, outbound, first } => {
                self.connected(peer, &address, outbound, first, now);
                self.dial_candidates(now);
            }
            Input::Admitted { peer } => self.admitted(peer),
            Input::Disconnected { peer } => self.disconnected(peer, now),
            Input::RefusedUs { peer } => self.refused_us(peer, now),
            Input::DialFailed { peer, failure } => self.dial_failed(peer, failure, now),
            Input::Supported { peer } => self.supported(peer, now),
            Input::Identified { peer, listen_addresses, protocols } => {
                self.identified(peer, Said { listen_addresses, protocols }, now);
            }
            Input::Silent { peer } => self.silent(peer, now),
            Input::Heard { peer, at } => {
                if let Some(connected) = self.connected.get_mut(&peer) {
                    connected.heard = connected.heard.max(at);
                }
            }
            Input::Described { peer, answer } => self.described(peer, answer, now),
            Input::Listed { peer, answer } => {
                self.listed(peer, answer, now);
                self.dial_candidates(now);
            }
            Input::PeerIsLeaving { peer } => self.peer_is_leaving(peer, now),
            Input::Providers { peers } => {
                for (peer, addresses) in peers {
                    self.provider(peer, &addresses, now);
                }
                self.dial_candidates(now);
            }
            Input::ProvidersDone { key } => self.adverts.lookup_done(&key, now, &mut self.rng),
            Input::Provided { key, ok } => self.adverts.provided(&key, ok, now, &mut self.rng),
            Input::AddressesWanted { peer } => self.addresses_wanted(peer),
            Input::PeerLookedUp { peer, addresses } => self.looked_up(peer, &addresses, now),
            Input::SeenNearby { peer, addresses } => {
                let addresses = filter(&peer, &addresses, Scope::Loopback, &self.networks);
                self.add_candidate(peer, Source::Network, addresses, now);
                self.dial_candidates(now);
            }
            Input::OwnAddressesChanged { reachable } => self.adverts.addresses_changed(reachable, now),
            Input::NetworkChanged => self.network_changed(now),
            Input::ServicesChanged => {
                self.member_log.services_changed();
                self.adverts.serves_now(now);
            }
            Input::Blocked { peer } => self.block(peer, now),
            Input::Unblocked { peer } => self.unblock(peer, now),
            Input::ShuttingDown => self.shut_down(),
        }
    }

    fn connected(&mut self, peer: PeerId, remote: &Multiaddr, outbound: bool, first: bool, now: Instant) {
        // libp2p makes no such connection.
        if peer == self.local {
            return;
        }
        self.budget.finished(&peer);
        self.filtered.remove(&peer);
        if first {
            self.connected.remove(&peer);
            self.departed.remove(&peer);
        }
        if self.bootstrap.connected(&peer) && first {
            self.actions.push_back(Action::Pin { peer, pinned: true });
        }
        let scope = self.scope;
        let connected =
            self.connected.entry(peer).or_insert_with(|| Connected::new(peer, remote, outbound, scope, now));
        if first {
            connected.at = Some(remote.clone());
        }
        connected.heard = now;
        connected.suspected = false;
        connected.remote = ip_of(remote);
        if let Some(member) = self.members.get_mut(&peer) {
            member.seen_at = connected.remote;
        }
        if !first {
            connected.leaving = false;
            if outbound {
                connected.dialled_at(peer, remote);
            }
            // It may be another process of the same identity, whose older connection has not been noticed to be dead.
            if connected.supported && connected.describing != Handshake::UnderWay {
                connected.describing = Handshake::At(now + Duration::from_secs(1));
            }
        }
        if self.members.get(&peer).is_some_and(|member| member.pinned) {
            self.actions.push_back(Action::Pin { peer, pinned: true });
        }
    }

    fn supported(&mut self, peer: PeerId, now: Instant) {
        if self.member_log.topics().is_empty() {
            return;
        }
        let Some(connected) = self.connected.get_mut(&peer) else { return };
        connected.supported = true;
        connected.is_ours = true;
        if connected.describing == Handshake::NotYet {
            connected.describing = Handshake::At(now);
        }
        self.ask(peer, now);
    }

    /// Ask the peer what is to be asked now.
    pub(super) fn ask(&mut self, peer: PeerId, now: Instant) {
        let Some(connected) = self.connected.get_mut(&peer) else { return };
        let describe = connected.starts_describing(now).then_some(What::Describe);
        let list = connected.asking.as_mut().and_then(|asking| asking.starts(now)).map(What::List);
        for what in describe.into_iter().chain(list) {
            let topics = self.member_log.topics().to_vec();
            self.actions.push_back(Action::Ask(Question { peer, topics, what }));
        }
    }

    fn disconnected(&mut self, peer: PeerId, now: Instant) {
        let Some(connected) = self.connected.remove(&peer) else { return };
        let helped = self.adverts.peer_went(&peer);
        self.bootstrap.disconnected(&peer, now, &mut self.rng);
        self.member_log.disconnected(&peer);
        let lost = self.members.get(&peer).is_some_and(|member| member.pinned);
        if lost && !connected.suspected {
            self.redials.add(peer);
            self.redial(now);
        }
        if !self.members.contains_key(&peer) {
            if connected.identified && !connected.is_ours {
                self.candidates.ban(peer, now);
                self.lost.remove(&peer);
                self.remembered.remove(&peer);
            }
            let seeks = !self.member_log.topics().is_empty();
            if seeks && helped && !connected.leaving && !self.bootstrap.contains(&peer) {
                self.lost.add(peer, Why::Helper, connected.addresses, now, &mut self.rng);
            }
        }
    }

    pub(super) fn dial_failed(&mut self, peer: PeerId, failure: DialFailure, now: Instant) {
        self.budget.finished(&peer);
        for ip in &failure.no_route {
            self.budget.not_sent(*ip);
        }
        let news = self.bootstrap.failed(&peer, &failure.error, &failure.reasons, now, &mut self.rng);
        for (address, error) in news.into_iter().filter(|_| !failure.aborted) {
            self.actions.push_back(Action::BootstrapFailed { peer, address, error });
        }
        self.lost.failed(&peer, self.members.is_empty(), now, &mut self.rng);
        let says_something = !failure.aborted && failure.no_route.is_empty();
        self.candidates.failed(&peer, says_something, now);
        // Another dial to one that is connected says nothing, except of one whose connection is believed dead.
        if self.connected.get(&peer).is_none_or(|connected| connected.suspected) {
            if !(self.is_our_own_failure(&peer, &failure) && self.redials.had_no_route(peer, now)) {
                self.left(peer, Departure::Vanished, now);
            }
            if !failure.tried.is_empty() && self.hears_another_than(&peer, now) {
                self.actions.push_back(Action::ForgetAt { peer, addresses: failure.tried });
            }
        }
        self.dial_candidates(now);
    }

    /// True if a member could not be dialled for want of a way to where it was last, which says nothing of it.
    fn is_our_own_failure(&self, peer: &PeerId, failure: &DialFailure) -> bool {
        let Some(member) = self.members.get(peer) else { return false };
        failure.aborted
            || match member.seen_at {
                Some(ip) => failure.no_route.contains(&ip),
                None => failure.tried.is_empty() && !failure.no_route.is_empty(),
            }
    }

    fn hears_another_than(&self, peer: &PeerId, now: Instant) -> bool {
        self.connected.iter().any(|(other, connected)| {
            other != peer && !connected.suspected && now.saturating_duration_since(connected.heard) < HEARD_WITHIN
        })
    }

    fn tick(&mut self, now: Instant) {
        if let Some(stall) = own_stall(self.last_tick, now) {
            self.redials.stalled(stall);
            for connected in self.connected.values_mut() {
                connected.heard += stall;
            }
        }
        self.last_tick = now;
        self.budget.tick(now);
        self.take_what_was_said(now);
        self.suspect_the_silent(now);
        self.ask_those_due(now);
        self.probe(now);
        self.dial_those_due(now);
    }

    pub(super) fn dial_those_due(&mut self, now: Instant) {
        for (peer, addresses) in self.bootstrap.due(now) {
            self.actions.push_back(Action::Dial { peer, addresses });
        }
        self.redial(now);
        self.dial_lost(now);
        self.dial_candidates(now);
        for query in self.adverts.due(now) {
            self.actions.push_back(match query {
                Query::Get(key) => Action::GetProviders { key },
                Query::Provide(key) => Action::Provide { key },
            });
        }
    }

    fn suspect_the_silent(&mut self, now: Instant) {
        let mut silent = Vec::new();
        for (peer, connected) in &mut self.connected {
            let watched = self.members.contains_key(peer) || self.bootstrap.contains(peer);
            if watched && !connected.suspected && now.saturating_duration_since(connected.heard) >= SILENT_AFTER {
                connected.suspected = true;
                silent.push(*peer);
            }
        }
        for peer in silent {
            self.member_log.disconnected(&peer);
            // A connection to a peer that doesn't read can take minutes to close: don't wait for it.
            self.actions.push_back(Action::Close { peer });
            if self.members.contains_key(&peer) {
                self.redials.add(peer);
            }
        }
    }

    /// The peer is still connected as far as anyone knows, and doesn't answer. It may be reached at another of its addresses, or
    /// the path may have come back that its connections have not noticed yet.
    fn silent(&mut self, peer: PeerId, now: Instant) {
        let watched = self.members.contains_key(&peer) || self.bootstrap.contains(&peer);
        let suspected = self.connected.get(&peer).is_none_or(|connected| connected.suspected);
        if !watched || suspected {
            return;
        }
        let mut addresses = self.bootstrap.addresses(&peer).to_vec();
        addresses.extend(self.budget.admit(peer, Source::Memory, &self.addresses_of(&peer), now));
        addresses.dedup();
        if !addresses.is_empty() {
            self.actions.push_back(Action::Dial { peer, addresses });
        }
    }

    fn redial(&mut self, now: Instant) {
        let (members, bootstrap) = (&self.members, &self.bootstrap);
        let known = |peer: &PeerId| {
            !bootstrap.addresses(peer).is_empty()
                || members.get(peer).is_some_and(|member| !member.addresses.is_empty())
        };
        for redial in self.redials.due(now, known) {
            match redial {
                Redial::GiveUp(peer) => {
                    // Nobody waits for its dial any more, and others may have its place.
                    self.budget.finished(&peer);
                    self.left(peer, Departure::Vanished, now);
                }
                Redial::Dial(peer) => {
                    let mut addresses = self.addresses_of(&peer);
                    // The user's own word needs no leave.
                    if !self.bootstrap.contains(&peer) {
                        // Where it was reached comes first; the rest is what it said of itself.
                        addresses.truncate(MAX_REDIALLED);
                        addresses = self.budget.admit(peer, Source::Lost, &addresses, now);
                    }
                    if addresses.is_empty() {
                        self.redials.refused(&peer, now);
                    } else {
                        self.actions.push_back(Action::Dial { peer, addresses });
                    }
                }
            }
        }
    }

    fn ask_those_due(&mut self, now: Instant) {
        if self.next_start_over <= now {
            self.next_start_over = now + START_OVER_EVERY;
            let asked = self.connected.values_mut().filter_map(|connected| connected.asking.as_mut());
            if let Some(asking) = asked.choose(&mut self.rng) {
                asking.start_over();
            }
        }
        let peers: Vec<PeerId> = self.connected.keys().copied().collect();
        for peer in peers {
            self.ask(peer, now);
        }
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("local", &self.local)
            .field("connected", &self.connected.len())
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

//! Who is a member: from a peer's description of itself to its leave.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use super::Discovery;
use crate::error::{ErrorKind, RpcError};
use crate::members::Member;
use crate::membership::Action;
use crate::membership::address_filter::{Scope, filter};
use crate::membership::bootstrap::backoff;
use crate::membership::dial_budget::Source;
use crate::membership::key::Topic;
use crate::membership::lost::Why;
use crate::membership::member::{Departure, Kept, Membership};
use crate::membership::member_log::PAGE;
use crate::membership::messages::{Description, Listing};
use crate::membership::peers::{Handshake, Polling};

/// Members past this are not taken.
const MAX_MEMBERS: usize = 16_384;
/// Services of one member, and the length of a name: more is cut off.
const MAX_SERVICES: usize = 1024;
const MAX_NAME: usize = 256;
/// So many members are asked quickly for news, and every bootstrap peer.
const QUICK_TELLERS: usize = 3;
/// A peer that isn't one of us is asked again after this, if it is still connected.
const ASK_STRANGERS_EVERY: Duration = Duration::from_secs(60);
const DESCRIBE_AGAIN_FIRST: Duration = Duration::from_millis(250);
const DESCRIBE_AGAIN_LONGEST: Duration = Duration::from_secs(10);

impl Discovery {
    pub(super) fn described(&mut self, peer: PeerId, answer: Result<Description, RpcError>, now: Instant) {
        let Some(connected) = self.connected.get_mut(&peer) else { return };
        if connected.leaving || connected.describing != Handshake::UnderWay {
            return;
        }
        match answer {
            Ok(description) => {
                connected.failures = 0;
                connected.describing = Handshake::Done(description.version);
                let topics = self.member_log.topics().iter().filter(|topic| description.shared.contains(topic));
                let topics: Arc<[Topic]> = topics.copied().collect();
                if topics.is_empty() {
                    self.is_a_stranger(peer, now);
                } else {
                    self.joined(peer, topics, description, now);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotServed | ErrorKind::NotSupported) => {
                self.is_a_stranger(peer, now);
            }
            Err(_) => {
                let pause = backoff(connected.failures, DESCRIBE_AGAIN_FIRST, DESCRIBE_AGAIN_LONGEST, &mut self.rng);
                connected.failures = connected.failures.saturating_add(1);
                connected.describing = Handshake::At(now + pause);
            }
        }
    }

    fn is_a_stranger(&mut self, peer: PeerId, now: Instant) {
        if let Some(connected) = self.connected.get_mut(&peer) {
            connected.describing = Handshake::At(now + ASK_STRANGERS_EVERY);
            connected.stranger = true;
        }
        self.lost.remove(&peer);
        self.remembered.remove(&peer);
        self.candidates.ban(peer, now);
        self.left(peer, Departure::Unwanted, now);
        self.tell_of_stranger(peer);
    }

    fn joined(&mut self, peer: PeerId, topics: Arc<[Topic]>, description: Description, now: Instant) {
        if !self.members.contains_key(&peer) && self.members.len() >= MAX_MEMBERS {
            return;
        }
        let methods = description.bounded_methods();
        let services: BTreeSet<Arc<str>> = description
            .services
            .into_iter()
            .take(MAX_SERVICES)
            .filter(|name| name.len() <= MAX_NAME)
            .map(Arc::from)
            .collect();
        let member = Member {
            rendezvous: topics.iter().filter_map(|topic| self.names.get(topic).cloned()).collect(),
            services: Some(services.into_iter().collect()),
            methods,
        };
        self.enters(peer, topics, member, false, now);
    }

    /// What the peer says that it speaks. A Go peer is a member of the first rendezvous: it has no way to say of which.
    pub(super) fn speaks_gorpc(&mut self, peer: PeerId, gorpc: bool, now: Instant) {
        if !gorpc {
            if self.members.get(&peer).is_some_and(|member| member.gorpc) {
                self.left(peer, Departure::Unwanted, now);
            }
            return;
        }
        let Some(topic) = self.member_log.topics().first().copied() else { return };
        if !self.connected.contains_key(&peer) {
            return;
        }
        if !self.members.contains_key(&peer) && self.members.len() >= MAX_MEMBERS {
            return;
        }
        let rendezvous = self.names.get(&topic).cloned().into_iter().collect();
        let member = Member { rendezvous, services: None, methods: Arc::default() };
        self.enters(peer, Arc::new([topic]), member, true, now);
    }

    fn enters(&mut self, peer: PeerId, topics: Arc<[Topic]>, member: Member, gorpc: bool, now: Instant) {
        self.lost.remove(&peer);
        self.candidates.unban(&peer, now);
        let connected = self.connected.get_mut(&peer);
        let (addresses, seen_at, dialled) = connected.map_or_else(Default::default, |connected| {
            connected.is_ours = true;
            connected.stranger = false;
            (connected.addresses.clone(), connected.remote, connected.is_dialled())
        });
        self.member_log.connected(peer, topics.clone(), &addresses, now);
        self.remembered.add(peer, &addresses, &self.networks);
        let pinned = match self.members.get_mut(&peer) {
            Some(known) => {
                if known.member != member {
                    self.actions.push_back(Action::Changed { peer, member: member.clone() });
                }
                known.pinned
            }
            None => {
                self.actions.push_back(Action::Joined { peer, member: member.clone() });
                false
            }
        };
        self.members.insert(peer, Membership { member, topics, pinned, addresses, seen_at, gorpc, dialled });
        if !pinned && self.may_pin(&peer) {
            self.pin(peer);
        }
        self.notice_company(now);
        if self.members.get(&peer).is_some_and(|member| member.pinned && !member.gorpc) {
            self.start_asking(peer, now);
        }
    }

    /// Only those that are kept connected are asked: questions would keep the others connected too.
    fn start_asking(&mut self, peer: PeerId, now: Instant) {
        let quick_ones =
            self.connected.values().filter(|other| other.asking.as_ref().is_some_and(Polling::is_quick)).count();
        let quick = self.bootstrap.contains(&peer) || quick_ones < QUICK_TELLERS;
        if let Some(connected) = self.connected.get_mut(&peer).filter(|connected| connected.asking.is_none()) {
            connected.asking = Some(Polling::new(quick, now, &mut self.rng));
        }
        self.ask(peer, now);
    }

    /// The members that are kept connected; bootstrap peers don't count.
    fn kept(&self) -> Kept {
        let mut kept = Kept::default();
        for (peer, member) in &self.members {
            if member.pinned && !self.bootstrap.contains(peer) {
                kept.add(member);
            }
        }
        kept
    }

    /// Is there room to keep this member connected?
    fn may_pin(&self, peer: &PeerId) -> bool {
        let has_room = |member| self.kept().has_room(member, self.max_connected);
        self.bootstrap.contains(peer) || self.members.get(peer).is_some_and(has_room)
    }

    fn pin(&mut self, peer: PeerId) {
        if let Some(member) = self.members.get_mut(&peer) {
            member.pinned = true;
            self.actions.push_back(Action::Pin { peer, pinned: true });
        }
    }

    /// The DHT is searched as long as a rendezvous seems empty.
    fn notice_company(&mut self, now: Instant) {
        for (number, topic) in self.member_log.topics().iter().enumerate() {
            let alone = !self.members.values().any(|member| member.topics.contains(topic));
            self.adverts.set_alone(number, alone, now);
        }
    }

    pub(super) fn peer_is_leaving(&mut self, peer: PeerId, now: Instant) {
        if let Some(connected) = self.connected.get_mut(&peer) {
            connected.leaving = true;
            connected.asking = None;
        }
        self.departed.insert(peer, now);
        self.candidates.remove(&peer);
        self.lost.remove(&peer);
        self.actions.push_back(Action::Forget { peer });
        self.left(peer, Departure::Polite, now);
    }

    pub(super) fn shut_down(&mut self) {
        self.closing = true;
        for key in self.adverts.keys() {
            self.actions.push_back(Action::StopProviding { key: key.clone() });
        }
        let mut members = self.members.iter().filter(|(_, member)| !member.gorpc);
        let peers = members.by_ref().map(|(peer, _)| *peer).filter(|peer| self.connected.contains_key(peer)).collect();
        self.actions.push_back(Action::SayLeaving { peers });
    }

    /// The peer is no member any more, if it was one.
    pub(super) fn left(&mut self, peer: PeerId, how: Departure, now: Instant) {
        let Some(member) = self.members.remove(&peer) else { return };
        self.redials.remove(&peer);
        self.member_log.left(peer, member.topics);
        if let Some(connected) = self.connected.get_mut(&peer) {
            connected.asking = None;
        }
        match how {
            Departure::Vanished => self.lost.add(peer, Why::Member, member.addresses, now, &mut self.rng),
            Departure::Unwanted => self.remembered.remove(&peer),
            Departure::Polite => {}
        }
        let kept = self.bootstrap.contains(&peer) && self.connected.contains_key(&peer);
        if member.pinned && !kept {
            self.actions.push_back(Action::Pin { peer, pinned: false });
        }
        self.actions.push_back(Action::Left { peer });
        if member.pinned {
            self.fill_the_gap(now);
        }
        self.notice_company(now);
    }

    /// One more member can be kept connected: one that is, or else one that has to be dialled first.
    fn fill_the_gap(&mut self, now: Instant) {
        let kept = self.kept();
        if kept.all >= self.max_connected {
            return;
        }
        let mut unpinned = self.members.iter().filter(|(_, member)| !member.pinned);
        let mut here = unpinned.clone().filter(|(peer, _)| self.connected.contains_key(peer));
        if let Some((peer, _)) = here.find(|(_, member)| kept.has_room(member, self.max_connected)) {
            let peer = *peer;
            self.pin(peer);
            if self.members.get(&peer).is_some_and(|member| !member.gorpc) {
                self.start_asking(peer, now);
            }
        } else if let Some((peer, member)) = unpinned.find(|(_, member)| !member.addresses.is_empty()) {
            self.candidates.add(*peer, Source::Memory, member.addresses.clone(), now, now);
        }
    }

    /// A member tells of others.
    pub(super) fn listed(&mut self, source: PeerId, answer: Result<Listing, RpcError>, now: Instant) {
        let Some(connected) = self.connected.get_mut(&source) else { return };
        let (scope, described) = (connected.scope, connected.describing);
        let Some(asking) = &mut connected.asking else { return };
        let listing = match answer {
            Ok(listing) => listing,
            Err(_) => return asking.failed(now, &mut self.rng),
        };
        if matches!(described, Handshake::Done(version) if version != listing.description) {
            connected.describing = Handshake::At(now);
        }
        let mut news = false;
        for listed in listing.members.iter().take(PAGE) {
            let Ok(peer) = PeerId::from_bytes(&listed.peer.0) else { continue };
            // Most are known: don't read where they are.
            if self.is_settled(&peer) {
                continue;
            }
            let addresses: Vec<Multiaddr> = listed
                .addresses
                .iter()
                .take(2 * PAGE)
                .filter_map(|address| Multiaddr::try_from(address.0.clone()).ok())
                .collect();
            let believed = filter(&peer, &addresses, scope, &self.networks);
            if believed.is_empty() {
                self.filtered.add(peer, &addresses);
            }
            news |= self.add_candidate(peer, Source::Peer(source), believed, now);
        }
        for gone in listing.gone.iter().take(PAGE) {
            let Ok(peer) = PeerId::from_bytes(&gone.0) else { continue };
            self.doubt(peer, Source::Peer(source), now);
        }
        if let Some(asking) = self.connected.get_mut(&source).and_then(|connected| connected.asking.as_mut()) {
            asking.answered(listing.cursor, listing.more, news, now, &mut self.rng);
        }
        self.ask(source, now);
    }

    /// Somebody says that a member is gone. For one that we are not connected to a dial of our own decides.
    fn doubt(&mut self, peer: PeerId, source: Source, now: Instant) {
        if self.connected.contains_key(&peer) || self.redials.contains(&peer) {
            return;
        }
        if let Some(member) = self.members.get(&peer) {
            self.candidates.add(peer, source, member.addresses.clone(), now, now);
        }
    }

    /// Members that a node after this one could find the others through, in no order. One that left politely is among
    /// them: the whole group may be going, to come back.
    pub(crate) fn remembered(&self) -> impl Iterator<Item = (&PeerId, &[Multiaddr])> {
        self.remembered.iter()
    }

    /// A node before this one knew this member.
    pub(super) fn remember(&mut self, peer: PeerId, addresses: &[Multiaddr], now: Instant) {
        let addresses = filter(&peer, addresses, Scope::Loopback, &self.networks);
        if peer != self.local && !addresses.is_empty() {
            self.remembered.add(peer, &addresses, &self.networks);
            self.lost.add(peer, Why::Remembered, addresses, now, &mut self.rng);
        }
    }
}

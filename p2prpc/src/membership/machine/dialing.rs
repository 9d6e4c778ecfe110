//! Whom to dial, and where: at the word of others, of the DHT, or of our own memory.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};
use rand::seq::IteratorRandom;

use super::{Discovery, PROBE_EVERY, Search};
use crate::membership::Action;
use crate::membership::address_filter::{Scope, Socket, filter};
use crate::membership::dial_budget::Source;

/// Of two peers that hear of each other at the same time one dials at once and the other waits so long.
const AFTER_YOU: Duration = Duration::from_secs(1);
/// What is said of one that left politely is old for this time.
const DEPARTED_FOR: Duration = Duration::from_secs(30);
/// Searches for the addresses of providers that came without.
const MAX_SEARCHES: usize = 64;
impl Discovery {
    pub(super) fn probe(&mut self, now: Instant) {
        if self.next_probe > now {
            return;
        }
        self.next_probe = now + PROBE_EVERY;
        let unwatched =
            self.members.iter().filter(|(peer, _)| !self.connected.contains_key(peer) && !self.redials.contains(peer));
        if let Some((peer, member)) = unwatched.choose(&mut self.rng) {
            self.candidates.add(*peer, Source::Memory, member.addresses.clone(), now, now);
        }
    }

    pub(super) fn dial_lost(&mut self, now: Instant) {
        let helpers = !self.adverts.has_peers();
        let Discovery { lost, budget, actions, connected, .. } = self;
        lost.try_due(helpers, now, |peer, addresses| {
            if connected.contains_key(&peer) {
                return false;
            }
            let addresses = budget.admit(peer, Source::Memory, addresses, now);
            let admitted = !addresses.is_empty();
            if admitted {
                actions.push_back(Action::Dial { peer, addresses });
            }
            admitted
        });
    }

    pub(super) fn dial_candidates(&mut self, now: Instant) {
        let Discovery { candidates, budget, actions, .. } = self;
        if budget.is_exhausted() {
            return;
        }
        candidates.try_due(now, |peer, source, addresses| {
            let addresses = budget.admit(peer, source, addresses, now);
            let admitted = !addresses.is_empty();
            if admitted {
                actions.push_back(Action::Dial { peer, addresses });
            }
            admitted
        });
    }

    /// Nothing that is said of where it is would help: it is connected, or a member that isn't missed.
    pub(super) fn is_settled(&self, peer: &PeerId) -> bool {
        self.connected.contains_key(peer) || (self.members.contains_key(peer) && !self.redials.contains(peer))
    }

    /// `source` says that `peer` is there. True if that is news.
    pub(in crate::membership) fn add_candidate(
        &mut self,
        peer: PeerId,
        source: Source,
        addresses: Vec<Multiaddr>,
        now: Instant,
    ) -> bool {
        if peer == self.local || self.is_settled(&peer) {
            return false;
        }
        if self.departed.peek(&peer).is_some_and(|left| now.saturating_duration_since(*left) < DEPARTED_FOR) {
            return false;
        }
        let due = if self.local < peer { now } else { now + AFTER_YOU };
        self.candidates.add(peer, source, addresses, due, now)
    }

    pub(super) fn provider(&mut self, peer: PeerId, addresses: &[Multiaddr], now: Instant) {
        let told = addresses;
        let addresses = filter(&peer, told, self.scope, &self.networks);
        if addresses.is_empty() && peer != self.local && !self.is_settled(&peer) {
            self.filtered.add(peer, told);
        }
        if !addresses.is_empty() {
            self.add_candidate(peer, Source::Kademlia, addresses, now);
        } else if peer != self.local
            && !self.connected.contains_key(&peer)
            && !self.members.contains_key(&peer)
            && self.searches.len() < MAX_SEARCHES
        {
            self.search(peer, Search { a_hint: true, a_call: false });
        }
    }

    fn search(&mut self, peer: PeerId, wanted: Search) {
        let under_way = self.searches.contains_key(&peer);
        let search = self.searches.entry(peer).or_default();
        search.a_call |= wanted.a_call;
        search.a_hint |= wanted.a_hint;
        if !under_way {
            self.actions.push_back(Action::FindPeer { peer });
        }
    }

    pub(super) fn addresses_wanted(&mut self, peer: PeerId) {
        let addresses = self.addresses_of(&peer);
        if addresses.is_empty() && self.adverts.has_peers() {
            self.search(peer, Search { a_call: true, a_hint: false });
        } else {
            self.actions.push_back(Action::AddressesFound { peer, addresses });
        }
    }

    pub(super) fn looked_up(&mut self, peer: PeerId, addresses: &[Multiaddr], now: Instant) {
        let Some(search) = self.searches.remove(&peer) else { return };
        let addresses = filter(&peer, addresses, self.scope, &self.networks);
        if search.a_call {
            self.actions.push_back(Action::AddressesFound { peer, addresses: addresses.clone() });
        }
        if search.a_hint {
            self.add_candidate(peer, Source::Kademlia, addresses, now);
        }
    }

    /// True if the peer is on this machine, or is said to be there, and not behind a router. Nearby it may use other ports than those it listens on.
    pub(crate) fn is_at(&self, peer: &PeerId, address: &Multiaddr) -> bool {
        let Some(socket) = Socket::of(address) else { return false };
        if self.networks.is_own(socket.ip) {
            return true;
        }
        let is_it = |known: Socket| known == socket || (socket.scope() != Scope::Public && known.ip == socket.ip);
        self.addresses_of(peer).iter().filter_map(Socket::of).any(is_it)
    }

    /// Where the peer may be, the best word first.
    pub(super) fn addresses_of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let mut addresses: Vec<Multiaddr> = self.bootstrap.addresses(peer).to_vec();
        if let Some(connected) = self.connected.get(peer) {
            addresses.extend_from_slice(&connected.addresses);
        }
        if let Some(member) = self.members.get(peer) {
            addresses.extend_from_slice(&member.addresses);
        }
        addresses.extend_from_slice(self.lost.addresses(peer));
        addresses.extend(self.candidates.addresses(peer));
        let mut seen = BTreeSet::new();
        addresses.retain(|address| seen.insert(address.clone()));
        addresses
    }
}

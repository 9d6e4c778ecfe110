//! What peers say of themselves through identify, taken.

use std::time::Instant;

use libp2p::{Multiaddr, PeerId};

use super::Discovery;
use crate::membership::Action;
use crate::membership::address_filter::Scope;
use crate::membership::identified::Said;
use crate::membership::strangers::Names;

impl Discovery {
    pub(super) fn identified(&mut self, peer: PeerId, said: Said, now: Instant) {
        let Some(connected) = self.connected.get_mut(&peer) else { return };
        if let Some(said) = connected.said.say(said, now) {
            self.take(peer, &said, now);
        }
    }

    pub(super) fn take_what_was_said(&mut self, now: Instant) {
        let due: Vec<(PeerId, Said)> = self
            .connected
            .iter_mut()
            .filter_map(|(peer, connected)| connected.said.due(now).map(|said| (*peer, said)))
            .collect();
        for (peer, said) in due {
            self.take(peer, &said, now);
        }
    }

    fn take(&mut self, peer: PeerId, said: &Said, now: Instant) {
        let speaks_kad = said.protocols.contains(&self.kad_protocol);
        self.take_addresses(peer, &said.listen_addresses, speaks_kad, now);
        if let Some(connected) = self.connected.get_mut(&peer) {
            connected.names = Names::of(&said.protocols, &self.application);
        }
        let in_gorpc = self.gorpc.as_ref().is_some_and(|gorpc| gorpc.is_in(&said.protocols));
        self.speaks_gorpc(peer, in_gorpc, now);
        self.tell_of_stranger(peer);
    }

    fn take_addresses(&mut self, peer: PeerId, listen_addresses: &[Multiaddr], speaks_kad: bool, now: Instant) {
        let Some(connected) = self.connected.get_mut(&peer) else { return };
        connected.identified = true;
        connected.listens_at(peer, listen_addresses, &self.networks);
        let addresses = connected.addresses.clone();
        if speaks_kad {
            // A peer gives away the user's own words for it only as far as it would be believed itself.
            let addresses = addresses.iter().filter(|address| Scope::of(address).is_some()).cloned().collect();
            self.actions.push_back(Action::SetKadAddresses { peer, addresses });
            if !connected.addresses.is_empty() {
                self.adverts.peer_came(peer, now);
            }
        } else if self.adverts.peer_went(&peer) {
            self.actions.push_back(Action::SetKadAddresses { peer, addresses: Vec::new() });
        }
        if let Some(member) = self.members.get_mut(&peer) {
            member.addresses.clone_from(&addresses);
            self.remembered.add(peer, &addresses, &self.networks);
            let topics = member.topics.clone();
            self.member_log.connected(peer, topics, &addresses, now);
        }
    }
}

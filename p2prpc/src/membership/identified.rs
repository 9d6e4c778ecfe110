//! What a peer says of itself through identify: its protocols, and where it listens.

use std::time::Instant;

use libp2p::{Multiaddr, PeerId, StreamProtocol};

use super::Action;
use super::address_filter::Scope;
use super::bucket::{Bucket, Rate};
use super::diagnosing::Names;
use super::machine::Discovery;

/// What a peer says of itself is taken so often at once, and then every five seconds. Of what comes before that the last word
/// is taken, when its time has come: each costs others too, who are told where their members are.
pub(super) const SAID_OF_ITSELF: Rate = Rate { burst: 4.0, a_second: 0.2 };

#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) listen_addresses: Vec<Multiaddr>,
    pub(super) protocols: Vec<StreamProtocol>,
}

/// What one connected peer has said, and how often.
#[derive(Debug)]
pub(super) struct Heard {
    leave: Bucket,
    waiting: Option<Said>,
}

impl Heard {
    pub(super) fn new(now: Instant) -> Self {
        Heard { leave: Bucket::full(SAID_OF_ITSELF, now), waiting: None }
    }

    /// What is to be taken now of it.
    fn say(&mut self, said: Said, now: Instant) -> Option<Said> {
        self.waiting = Some(said);
        self.due(now)
    }

    fn due(&mut self, now: Instant) -> Option<Said> {
        if self.waiting.is_none() || !self.leave.has_one(now) {
            return None;
        }
        self.leave.take();
        self.waiting.take()
    }
}

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn said(port: u16) -> Said {
        let address = format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap();
        Said { listen_addresses: vec![address], protocols: Vec::new() }
    }

    #[test]
    fn of_many_words_a_few_are_taken_at_once_and_the_last_one_in_the_end() {
        let mut now = Instant::now();
        let mut heard = Heard::new(now);
        assert_eq!((0..1000).filter(|port| heard.say(said(*port), now).is_some()).count(), 4);
        let mut taken = Vec::new();
        for _ in 0..80 {
            now += Duration::from_millis(250);
            taken.extend(heard.due(now));
        }
        let addresses: Vec<_> = taken.into_iter().flat_map(|said| said.listen_addresses).collect();
        assert_eq!(addresses, said(999).listen_addresses);
        assert!(heard.say(said(1), now).is_some(), "and later ones at once");
    }
}

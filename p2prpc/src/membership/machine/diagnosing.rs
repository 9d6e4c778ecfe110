//! What is known of why there is company or none.

use libp2p::PeerId;

use super::Discovery;
use crate::membership::Action;
use crate::membership::diagnosis::{Acquaintance, Diagnosis, Relation};
use crate::membership::peers::Connected;

impl Discovery {
    /// All that discovery itself knows.
    pub(crate) fn diagnose(&self) -> Diagnosis {
        let mut rendezvous: Vec<String> = self.names.values().map(|name| name.to_string()).collect();
        rendezvous.sort_unstable();
        Diagnosis {
            protocol: self.application.clone(),
            kad_protocol: self.kad_protocol.to_string(),
            rendezvous,
            members: self.members.len(),
            connected: self
                .connected
                .iter()
                .map(|(peer, connected)| (*peer, self.acquaintance(peer, connected)))
                .collect(),
            bootstrap: self.bootstrap.reached(),
            filtered: self.filtered.iter().map(|(peer, addresses)| (*peer, addresses.clone())).collect(),
            ..Diagnosis::default()
        }
    }

    /// Says, once for each peer that is connected, that it is none of ours, if it is known by now.
    pub(super) fn tell_of_stranger(&mut self, peer: PeerId) {
        let Some(connected) = self.connected.get(&peer).filter(|connected| !connected.told) else { return };
        let relation = self.acquaintance(&peer, connected).relation;
        if !matches!(relation, Relation::OtherRendezvous | Relation::OtherProtocol(_)) {
            return;
        }
        if let Some(connected) = self.connected.get_mut(&peer) {
            connected.told = true;
        }
        self.actions.push_back(Action::Stranger { peer, relation });
    }

    fn acquaintance(&self, peer: &PeerId, connected: &Connected) -> Acquaintance {
        let relation = if self.members.contains_key(peer) {
            Relation::Member
        } else if connected.stranger {
            Relation::OtherRendezvous
        } else if connected.supported || connected.names.ours {
            Relation::SameApplication
        } else if connected.identified {
            Relation::OtherProtocol(connected.names.applications.clone())
        } else {
            Relation::Unknown
        };
        let ours = self.kad_protocol.as_ref();
        let other = !connected.names.kad.iter().any(|name| name == ours);
        let other_kad_protocols = if other { connected.names.kad.clone() } else { Vec::new() };
        Acquaintance { relation, other_kad_protocols }
    }
}

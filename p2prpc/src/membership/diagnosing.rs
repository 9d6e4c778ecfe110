//! What is known of why there is company or none.

use hashlink::LruCache;
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use super::Action;
use super::machine::Discovery;
use super::peers::Connected;
use crate::membership::diagnosis::{Acquaintance, Diagnosis, Relation};
use crate::printable::{cut, printable};
use crate::wire::PROTOCOL_SUFFIX;

const KAD: &str = "/kad/";
/// Names of each kind that are kept of a peer.
const MAX_NAMES: usize = 4;
/// Peers whose addresses weren't believed that are kept.
const MAX_FILTERED: usize = 64;
const MAX_ADDRESSES: usize = 4;

/// The names of a peer's that tell whether it is of another application, or of another DHT.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// It speaks our application's protocol.
    ours: bool,
    /// Without that of p2prpc.
    applications: Vec<String>,
    kad: Vec<String>,
}

impl Names {
    pub(super) fn of(protocols: &[StreamProtocol], application: &str) -> Self {
        let application = application.trim_end_matches('/');
        let names = protocols.iter().map(|protocol| protocol.as_ref());
        let safe = |name: &str| printable(cut(name)).to_string();
        Names {
            ours: names.clone().any(|name| name.strip_suffix(PROTOCOL_SUFFIX) == Some(application)),
            applications: names
                .clone()
                .filter_map(|name| name.strip_suffix(PROTOCOL_SUFFIX))
                .map(safe)
                .take(MAX_NAMES)
                .collect(),
            kad: names.filter(|name| name.contains(KAD)).map(safe).take(MAX_NAMES).collect(),
        }
    }
}

/// Peers whose addresses weren't believed.
#[derive(Debug)]
pub(super) struct Filtered(LruCache<PeerId, Vec<Multiaddr>>);

impl Filtered {
    pub(super) fn new() -> Self {
        Filtered(LruCache::new(MAX_FILTERED))
    }

    pub(super) fn add(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        if !addresses.is_empty() {
            self.0.insert(peer, addresses.iter().take(MAX_ADDRESSES).cloned().collect());
        }
    }

    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }
}

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
            filtered: self.filtered.0.iter().map(|(peer, addresses)| (*peer, addresses.clone())).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_behind_the_name_makes_no_other_application() {
        let protocols = [StreamProtocol::new("/app/p2prpc/1")];
        assert!(Names::of(&protocols, "/app/").ours && Names::of(&protocols, "/app").ours);
        assert!(!Names::of(&protocols, "/ap").ours);
    }
}

//! What is kept of peers that are none of us, and of addresses that weren't believed.

use hashlink::LruCache;
use libp2p::{Multiaddr, PeerId, StreamProtocol};

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
    pub(super) ours: bool,
    /// Without that of p2prpc.
    pub(super) applications: Vec<String>,
    pub(super) kad: Vec<String>,
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

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Vec<Multiaddr>)> {
        self.0.iter()
    }

    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.0.remove(peer);
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

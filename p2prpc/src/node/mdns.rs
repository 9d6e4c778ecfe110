//! Peers on the local network.

use std::collections::BTreeMap;
use std::io;

use libp2p::mdns::tokio::Behaviour;
use libp2p::mdns::{Config, Event};
use libp2p::{Multiaddr, PeerId};

pub(super) fn behaviour(local: PeerId) -> io::Result<Behaviour> {
    Behaviour::new(Config::default(), local)
}

/// Who was seen, and where.
pub(super) fn seen(event: Event) -> BTreeMap<PeerId, Vec<Multiaddr>> {
    let mut seen: BTreeMap<PeerId, Vec<Multiaddr>> = BTreeMap::new();
    if let Event::Discovered(found) = event {
        for (peer, address) in found {
            seen.entry(peer).or_default().push(address);
        }
    }
    seen
}

//! Where peers are, by the word of the user.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use libp2p::{Multiaddr, PeerId};
use parking_lot::RwLock;

/// Addresses that are kept of one peer.
const MAX_ADDRESSES: usize = 8;

/// The addresses of one peer, and when each was given.
type OfPeer = Vec<(Multiaddr, Instant)>;

/// Every dial to a peer tries these too. Clones share them, so that a call right after an address was given finds it.
#[derive(Clone, Debug, Default)]
pub(in crate::node) struct AddressBook {
    peers: Arc<RwLock<HashMap<PeerId, OfPeer>>>,
}

impl AddressBook {
    /// The oldest of too many is forgotten.
    pub(in crate::node) fn add(&self, peer: PeerId, address: Multiaddr) {
        let mut peers = self.peers.write();
        let given = peers.entry(peer).or_default();
        given.retain(|(known, _)| *known != address);
        given.push((address, Instant::now()));
        if given.len() > MAX_ADDRESSES {
            given.remove(0);
        }
    }

    /// The latest first.
    pub(in crate::node) fn of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.told(peer).into_iter().rev().map(|(address, _)| address).collect()
    }

    /// With the time at which each was given.
    pub(in crate::node) fn told(&self, peer: &PeerId) -> Vec<(Multiaddr, Instant)> {
        self.peers.read().get(peer).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_latest_eight_of_a_peer() {
        let book = AddressBook::default();
        let peer = PeerId::random();
        let address = |port: usize| format!("/ip4/127.0.0.1/tcp/{port}").parse::<Multiaddr>().unwrap();
        for port in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 3] {
            book.add(peer, address(port));
        }
        assert_eq!(book.of(&peer), [3, 10, 9, 8, 7, 6, 5, 4].map(address));
        assert!(book.of(&PeerId::random()).is_empty());
    }
}

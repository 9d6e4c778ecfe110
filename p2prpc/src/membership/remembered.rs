//! Members that are worth knowing past the end of this process.

use hashlink::LruCache;
use libp2p::{Multiaddr, PeerId};

use super::address_filter::{Scope, filter};
use crate::networks::Networks;

/// More than these are not remembered; the one that wasn't heard of for longest goes first.
pub(crate) const MAX_REMEMBERED: usize = 256;

#[derive(Debug)]
pub(super) struct Remembered {
    table: LruCache<PeerId, Vec<Multiaddr>>,
}

impl Remembered {
    pub(super) fn new() -> Self {
        Remembered { table: LruCache::new(MAX_REMEMBERED) }
    }

    /// It is a member, and said to be there.
    pub(super) fn add(&mut self, peer: PeerId, addresses: &[Multiaddr], networks: &Networks) {
        let addresses = filter(&peer, addresses, Scope::Loopback, networks);
        if !addresses.is_empty() {
            self.table.insert(peer, addresses);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &[Multiaddr])> {
        self.table.iter().map(|(peer, addresses)| (peer, &addresses[..]))
    }

    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.table.remove(peer);
    }
}

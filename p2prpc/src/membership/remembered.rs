//! Members that are worth knowing past the end of this process.

use std::time::Instant;

use hashlink::LruCache;
use libp2p::{Multiaddr, PeerId};

use super::address_filter::{Scope, filter};
use super::lost::Why;
use super::machine::Discovery;
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

    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.table.remove(peer);
    }
}

impl Discovery {
    /// Members that a node after this one could find the others through, in no order. One that left politely is among
    /// them: the whole group may be going, to come back.
    pub(crate) fn remembered(&self) -> impl Iterator<Item = (&PeerId, &[Multiaddr])> {
        self.remembered.table.iter().map(|(peer, addresses)| (peer, &addresses[..]))
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

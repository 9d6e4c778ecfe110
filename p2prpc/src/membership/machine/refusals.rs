//! Peers that don't want us, and those that we don't want.

use std::time::Instant;

use libp2p::PeerId;

use super::Discovery;
use crate::membership::lost::Why;
use crate::membership::member::Departure;
use crate::membership::{Action, DialFailure};
use crate::peer::NOT_ADMITTED;

impl Discovery {
    /// What was dialled is reached.
    pub(super) fn admitted(&mut self, peer: PeerId) {
        let Some(connected) = self.connected.get_mut(&peer) else { return };
        self.candidates.remove(&peer);
        self.redials.remove(&peer);
        if let Some(address) = connected.at.take()
            && self.bootstrap.admitted(&peer)
        {
            self.actions.push_back(Action::BootstrapConnected { peer, address });
        }
    }

    /// As good as not connected, and a dial that failed: whoever is closed out at once would come back at once.
    pub(super) fn refused_us(&mut self, peer: PeerId, now: Instant) {
        let Some(connected) = self.connected.remove(&peer) else { return };
        self.adverts.peer_went(&peer);
        self.member_log.disconnected(&peer);
        self.actions.push_back(Action::SetKadAddresses { peer, addresses: Vec::new() });
        self.bootstrap.refused_us(&peer, now);
        // One that is missed is looked for with pauses of its own: what others say of where it is would have it dialled beside them.
        if self.lost.contains(&peer) {
            self.candidates.ban(peer, now);
        }
        let reasons = connected.addresses.iter().map(|address| (address.clone(), NOT_ADMITTED.into())).collect();
        self.dial_failed(peer, DialFailure { error: NOT_ADMITTED.into(), reasons, ..DialFailure::default() }, now);
    }

    pub(super) fn block(&mut self, peer: PeerId, now: Instant) {
        self.blocked.insert(peer, self.addresses_of(&peer));
        self.left(peer, Departure::Unwanted, now);
        self.lost.remove(&peer);
        self.remembered.remove(&peer);
        self.candidates.ban(peer, now);
        self.actions.push_back(Action::Close { peer });
    }

    pub(super) fn unblock(&mut self, peer: PeerId, now: Instant) {
        let addresses = self.blocked.remove(&peer).unwrap_or_default();
        self.candidates.unban(&peer, now);
        if !self.connected.contains_key(&peer) {
            self.lost.add(peer, Why::Member, addresses, now, &mut self.rng);
            self.bootstrap.retry(&peer, now);
        }
    }
}

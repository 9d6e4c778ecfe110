//! What is tried again when our own network has changed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::Discovery;
use crate::membership::Action;

/// A younger dial may have been made for this very change: they come in flocks.
const OLD_DIAL: Duration = Duration::from_secs(1);

impl Discovery {
    /// What was dialled from an address that is no more would wait for its 10 s, with the new dial behind it.
    fn give_up_dials(&mut self, now: Instant) {
        let since = now.checked_sub(OLD_DIAL).unwrap_or(now);
        let budgeted = self.budget.dialled_before(since);
        let dialled = budgeted.iter().chain(self.redials.dialled_before(since));
        let dialled = dialled.chain(self.bootstrap.dialled_before(since));
        let is_lost = |peer: &&PeerId| self.connected.get(peer).is_none_or(|connected| connected.suspected);
        let peers: BTreeSet<PeerId> = dialled.filter(is_lost).copied().collect();
        self.actions.extend(peers.into_iter().map(|peer| Action::Close { peer }));
    }

    /// What could not be reached before may be reachable now, and what could may be no more.
    pub(super) fn network_changed(&mut self, now: Instant) {
        let first = self.network_changed.is_none_or(|last| now.saturating_duration_since(last) >= Discovery::TICK);
        self.network_changed = Some(now);
        if first {
            self.give_up_dials(now);
        }
        self.bootstrap.network_changed(now);
        self.lost.network_changed(now);
        self.candidates.network_changed(now);
        self.redials.network_changed(now);
        self.adverts.network_changed(now);
        self.budget.network_changed(now);
        // Changes come in flocks. The tick does what this leaves.
        if first {
            self.dial_those_due(now);
        }
    }
}

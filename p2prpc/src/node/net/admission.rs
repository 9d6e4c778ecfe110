//! Who may be connected.

use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use libp2p::PeerId;
use parking_lot::RwLock;

/// Which side opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The peer did.
    Inbound,
    /// This node did, or is about to.
    Outbound,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        })
    }
}

type Rule = Arc<dyn Fn(&PeerId, Direction) -> bool + Send + Sync>;

/// The rule of the user and the list of those blocked. Clones share the list.
#[derive(Clone, Default)]
pub(in crate::node) struct Admission {
    rule: Option<Rule>,
    blocked: Arc<RwLock<HashSet<PeerId>>>,
}

impl Admission {
    pub(in crate::node) fn with_rule(rule: impl Fn(&PeerId, Direction) -> bool + Send + Sync + 'static) -> Self {
        Admission { rule: Some(Arc::new(rule)), blocked: Arc::default() }
    }

    /// True if this peer may be connected. A rule that panics says no.
    pub(in crate::node) fn admits(&self, peer: &PeerId, direction: Direction) -> bool {
        if self.is_blocked(peer) {
            return false;
        }
        let Some(rule) = &self.rule else { return true };
        catch_unwind(AssertUnwindSafe(|| rule(peer, direction))).unwrap_or(false)
    }

    pub(in crate::node) fn is_blocked(&self, peer: &PeerId) -> bool {
        self.blocked.read().contains(peer)
    }

    pub(in crate::node) fn block(&self, peer: PeerId) {
        self.blocked.write().insert(peer);
    }

    pub(in crate::node) fn unblock(&self, peer: &PeerId) {
        self.blocked.write().remove(peer);
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("blocked", &self.blocked.read().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocking_comes_before_the_rule() {
        let admission = Admission::with_rule(|_, direction| direction == Direction::Inbound);
        let peer = PeerId::random();
        assert!(admission.admits(&peer, Direction::Inbound));
        assert!(!admission.admits(&peer, Direction::Outbound));
        admission.clone().block(peer);
        assert!(!admission.admits(&peer, Direction::Inbound));
        admission.unblock(&peer);
        assert!(admission.admits(&peer, Direction::Inbound));
    }

    #[test]
    fn a_rule_that_panics_denies() {
        let admission = Admission::with_rule(|_, _| panic!("the rule's own fault"));
        assert!(!admission.admits(&PeerId::random(), Direction::Inbound));
    }
}

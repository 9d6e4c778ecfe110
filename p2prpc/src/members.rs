//! Who is there: the peers that `client.all()` means.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fingerprint::Fingerprint;
use libp2p::PeerId;
use tokio::sync::watch;

/// A peer of a rendezvous.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Which of the node's rendezvous it is in; empty where membership is not by rendezvous (a bare [`Behaviour`](crate::Behaviour)).
    pub rendezvous: Arc<[Arc<str>]>,
    /// The services that we may call there, by their names on the wire; `None` if it didn't say.
    pub services: Option<Arc<[Arc<str>]>>,
    /// What its methods look like, as far as it said.
    pub(crate) methods: Arc<[Fingerprint]>,
}

impl Member {
    /// True if it said that it serves `service` to us, or said nothing.
    pub fn may_serve(&self, service: &str) -> bool {
        self.services.as_ref().is_none_or(|services| services.iter().any(|name| &**name == service))
    }

    /// True if it is in this rendezvous.
    pub fn is_in(&self, rendezvous: &str) -> bool {
        self.rendezvous.iter().any(|name| &**name == rendezvous)
    }
}

/// All members at one moment, in the order of their peer ids.
pub type Snapshot = Arc<BTreeMap<PeerId, Member>>;

/// The list of members: one side keeps it true, the other watches it.
#[derive(Debug)]
pub(crate) struct Members {
    table: watch::Sender<Snapshot>,
}

impl Members {
    pub(crate) fn new() -> Self {
        Members { table: watch::Sender::new(Snapshot::default()) }
    }

    /// A peer is a member, with this to say of it. True if that is news.
    pub(crate) fn insert(&self, peer: PeerId, member: Member) -> bool {
        self.table.send_if_modified(|table| {
            if table.get(&peer) == Some(&member) {
                return false;
            }
            Arc::make_mut(table).insert(peer, member);
            true
        })
    }

    /// A peer is no member any more. True if it was one.
    pub(crate) fn remove(&self, peer: &PeerId) -> bool {
        self.table.send_if_modified(|table| table.contains_key(peer) && Arc::make_mut(table).remove(peer).is_some())
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.table.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Snapshot> {
        self.table.subscribe()
    }
}

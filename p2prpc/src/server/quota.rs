//! How many calls of one method one peer may have in flight.

use std::collections::HashMap;
use std::sync::Arc;

use libp2p::PeerId;
use parking_lot::Mutex;

use super::MethodEntry;

/// The calls of one method, by who has some in flight.
#[derive(Debug)]
pub(super) struct Quota {
    most: u32,
    in_flight: Mutex<HashMap<PeerId, u32>>,
}

impl Quota {
    pub(super) fn new(most: u32) -> Self {
        Quota { most, in_flight: Mutex::default() }
    }

    fn take(&self, peer: PeerId) -> bool {
        let mut in_flight = self.in_flight.lock();
        let own = in_flight.entry(peer).or_default();
        let fits = *own < self.most;
        *own += u32::from(fits);
        fits
    }

    fn give_back(&self, peer: &PeerId) {
        let mut in_flight = self.in_flight.lock();
        if let Some(own) = in_flight.get_mut(peer) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                in_flight.remove(peer);
            }
        }
    }
}

/// A place among the calls of one method and peer; dropped with the handler.
#[derive(Debug)]
pub(crate) struct MethodPermit {
    entry: Arc<MethodEntry>,
    peer: PeerId,
}

impl MethodPermit {
    /// A place for one more call, or for any number where the method sets no limit. `Err` past it.
    pub(super) fn take(entry: &Arc<MethodEntry>, peer: PeerId) -> Result<Option<Self>, ()> {
        match &entry.quota {
            None => Ok(None),
            Some(quota) if quota.take(peer) => Ok(Some(MethodPermit { entry: entry.clone(), peer })),
            Some(_) => Err(()),
        }
    }
}

impl Drop for MethodPermit {
    fn drop(&mut self) {
        if let Some(quota) = &self.entry.quota {
            quota.give_back(&self.peer);
        }
    }
}

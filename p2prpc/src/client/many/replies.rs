//! The results of many peers, once all are there.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use libp2p::PeerId;

use super::PeerResult;
use crate::error::{Failure, RpcError};
use crate::service::Method;

/// All results of a [`MultiCall`](crate::MultiCall): one for each peer asked, in the order asked. An id that was given twice has two.
pub struct Replies<M: Method> {
    pub(super) results: Vec<(PeerId, PeerResult<M>)>,
    /// Why nobody could be asked.
    pub(super) failure: Option<RpcError>,
}

/// So many peers' causes are in the text of an error of many.
const CAUSES: usize = 8;

impl<M: Method> Replies<M> {
    pub(super) fn in_order_of(
        asked: &[PeerId],
        failure: Option<&RpcError>,
        results: Vec<(PeerId, PeerResult<M>)>,
    ) -> Self {
        let mut places: HashMap<PeerId, VecDeque<usize>> = HashMap::with_capacity(asked.len());
        for (place, peer) in asked.iter().enumerate() {
            places.entry(*peer).or_default().push_back(place);
        }
        let place_of = |peer: &PeerId| places.get_mut(peer).and_then(VecDeque::pop_front).unwrap_or(asked.len());
        let mut placed: Vec<_> = {
            let mut place_of = place_of;
            results.into_iter().map(|result| (place_of(&result.0), result)).collect()
        };
        placed.sort_by_key(|(place, _)| *place);
        Replies { results: placed.into_iter().map(|(_, result)| result).collect(), failure: failure.cloned() }
    }

    /// Why no member could be asked: the node is closed, or has not been started. `None` if there just was no member.
    pub fn failure(&self) -> Option<&RpcError> {
        self.failure.as_ref()
    }

    /// What the peers gave that answered well, in the order asked. It is empty if no peer was asked.
    ///
    /// # Errors
    /// These results, as an error that names each peer's cause, if all peers failed, or none could be asked
    /// ([`failure`](Replies::failure)).
    pub fn into_ok(self) -> Result<Vec<(PeerId, M::Output)>, Self> {
        if self.failure.is_some() || (!self.is_empty() && self.ok().next().is_none()) {
            return Err(self);
        }
        Ok(self.into_iter().filter_map(|(peer, result)| Some((peer, result.ok()?))).collect())
    }

    /// The number of peers asked.
    pub fn len(&self) -> usize {
        self.results.len()
    }

    /// True if no peer was asked.
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// Each peer and what it gave, in the order asked.
    pub fn iter(&self) -> std::slice::Iter<'_, (PeerId, PeerResult<M>)> {
        self.results.iter()
    }

    /// Those that answered well.
    pub fn ok(&self) -> impl Iterator<Item = (PeerId, &M::Output)> {
        self.iter().filter_map(|(peer, result)| Some((*peer, result.as_ref().ok()?)))
    }

    /// Those that didn't.
    pub fn errors(&self) -> impl Iterator<Item = (PeerId, &M::Error)> {
        self.iter().filter_map(|(peer, result)| Some((*peer, result.as_ref().err()?)))
    }
}

impl<M: Method> fmt::Debug for Replies<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies")
            .field("method", &M::NAME)
            .field("ok", &self.ok().count())
            .field("errors", &self.errors().count())
            .field("failure", &self.failure)
            .finish()
    }
}

/// Who failed, and why: for results that are too few. Of more than eight failures it names eight.
impl<M: Method> fmt::Display for Replies<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(failure) = &self.failure {
            return write!(f, "{}: nobody was asked: {failure}", M::NAME);
        }
        let failed = self.errors().count();
        match (self.len(), failed) {
            (0, _) => return write!(f, "{}: nobody was asked: no member that serves it is known", M::NAME),
            (asked, 0) => return write!(f, "{}: {asked} peers answered", M::NAME),
            (asked, failed) => write!(f, "{}: {failed} of {asked} peers failed", M::NAME)?,
        }
        for (at, (peer, error)) in self.errors().take(CAUSES).enumerate() {
            let separator = if at == 0 { ": " } else { "; " };
            match error.as_rpc() {
                // It names the peer itself.
                Some(error) => write!(f, "{separator}{error}")?,
                None => write!(f, "{separator}{peer}: {error}")?,
            }
        }
        if failed > CAUSES { write!(f, "; and {} more", failed - CAUSES) } else { Ok(()) }
    }
}

impl<M: Method> std::error::Error for Replies<M> {}

impl<M: Method> IntoIterator for Replies<M> {
    type Item = (PeerId, PeerResult<M>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.results.into_iter()
    }
}

impl<'a, M: Method> IntoIterator for &'a Replies<M> {
    type Item = &'a (PeerId, PeerResult<M>);
    type IntoIter = std::slice::Iter<'a, (PeerId, PeerResult<M>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

//! The calls of a session that wait, and its streams that have been left.

use std::collections::VecDeque;
use std::sync::Arc;

use super::mux::client::ClientStream;
use super::queue::{MAX_RESENDS, Queued};

/// Streams to one peer that take no new calls and still wait for answers; one more ends the oldest.
const MAX_DRAINING: usize = 4;

#[derive(Default)]
pub(super) struct Waiting {
    pub(super) queue: VecDeque<Queued>,
    pub(super) opening: bool,
    pub(super) timer: bool,
    pub(super) streams: u64,
    /// Connections in a row that ended while a stream was being opened on them.
    pub(super) lost_opens: u8,
    /// Streams that take no new calls and have some under way.
    pub(super) draining: VecDeque<Arc<ClientStream>>,
}

impl Waiting {
    pub(super) fn drain(&mut self, stream: Arc<ClientStream>) {
        self.draining.push_back(stream);
        if self.draining.len() > MAX_DRAINING
            && let Some(oldest) = self.draining.pop_front()
        {
            oldest.cut_off();
        }
    }

    /// True, once, if calls wait and nobody looks after their deadlines.
    pub(super) fn needs_timer(&mut self) -> bool {
        !self.queue.is_empty() && !std::mem::replace(&mut self.timer, true)
    }

    /// A stream is gone on which these calls could have been sent. Gives those that have waited for too many.
    pub(super) fn count_lost_stream(&mut self) -> VecDeque<Queued> {
        let again = |call: Queued| Queued { resends: call.resends.saturating_add(1), ..call };
        let calls = std::mem::take(&mut self.queue).into_iter().map(again);
        let (given_up, rest) = calls.partition(|call| call.resends > MAX_RESENDS);
        self.queue = rest;
        given_up
    }
}

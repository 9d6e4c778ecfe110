//! What a session hears of the streams and substreams that carry its calls.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use libp2p::PeerId;

use super::PeerSession;
use crate::call::{Dialect, Place};
use crate::error::{ErrorKind, RpcError};
use crate::peer::mux::client::ClientStream;
use crate::peer::mux::client_task;
use crate::peer::queue::{Queued, lost_too_often};
use crate::peer::session_config::SessionConfig;
use crate::peer::single::{self, Single};

impl client_task::Owner for PeerSession {
    fn peer(&self) -> PeerId {
        self.peer
    }

    fn config(&self) -> &Arc<SessionConfig> {
        &self.config
    }

    fn flush(&self) {
        self.flush_with(None);
    }

    fn retire(&self, stream: &Arc<ClientStream>) {
        let given_up = {
            let mut waiting = self.waiting.lock();
            if !self.current.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, stream)) {
                return;
            }
            self.current.store(None);
            waiting.drain(stream.clone());
            waiting.count_lost_stream()
        };
        self.fail(given_up, &lost_too_often());
    }

    fn ended(&self, stream: &Arc<ClientStream>, unsent: Vec<Queued>) {
        self.retire(stream);
        let (refused, watch) = {
            let mut waiting = self.waiting.lock();
            waiting.draining.retain(|other| !Arc::ptr_eq(other, stream));
            // Whoever has given up meanwhile has found the call nowhere.
            let unsent: VecDeque<Queued> =
                unsent.into_iter().filter(|call| call.call.set_place(Place::Queued)).collect();
            self.config.in_flight.calls.fetch_add(unsent.len(), Ordering::Relaxed);
            if self.config.is_closed() {
                (unsent, false)
            } else {
                for call in unsent.into_iter().rev() {
                    waiting.queue.push_front(call);
                }
                (VecDeque::new(), waiting.needs_timer())
            }
        };
        self.keep_deadlines(watch);
        self.fail(refused, &RpcError::never_sent(ErrorKind::Closed, ""));
        self.flush();
    }
}

impl single::Owner for PeerSession {
    fn peer(&self) -> PeerId {
        self.peer
    }

    fn config(&self) -> &Arc<SessionConfig> {
        &self.config
    }

    fn single(&self) -> Option<&Single> {
        self.single.as_ref()
    }

    fn dialect(&self) -> Option<Dialect> {
        self.dialect()
    }

    fn mistaken(&self) {
        self.mistaken();
    }

    fn take_back(&self, call: Queued) {
        self.enqueue(call, usize::MAX);
    }
}

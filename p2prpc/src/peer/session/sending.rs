//! Calls that wait: sent when there is a stream and room, and ended when they are late.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::PeerSession;
use crate::call::{Dialect, Place};
use crate::clock::now;
use crate::error::{ErrorKind, RpcError};
use crate::peer::mux::client_shared::Refused;
use crate::peer::queue::{Queued, too_late};
use crate::peer::single::{self, Substream};

impl PeerSession {
    /// Send what waits, as far as there is a stream and room.
    pub(super) fn flush(&self) {
        self.flush_with(None);
    }

    /// The same; the first call that takes a substream of its own can have this one.
    pub(super) fn flush_with(&self, substream: Option<Substream>) {
        if self.send_waiting(substream) {
            // Who watches has to wait for room from now on.
            self.changed.notify_one();
        }
    }

    /// True if some of the rest wait for room among the bytes in flight to all peers.
    fn send_waiting(&self, mut substream: Option<Substream>) -> bool {
        let (mut failed, mut singles) = (Vec::new(), Vec::new());
        let (mut open, mut blocked) = (false, false);
        {
            let mut waiting = self.waiting.lock();
            let in_gorpc = self.dialect() == Some(Dialect::Gorpc);
            if in_gorpc {
                singles.extend(waiting.queue.drain(..));
            }
            // Where a large one has no room a smaller one behind it may have some.
            let (mut at, mut too_large) = (0, usize::MAX);
            while let Some(next) = waiting.queue.get(at) {
                if next.bytes() >= too_large {
                    at = at.saturating_add(1);
                    continue;
                }
                let sent = match &*self.current.load() {
                    Some(stream) => stream.submit(&next.request(), &next.call, next.resends, &self.config),
                    None => Err(Refused::Gone),
                };
                match sent {
                    Ok(()) => {
                        waiting.queue.remove(at);
                        self.config.in_flight.calls.fetch_sub(1, Ordering::Relaxed);
                    }
                    Err(Refused::Failed(error)) => {
                        failed.extend(waiting.queue.remove(at).map(|call| (call.call, error)));
                    }
                    Err(refused @ (Refused::NoRoomYet | Refused::NoRoomForAll)) => {
                        blocked |= matches!(refused, Refused::NoRoomForAll);
                        too_large = next.bytes();
                    }
                    Err(Refused::Gone) => {
                        open = !std::mem::replace(&mut waiting.opening, true);
                        if open {
                            waiting.lost_opens = 0;
                        }
                        break;
                    }
                }
            }
        }
        let left = failed.len().saturating_add(singles.len());
        self.config.in_flight.calls.fetch_sub(left, Ordering::Relaxed);
        for (call, error) in failed {
            call.complete(Err(error));
        }
        if let (Some(me), Some(single)) = (self.me.upgrade(), &self.single) {
            let me: Arc<dyn single::Owner> = me;
            for call in singles {
                single.start(&me, call, substream.take());
            }
        }
        if open && let Some(me) = self.me.upgrade() {
            self.opener.open(me);
        }
        blocked
    }

    /// The call waits, as one of so many at the most.
    pub(super) fn enqueue(&self, call: Queued, most: usize) {
        // Nobody is dialled for it.
        if call.head.deadline <= now() {
            return call.call.complete(Err(too_late()));
        }
        let mut waiting = self.waiting.lock();
        let refused = if self.config.is_closed() {
            RpcError::never_sent(ErrorKind::Closed, "")
        } else if waiting.queue.len() >= most {
            let detail = format!("{most} calls wait to be sent (Limits::max_calls_per_peer)");
            RpcError::never_sent(ErrorKind::Overloaded, detail)
        } else {
            // Its caller may have given it up meanwhile, and finds it nowhere else.
            if !call.call.set_place(Place::Queued) {
                return;
            }
            self.config.in_flight.calls.fetch_add(1, Ordering::Relaxed);
            waiting.queue.push_back(call);
            let watch = waiting.needs_timer();
            drop(waiting);
            self.keep_deadlines(watch);
            self.flush();
            return;
        };
        drop(waiting);
        call.call.complete(Err(refused));
    }

    /// Calls have been queued: see to their deadlines.
    pub(super) fn keep_deadlines(&self, start: bool) {
        if start {
            self.config.spawner.spawn(watch(self.me.clone()));
        } else {
            self.changed.notify_one();
        }
    }

    /// End what waited too long. Gives when to look again; `None` if nothing waits, so that nobody keeps the link for it.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let (late, next) = {
            let mut waiting = self.waiting.lock();
            let (late, rest): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(&mut waiting.queue).into_iter().partition(|call| call.head.deadline <= now);
            waiting.queue = rest;
            let next = waiting.queue.iter().map(|call| call.head.deadline).min();
            waiting.timer = next.is_some();
            (late, next)
        };
        self.fail(late, &too_late());
        next
    }
}

/// Keeps the deadlines of the calls that wait, and sends them when there is room among the bytes in flight to all peers.
async fn watch(session: Weak<PeerSession>) {
    loop {
        let Some(session) = session.upgrade() else { return };
        let room = session.send_waiting(None).then(|| session.config.wait_for_room());
        if room.is_some() {
            session.send_waiting(None);
        }
        let Some(next) = session.expire(now()) else { return };
        let changed = session.changed.notified();
        let woken = async {
            match room {
                None => changed.await,
                Some((_waits, made)) => {
                    futures::future::select(pin!(changed), pin!(made)).await;
                }
            }
        };
        let _ = tokio::time::timeout_at(next.into(), woken).await;
    }
}

//! The way to one peer: its call stream while there is one, and the calls that wait for one.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use crossbeam_utils::CachePadded;
use libp2p::PeerId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::connection::Connection;
use super::mux::client::{ByteStream, ClientStream, Refused};
use super::mux::client_task;
use super::now;
use crate::call::{Body, Link, Request};
use crate::call::{PendingCall, Place};
use crate::clock::later;
use crate::codec::CodecId;
use crate::error::{ErrorKind, RpcError};
use crate::limits::Limits;
use crate::metadata::Metadata;
use crate::runtime::Spawner;

/// How often a call that was never sent is given to another stream.
pub(super) const MAX_RESENDS: u8 = 2;
/// Streams to one peer that take no new calls and still wait for answers; one more ends the oldest.
const MAX_DRAINING: usize = 4;
/// How often calls that wait for room are looked at, beside each time that room is made.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Who opens call streams: the swarm's side.
pub(crate) trait Opener: Send + Sync + 'static {
    /// See to it that `link` gets a stream ([`PeerLink::attach`]) or hears why not ([`PeerLink::open_failed`]).
    fn open(&self, link: Arc<PeerLink>);
    /// This peer has shown that it speaks the protocol. (When a stream is negotiated it may not have: negotiation can be lazy.)
    fn greeted(&self, peer: PeerId);
    /// This peer has answered a call in gorpc.
    #[cfg(feature = "gorpc")]
    fn answered_in_gorpc(&self, _: PeerId) {}
}

/// What all links of a node share.
pub(crate) struct SessionConfig {
    pub(crate) limits: Limits,
    pub(crate) idle_timeout: Duration,
    pub(crate) opener: Box<dyn Opener>,
    pub(super) in_flight: CachePadded<InFlight>,
    /// Bytes that have come of replies that aren't whole yet, from all peers.
    received_bytes: AtomicUsize,
    closed: AtomicBool,
    pub(super) spawner: Spawner,
}

/// Counters that each call changes, apart from what each call reads.
#[derive(Default)]
pub(super) struct InFlight {
    /// Bytes of request bodies in flight to all peers.
    pub(super) bytes: AtomicUsize,
    /// Own calls in flight or waiting.
    pub(super) calls: AtomicUsize,
}

impl SessionConfig {
    pub(crate) fn new(limits: Limits, idle_timeout: Duration, opener: Box<dyn Opener>) -> Self {
        SessionConfig {
            limits,
            idle_timeout,
            opener,
            in_flight: CachePadded::default(),
            received_bytes: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            spawner: Spawner::here(),
        }
    }

    /// No call goes out from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// So many bytes of a reply have come that isn't whole yet. False past the limit.
    pub(super) fn receive(&self, bytes: usize) -> bool {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= self.limits.max_bytes
    }

    /// So many bytes of a reply are handed on, or given up.
    pub(super) fn let_go(&self, bytes: usize) {
        self.received_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn calls_under_way(&self) -> usize {
        self.in_flight.calls.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
impl SessionConfig {
    /// Own calls under way, and the bytes of their bodies and of what has come of their replies.
    pub(super) fn in_use(&self) -> (usize, usize) {
        let bytes = self.in_flight.bytes.load(Ordering::Relaxed) + self.received_bytes.load(Ordering::Relaxed);
        (self.calls_under_way(), bytes)
    }
}

pub(crate) struct PeerLink {
    me: Weak<PeerLink>,
    peer: PeerId,
    config: Arc<SessionConfig>,
    /// The stream that takes new calls. Changed under the lock of `waiting` only.
    current: ArcSwapOption<ClientStream>,
    waiting: Mutex<Waiting>,
    /// Bytes of request bodies in flight, on all streams.
    bytes: Arc<AtomicUsize>,
    changed: Notify,
    /// The oldest first.
    connections: Mutex<Vec<Arc<Connection>>>,
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<Queued>,
    opening: bool,
    timer: bool,
    streams: u64,
    /// Connections in a row that ended while a stream was being opened on them.
    lost_opens: u8,
    /// Streams that take no new calls and have some under way.
    draining: VecDeque<Arc<ClientStream>>,
}

impl Waiting {
    fn drain(&mut self, stream: Arc<ClientStream>) {
        self.draining.push_back(stream);
        if self.draining.len() > MAX_DRAINING
            && let Some(oldest) = self.draining.pop_front()
        {
            oldest.cut_off();
        }
    }

    /// True, once, if calls wait and nobody looks after their deadlines.
    fn needs_timer(&mut self) -> bool {
        !self.queue.is_empty() && !std::mem::replace(&mut self.timer, true)
    }

    /// A stream is gone on which these calls could have been sent. Gives those that have waited for too many.
    fn count_lost_stream(&mut self) -> VecDeque<Queued> {
        let again = |call: Queued| Queued { resends: call.resends.saturating_add(1), ..call };
        let calls = std::mem::take(&mut self.queue).into_iter().map(again);
        let (given_up, rest) = calls.partition(|call| call.resends > MAX_RESENDS);
        self.queue = rest;
        given_up
    }
}

/// A call that has not been sent.
pub(super) struct Queued {
    pub(super) slot: Arc<PendingCall>,
    pub(super) method: &'static str,
    pub(super) codec: CodecId,
    pub(super) deadline: Instant,
    pub(super) metadata: Metadata,
    pub(super) body: Bytes,
    pub(super) resends: u8,
    /// It is made again by its caller after a lost connection.
    pub(super) again: bool,
}

impl Queued {
    fn request(&self) -> Request<'_> {
        Request {
            method: self.method,
            codec: self.codec,
            deadline: self.deadline,
            metadata: &self.metadata,
            body: Body::Shared(self.body.clone()),
            again: self.again,
        }
    }
}

impl PeerLink {
    pub(crate) fn new(peer: PeerId, config: Arc<SessionConfig>) -> Arc<Self> {
        Arc::new_cyclic(|me| PeerLink {
            me: me.clone(),
            peer,
            config,
            current: ArcSwapOption::empty(),
            waiting: Mutex::default(),
            bytes: Arc::default(),
            changed: Notify::new(),
            connections: Mutex::default(),
        })
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.peer
    }

    pub(super) fn config(&self) -> &SessionConfig {
        &self.config
    }

    pub(crate) fn connected(&self, connection: Arc<Connection>) {
        self.connections.lock().push(connection);
    }

    pub(crate) fn disconnected(&self, connection: &Arc<Connection>) {
        self.connections.lock().retain(|other| !Arc::ptr_eq(other, connection));
    }

    /// The connections to this peer, the oldest first.
    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        self.connections.lock().clone()
    }

    /// When the last byte came on a stream for calls, if one ever came.
    pub(crate) fn last_used(&self) -> Option<Instant> {
        self.connections.lock().iter().filter_map(|connection| connection.used()).max()
    }

    /// When this peer was last heard on any connection.
    pub(crate) fn last_heard(&self) -> Option<Instant> {
        self.connections.lock().iter().map(|connection| connection.heard()).max()
    }

    /// True if new calls go out on this connection.
    #[cfg(feature = "node")]
    pub(crate) fn calls_on(&self, connection: &Arc<Connection>) -> bool {
        self.current.load().as_ref().is_some_and(|stream| stream.is_on(connection))
    }

    /// True while a call of ours waits or is under way.
    #[cfg(feature = "node")]
    pub(crate) fn is_busy(&self) -> bool {
        let waiting = self.waiting.lock();
        !waiting.queue.is_empty()
            || !waiting.draining.is_empty()
            || self.current.load().as_ref().is_some_and(|stream| stream.has_calls())
    }

    /// True while calls wait for a stream to be opened.
    pub(crate) fn wants_stream(&self) -> bool {
        self.waiting.lock().opening
    }

    /// A call stream has been negotiated: drive it until it ends. It has to be told when its connection ends
    /// ([`ClientStream::lose`]): not every substream notices.
    pub(crate) fn attach<S>(&self, connection: &Arc<Connection>, io: S) -> Option<Arc<ClientStream>>
    where
        S: ByteStream + 'static,
    {
        let me = self.me.upgrade()?;
        let stream = {
            let mut waiting = self.waiting.lock();
            // It was asked for before calls went on elsewhere.
            if connection.is_suspected() && self.current.load().is_some() {
                return None;
            }
            waiting.opening = false;
            if self.config.is_closed() {
                return None;
            }
            waiting.streams = waiting.streams.saturating_add(1);
            let (number, limits) = (waiting.streams, &self.config.limits);
            let stream =
                Arc::new(ClientStream::new(number, limits, connection.clone(), Box::new(io), self.bytes.clone()));
            if let Some(older) = self.current.swap(Some(stream.clone())) {
                older.retire();
                waiting.drain(older);
            }
            stream
        };
        self.config.spawner.spawn(client_task::drive(me, stream.clone()));
        self.flush();
        // What still waits, waits for room now: that is looked for more often than a stream.
        self.changed.notify_one();
        Some(stream)
    }

    /// New calls go out on another connection than this one, which is silent. Those under way that can be made again are;
    /// the others may still be answered. True if calls went out on it.
    pub(crate) fn leave(&self, connection: &Arc<Connection>) -> bool {
        let (current, streams) = {
            let waiting = self.waiting.lock();
            let current = self.current.load_full().filter(|stream| stream.is_on(connection));
            let draining = waiting.draining.iter().filter(|stream| stream.is_on(connection)).cloned();
            (current.clone(), current.into_iter().chain(draining).collect::<Vec<_>>())
        };
        if let Some(stream) = &current {
            stream.retire();
            self.retire(stream);
        }
        for stream in &streams {
            stream.give_back(&self.config);
        }
        self.flush();
        current.is_some()
    }

    /// No stream could be opened: the calls that wait for one end so.
    pub(crate) fn open_failed(&self, error: &RpcError) {
        let failed = {
            let mut waiting = self.waiting.lock();
            waiting.opening = false;
            std::mem::take(&mut waiting.queue)
        };
        self.fail(failed, error);
    }

    /// The connection ended on which a stream was being opened. True if that is worth another try.
    pub(crate) fn open_lost(&self) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.lost_opens = waiting.lost_opens.saturating_add(1);
        waiting.lost_opens <= MAX_RESENDS
    }

    /// The node is closing ([`SessionConfig::close`]): what waits won't be sent.
    pub(crate) fn close(&self) {
        let failed = std::mem::take(&mut self.waiting.lock().queue);
        self.fail(failed, &RpcError::never_sent(ErrorKind::Closed, ""));
    }

    fn fail(&self, calls: VecDeque<Queued>, error: &RpcError) {
        if calls.is_empty() {
            return;
        }
        self.config.in_flight.calls.fetch_sub(calls.len(), Ordering::Relaxed);
        self.changed.notify_one();
        for call in calls {
            call.slot.complete(Err(error.clone()));
        }
    }

    /// `stream` takes no new calls any more.
    pub(super) fn retire(&self, stream: &Arc<ClientStream>) {
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

    /// `stream` is no more; these calls of it were never sent.
    pub(super) fn ended(&self, stream: &Arc<ClientStream>, unsent: Vec<Queued>) {
        self.retire(stream);
        let (refused, watch) = {
            let mut waiting = self.waiting.lock();
            waiting.draining.retain(|other| !Arc::ptr_eq(other, stream));
            // Whoever has given up meanwhile has found the call nowhere.
            let unsent: VecDeque<Queued> = unsent.into_iter().filter(|call| call.slot.place().is_some()).collect();
            self.config.in_flight.calls.fetch_add(unsent.len(), Ordering::Relaxed);
            if self.config.is_closed() {
                (unsent, false)
            } else {
                for call in unsent.into_iter().rev() {
                    call.slot.set_place(Place::Queued);
                    waiting.queue.push_front(call);
                }
                (VecDeque::new(), waiting.needs_timer())
            }
        };
        self.keep_deadlines(watch);
        self.fail(refused, &RpcError::never_sent(ErrorKind::Closed, ""));
        self.flush();
    }

    /// Send what waits, as far as there is a stream and room.
    pub(super) fn flush(&self) {
        let mut failed = Vec::new();
        let mut open = false;
        {
            let mut waiting = self.waiting.lock();
            while let Some(next) = waiting.queue.front() {
                let sent = match &*self.current.load() {
                    Some(stream) => stream.submit(&next.request(), &next.slot, next.resends, &self.config),
                    None => Err(Refused::Gone),
                };
                match sent {
                    Ok(()) => {
                        waiting.queue.pop_front();
                        self.config.in_flight.calls.fetch_sub(1, Ordering::Relaxed);
                    }
                    Err(Refused::Failed(error)) => {
                        failed.extend(waiting.queue.pop_front().map(|call| (call.slot, error)));
                    }
                    Err(Refused::NoRoomYet) => break,
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
        self.config.in_flight.calls.fetch_sub(failed.len(), Ordering::Relaxed);
        for (slot, error) in failed {
            slot.complete(Err(error));
        }
        if open && let Some(me) = self.me.upgrade() {
            self.config.opener.open(me);
        }
    }

    fn enqueue(&self, call: Queued) {
        // Nobody is dialled for it.
        if call.deadline <= now() {
            return call.slot.complete(Err(too_late()));
        }
        let watch = {
            let mut waiting = self.waiting.lock();
            if self.config.is_closed() {
                drop(waiting);
                call.slot.complete(Err(RpcError::never_sent(ErrorKind::Closed, "")));
                return;
            }
            if waiting.queue.len() >= self.config.limits.max_calls_per_peer {
                drop(waiting);
                let detail = format_args!(
                    "{} calls wait to be sent (Limits::max_calls_per_peer)",
                    self.config.limits.max_calls_per_peer
                );
                call.slot.complete(Err(RpcError::never_sent(ErrorKind::Overloaded, detail)));
                return;
            }
            self.config.in_flight.calls.fetch_add(1, Ordering::Relaxed);
            waiting.queue.push_back(call);
            waiting.needs_timer()
        };
        self.keep_deadlines(watch);
        self.flush();
    }

    /// Calls have been queued: see to their deadlines.
    fn keep_deadlines(&self, start: bool) {
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
                std::mem::take(&mut waiting.queue).into_iter().partition(|call| call.deadline <= now);
            waiting.queue = rest;
            let next = waiting.queue.iter().map(|call| call.deadline).min();
            let next = next.map(|next| if waiting.opening { next } else { next.min(later(now, LOOK_AGAIN)) });
            waiting.timer = next.is_some();
            (late, next)
        };
        self.fail(late, &too_late());
        next
    }
}

pub(super) fn too_late() -> RpcError {
    RpcError::never_sent(ErrorKind::DeadlineExceeded, "it could not be sent in time")
}

/// What becomes of a call that was given to one stream after the other, and never sent.
pub(super) fn lost_too_often() -> RpcError {
    RpcError::never_sent(ErrorKind::ConnectionLost, format_args!("and {MAX_RESENDS} times before"))
}

/// Keeps the deadlines of the calls that wait.
async fn watch(link: Weak<PeerLink>) {
    loop {
        let Some(link) = link.upgrade() else { return };
        let Some(next) = link.expire(now()) else { return };
        let _ = tokio::time::timeout_at(next.into(), link.changed.notified()).await;
        link.flush();
    }
}

impl Link for PeerLink {
    fn submit(&self, request: Request<'_>, slot: &Arc<PendingCall>) {
        if self.config.is_closed() {
            return slot.complete(Err(RpcError::never_sent(ErrorKind::Closed, "")));
        }
        let sent = self.current.load().as_ref().map(|stream| stream.submit(&request, slot, 0, &self.config));
        match sent {
            Some(Ok(())) => return,
            Some(Err(Refused::Failed(error))) => return slot.complete(Err(error)),
            Some(Err(Refused::Gone | Refused::NoRoomYet)) | None => {}
        }
        self.enqueue(Queued {
            slot: slot.clone(),
            method: request.method,
            codec: request.codec,
            deadline: request.deadline,
            metadata: request.metadata.clone(),
            body: request.body.to_bytes(),
            resends: 0,
            again: request.again,
        });
    }

    fn is_driven_here(&self) -> bool {
        self.config.spawner.is_here()
    }

    fn cancel(&self, slot: &Arc<PendingCall>) {
        let _waker;
        let mut waiting = self.waiting.lock();
        let Some((place, waker)) = slot.abandon() else { return };
        _waker = waker;
        match place {
            Place::Queued => {
                if let Some(at) = waiting.queue.iter().position(|call| Arc::ptr_eq(&call.slot, slot)) {
                    waiting.queue.remove(at);
                    self.config.in_flight.calls.fetch_sub(1, Ordering::Relaxed);
                    self.changed.notify_one();
                }
            }
            Place::Sent { stream: number, id } => {
                let current = self.current.load_full();
                let stream = current.iter().chain(&waiting.draining).find(|stream| stream.number() == number).cloned();
                drop(waiting);
                if stream.is_some_and(|stream| stream.cancel(id, &self.config)) {
                    self.flush();
                }
            }
        }
    }
}

impl fmt::Debug for PeerLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerLink").field("peer", &self.peer).finish_non_exhaustive()
    }
}

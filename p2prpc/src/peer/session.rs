//! All that a node has with one peer: its connections, the streams that carry calls to it, and the calls that wait for one.

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use libp2p::PeerId;
use tokio::sync::Notify;

use super::connection::Connection;
use super::mux::client::{ByteStream, ClientStream, Refused};
use super::mux::client_task;
use super::queue::{MAX_RESENDS, Queued, Waiting, lost_too_often, too_late};
use super::session_config::{Counters, SessionConfig};
use super::single::{Single, Substream};
use crate::call::{CallHead, Channel, Dialect, Formats, PendingCall, Place, Request};
use crate::clock::now;
use crate::error::{ErrorKind, RpcError};
use crate::fingerprint::{Fingerprint, PeerMethods};
use crate::sync::Mutex;

pub(crate) struct PeerSession {
    me: Weak<PeerSession>,
    peer: PeerId,
    config: Arc<SessionConfig>,
    /// The stream that takes new calls. Changed under the lock of `waiting` only.
    current: ArcSwapOption<ClientStream>,
    waiting: Mutex<Waiting>,
    /// On all streams.
    in_flight: Arc<Counters>,
    changed: Notify,
    /// The oldest first.
    connections: Mutex<Vec<Arc<Connection>>>,
    /// Where the peer may speak gorpc: a substream for each call.
    single: Option<Single>,
    /// What its methods look like, if it has said so.
    methods: ArcSwapOption<PeerMethods>,
}

impl PeerSession {
    pub(crate) fn new(peer: PeerId, config: Arc<SessionConfig>) -> Arc<Self> {
        Arc::new_cyclic(|me| PeerSession {
            me: me.clone(),
            peer,
            current: ArcSwapOption::empty(),
            waiting: Mutex::default(),
            in_flight: Arc::default(),
            changed: Notify::new(),
            connections: Mutex::default(),
            single: config.gorpc.then(Single::default),
            methods: ArcSwapOption::empty(),
            config,
        })
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.peer
    }

    pub(super) fn config(&self) -> &Arc<SessionConfig> {
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

    /// The peer says what its methods look like.
    pub(crate) fn set_methods(&self, told: &Arc<[Fingerprint]>) {
        if self.methods.load().as_ref().is_none_or(|known| known.told() != told) {
            self.methods.store((!told.is_empty()).then(|| Arc::new(PeerMethods::new(told.clone()))));
        }
    }

    /// True if the peer has declared this method otherwise. That is told once.
    pub(crate) fn differs(&self, name: &'static str, method: impl Into<Fingerprint>) -> bool {
        let methods = self.methods.load();
        let difference = methods.as_ref().and_then(|methods| methods.difference(method));
        if difference.is_some_and(|difference| difference.is_news) {
            self.config.opener.method_differs(self.peer, name);
        }
        difference.is_some()
    }

    /// Calls of the peer that are being served on a substream each.
    pub(crate) fn serving(&self) -> usize {
        self.single.as_ref().map_or(0, Single::serving)
    }

    /// What the peer speaks, if that is known.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        self.single.as_ref().map_or(Some(Dialect::Native), Single::dialect)
    }

    /// The calls that take a substream each, if the peer may make and answer such.
    pub(crate) fn single(&self) -> Option<&Single> {
        self.single.as_ref()
    }

    /// The peer's dialect is known: by what it says of itself, or by a substream that it took for one call in gorpc.
    pub(crate) fn decided(&self, dialect: Dialect, substream: Option<Substream>) {
        let Some(single) = &self.single else { return };
        {
            let mut waiting = self.waiting.lock();
            single.set_dialect(Some(dialect));
            if substream.is_some() {
                waiting.opening = false;
            }
        }
        self.flush_with(substream);
    }

    /// What was taken for its dialect was a guess that it has refused.
    pub(crate) fn mistaken(&self) {
        let Some(single) = &self.single else { return };
        let _waiting = self.waiting.lock();
        if single.dialect() == Some(Dialect::Gorpc) {
            single.set_dialect(None);
        }
    }

    /// The last connection has ended: the peer may speak another dialect when it comes back.
    pub(super) fn forget_dialect(&self) {
        let Some(single) = &self.single else { return };
        {
            let _waiting = self.waiting.lock();
            single.set_dialect(None);
        }
        self.flush();
    }

    /// True if new calls go out on this connection.
    #[cfg(feature = "node")]
    pub(crate) fn calls_on(&self, connection: &Arc<Connection>) -> bool {
        if let Some(single) = &self.single
            && single.dialect() == Some(Dialect::Gorpc)
        {
            return single.opens_on(connection);
        }
        self.current.load().as_ref().is_some_and(|stream| stream.is_on(connection))
    }

    /// True while a call of ours waits or is under way.
    #[cfg(feature = "node")]
    pub(crate) fn is_busy(&self) -> bool {
        let waiting = self.waiting.lock();
        !waiting.queue.is_empty()
            || !waiting.draining.is_empty()
            || self.current.load().as_ref().is_some_and(|stream| stream.has_calls())
            || self.single.as_ref().is_some_and(Single::is_busy)
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
            if let Some(single) = &self.single {
                single.set_dialect(Some(Dialect::Native));
            }
            if self.config.is_closed() {
                return None;
            }
            waiting.streams = waiting.streams.saturating_add(1);
            let (number, limits) = (waiting.streams, &self.config.limits);
            let stream =
                Arc::new(ClientStream::new(number, limits, connection.clone(), Box::new(io), self.in_flight.clone()));
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
        if let Some(single) = &self.single {
            single.leave(connection);
        }
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
        if let Some(single) = &self.single {
            single.close();
        }
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
            call.call.complete(Err(error.clone()));
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

    /// Send what waits, as far as there is a stream and room.
    pub(super) fn flush(&self) {
        self.flush_with(None);
    }

    /// The same; the first call that takes a substream of its own can have this one.
    fn flush_with(&self, substream: Option<Substream>) {
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
            for call in singles {
                single.start(&me, call, substream.take());
            }
        }
        if open && let Some(me) = self.me.upgrade() {
            self.config.opener.open(me);
        }
        blocked
    }

    /// A call that was to go out in gorpc can't any more: it waits for what the peer turns out to speak.
    pub(super) fn take_back(&self, call: Queued) {
        self.enqueue(call, usize::MAX);
    }

    /// The call waits, as one of so many at the most.
    fn enqueue(&self, call: Queued, most: usize) {
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

impl Channel for PeerSession {
    fn formats(&self) -> Formats {
        Formats::of(self.dialect())
    }

    fn check(&self, head: &CallHead) -> Result<(), RpcError> {
        if !head.codec.is_positional() || !self.differs(head.method.full, head.method) || !self.config.strict_methods {
            return Ok(());
        }
        let detail = "the peer has declared the method otherwise, and its arguments are written by position";
        Err(RpcError::never_sent(ErrorKind::BadArguments, detail))
    }

    fn submit(&self, request: Request<'_>, call: &Arc<PendingCall>) {
        if self.config.is_closed() {
            return call.complete(Err(RpcError::never_sent(ErrorKind::Closed, "")));
        }
        if self.dialect() != Some(Dialect::Gorpc) {
            let sent = self.current.load().as_ref().map(|stream| stream.submit(&request, call, 0, &self.config));
            match sent {
                Some(Ok(())) => return,
                Some(Err(Refused::Failed(error))) => return call.complete(Err(error)),
                Some(Err(Refused::Gone | Refused::NoRoomYet | Refused::NoRoomForAll)) | None => {}
            }
        }
        let (head, metadata, body) = (request.head, request.metadata.clone(), request.payload.to_encoded());
        let most = self.config.limits.max_calls_per_peer;
        self.enqueue(Queued { call: call.clone(), head, metadata, body, resends: 0 }, most);
    }

    fn is_driven_here(&self) -> bool {
        self.config.spawner.is_here()
    }

    fn cancel(&self, call: &Arc<PendingCall>) {
        let _waker;
        let mut waiting = self.waiting.lock();
        let Some((place, waker)) = call.abandon() else { return };
        _waker = waker;
        match place {
            Place::Queued => {
                if let Some(at) = waiting.queue.iter().position(|queued| Arc::ptr_eq(&queued.call, call)) {
                    waiting.queue.remove(at);
                    self.config.in_flight.calls.fetch_sub(1, Ordering::Relaxed);
                    self.changed.notify_one();
                }
            }
            Place::Mux { stream: number, id } => {
                let current = self.current.load_full();
                let stream = current.iter().chain(&waiting.draining).find(|stream| stream.number() == number).cloned();
                drop(waiting);
                if stream.is_some_and(|stream| stream.cancel(id, &self.config)) {
                    self.flush();
                }
            }
            Place::Task(id) => {
                drop(waiting);
                if let Some(single) = &self.single {
                    single.cancel(id);
                }
            }
        }
    }
}

impl fmt::Debug for PeerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerSession")
            .field("peer", &self.peer)
            .field("dialect", &self.dialect())
            .finish_non_exhaustive()
    }
}

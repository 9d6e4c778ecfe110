//! All that a node has with one peer: its connections, the streams that carry calls to it, and the calls that wait for one.

mod owner;
mod sending;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use libp2p::PeerId;
use tokio::sync::Notify;

use super::connection::Connection;
use super::mux::client::{ByteStream, ClientStream};
use super::mux::client_shared::Refused;
use super::mux::client_task::{self, Owner as _};
use super::queue::{MAX_RESENDS, Queued};
use super::session_config::{Counters, Reports, SessionConfig};
use super::single::{ConnectionKey, Single, Substream};
use super::streams::{self, Streams};
use super::waiting::Waiting;
use crate::call::{CallHead, Channel, Dialect, Formats, Opening, PendingCall, Place, Request};
use crate::codec::MethodNames;
use crate::error::{ErrorKind, RpcError};
use crate::fingerprint::{Fingerprint, PeerMethods};
use crate::sync::Mutex;

/// Who opens call streams: the swarm's side.
pub(crate) trait Opener: Reports {
    /// See to it that `session` gets a stream ([`PeerSession::attach`]) or hears why not ([`PeerSession::open_failed`]).
    fn open(&self, session: Arc<PeerSession>);
}

pub(crate) struct PeerSession {
    me: Weak<PeerSession>,
    peer: PeerId,
    config: Arc<SessionConfig>,
    opener: Arc<dyn Opener>,
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
    streams: Streams,
    /// What its methods look like, if it has said so.
    methods: ArcSwapOption<PeerMethods>,
    /// Of ours that have two names, those that it doesn't have: by what stands for their names.
    not_served: Mutex<HashSet<u64>>,
}

impl PeerSession {
    pub(crate) fn new(peer: PeerId, config: Arc<SessionConfig>, opener: Arc<dyn Opener>) -> Arc<Self> {
        Arc::new_cyclic(|me| PeerSession {
            me: me.clone(),
            peer,
            current: ArcSwapOption::empty(),
            waiting: Mutex::default(),
            in_flight: Arc::default(),
            changed: Notify::new(),
            connections: Mutex::default(),
            single: config.gorpc.then(Single::default),
            streams: Streams::new(&config.limits),
            methods: ArcSwapOption::empty(),
            not_served: Mutex::default(),
            config,
            opener,
        })
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.peer
    }

    pub(super) fn me(&self) -> Option<Arc<PeerSession>> {
        self.me.upgrade()
    }

    pub(super) fn config(&self) -> &Arc<SessionConfig> {
        &self.config
    }

    /// The streaming calls.
    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// See to it that the peer is connected: it gets a stream for calls then too.
    pub(super) fn connect(&self) {
        let opening = std::mem::replace(&mut self.waiting.lock().opening, true);
        if !opening && let Some(me) = self.me.upgrade() {
            self.opener.open(me);
        }
    }

    #[cfg(test)]
    pub(super) fn opener(&self) -> &Arc<dyn Opener> {
        &self.opener
    }

    pub(crate) fn connected(&self, connection: Arc<Connection>) {
        self.connections.lock().push(connection);
    }

    pub(crate) fn disconnected(&self, connection: &Arc<Connection>) {
        let mut connections = self.connections.lock();
        connections.retain(|other| !Arc::ptr_eq(other, connection));
        if connections.is_empty() {
            // It may come back as another version of itself.
            self.not_served.lock().clear();
        }
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
            self.config.reports.method_differs(self.peer, name);
        }
        difference.is_some()
    }

    /// Calls of the peer that are being served on a substream each.
    pub(crate) fn serving(&self) -> usize {
        self.single.as_ref().map_or(0, Single::serving).saturating_add(self.streams.serving())
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
    fn forget_dialect(&self) {
        let Some(single) = &self.single else { return };
        {
            let _waiting = self.waiting.lock();
            single.set_dialect(None);
        }
        self.flush();
    }

    /// A connection is no more.
    pub(crate) fn single_disconnected(&self, key: ConnectionKey) {
        if self.single().is_some_and(|single| single.disconnected(key)) {
            self.forget_dialect();
        }
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
            || self.streams.is_busy()
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
        self.streams.leave(connection);
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
        self.streams.fail(error);
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
        self.streams.close();
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

    fn note_not_served(&self, method: &'static MethodNames) {
        self.not_served.lock().insert(method.key);
    }

    fn is_not_served(&self, method: &'static MethodNames) -> bool {
        self.not_served.lock().contains(&method.key)
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

    fn open_stream(&self, head: &CallHead) -> Opening {
        match self.me.upgrade() {
            Some(me) if !self.config.is_closed() => streams::open(me, head),
            _ => Box::pin(std::future::ready(Err(RpcError::never_sent(ErrorKind::Closed, "")))),
        }
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) -> bool {
        self.config.spawner.spawn(task).is_some()
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

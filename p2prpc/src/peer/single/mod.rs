//! The way to a peer that may speak either dialect: our own call streams, or a substream for each call as
//! go-libp2p-gorpc has it.

mod call;
#[cfg(test)]
mod fuzz;
mod gorpc_client;
pub(crate) mod gorpc_server;
mod permits;
mod reader;
mod substreams;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use hashbrown::HashMap;
use libp2p::PeerId;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::call::Dialect;
use crate::call::{EitherCall, Forms, Link, Request};
use crate::call::{PendingCall, Place};
use crate::clock::now;
use crate::error::{ErrorKind, RpcError};
use crate::peer::connection::Connection;
use crate::peer::session::{MAX_RESENDS, PeerLink, SessionConfig};

pub(crate) use call::not_named;
use permits::{Places, Turn};
pub(crate) use substreams::{ConnectionKey, Duplex};
use substreams::{Substream, Substreams};

/// Calls at once to one peer: under the limits that go-libp2p sets on the streams of one protocol and peer.
const MAX_CALLS: usize = 48;
/// Calls at once that are made inside handlers. They have places of their own, so that peers whose handlers call each
/// other don't wait for each other's places.
const MAX_NESTED: usize = 16;
/// Calls that wait for a place.
const MAX_WAITING: usize = 1024;
/// Calls of one peer that are served at once; one more is reset.
const MAX_SERVED: usize = 1024;
/// The number that no call stream has: calls with it in their place are in `tasks`.
const NO_STREAM: u64 = 0;

pub(crate) struct BilingualLink {
    me: Weak<BilingualLink>,
    native: Arc<PeerLink>,
    config: Arc<SessionConfig>,
    /// What is known of the peer's dialect: read for each call, written under the lock of `deciding`.
    dialect: AtomicU8,
    deciding: Mutex<Deciding>,
    substreams: Substreams,
    outer: Arc<Places>,
    nested: Arc<Places>,
    /// Calls that wait for the peer's dialect to be known.
    undecided: AtomicUsize,
    /// Calls that wait or are under way in gorpc.
    tasks: Mutex<Tasks>,
    served: AtomicUsize,
    /// It has answered in gorpc since it is connected.
    answered: AtomicBool,
    closing: CancellationToken,
}

const UNKNOWN: u8 = 0;
const NATIVE: u8 = 1;
const GORPC: u8 = 2;

#[derive(Default)]
struct Deciding {
    /// A stream is being opened that will tell.
    opening: bool,
    /// Connections in a row that ended while it was being opened.
    lost_opens: u8,
    /// Those who want to know. One of them gets the stream that told.
    waiting: Vec<oneshot::Sender<Result<Option<Substream>, RpcError>>>,
}

#[derive(Default)]
struct Tasks {
    last_id: u64,
    running: HashMap<u64, AbortHandle>,
}

/// One call that is being served.
#[derive(Debug)]
pub(crate) struct Serving(Arc<BilingualLink>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.served.fetch_sub(1, Ordering::Relaxed);
    }
}

impl BilingualLink {
    pub(crate) fn new(native: Arc<PeerLink>, config: Arc<SessionConfig>) -> Arc<Self> {
        Arc::new_cyclic(|me| BilingualLink {
            me: me.clone(),
            native,
            config,
            dialect: AtomicU8::new(UNKNOWN),
            deciding: Mutex::default(),
            substreams: Substreams::default(),
            outer: Places::new(MAX_CALLS, MAX_WAITING),
            nested: Places::new(MAX_NESTED, MAX_WAITING),
            undecided: AtomicUsize::new(0),
            tasks: Mutex::default(),
            served: AtomicUsize::new(0),
            answered: AtomicBool::new(false),
            closing: CancellationToken::new(),
        })
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.native.peer()
    }

    pub(crate) fn dialect(&self) -> Option<Dialect> {
        match self.dialect.load(Ordering::Acquire) {
            NATIVE => Some(Dialect::Native),
            GORPC => Some(Dialect::Gorpc),
            _ => None,
        }
    }

    /// A connection to the peer. The token is cancelled when it ends.
    pub(crate) fn connected(&self, connection: Arc<Connection>) -> (ConnectionKey, CancellationToken) {
        self.substreams.connected(connection)
    }

    /// It may speak another dialect when it comes back.
    pub(crate) fn disconnected(&self, key: ConnectionKey) {
        let _deciding = self.deciding.lock();
        if self.substreams.disconnected(key) {
            self.dialect.store(UNKNOWN, Ordering::Release);
            self.answered.store(false, Ordering::Relaxed);
        }
    }

    /// True, and it is to be told what becomes of it, if this connection is to open a substream for a call.
    pub(crate) fn starts_opening(&self, key: ConnectionKey) -> bool {
        self.substreams.starts_opening(key)
    }

    pub(crate) fn is_opening(&self, key: ConnectionKey) -> bool {
        self.substreams.is_opening(key)
    }

    pub(crate) fn substream(&self, key: ConnectionKey, result: Result<Box<dyn Duplex>, RpcError>) {
        self.substreams.opened(key, result);
    }

    /// A substream of this connection that was proposed in both dialects is in gorpc.
    pub(crate) fn decided_by(&self, key: ConnectionKey, io: Box<dyn Duplex>) {
        self.decided(Dialect::Gorpc, self.substreams.negotiated(key, io));
    }

    /// New calls go out on another connection than this one, which is silent. True if calls went out on it.
    pub(crate) fn leave(&self, connection: &Arc<Connection>) -> bool {
        self.substreams.leave(connection);
        self.native.leave(connection)
    }

    /// True if new calls go out on this connection.
    #[cfg(feature = "node")]
    pub(crate) fn calls_on(&self, connection: &Arc<Connection>) -> bool {
        match self.dialect() {
            Some(Dialect::Gorpc) => self.substreams.opens_on(connection),
            _ => self.native.calls_on(connection),
        }
    }

    /// When the last byte came on a stream for calls, if one ever came.
    pub(crate) fn last_used(&self) -> Option<Instant> {
        self.native.last_used()
    }

    /// The peer's dialect is known, by what it says of itself or by a stream that was negotiated in it.
    pub(crate) fn decided(&self, dialect: Dialect, stream: Option<Substream>) {
        let (waiting, mut stream) = {
            let mut deciding = self.deciding.lock();
            let known = match dialect {
                Dialect::Native => NATIVE,
                Dialect::Gorpc => GORPC,
            };
            self.dialect.store(known, Ordering::Release);
            deciding.opening = false;
            deciding.lost_opens = 0;
            (std::mem::take(&mut deciding.waiting), stream)
        };
        let in_gorpc = stream.is_some();
        for waiting in waiting {
            if let Err(Ok(back)) = waiting.send(Ok(stream.take())) {
                stream = back;
            }
        }
        // Calls may wait for the same stream that can't be made in gorpc, or that trusted in what the peer said of itself:
        // nobody opens another for them.
        if in_gorpc {
            let error = "the peer has chosen gorpc, and the call can't be made in it";
            self.native.open_failed(&RpcError::never_sent(ErrorKind::NotSupported, error));
        }
    }

    /// What was taken for its dialect was a guess that it has refused.
    pub(crate) fn mistaken(&self) {
        let _deciding = self.deciding.lock();
        let _ = self.dialect.compare_exchange(GORPC, UNKNOWN, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// True while calls wait for a stream to be opened.
    pub(crate) fn wants_stream(&self) -> bool {
        let deciding = self.deciding.lock();
        let undecided = deciding.opening && deciding.waiting.iter().any(|waiting| !waiting.is_closed());
        undecided || self.native.wants_stream()
    }

    /// The connection ended on which a stream was being opened. True if that is worth another try.
    pub(crate) fn open_lost(&self) -> bool {
        let mut deciding = self.deciding.lock();
        deciding.lost_opens = deciding.lost_opens.saturating_add(1);
        deciding.lost_opens <= MAX_RESENDS
    }

    /// No stream could be opened: the calls that wait for one end so.
    pub(crate) fn open_failed(&self, error: &RpcError) {
        let waiting = {
            let mut deciding = self.deciding.lock();
            deciding.opening = false;
            std::mem::take(&mut deciding.waiting)
        };
        for waiting in waiting {
            let _ = waiting.send(Err(error.clone()));
        }
        self.native.open_failed(error);
    }

    /// Room to serve one more call of the peer.
    pub(crate) fn serves(&self) -> Option<Serving> {
        let me = self.me.upgrade()?;
        if self.served.fetch_add(1, Ordering::Relaxed) >= MAX_SERVED {
            self.served.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Serving(me))
    }

    /// Calls of the peer that are being served in gorpc.
    pub(crate) fn serving(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// The node is closing ([`SessionConfig::close`]): what waits won't be sent.
    pub(crate) fn close(&self) {
        self.closing.cancel();
        self.native.close();
    }

    /// Wait to be told in which dialect the peer is to be called.
    fn decide(&self) -> oneshot::Receiver<Result<Option<Substream>, RpcError>> {
        let (sender, receiver) = oneshot::channel();
        let ask = {
            let mut deciding = self.deciding.lock();
            if self.dialect().is_some() {
                let _ = sender.send(Ok(None));
                return receiver;
            }
            deciding.waiting.retain(|waiting| !waiting.is_closed());
            deciding.waiting.push(sender);
            if !deciding.opening {
                deciding.lost_opens = 0;
            }
            !std::mem::replace(&mut deciding.opening, true)
        };
        if ask {
            self.config.opener.open(self.native.clone());
        }
        receiver
    }

    fn note_answer(&self) {
        if !self.answered.swap(true, Ordering::Relaxed) {
            self.config.opener.answered_in_gorpc(self.peer());
        }
    }

    fn queue_up(&self, nested: bool) -> Result<Turn, RpcError> {
        let places = if nested { &self.nested } else { &self.outer };
        places.queue_up().ok_or_else(|| {
            let detail = format_args!("{MAX_WAITING} calls wait to be sent to this gorpc peer");
            RpcError::never_sent(ErrorKind::Overloaded, detail)
        })
    }

    /// A place in the queue that the call has to wait in first.
    fn admit(self: &Arc<Self>, call: &EitherCall) -> Result<call::Start, RpcError> {
        if call.deadline <= now() {
            return Err(crate::peer::session::too_late());
        }
        if self.dialect() == Some(Dialect::Gorpc) {
            return self.queue_up(call.nested).map(call::Start::Turn);
        }
        let limit = self.config.limits.max_calls_per_peer;
        let undecided = call::Undecided::count(self);
        if self.undecided.load(Ordering::Relaxed) > limit {
            let detail = format_args!("{limit} calls wait to be sent");
            return Err(RpcError::never_sent(ErrorKind::Overloaded, detail));
        }
        Ok(call::Start::Undecided(undecided))
    }
}

impl Link for BilingualLink {
    fn submit(&self, request: Request<'_>, slot: &Arc<PendingCall>) {
        self.native.submit(request, slot);
    }

    fn is_driven_here(&self) -> bool {
        self.config.spawner.is_here()
    }

    fn forms(&self) -> Forms {
        match self.dialect() {
            Some(Dialect::Native) => Forms::Native,
            Some(Dialect::Gorpc) => Forms::Gorpc,
            None => Forms::Both,
        }
    }

    fn submit_either(&self, call: EitherCall, slot: &Arc<PendingCall>) {
        if self.config.is_closed() {
            return slot.complete(Err(RpcError::never_sent(ErrorKind::Closed, "")));
        }
        if self.dialect() == Some(Dialect::Native)
            && let Some(Ok(native)) = &call.native
        {
            return self.native.submit(native.request(&call), slot);
        }
        let Some(me) = self.me.upgrade() else { return };
        match me.admit(&call) {
            Ok(start) => call::spawn(me, call, start, slot),
            Err(error) => slot.complete(Err(error)),
        }
    }

    fn cancel(&self, slot: &Arc<PendingCall>) {
        if let Some(Place::Sent { stream: NO_STREAM, id }) = slot.place() {
            // Aborted without the lock: what the task holds is dropped then.
            let task = self.tasks.lock().running.remove(&id);
            if let Some(task) = task {
                slot.abandon();
                return task.abort();
            }
        }
        self.native.cancel(slot);
    }
}

impl fmt::Debug for BilingualLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BilingualLink")
            .field("peer", &self.peer())
            .field("dialect", &self.dialect())
            .finish_non_exhaustive()
    }
}

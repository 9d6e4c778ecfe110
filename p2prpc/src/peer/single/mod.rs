//! One call on one substream, as go-libp2p-gorpc has it: which substreams there are, and how many calls at once.

mod call;
#[cfg(all(test, feature = "gorpc"))]
mod fuzz;
#[cfg(feature = "gorpc")]
mod gorpc_client;
#[cfg(feature = "gorpc")]
mod gorpc_server;
#[cfg(not(feature = "gorpc"))]
mod no_gorpc;
#[cfg(feature = "gorpc")]
mod reader;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use hashbrown::HashMap;
use libp2p::PeerId;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::queue::Queued;
use super::session_config::SessionConfig;
use crate::call::{Dialect, Duplex, Place};
use crate::error::{ErrorKind, RpcError};
use crate::sync::Mutex;

#[cfg(not(feature = "gorpc"))]
use no_gorpc as gorpc_client;
#[cfg(not(feature = "gorpc"))]
use no_gorpc as gorpc_server;

use super::permits::{Permits, Turn};
use super::substreams::Substreams;
pub(crate) use super::substreams::{ConnectionKey, Substream};
pub(crate) use gorpc_server::serve as serve_gorpc;

/// Calls at once to one peer: under the limits that go-libp2p sets on the streams of one protocol and peer.
const MAX_CALLS: usize = 48;
/// Calls at once that are made inside handlers. They have places of their own, so that peers whose handlers call each
/// other don't wait for each other's places.
const MAX_NESTED: usize = 16;
/// Calls that wait for a place.
const MAX_WAITING: usize = 1024;
/// Calls of one peer that are served at once; one more is reset.
const MAX_SERVED: usize = 1024;

const UNKNOWN: u8 = 0;
const NATIVE: u8 = 1;
const GORPC: u8 = 2;

/// The calls of and to one peer that take a substream each.
pub(crate) struct Single {
    /// What is known of the peer's dialect: read for each call, written under the lock of its session's queue.
    dialect: AtomicU8,
    substreams: Substreams,
    outer: Arc<Permits>,
    nested: Arc<Permits>,
    /// Calls that wait for their turn or are under way.
    tasks: Mutex<Tasks>,
    served: Arc<AtomicUsize>,
    /// It has answered in gorpc since it is connected.
    answered: AtomicBool,
    closing: CancellationToken,
}

#[derive(Default)]
struct Tasks {
    last_id: u64,
    /// `None` for one that is being spawned.
    running: HashMap<u64, Option<AbortHandle>>,
}

/// Whose calls these are.
pub(crate) trait Owner: Send + Sync {
    fn peer(&self) -> PeerId;
    fn config(&self) -> &Arc<SessionConfig>;
    fn single(&self) -> Option<&Single>;
    /// What the peer speaks, if that is known.
    fn dialect(&self) -> Option<Dialect>;
    /// What was taken for its dialect was a guess that it has refused.
    fn mistaken(&self);
    /// A call that was to go out in gorpc can't any more: it waits for what the peer turns out to speak.
    fn take_back(&self, call: Queued);
}

/// One call that is being served.
#[derive(Debug)]
pub(crate) struct Serving(Arc<AtomicUsize>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Single {
    fn default() -> Self {
        Single {
            dialect: AtomicU8::new(UNKNOWN),
            substreams: Substreams::default(),
            outer: Permits::new(MAX_CALLS, MAX_WAITING),
            nested: Permits::new(MAX_NESTED, MAX_WAITING),
            tasks: Mutex::default(),
            served: Arc::default(),
            answered: AtomicBool::new(false),
            closing: CancellationToken::new(),
        }
    }
}

impl Single {
    pub(super) fn dialect(&self) -> Option<Dialect> {
        match self.dialect.load(Ordering::Acquire) {
            NATIVE => Some(Dialect::Native),
            GORPC => Some(Dialect::Gorpc),
            _ => None,
        }
    }

    pub(super) fn set_dialect(&self, dialect: Option<Dialect>) {
        let known = match dialect {
            Some(Dialect::Native) => NATIVE,
            Some(Dialect::Gorpc) => GORPC,
            None => UNKNOWN,
        };
        self.dialect.store(known, Ordering::Release);
    }

    /// A connection to the peer. The token is cancelled when it ends.
    pub(crate) fn connected(&self, connection: Arc<Connection>) -> (ConnectionKey, CancellationToken) {
        self.substreams.connected(connection)
    }

    /// True if it was the last one.
    pub(crate) fn disconnected(&self, key: ConnectionKey) -> bool {
        let last = self.substreams.disconnected(key);
        if last {
            self.answered.store(false, Ordering::Relaxed);
        }
        last
    }

    /// True, and it is to be told what becomes of it, if this connection is to open a substream for a call.
    pub(crate) fn starts_opening(&self, key: ConnectionKey) -> bool {
        self.substreams.starts_opening(key)
    }

    pub(crate) fn is_opening(&self, key: ConnectionKey) -> bool {
        self.substreams.is_opening(key)
    }

    pub(crate) fn opened(&self, key: ConnectionKey, result: Result<Box<dyn Duplex>, RpcError>) {
        self.substreams.opened(key, result);
    }

    /// A substream of this connection that has been negotiated; `None` if the connection has ended.
    pub(crate) fn negotiated(&self, key: ConnectionKey, io: Box<dyn Duplex>) -> Option<Substream> {
        self.substreams.negotiated(key, io)
    }

    /// New calls go out on another connection than this one, which is silent.
    pub(super) fn leave(&self, connection: &Arc<Connection>) {
        self.substreams.leave(connection);
    }

    /// True if substreams are opened on this connection.
    #[cfg(feature = "node")]
    pub(super) fn opens_on(&self, connection: &Arc<Connection>) -> bool {
        self.substreams.opens_on(connection)
    }

    /// True while a call of ours waits or is under way.
    #[cfg(feature = "node")]
    pub(super) fn is_busy(&self) -> bool {
        !self.tasks.lock().running.is_empty()
    }

    /// Room to serve one more call of the peer.
    pub(crate) fn serves(&self) -> Option<Serving> {
        if self.served.fetch_add(1, Ordering::Relaxed) >= MAX_SERVED {
            self.served.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Serving(self.served.clone()))
    }

    /// Calls of the peer that are being served.
    pub(crate) fn serving(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// What waits won't be sent.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    /// Make a call, on this substream if one is there already.
    pub(super) fn start(&self, owner: &Arc<dyn Owner>, call: Queued, substream: Option<Substream>) {
        let turn = match self.queue_up(call.head.nested) {
            Ok(turn) => turn,
            Err(error) => return call.call.complete(Err(error)),
        };
        let id = {
            let mut tasks = self.tasks.lock();
            tasks.last_id = tasks.last_id.saturating_add(1);
            let id = tasks.last_id;
            // Its caller has given it up, and found it nowhere.
            if !call.call.set_place(Place::Task(id)) {
                return;
            }
            tasks.running.insert(id, None);
            id
        };
        let spawned = call::spawn(owner, id, call, turn, substream);
        let mut tasks = self.tasks.lock();
        match (tasks.running.get_mut(&id), spawned) {
            (Some(running), Some(task)) => *running = Some(task),
            // It was given up while it was spawned.
            (None, Some(task)) => {
                drop(tasks);
                task.abort();
            }
            (_, None) => {}
        }
    }

    /// The caller has given a call up.
    pub(super) fn cancel(&self, id: u64) {
        // Aborted without the lock: what the task holds is dropped then.
        let task = self.tasks.lock().running.remove(&id);
        if let Some(Some(task)) = task {
            task.abort();
        }
    }

    /// The call is no task's any more. False if it was given up meanwhile.
    fn resign(&self, id: u64) -> bool {
        self.tasks.lock().running.remove(&id).is_some()
    }

    /// The peer has answered. True if it is the first time since it is connected.
    pub(super) fn note_answer(&self) -> bool {
        !self.answered.swap(true, Ordering::Relaxed)
    }

    fn queue_up(&self, nested: bool) -> Result<Turn, RpcError> {
        let permits = if nested { &self.nested } else { &self.outer };
        permits.queue_up().ok_or_else(|| {
            let detail = format!("{MAX_WAITING} calls wait to be sent to this gorpc peer");
            RpcError::never_sent(ErrorKind::Overloaded, detail)
        })
    }
}

//! Substreams for calls that take one each: who waits for one, and which connection opens it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use futures::task::AtomicWaker;
use futures::{AsyncRead, AsyncWrite};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::error::RpcError;

/// Both directions of a substream.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// A substream for one call.
pub(crate) struct Substream {
    pub(super) io: Box<dyn Duplex>,
    /// The connection is no more: not every substream notices.
    pub(super) lost: CancellationToken,
}

impl Substream {
    /// `lost` is cancelled when its connection ends.
    pub(crate) fn new(io: impl Duplex + 'static, lost: CancellationToken) -> Self {
        Substream { io: Box::new(io), lost }
    }
}

impl fmt::Debug for Substream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Substream").finish_non_exhaustive()
    }
}

/// Names a connection of a peer, as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionKey(u64);

#[derive(Debug, Default)]
pub(super) struct Substreams {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_key: u64,
    /// The oldest first: that one opens substreams.
    connections: Vec<Connection>,
    wanted: VecDeque<oneshot::Sender<Result<Substream, RpcError>>>,
}

#[derive(Debug)]
struct Connection {
    key: ConnectionKey,
    waker: Arc<AtomicWaker>,
    lost: CancellationToken,
    /// Substreams that are being opened.
    opening: usize,
}

impl State {
    fn wake_first(&self) {
        if let Some(first) = self.connections.first() {
            first.waker.wake();
        }
    }

    fn connection(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.key == key)
    }
}

impl Substreams {
    /// Ask for a substream. `None` without a connection; what is given ends without a word if the last one is lost.
    pub(super) fn want(&self) -> Option<oneshot::Receiver<Result<Substream, RpcError>>> {
        let mut state = self.state.lock();
        if state.connections.is_empty() {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        state.wanted.push_back(sender);
        state.wake_first();
        Some(receiver)
    }

    /// A new connection, whose task `waker` wakes.
    pub(super) fn connected(&self, waker: Arc<AtomicWaker>) -> (ConnectionKey, CancellationToken) {
        let mut state = self.state.lock();
        state.last_key += 1;
        let (key, lost) = (ConnectionKey(state.last_key), CancellationToken::new());
        state.connections.push(Connection { key, waker, lost: lost.clone(), opening: 0 });
        (key, lost)
    }

    /// The connection has ended. True if it was the last one.
    pub(super) fn disconnected(&self, key: ConnectionKey) -> bool {
        let (ended, last, _unanswered) = {
            let mut state = self.state.lock();
            let at = state.connections.iter().position(|connection| connection.key == key);
            let ended = at.map(|at| state.connections.remove(at));
            let last = state.connections.is_empty();
            let unanswered = if last { std::mem::take(&mut state.wanted) } else { VecDeque::new() };
            state.wake_first();
            (ended, last, unanswered)
        };
        if let Some(connection) = ended {
            connection.lost.cancel();
        }
        last
    }

    /// True if this connection is to open one more; it has to say what becomes of it.
    pub(super) fn starts_opening(&self, key: ConnectionKey) -> bool {
        let mut state = self.state.lock();
        state.wanted.retain(|wanting| !wanting.is_closed());
        let wanted = state.wanted.len();
        match state.connections.first_mut() {
            Some(first) if first.key == key && first.opening < wanted => {
                first.opening += 1;
                true
            }
            _ => false,
        }
    }

    /// True while this connection is of use.
    pub(super) fn is_opening(&self, key: ConnectionKey) -> bool {
        self.state.lock().connection(key).is_some_and(|connection| connection.opening > 0)
    }

    /// What became of a substream that was being opened. One that nobody wants any more is dropped.
    pub(super) fn opened(&self, key: ConnectionKey, result: Result<Box<dyn Duplex>, RpcError>) {
        let mut state = self.state.lock();
        let Some(connection) = state.connection(key) else { return };
        connection.opening = connection.opening.saturating_sub(1);
        let lost = connection.lost.clone();
        let mut result = result.map(|io| Substream { io, lost });
        while let Some(wanting) = state.wanted.pop_front() {
            match wanting.send(result) {
                Ok(()) => return,
                Err(back) => result = back,
            }
        }
        drop(state);
        drop(result);
    }
}

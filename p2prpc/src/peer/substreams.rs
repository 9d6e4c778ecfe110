//! Substreams for calls that take one each: who waits for one, and which connection opens it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::call::Duplex;
use crate::error::RpcError;
use crate::peer::connection::{Connection as Established, by_evidence};
use crate::sync::Mutex;

/// A substream for one call.
pub(crate) struct Substream {
    pub(crate) io: Box<dyn Duplex>,
    pub(crate) connection: Arc<Established>,
    /// The connection is no more: not every substream notices.
    pub(crate) lost: CancellationToken,
    /// The connection is silent, and there is a better one.
    pub(crate) left: CancellationToken,
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
pub(crate) struct Substreams {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_key: u64,
    connections: Vec<Connection>,
    wanted: VecDeque<oneshot::Sender<Result<Substream, RpcError>>>,
}

#[derive(Debug)]
struct Connection {
    key: ConnectionKey,
    established: Arc<Established>,
    lost: CancellationToken,
    left: CancellationToken,
    /// Substreams that are being opened.
    opening: usize,
}

impl Connection {
    fn substream(&self, io: Box<dyn Duplex>) -> Substream {
        let (connection, lost, left) = (self.established.clone(), self.lost.clone(), self.left.clone());
        Substream { io, connection, lost, left }
    }
}

impl State {
    /// The one that opens substreams.
    fn best(&mut self) -> Option<&mut Connection> {
        self.connections.iter_mut().max_by(|one, other| by_evidence(&one.established, &other.established))
    }

    fn wake_best(&mut self) {
        if let Some(best) = self.best() {
            best.established.waker().wake();
        }
    }

    fn connection(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.key == key)
    }
}

impl Substreams {
    /// Ask for a substream, whether there is a connection or not: false if there is none. What is given ends without a word if the
    /// last one is lost.
    pub(crate) fn want_anyhow(&self) -> (oneshot::Receiver<Result<Substream, RpcError>>, bool) {
        let mut state = self.state.lock();
        // Nothing else looks through them while no connection is there.
        if state.wanted.len() == state.wanted.capacity() {
            state.wanted.retain(|wanting| !wanting.is_closed());
        }
        let (sender, receiver) = oneshot::channel();
        state.wanted.push_back(sender);
        state.wake_best();
        (receiver, !state.connections.is_empty())
    }

    /// No connection could be made: those who wait for a substream hear why.
    pub(crate) fn fail(&self, error: &RpcError) {
        let unanswered = {
            let mut state = self.state.lock();
            if !state.connections.is_empty() {
                return;
            }
            std::mem::take(&mut state.wanted)
        };
        for wanting in unanswered {
            let _ = wanting.send(Err(error.clone()));
        }
    }

    /// Ask for a substream. `None` without a connection; what is given ends without a word if the last one is lost.
    pub(crate) fn want(&self) -> Option<oneshot::Receiver<Result<Substream, RpcError>>> {
        let mut state = self.state.lock();
        if state.connections.is_empty() {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        state.wanted.push_back(sender);
        state.wake_best();
        Some(receiver)
    }

    pub(crate) fn connected(&self, established: Arc<Established>) -> (ConnectionKey, CancellationToken) {
        let mut state = self.state.lock();
        state.last_key = state.last_key.saturating_add(1);
        let (key, lost) = (ConnectionKey(state.last_key), CancellationToken::new());
        state.connections.push(Connection {
            key,
            established,
            lost: lost.clone(),
            left: CancellationToken::new(),
            opening: 0,
        });
        (key, lost)
    }

    /// The connection has ended. True if it was the last one.
    pub(crate) fn disconnected(&self, key: ConnectionKey) -> bool {
        let (ended, last, _unanswered) = {
            let mut state = self.state.lock();
            let at = state.connections.iter().position(|connection| connection.key == key);
            let ended = at.map(|at| state.connections.remove(at));
            let last = state.connections.is_empty();
            let unanswered = if last { std::mem::take(&mut state.wanted) } else { VecDeque::new() };
            state.wake_best();
            (ended, last, unanswered)
        };
        if let Some(connection) = ended {
            connection.lost.cancel();
        }
        last
    }

    /// True if this connection is to open one more; it has to say what becomes of it.
    pub(crate) fn starts_opening(&self, key: ConnectionKey) -> bool {
        let mut state = self.state.lock();
        state.wanted.retain(|wanting| !wanting.is_closed());
        let wanted = state.wanted.len();
        let sound = state.connections.iter().filter(|connection| !connection.established.is_suspected());
        let opening: usize = sound.map(|connection| connection.opening).sum();
        match state.best() {
            Some(best) if best.key == key && best.opening.max(opening) < wanted => {
                best.opening = best.opening.saturating_add(1);
                true
            }
            _ => false,
        }
    }

    /// A substream of this connection that has been negotiated; `None` if the connection has ended.
    pub(crate) fn negotiated(&self, key: ConnectionKey, io: Box<dyn Duplex>) -> Option<Substream> {
        self.state.lock().connection(key).map(|connection| connection.substream(io))
    }

    /// True if substreams are opened on this connection.
    #[cfg(feature = "node")]
    pub(crate) fn opens_on(&self, established: &Arc<Established>) -> bool {
        self.state.lock().best().is_some_and(|best| Arc::ptr_eq(&best.established, established))
    }

    /// This connection is silent: calls on it that can be made again are, on another.
    pub(crate) fn leave(&self, established: &Arc<Established>) {
        let left = {
            let mut state = self.state.lock();
            state.wake_best();
            let mut connections = state.connections.iter_mut();
            let silent = connections.find(|connection| Arc::ptr_eq(&connection.established, established));
            silent.map(|connection| std::mem::take(&mut connection.left))
        };
        if let Some(left) = left {
            left.cancel();
        }
    }

    /// True while this connection is of use.
    pub(crate) fn is_opening(&self, key: ConnectionKey) -> bool {
        self.state.lock().connection(key).is_some_and(|connection| connection.opening > 0)
    }

    /// What became of a substream that was being opened. One that nobody wants any more is dropped.
    pub(crate) fn opened(&self, key: ConnectionKey, result: Result<Box<dyn Duplex>, RpcError>) {
        let mut state = self.state.lock();
        let Some(connection) = state.connection(key) else { return };
        connection.opening = connection.opening.saturating_sub(1);
        let mut result = result.map(|io| connection.substream(io));
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

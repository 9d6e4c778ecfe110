//! Substreams for streaming calls to and from one peer: opened when they are wanted, and kept for the next call.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::permits::Permits;
use super::queue::{MAX_RESENDS, lost_too_often, too_late};
use super::session::PeerSession;
use super::substreams::{ConnectionKey, Substream, Substreams};
use crate::call::{CallHead, Dialect, Duplex, OpenedStream, Opening, StreamHome};
use crate::clock::{by, later, now};
use crate::error::{ErrorKind, RpcError};
use crate::framing::{Messages, encoded_item_hello};
use crate::server::MAX_STREAMS;
use crate::sync::Mutex;

/// Streaming calls to one peer that wait for a place.
const MAX_WAITING: usize = 1024;
/// Substreams without a call that are kept to one peer.
const MAX_IDLE: usize = 8;
/// Substreams of one peer, those without a call included; one more is reset.
const MAX_SUBSTREAMS: usize = 144;
const _: () = assert!(MAX_SUBSTREAMS >= MAX_STREAMS + MAX_IDLE);

/// The streaming calls of and to one peer.
pub(crate) struct Streams {
    substreams: Substreams,
    permits: Arc<Permits>,
    idle: Mutex<VecDeque<Idle>>,
    /// Somebody ends those that have been idle for too long.
    swept: AtomicBool,
    /// Our own under way.
    calling: Arc<AtomicUsize>,
    /// Substreams that the peer has opened.
    accepted: Arc<AtomicUsize>,
    /// Streaming calls of the peer that run.
    serving: Arc<AtomicUsize>,
    closing: CancellationToken,
    hello: Arc<[u8]>,
}

struct Idle {
    stream: OpenedStream,
    since: Instant,
}

/// One that counts as long as it is there.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Streams {
    pub(super) fn new(limits: &crate::limits::Limits) -> Self {
        Streams {
            substreams: Substreams::default(),
            permits: Permits::new(MAX_STREAMS, MAX_WAITING),
            idle: Mutex::default(),
            swept: AtomicBool::new(false),
            calling: Arc::default(),
            accepted: Arc::default(),
            serving: Arc::default(),
            closing: CancellationToken::new(),
            hello: encoded_item_hello(limits).into(),
        }
    }

    /// A connection to the peer. The token is cancelled when it ends.
    pub(crate) fn connected(&self, connection: Arc<Connection>) -> (ConnectionKey, CancellationToken) {
        self.substreams.connected(connection)
    }

    pub(crate) fn disconnected(&self, key: ConnectionKey) {
        self.substreams.disconnected(key);
        self.idle.lock().retain(|idle| !idle.stream.lost.is_cancelled());
    }

    /// True, and it is to be told what becomes of it, if this connection is to open a substream.
    pub(crate) fn starts_opening(&self, key: ConnectionKey) -> bool {
        self.substreams.starts_opening(key)
    }

    pub(crate) fn is_opening(&self, key: ConnectionKey) -> bool {
        self.substreams.is_opening(key)
    }

    pub(crate) fn opened(&self, key: ConnectionKey, result: Result<Box<dyn Duplex>, RpcError>) {
        self.substreams.opened(key, result);
    }

    /// New calls go out on another connection than this one, which is silent.
    pub(super) fn leave(&self, connection: &Arc<Connection>) {
        self.substreams.leave(connection);
        self.idle.lock().clear();
    }

    pub(super) fn fail(&self, error: &RpcError) {
        self.substreams.fail(error);
    }

    pub(super) fn close(&self) {
        self.closing.cancel();
        let idle = std::mem::take(&mut *self.idle.lock());
        drop(idle);
    }

    /// True while a streaming call runs, either way.
    pub(crate) fn is_busy(&self) -> bool {
        self.calling.load(Ordering::Relaxed) > 0 || self.serving() > 0
    }

    /// Streaming calls of the peer that run.
    pub(crate) fn serving(&self) -> usize {
        self.serving.load(Ordering::Relaxed)
    }

    /// Room for one more substream of the peer, and what counts the calls that run on all of them.
    pub(crate) fn accept(&self) -> Option<(Counted, Arc<AtomicUsize>)> {
        let accepted = Counted::new(&self.accepted);
        (self.accepted.load(Ordering::Relaxed) <= MAX_SUBSTREAMS).then(|| (accepted, self.serving.clone()))
    }

    /// One that is there, and lives as far as can be seen.
    fn take_idle(&self) -> Option<OpenedStream> {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            // The one that was used last: the others may be let go.
            let Idle { mut stream, .. } = self.idle.lock().pop_back()?;
            let said_nothing = matches!(stream.messages.poll_fill(&mut cx, &mut stream.io), Poll::Pending);
            if said_nothing && !stream.lost.is_cancelled() {
                return Some(stream);
            }
        }
    }

    fn end_idle(&self, older_than: Instant) -> Option<Instant> {
        let mut ended = Vec::new();
        let mut idle = self.idle.lock();
        while let Some(oldest) = idle.front() {
            if oldest.since > older_than {
                let next = oldest.since;
                drop(idle);
                return Some(next);
            }
            ended.extend(idle.pop_front());
        }
        self.swept.store(false, Ordering::Relaxed);
        None
    }
}

impl StreamHome for PeerSession {
    fn keep(&self, mut stream: OpenedStream) {
        let Some(me) = self.me() else { return };
        if self.config().is_closed() || stream.lost.is_cancelled() {
            return;
        }
        stream.messages.shrink();
        let streams = self.streams();
        let too_many = {
            let mut idle = streams.idle.lock();
            idle.push_back(Idle { stream, since: now() });
            if idle.len() > MAX_IDLE { idle.pop_front() } else { None }
        };
        drop(too_many);
        if !streams.swept.swap(true, Ordering::Relaxed) {
            let spawned = self.config().spawner.spawn(sweep(Arc::downgrade(&me)));
            if spawned.is_none() {
                streams.swept.store(false, Ordering::Relaxed);
            }
        }
    }
}

/// Ends substreams that have been idle for too long, as long as there are some.
async fn sweep(session: Weak<PeerSession>) {
    loop {
        let Some(session) = session.upgrade() else { return };
        let patience = session.config().idle_timeout;
        let Some(next) = session.streams().end_idle(now().checked_sub(patience).unwrap_or_else(now)) else { return };
        drop(session);
        tokio::time::sleep_until(later(next, patience).into()).await;
    }
}

/// A substream for a streaming call.
pub(super) fn open(session: Arc<PeerSession>, head: &CallHead) -> Opening {
    let deadline = head.deadline;
    Box::pin(async move {
        let streams = session.streams();
        let Some(turn) = streams.permits.queue_up() else {
            let detail = format!("{MAX_WAITING} streaming calls wait to be sent to this peer");
            return Err(RpcError::never_sent(ErrorKind::Overloaded, detail));
        };
        let ready = async {
            let permit = turn.come().await.ok_or_else(|| RpcError::never_sent(ErrorKind::Closed, ""))?;
            let mut stream = match streams.take_idle() {
                Some(stream) => stream,
                None => open_new(&session).await?,
            };
            stream.permit = Some(Box::new((permit, Counted::new(&streams.calling))));
            if let Some(waker) = &stream.waker {
                waker.wake();
            }
            Ok(stream)
        };
        tokio::select! {
            biased;
            ready = by(deadline, ready) => ready.unwrap_or_else(|| Err(too_late())),
            () = streams.closing.cancelled() => Err(RpcError::never_sent(ErrorKind::Closed, "")),
        }
    })
}

async fn open_new(session: &Arc<PeerSession>) -> Result<OpenedStream, RpcError> {
    let streams = session.streams();
    for _ in 0..=MAX_RESENDS {
        if session.dialect() == Some(Dialect::Gorpc) {
            let detail = "the peer speaks gorpc, in which streaming calls aren't made yet";
            return Err(RpcError::never_sent(ErrorKind::NotSupported, detail));
        }
        let (opening, connected) = streams.substreams.want_anyhow();
        if !connected {
            session.connect();
        }
        // It ends without a word if the last connection is lost: nothing was sent.
        let Ok(opened) = opening.await else { continue };
        let Substream { io, connection, lost, .. } = opened?;
        connection.note_call(now());
        let home: Weak<dyn StreamHome> = Arc::downgrade(session) as Weak<PeerSession>;
        return Ok(OpenedStream {
            io,
            messages: Messages::default(),
            greeted: false,
            was_greeted: false,
            last_id: 0,
            lost,
            permit: None,
            home: Some(home),
            waker: Some(connection.waker().clone()),
            hello: streams.hello.clone(),
            max_message: session.config().limits.max_message,
        });
    }
    Err(lost_too_often())
}

//! The accepter's end of a call stream: it answers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use hashbrown::HashMap;
use libp2p::PeerId;
use tokio::task::AbortHandle;

use super::send_queue::{BULK_FROM, Bulk, SendQueue, Writer};
use crate::accounts::{BytesPermit, CallPermit, PeerAccount, ReplyPermit};
use crate::clock::now;
use crate::codec::Format;
use crate::error::{Delivery, ErrorKind};
use crate::framing::{code_of, delivery_to_wire};
use crate::limits::MESSAGE_LIMIT;
use crate::metadata::Metadata;
use crate::scratch::Scratch;
use crate::server::{Admitted, Guarded, MethodEntry, Server, delivery_of};
use crate::service::{NO_ROOM, NOT_STREAMED, Outcome, Reply};
use crate::sync::Mutex;
use crate::wire::{self, GoAwayReason, Hello, MetadataBuf, MetadataRef};

/// A call stream that a peer opened, as the rest of the node sees it.
#[derive(Debug)]
pub(crate) struct ServerStream {
    pub(super) peer: PeerId,
    pub(super) server: Arc<Server>,
    pub(super) account: Arc<PeerAccount>,
    pub(super) shared: Mutex<Shared>,
    /// Something that was taken out of `shared` is not written yet.
    pub(super) unwritten: AtomicBool,
    /// It had work after its caller was told to go away.
    pub(super) works_last: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) out: SendQueue<ReplyPermit>,
    /// The replies among the frames of `out`.
    pub(super) replies: ReplyPermit,
    pub(super) running: HashMap<u64, Running>,
    /// No deadline of `running` is earlier.
    pub(super) next_deadline: Option<Instant>,
    pub(super) go_away: Option<GoAwayReason>,
    /// Since when no call is under way.
    pub(super) idle_since: Option<Instant>,
    /// What the caller takes.
    pub(super) max_bytes: usize,
    pub(super) max_message: usize,
    /// Its connection is no more.
    pub(super) lost: bool,
    /// The stream is no more: nothing is queued.
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) task: AbortHandle,
    pub(super) deadline: Instant,
}

impl ServerStream {
    pub(super) fn new(server: Arc<Server>, account: Arc<PeerAccount>, peer: PeerId) -> Self {
        let defaults = Hello::default();
        let replies = account.replies();
        ServerStream {
            peer,
            server,
            account,
            shared: Mutex::new(Shared {
                out: SendQueue::default(),
                replies,
                running: HashMap::new(),
                next_deadline: None,
                go_away: None,
                idle_since: None,
                max_bytes: size(defaults.max_bytes_in_flight),
                max_message: size(defaults.max_message),
                lost: false,
                closed: false,
            }),
            unwritten: AtomicBool::new(false),
            works_last: AtomicBool::new(false),
        }
    }

    /// Take no more calls: those under way are answered.
    pub(crate) fn go_away(&self, reason: GoAwayReason) {
        self.stop(|shared| {
            shared.go_away.get_or_insert(reason);
        });
    }

    /// Its connection is no more: nobody waits for answers.
    pub(crate) fn lose(&self) {
        self.stop(|shared| shared.lost = true);
    }

    fn stop(&self, how: impl FnOnce(&mut Shared)) {
        let waker = {
            let mut shared = self.shared.lock();
            how(&mut shared);
            shared.out.take_any_waker()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }

    /// Tell the caller to go away if it has made no call since then.
    #[cfg(feature = "node")]
    pub(crate) fn go_away_if_idle(&self, since: Instant) {
        let idle = self.shared.lock().idle_since.is_some_and(|idle| idle <= since);
        if idle {
            self.go_away(GoAwayReason::Idle);
        }
    }

    /// Handlers that run, and replies that wait to be written.
    pub(crate) fn has_work(&self) -> bool {
        let shared = self.shared.lock();
        let unwritten = !shared.out.is_empty() || self.unwritten.load(Ordering::Relaxed);
        let works = !shared.closed && (!shared.running.is_empty() || unwritten);
        if works && shared.go_away.is_some() {
            self.works_last.store(true, Ordering::Relaxed);
        }
        works
    }

    /// True if it had work after its caller was told to go away, and the caller, who ends the stream once it has all its answers, hasn't.
    #[cfg(feature = "node")]
    pub(crate) fn is_awaited(&self) -> bool {
        self.works_last.load(Ordering::Relaxed) && !self.is_closed()
    }

    /// Calls of the peer that are admitted, on whichever of its streams, those among them whose handler is being polled
    /// for the first time or whose arguments are on their way.
    pub(crate) fn has_calls(&self) -> bool {
        !self.is_closed() && self.account.has_calls()
    }

    /// Run a handler, or the rest of it, as a task. `unpolled` is whose it is, if it hasn't been polled before.
    pub(crate) fn spawn_handler(
        self: &Arc<Self>,
        id: u64,
        handler: Guarded,
        deadline: Instant,
        permit: CallPermit,
        bytes: BytesPermit,
        unpolled: Option<Arc<MethodEntry>>,
    ) {
        let call = Call { stream: self.clone(), id, handler, permits: Some((permit, bytes)), unpolled };
        // Held until the task is known, so that it can't end before.
        let mut shared = self.shared.lock();
        let task = tokio::spawn(call);
        shared.add(id, Running { task: task.abort_handle(), deadline });
    }

    /// Decode a large body where it holds up nobody, a few at a time, and run the handler.
    pub(crate) fn spawn_large(
        self: &Arc<Self>,
        id: u64,
        call: Admitted,
        format: Format,
        bytes: BytesPermit,
        body: Bytes,
        max_message: usize,
    ) {
        let (stream, deadline) = (self.clone(), call.deadline);
        let run = async move {
            let (server, account) = (stream.server.clone(), stream.account.clone());
            let Some((handler, permit)) = server.start_large(call, format, body, account, max_message).await else {
                return;
            };
            Call { stream, id, handler, permits: Some((permit, bytes)), unpolled: None }.await;
        };
        // Held until the task is known, so that it can't end before.
        let mut shared = self.shared.lock();
        let task = tokio::spawn(run);
        shared.add(id, Running { task: task.abort_handle(), deadline });
    }

    pub(crate) fn finish(&self, id: u64, outcome: Outcome, permit: CallPermit) {
        let waker = {
            let mut shared = self.shared.lock();
            // Cancelled, late or without a stream: nobody waits for the answer.
            if shared.running.remove(&id).is_none() {
                return;
            }
            shared.queue(id, outcome);
            drop(permit);
            shared.out.take_waker()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Shared {
    pub(crate) fn add(&mut self, id: u64, running: Running) {
        if self.next_deadline.is_none_or(|next| running.deadline < next) {
            self.next_deadline = Some(running.deadline);
        }
        self.running.insert(id, running);
    }

    /// Give back what only a busy stream needs.
    pub(crate) fn shrink(&mut self) {
        self.out.shrink();
        if self.running.is_empty() && self.running.capacity() > 0 {
            self.running = HashMap::new();
        }
    }

    /// Queue an answer.
    pub(crate) fn queue(&mut self, id: u64, outcome: Outcome) {
        let metadata = wire_metadata(outcome.metadata.as_deref());
        match outcome.reply {
            Reply::Value(body) if body.len() > self.max_message => {
                too_large(self.out.frames(), id, self.max_message);
            }
            Reply::Value(body) if body.len() > BULK_FROM => {
                self.queue_bulk(id, response_head(id, &metadata, body.len()), body);
            }
            Reply::Error(body) if body.len() > BULK_FROM => {
                self.queue_bulk(id, application_head(id, &metadata, body.len()), body);
            }
            reply => {
                self.replies.add(reply.body_len().unwrap_or_default());
                small_answer(self.out.frames(), id, reply, &metadata);
            }
        }
    }

    fn queue_bulk(&mut self, id: u64, head: Vec<u8>, body: Scratch) {
        let of = self.replies.apart(body.len());
        let bulk = Bulk { id, head: Some(head), body: body.into_bytes(), sent: 0, of };
        self.out.hold_bulk(bulk, self.max_bytes);
    }
}

/// The task of a handler that waits: by hand, since there are many of them, and they last.
struct Call {
    stream: Arc<ServerStream>,
    id: u64,
    handler: Guarded,
    permits: Option<(CallPermit, BytesPermit)>,
    /// Whose handler it is, if it hasn't been polled: its entry is told how long that takes.
    unpolled: Option<Arc<MethodEntry>>,
}

impl Future for Call {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = match self.unpolled.take() {
            None => Pin::new(&mut self.handler).poll(cx),
            Some(entry) => {
                let began = now();
                let polled = Pin::new(&mut self.handler).poll(cx);
                let ended = now();
                entry.note_first_poll(ended.saturating_duration_since(began), ended);
                polled
            }
        };
        let outcome = ready!(polled);
        if let Some((permit, bytes)) = self.permits.take() {
            drop(bytes);
            self.stream.finish(self.id, outcome, permit);
        }
        Poll::Ready(())
    }
}

pub(crate) fn size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn wire_metadata(metadata: Option<&Metadata>) -> MetadataBuf {
    metadata.map(Metadata::to_wire).unwrap_or_default()
}

// None of these frames can break a rule of the wire: ids come from decoded requests and chunks are small.

fn small_answer(frames: &mut Vec<u8>, id: u64, reply: Reply, metadata: &MetadataBuf) {
    match reply {
        Reply::Value(body) => {
            let (metadata, body_len) = (metadata.view(), body.len() as u64);
            let _ = wire::encode_response(frames, &wire::Reply { id, metadata, body_len, chunk: &body.0 });
        }
        Reply::Error(body) => {
            let reply = application(id, metadata, body.len(), &body.0);
            let _ = wire::encode_error(frames, &reply);
        }
        Reply::Failed(kind, detail) => error_frame(frames, id, kind, delivery_of(kind), &detail),
        Reply::NoRoom => error_frame(frames, id, ErrorKind::Overloaded, Delivery::Answered, NO_ROOM),
        Reply::End => error_frame(frames, id, ErrorKind::Internal, Delivery::Answered, NOT_STREAMED),
    }
}

fn too_large(frames: &mut Vec<u8>, id: u64, limit: usize) {
    let detail = format!("the reply is larger than the {limit} bytes that the caller takes ({MESSAGE_LIMIT})");
    error_frame(frames, id, ErrorKind::TooLarge, Delivery::Answered, &detail);
}

pub(crate) fn error_frame(frames: &mut Vec<u8>, id: u64, kind: ErrorKind, delivery: Delivery, message: &str) {
    let delivery = delivery_to_wire(delivery);
    let (code, metadata) = (code_of(kind), MetadataRef::EMPTY);
    let reply = wire::ErrorReply { id, code, delivery, message, metadata, body_len: 0, chunk: &[] };
    let _ = wire::encode_error(frames, &reply);
}

fn response_head(id: u64, metadata: &MetadataBuf, len: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(32);
    let (metadata, body_len) = (metadata.view(), len as u64);
    let _ = wire::encode_response(&mut head, &wire::Reply { id, metadata, body_len, chunk: &[] });
    head
}

fn application_head(id: u64, metadata: &MetadataBuf, len: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(32);
    let _ = wire::encode_error(&mut head, &application(id, metadata, len, &[]));
    head
}

fn application<'a>(id: u64, metadata: &'a MetadataBuf, len: usize, chunk: &'a [u8]) -> wire::ErrorReply<'a> {
    wire::ErrorReply {
        id,
        code: wire::ErrorCode::Application,
        delivery: wire::Delivery::Answered,
        message: "",
        metadata: metadata.view(),
        body_len: len as u64,
        chunk,
    }
}

/// Answer into the writer's own buffer, without a lock, if the answer is small. Gives back what isn't.
pub(crate) fn answer_at_once(
    writer: &mut Writer,
    replies: &mut ReplyPermit,
    id: u64,
    outcome: Outcome,
) -> Option<Outcome> {
    let bytes = outcome.reply.body_len().unwrap_or_default();
    if bytes > BULK_FROM {
        return Some(outcome);
    }
    replies.add(bytes);
    let metadata = wire_metadata(outcome.metadata.as_deref());
    small_answer(writer.frames(), id, outcome.reply, &metadata);
    None
}

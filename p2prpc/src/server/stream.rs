//! A substream on which a peer makes one streaming call after the other.

mod admit;
mod answer;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use tokio::time::timeout;

use admit::admit;
use answer::{answer, error_frame};

use super::{Admitted, Arriving, Guarded, LARGE_BODY, LONGEST_DEADLINE, Refusal, Server};
use crate::accounts::{BytesPermit, CallPermit, PeerAccount, ReplyPermit};
use crate::clock::{Timer, after, later, now};
use crate::codec::Format;
use crate::error::{Delivery, ErrorKind, RpcError};
use crate::framing::{Message, Messages, Unreadable, encoded_item_hello};
use crate::service::{Inbound, KEPT, Outbound, Outcome, STREAM_WINDOW, StreamParts};
use crate::wire::{self, FIRST_IGNORED_KIND, Frame, GoAwayReason, MAX_CHUNK};

/// Streaming calls of one peer that are served at once; one more is refused.
pub(crate) const MAX_STREAMS: usize = 128;
/// The caller's `Hello`, and the rest of a request, have to come within this time, and so much longer as this many bytes a second take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const MIN_RATE: usize = 16 * 1024;
/// A substream without a call is closed after so long. Callers keep one for 60 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// A caller whose items aren't taken for so long is asked whether it is there.
const NUDGE_EVERY: Duration = Duration::from_secs(1);
/// A caller that takes no items for so long is spoken of in the log, once.
const STALLED: Duration = Duration::from_secs(10);
/// How often it is looked for room for a large item where a peer has none.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(20);
/// A caller that was answered before it had sent all is heard out for so long, and for so many bytes.
const FAREWELL: Duration = Duration::from_secs(10);
const FAREWELL_BYTES: usize = 16 << 20;
/// How long a substream that is to end may take to say so.
const LINGER: Duration = Duration::from_secs(1);
/// Rounds of reading, running and writing after which others get their turn.
const ROUNDS_A_TURN: usize = 32;
/// Messages, or reads, of one such round.
const MESSAGES_A_ROUND: usize = 4096;
/// Frames without a use that a caller may send in one call.
const MAX_USELESS: usize = 10_000;
/// So many bytes of items that wait count for the caller whatever comes.
const BASE_BYTES: usize = 128 * 1024;
const _: () = assert!(BASE_BYTES == 2 * STREAM_WINDOW);

/// Why a substream ends.
#[derive(Debug)]
enum End {
    /// The caller has ended it, or it broke.
    Gone,
    /// The caller broke a rule.
    Broken(String),
    /// The caller has too much in flight.
    Full,
}

impl From<Unreadable> for End {
    fn from(error: Unreadable) -> Self {
        End::Broken(error.to_string())
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        End::Gone
    }
}

/// Serves the streaming calls of `peer` on `io` until it ends. `running` counts those of the peer on all its substreams.
pub(crate) async fn serve_streams<S>(
    server: Arc<Server>,
    account: Arc<PeerAccount>,
    peer: PeerId,
    running: Arc<AtomicUsize>,
    io: S,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let out = encoded_item_hello(server.limits());
    let (last_id, held) = (0, account.replies());
    let mut stream = Served {
        max_item: usize::MAX,
        messages: Messages::default(),
        greeted: false,
        useless: 0,
        written: 0,
        server,
        account,
        peer,
        running,
        io,
        out,
        last_id,
        held,
    };
    let (reason, rule) = match stream.serve().await {
        End::Gone => return,
        End::Broken(rule) => (GoAwayReason::ProtocolError, rule),
        End::Full => (GoAwayReason::Overloaded, Refusal::NoRoomForBytes.detail().into()),
    };
    tracing::debug!(%peer, %rule, "closing an item stream");
    stream.out.drain(..stream.written.min(stream.out.len()));
    wire::encode_go_away(&mut stream.out, stream.last_id, reason, &rule);
    let Served { mut io, out, .. } = stream;
    let _ = timeout(LINGER, async {
        io.write_all(&out).await?;
        io.close().await
    })
    .await;
}

struct Served<S> {
    server: Arc<Server>,
    account: Arc<PeerAccount>,
    peer: PeerId,
    running: Arc<AtomicUsize>,
    io: S,
    messages: Messages,
    greeted: bool,
    last_id: u64,
    /// The largest item that the caller takes.
    max_item: usize,
    useless: usize,
    /// What is being written, and how much of it is.
    out: Vec<u8>,
    written: usize,
    /// What `out` holds of the caller's account.
    held: ReplyPermit,
}

/// A request that is there as a whole.
struct Request {
    id: u64,
    call: Admitted,
    format: Format,
    args: Bytes,
}

/// One call of the peer that runs.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn begin(running: &Arc<AtomicUsize>) -> Option<Self> {
        let permit = Running(running.clone());
        (running.fetch_add(1, Ordering::Relaxed) < MAX_STREAMS).then_some(permit)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call under way.
struct Run {
    id: u64,
    parts: StreamParts,
    /// Until it has given its outcome.
    handler: Option<(Guarded, CallPermit)>,
    deadline: Option<Timer>,
    /// The caller has sent all its items, so many in all.
    ended: bool,
    items: u64,
    /// What a large item that is coming holds.
    coming: Option<BytesPermit>,
    /// While nothing is read: when to look whether the caller is there, or whether there is room.
    nudge: Option<Timer>,
    /// While what is to be written isn't taken.
    stalled: Option<Timer>,
    told_of_stall: bool,
    method: &'static str,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Served<S> {
    async fn serve(&mut self) -> End {
        loop {
            let request = match self.request().await {
                Ok(request) => request,
                Err(end) => return end,
            };
            if let Err(end) = self.run(request).await {
                return end;
            }
        }
    }

    /// The next request that may run. Those that may not are answered.
    async fn request(&mut self) -> Result<Request, End> {
        self.messages.shrink();
        let idle_since = now();
        let (mut begun, mut coming) = (None, None);
        loop {
            while self.written < self.out.len() {
                let write = self.io.write(self.out.get(self.written..).unwrap_or_default());
                match timeout(IDLE_TIMEOUT, write).await {
                    Ok(Ok(n @ 1..)) => self.written = self.written.saturating_add(n),
                    _ => return Err(End::Gone),
                }
            }
            self.clear_out();
            self.io.flush().await?;
            let limit = self.server.limits().max_message;
            let Some(message) = self.messages.next(limit)? else {
                let collecting = self.messages.collecting();
                let until = if self.greeted && !self.messages.is_partial() {
                    (begun, coming) = (None, None);
                    later(idle_since, IDLE_TIMEOUT)
                } else {
                    let come = collecting.map_or(0, |(_, come)| come);
                    let longer = Duration::from_secs((come / MIN_RATE) as u64);
                    later(*begun.get_or_insert_with(now), REQUEST_TIMEOUT.saturating_add(longer))
                };
                if let Some((announced, come)) = collecting {
                    if coming.is_none() {
                        coming = self.account.reserve_coming(announced, come);
                    }
                    if !coming.as_mut().is_some_and(|coming| coming.came(come)) {
                        return Err(End::Full);
                    }
                }
                let patience = until.saturating_duration_since(now());
                let fill = poll_fn(|cx| self.messages.poll_fill(cx, &mut self.io));
                match timeout(patience, fill).await {
                    Ok(Ok(1..)) => continue,
                    _ => return Err(End::Gone),
                }
            };
            let Message { frame, body } = message;
            match frame {
                Frame::Hello(hello) if !self.greeted => {
                    self.greeted = true;
                    self.max_item = usize::try_from(hello.max_message).unwrap_or(usize::MAX);
                }
                _ if !self.greeted => return Err(End::Broken("the first frame is not a hello".into())),
                Frame::Request(request) => {
                    if request.id <= self.last_id {
                        return Err(End::Broken("a call id repeats or falls".into()));
                    }
                    let id = request.id;
                    self.last_id = id;
                    self.useless = 0;
                    let admitted = admit(&self.server, &self.account, self.peer, &request);
                    match admitted {
                        Ok((call, codec)) => {
                            let args = Bytes::copy_from_slice(body);
                            return Ok(Request { id, call, format: Format::Native(codec), args });
                        }
                        Err((kind, detail)) => error_frame(&mut self.out, id, kind, Delivery::NeverSent, detail),
                    }
                }
                // What was sent before its sender knew that the call is over.
                Frame::Item(wire::Item { id, .. }) | Frame::End(wire::End { id, .. }) | Frame::Cancel { id }
                    if id <= self.last_id =>
                {
                    self.count_useless()?;
                }
                Frame::GoAway { .. } | Frame::Unknown { .. } => self.count_useless()?,
                _ => return Err(out_of_place()),
            }
        }
    }

    fn clear_out(&mut self) {
        self.out.clear();
        if self.out.capacity() > KEPT {
            self.out = Vec::new();
        }
        self.written = 0;
        self.held.release();
    }

    fn count_useless(&mut self) -> Result<(), End> {
        self.useless = self.useless.saturating_add(1);
        if self.useless > MAX_USELESS { Err(End::Broken("too many frames are of no use".into())) } else { Ok(()) }
    }

    async fn run(&mut self, request: Request) -> Result<(), End> {
        let Request { id, mut call, format, args } = request;
        let refused = |out: &mut Vec<u8>, detail| {
            error_frame(out, id, ErrorKind::Overloaded, Delivery::NeverSent, detail);
            Ok(())
        };
        let Some(_running) = Running::begin(&self.running) else {
            return refused(&mut self.out, "128 streaming calls are served at once (a peer)");
        };
        let Some(_bytes) = self.account.reserve(args.len().saturating_add(BASE_BYTES)) else {
            return refused(&mut self.out, Refusal::NoRoomForBytes.detail());
        };
        let outbound = Arc::new(Outbound::new(id, &self.account));
        let parts = StreamParts { inbound: Arc::<Inbound>::default(), outbound };
        call.stream = Some(parts.clone());
        let method = call.entry.descriptor().full_name;
        let deadline = (call.deadline < after(LONGEST_DEADLINE / 2)).then(|| Timer::at(call.deadline));
        let handler = if args.len() > LARGE_BODY {
            let (server, account) = (self.server.clone(), self.account.clone());
            let started = server.start_large(call, format, args, account, self.max_item).await;
            started.ok_or(End::Gone)?
        } else {
            let (handler, permit, _) = self.server.start(call, format, &args, &self.account, self.max_item);
            (handler, permit)
        };
        let mut run = Run {
            id,
            parts,
            handler: Some(handler),
            deadline,
            ended: false,
            items: 0,
            coming: None,
            nudge: None,
            stalled: None,
            told_of_stall: false,
            method,
        };
        let ran = poll_fn(|cx| self.poll(&mut run, cx)).await;
        // Whoever still holds the caller's items is not to wait for more.
        let lost = RpcError::may_have_run(ErrorKind::Cancelled, "the call is over");
        run.parts.inbound.end(Err(lost));
        ran?;
        if run.ended {
            return Ok(());
        }
        timeout(FAREWELL, self.hear_out(run.id)).await.unwrap_or(Err(End::Gone))
    }

    /// Ready once the call is answered.
    fn poll(&mut self, run: &mut Run, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        for _ in 0..ROUNDS_A_TURN {
            let mut moved = match self.read(run, cx) {
                Ok(moved) => moved,
                Err(end) => return Poll::Ready(Err(end)),
            };
            if let Some((handler, _)) = &mut run.handler {
                if let Poll::Ready(outcome) = Pin::new(handler).poll(cx) {
                    run.answer(outcome);
                } else if let Some(deadline) = &mut run.deadline
                    && Pin::new(deadline).poll(cx).is_ready()
                {
                    run.answer(Outcome::failed(ErrorKind::DeadlineExceeded, "the handler was stopped"));
                }
            }
            match self.write(&run.parts.outbound, cx) {
                Ok(written) => moved |= written,
                Err(end) => return Poll::Ready(Err(end)),
            }
            self.note_stall(run, cx);
            if run.handler.is_none() && self.out.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if !moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// A caller that takes nothing slows its handler down, which is all that happens; somebody may want to know.
    fn note_stall(&self, run: &mut Run, cx: &mut Context<'_>) {
        if self.out.is_empty() {
            run.stalled = None;
            return;
        }
        let is_news = run.stalled.is_none();
        let stalled = run.stalled.get_or_insert_with(|| Timer::at(after(STALLED)));
        if is_news {
            run.told_of_stall = false;
        }
        if !run.told_of_stall && Pin::new(stalled).poll(cx).is_ready() {
            run.told_of_stall = true;
            tracing::debug!(peer = %self.peer, method = run.method, "a caller takes no items of its stream");
        }
    }

    /// True if something came.
    fn read(&mut self, run: &mut Run, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut moved = false;
        for _ in 0..MESSAGES_A_ROUND {
            let full = !run.ended && run.parts.inbound.poll_room(cx).is_pending();
            if full || !self.has_room(run) {
                self.wait_unread(run, full, cx);
                return Ok(moved);
            }
            run.nudge = None;
            match self.messages.next(self.server.limits().max_message)? {
                Some(Message { frame, body }) => match frame {
                    Frame::Item(item) if item.id == run.id && !run.ended => {
                        run.items = run.items.saturating_add(1);
                        run.parts.inbound.push(body, run.coming.take());
                        moved = true;
                    }
                    Frame::End(end) if end.id == run.id && !run.ended => {
                        if end.items != run.items {
                            let rule = format!("{} items came, and {} were sent", run.items, end.items);
                            return Err(End::Broken(rule));
                        }
                        run.ended = true;
                        run.parts.inbound.end(Ok(()));
                        moved = true;
                    }
                    Frame::Cancel { id } if id == run.id => return Err(End::Gone),
                    Frame::Item(wire::Item { id, .. }) | Frame::End(wire::End { id, .. }) | Frame::Cancel { id }
                        if id < run.id =>
                    {
                        self.count_useless()?;
                    }
                    Frame::GoAway { .. } | Frame::Unknown { .. } => self.count_useless()?,
                    _ => return Err(out_of_place()),
                },
                None => match self.messages.poll_fill(cx, &mut self.io) {
                    Poll::Pending => return Ok(moved),
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => return Err(End::Gone),
                },
            }
        }
        // More may be there than anybody takes: the handler is to have its turn.
        Ok(true)
    }

    /// Room for a large item, as far as it has come.
    fn has_room(&self, run: &mut Run) -> bool {
        let Some((announced, come)) = self.messages.collecting() else { return true };
        if announced <= MAX_CHUNK {
            return true;
        }
        if run.coming.is_none() {
            run.coming = self.account.reserve_coming(announced, come);
        }
        run.coming.as_mut().is_some_and(|coming| coming.came(come))
    }

    /// Nothing is read for a while, so the caller's end of it isn't seen: it is written to then.
    fn wait_unread(&mut self, run: &mut Run, full: bool, cx: &mut Context<'_>) {
        let wait = if full { NUDGE_EVERY } else { LOOK_FOR_ROOM };
        loop {
            let nudge = run.nudge.get_or_insert_with(|| Timer::at(after(wait)));
            if Pin::new(nudge).poll(cx).is_pending() {
                return;
            }
            run.nudge = None;
            if !full {
                return cx.waker().wake_by_ref();
            }
            if self.out.is_empty() {
                let _ = wire::encode(&mut self.out, &Frame::Unknown { kind: FIRST_IGNORED_KIND, fields: &[] });
            }
        }
    }

    /// True if more was taken from the handler, which may go on then.
    fn write(&mut self, outbound: &Outbound, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut taken = false;
        loop {
            if self.written == self.out.len() {
                self.clear_out();
                if !outbound.take(&mut self.out, &mut self.held) {
                    break;
                }
                taken = true;
            }
            let rest = self.out.get(self.written..).unwrap_or_default();
            match Pin::new(&mut self.io).poll_write(cx, rest) {
                Poll::Ready(Ok(n @ 1..)) => self.written = self.written.saturating_add(n),
                Poll::Ready(_) => return Err(End::Gone),
                Poll::Pending => return Ok(taken),
            }
        }
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Ready(Err(_)) => Err(End::Gone),
            _ => Ok(taken),
        }
    }

    /// The call is answered, and its caller doesn't know yet: what still comes of it is thrown away.
    async fn hear_out(&mut self, id: u64) -> Result<(), End> {
        let mut heard = 0_usize;
        poll_fn(|cx| {
            loop {
                match self.messages.next(self.server.limits().max_message)? {
                    Some(Message { frame: Frame::End(end), .. }) if end.id == id => return Poll::Ready(Ok(())),
                    Some(Message { frame: Frame::Item(item), .. }) if item.id <= id => {}
                    Some(Message { frame: Frame::Cancel { id: of }, .. }) if of <= id => {}
                    Some(Message { frame: Frame::GoAway { .. } | Frame::Unknown { .. }, .. }) => {}
                    Some(_) => return Poll::Ready(Err(out_of_place())),
                    None => match ready!(self.messages.poll_fill(cx, &mut self.io)) {
                        Ok(n @ 1..) if heard < FAREWELL_BYTES => heard = heard.saturating_add(n),
                        _ => return Poll::Ready(Err(End::Gone)),
                    },
                }
            }
        })
        .await
    }
}

fn out_of_place() -> End {
    End::Broken("a frame came that has no place there".into())
}

impl Run {
    /// The handler is done, or is to be: its answer is what is written last.
    fn answer(&mut self, outcome: Outcome) {
        let Some((handler, permit)) = self.handler.take() else { return };
        drop(handler);
        answer(&self.parts.outbound, outcome);
        drop(permit);
    }
}

#[cfg(test)]
mod tests;

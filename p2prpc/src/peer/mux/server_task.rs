//! The task of a call stream that a peer opened: reads requests, runs handlers, writes replies.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;

use super::requests::{Fault, Requests};
use super::server::{ServerStream, error_frame, size};
use crate::accounts::PeerAccount;
use crate::clock::later;
use crate::error::{Delivery, ErrorKind};
use crate::framing::hello;
use crate::framing::{Part, RecvBuffer};
use crate::peer::mux::send_queue::Writer;
use crate::peer::mux::useless::USELESS;
use crate::peer::timer::EarliestTimer;
use crate::peer::{FRAMES_A_TURN, HELLO_TIMEOUT, LINGER, MOVE_TIMEOUT, SHRINK_AFTER, now};
use crate::scratch::Scratch;
use crate::server::Server;
use crate::wire::{self, GoAwayReason};

/// No request is read while more bytes of replies wait to be written.
const MAX_WAITING_REPLIES: usize = 1024 * 1024;
/// How long one turn may keep its thread.
const TURN: Duration = Duration::from_millis(1);
/// How long a caller that was told to go away may keep a stream on which nothing happens.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

enum End {
    /// The caller ended the stream, or it broke.
    Lost,
    /// The caller broke the rules, or was too slow: it is told.
    Broken(GoAwayReason, String),
}

/// Answer calls on `io` until it ends. The stream has to be told when its connection ends ([`ServerStream::lose`]): not every
/// substream notices.
pub(crate) fn spawn<S>(server: Arc<Server>, account: Arc<PeerAccount>, peer: PeerId, io: S) -> Arc<ServerStream>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = Arc::new(ServerStream::new(server, account, peer));
    tokio::spawn(drive(stream.clone(), io));
    stream
}

async fn drive<S>(stream: Arc<ServerStream>, mut io: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut writer = Writer::default();
    // It has to come first: answers of handlers that are ready at once are put here too.
    // The limits of a node are checked when it is made.
    let _ = wire::encode_hello(writer.frames(), &hello(stream.server.limits()));
    let mut driver = Driver {
        requests: Requests::new(stream.clone()),
        stream,
        received: RecvBuffer::default(),
        writer,
        alarm: EarliestTimer::default(),
        started: now(),
        fragment_since: None,
        active: false,
        left_at: None,
        paused: false,
        rests_until: None,
    };
    let end = poll_fn(|cx| driver.poll(cx, &mut io)).await;
    driver.finish();
    if let End::Broken(reason, rule) = end {
        tracing::debug!(peer = %driver.stream.peer, %rule, "closing a call stream");
        let mut farewell = Vec::new();
        wire::encode_go_away(&mut farewell, driver.requests.last_id(), reason, &rule);
        let _ = tokio::time::timeout(LINGER, async {
            io.write_all(driver.writer.rest()).await?;
            io.write_all(&farewell).await?;
            io.close().await
        })
        .await;
    }
}

struct Driver {
    stream: Arc<ServerStream>,
    requests: Requests,
    received: RecvBuffer,
    writer: Writer,
    alarm: EarliestTimer,
    started: Instant,
    fragment_since: Option<Instant>,
    /// Something came since it was last looked whether nothing does.
    active: bool,
    /// When the caller was told to go away.
    left_at: Option<Instant>,
    /// Too many replies wait: nothing is read.
    paused: bool,
    /// Nothing is read before: too many calls were cancelled.
    rests_until: Option<Instant>,
}

impl Driver {
    fn poll<S: AsyncRead + AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, io: &mut S) -> Poll<End> {
        let more = match self.read(cx, io) {
            Ok(more) => more,
            Err(end) => return Poll::Ready(end),
        };
        self.say_go_away();
        if self.write(cx, io).is_err() {
            return Poll::Ready(End::Lost);
        }
        self.stream.unwritten.store(!self.writer.is_empty(), Ordering::Relaxed);
        loop {
            if let Some(end) = self.look_at_clocks(now()) {
                return Poll::Ready(end);
            }
            if self.alarm.poll(cx).is_pending() {
                break;
            }
        }
        // All may have been written without a wait, and what the clocks ended has left something to write.
        let resume = self.paused && self.waiting_replies() <= MAX_WAITING_REPLIES
            || self.rests_until.is_some_and(|until| until <= now());
        if more || resume || !self.writer.is_empty() && self.writer.check_at().is_none() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// True if there is more to read at once.
    fn read<S: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, io: &mut S) -> Result<bool, End> {
        let mut frames = 0_usize;
        self.requests.refresh();
        let began = self.requests.time;
        if self.rests_until.is_some_and(|until| began < until) {
            return Ok(false);
        }
        self.rests_until = None;
        loop {
            self.paused = self.waiting_replies() > MAX_WAITING_REPLIES;
            if self.paused {
                return Ok(false);
            }
            match self.received.next() {
                Ok(Some(Part { frame, took })) => {
                    let taken = self.requests.take(frame, took.rest(), began, &mut self.writer);
                    self.received.consume(took);
                    if took.rest() == 0 {
                        self.fragment_since = None;
                    }
                    match taken {
                        Ok(()) => {}
                        Err(Fault::Rule(rule)) => return Err(End::Broken(GoAwayReason::ProtocolError, rule)),
                        Err(Fault::Useless) => {
                            self.stream.server.refuse_for_a_while(self.stream.peer);
                            return Err(End::Broken(GoAwayReason::Overloaded, USELESS.into()));
                        }
                    }
                    if let Some(hello) = self.requests.hello.take() {
                        let mut shared = self.stream.shared.lock();
                        shared.max_bytes = size(hello.max_bytes_in_flight);
                        shared.max_message = self.requests.max_message;
                    }
                    if let Some(rest) = self.requests.rest.take() {
                        self.rests_until = Some(later(self.requests.time, rest));
                        return Ok(false);
                    }
                    frames = frames.saturating_add(1);
                    self.active = true;
                    if frames >= FRAMES_A_TURN || self.requests.time.saturating_duration_since(began) > TURN {
                        return Ok(true);
                    }
                }
                Ok(None) => {
                    let filled = self.fill(cx, io, began);
                    match filled.map_err(|rule| End::Broken(GoAwayReason::ProtocolError, rule))? {
                        Poll::Pending => return Ok(false),
                        Poll::Ready(Ok(0)) => return Err(End::Lost),
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(_)) => return Err(End::Lost),
                    }
                }
                Err(error) => return Err(End::Broken(GoAwayReason::ProtocolError, error.to_string())),
            }
        }
    }

    /// Read once: what is to come of a chunk goes where its body is collected. An error names the rule that is broken.
    fn fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut S,
        now: Instant,
    ) -> Result<Poll<io::Result<usize>>, String> {
        let Some(open) = self.received.open_chunk() else { return Ok(self.received.poll_fill(cx, io)) };
        let Some(room) = self.requests.room(open.id, open.rest) else { return Ok(self.received.poll_fill(cx, io)) };
        let filled = self.received.poll_fill_chunk(cx, io, room?);
        if let Poll::Ready(Ok(n @ 1..)) = filled {
            self.requests.fill(open.id, n, now, &mut self.writer);
            if open.rest == n {
                self.fragment_since = None;
            }
        }
        Ok(filled)
    }

    fn waiting_replies(&self) -> usize {
        let own = self.writer.len();
        if own > MAX_WAITING_REPLIES { own } else { own.saturating_add(self.stream.shared.lock().out.len()) }
    }

    fn say_go_away(&mut self) {
        if self.left_at.is_some() {
            return;
        }
        let reason = self.stream.shared.lock().go_away;
        if let Some(reason) = reason {
            let last = self.requests.last_id();
            self.requests.last_taken = Some(last);
            wire::encode_go_away(self.writer.frames(), last, reason, "");
            self.left_at = Some(now());
        }
    }

    fn write<S: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, io: &mut S) -> io::Result<()> {
        loop {
            if !self.writer.is_empty() && self.writer.poll_write(cx, io)?.is_pending() {
                self.stream.shared.lock().out.park(cx, true);
                return Ok(());
            }
            self.requests.replies.release();
            let mut shared = self.stream.shared.lock();
            let shared = &mut *shared;
            let finished = shared.out.refill(&mut self.writer);
            self.requests.replies.absorb(&mut shared.replies);
            if let Some(mut finished) = finished {
                self.requests.replies.absorb(&mut finished.of);
                shared.out.begin_held(shared.max_bytes);
            }
            if self.writer.is_empty() {
                shared.out.park(cx, false);
                break;
            }
        }
        let _ = self.writer.poll_flush(cx, io)?;
        Ok(())
    }

    fn look_at_clocks(&mut self, now: Instant) -> Option<End> {
        let broken = |reason, detail: &str| Some(End::Broken(reason, detail.into()));
        if self.writer.is_stalled(now) {
            return Some(End::Lost);
        }
        if let Some(at) = self.writer.check_at() {
            self.alarm.not_after(at);
        }
        if !self.requests.greeted {
            let at = later(self.started, HELLO_TIMEOUT);
            if now >= at {
                return broken(GoAwayReason::ProtocolError, "no hello came in time");
            }
            self.alarm.not_after(at);
        }
        // While replies wait the rest of a frame may be here and not be read.
        if self.received.is_partial() && !self.paused {
            let at = later(*self.fragment_since.get_or_insert(now), MOVE_TIMEOUT);
            if now >= at {
                return broken(GoAwayReason::Overloaded, "a frame stopped in the middle");
            }
            self.alarm.not_after(at);
        } else {
            self.fragment_since = None;
        }
        if let Some(until) = self.rests_until.filter(|until| now < *until) {
            self.alarm.not_after(until);
        }
        if self.paused {
            self.requests.excuse(now);
        }
        if let Some(at) = self.requests.expire(now, &mut self.writer) {
            self.alarm.not_after(at);
        }
        let mut shared = self.stream.shared.lock();
        if shared.lost {
            return Some(End::Lost);
        }
        if shared.next_deadline.is_some_and(|next| next <= now) {
            let late: Vec<u64> =
                shared.running.iter().filter(|(_, running)| running.deadline <= now).map(|(id, _)| *id).collect();
            for id in late {
                if let Some(running) = shared.running.remove(&id) {
                    running.task.abort();
                    let frames = self.writer.frames();
                    error_frame(
                        frames,
                        id,
                        ErrorKind::DeadlineExceeded,
                        Delivery::MayHaveRun,
                        "the handler was stopped",
                    );
                }
            }
            shared.next_deadline = shared.running.values().map(|running| running.deadline).min();
        }
        if let Some(at) = shared.next_deadline {
            self.alarm.not_after(at);
        }
        let quiet = shared.running.is_empty() && shared.out.is_empty() && self.writer.is_empty();
        let idle = quiet && self.requests.is_idle();
        let active = std::mem::take(&mut self.active);
        let was_idle = shared.idle_since.filter(|_| !active);
        shared.idle_since = idle.then(|| was_idle.unwrap_or(now));
        let idle_since = shared.idle_since;
        drop(shared);
        if let Some(since) = idle_since {
            let at = later(since, SHRINK_AFTER);
            if now >= at {
                Scratch::forget_large();
                self.received.shrink();
                self.writer.shrink();
                self.stream.shared.lock().shrink();
            } else {
                self.alarm.not_after(at);
            }
            if let Some(left) = self.left_at {
                let at = later(left, LEAVE_TIMEOUT);
                if now >= at {
                    return Some(End::Lost);
                }
                self.alarm.not_after(at);
            }
        }
        None
    }

    /// The stream is no more: stop its handlers and give back what their replies held.
    fn finish(&mut self) {
        let (running, _unwritten) = {
            let mut shared = self.stream.shared.lock();
            shared.closed = true;
            self.requests.replies.absorb(&mut shared.replies);
            // This side of the stream may be kept for a while yet.
            (std::mem::take(&mut shared.running), std::mem::take(&mut shared.out))
        };
        self.requests.replies.release();
        for running in running.into_values() {
            running.task.abort();
        }
    }
}

//! The task of a call stream of ours: writes requests, reads replies, keeps deadlines.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::AsyncWriteExt;
use hashbrown::HashMap;
use libp2p::PeerId;
use libp2p::core::upgrade::NegotiationError;

use super::client::{ByteStream, ClientStream};
use super::client_shared::PeerLimits;
use super::replies::Replies;
use super::unsent;
use crate::call::{Answer, PendingCall};
use crate::clock::later;
use crate::error::{ErrorKind, RpcError};
use crate::framing::hello;
use crate::framing::{Part, RecvBuffer};
use crate::peer::mux::send_queue::Writer;
use crate::peer::queue::Queued;
use crate::peer::session_config::SessionConfig;
use crate::peer::timer::EarliestTimer;
use crate::peer::{FRAMES_A_TURN, HELLO_TIMEOUT, LINGER, MOVE_TIMEOUT, NOT_ADMITTED, SHRINK_AFTER, now};
use crate::scratch::Scratch;
use crate::wire::{self, GoAwayReason};

/// From so many calls on those that end together are let submit the next ones before these are written: one write for all
/// costs less than a write each, and below that the two ends of a connection had better work at the same time.
const BATCH_FROM: usize = 16;

/// Why a stream of ours ended.
enum End {
    /// Nothing is under way and nothing is expected.
    Done,
    /// The other end doesn't speak the protocol.
    Unsupported,
    /// The substream broke or was ended.
    Lost(String),
    /// The other end broke the rules: it is told.
    Broken(String),
}

/// What of ours a substream has taken.
enum Written {
    /// Not even our hello.
    Nothing,
    Frames,
    /// The last frame in part.
    Cut,
}

/// Drive `stream` until it ends.
/// Whose stream it is.
pub(crate) trait Owner: Send + Sync {
    fn peer(&self) -> PeerId;
    fn config(&self) -> &Arc<SessionConfig>;
    /// There may be room for calls that wait.
    fn flush(&self);
    /// The stream takes no new calls any more.
    fn retire(&self, stream: &Arc<ClientStream>);
    /// The stream is no more; these calls of it were never sent.
    fn ended(&self, stream: &Arc<ClientStream>, unsent: Vec<Queued>);
}

pub(crate) async fn drive(owner: Arc<dyn Owner>, stream: Arc<ClientStream>) {
    let replies = Replies::new(owner.config().clone(), stream.clone());
    let mut driver = Driver {
        owner,
        received: RecvBuffer::default(),
        alarm: EarliestTimer::default(),
        replies,
        started: now(),
        idle_since: None,
        fragment_since: None,
        gave_up: false,
        finished: false,
    };
    let end = poll_fn(|cx| driver.poll(cx, &stream)).await;
    let (io, written) = driver.finish(&end, &stream);
    let Some(mut io) = io else { return };
    match end {
        End::Done => {
            let _ = tokio::time::timeout(LINGER, io.close()).await;
        }
        End::Broken(rule) => {
            let mut farewell = Vec::new();
            if matches!(written, Written::Nothing) {
                let _ = wire::encode_hello(&mut farewell, &hello(&driver.owner.config().limits));
            }
            wire::encode_go_away(&mut farewell, 0, GoAwayReason::ProtocolError, &rule);
            let _ = tokio::time::timeout(LINGER, async {
                // After a frame that is cut in the middle a farewell would be read as its rest.
                if !matches!(written, Written::Cut) {
                    io.write_all(&farewell).await?;
                }
                io.close().await
            })
            .await;
        }
        End::Unsupported | End::Lost(_) => {}
    }
}

struct Driver {
    owner: Arc<dyn Owner>,
    received: RecvBuffer,
    alarm: EarliestTimer,
    replies: Replies,
    started: Instant,
    idle_since: Option<Instant>,
    fragment_since: Option<Instant>,
    /// A deadline passed after what was to be written was written: the other end is still to be told.
    gave_up: bool,
    finished: bool,
}

/// The task is dropped before its time if its runtime ends: whoever waits is told all the same.
impl Drop for Driver {
    fn drop(&mut self) {
        if !self.finished {
            let stream = self.replies.stream.clone();
            drop(self.finish(&End::Lost("the runtime of the node has ended".into()), &stream));
        }
    }
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>, stream: &Arc<ClientStream>) -> Poll<End> {
        let result = self.read(cx, stream);
        let let_submit = self.settle(stream);
        let more = match result {
            Ok(more) => more,
            Err(end) => return Poll::Ready(end),
        };
        let mut pipe = stream.pipe.lock();
        match pipe.write(cx, &stream.shared) {
            // What has come is worth more than what can't go.
            Err(error) if !more => return Poll::Ready(lost(&error)),
            _ => {}
        }
        if let Some(end) = self.keep_time(cx, more, stream, &mut pipe.writer) {
            return Poll::Ready(end);
        }
        if more || let_submit || std::mem::take(&mut self.gave_up) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// True if there is more to read at once.
    fn read(&mut self, cx: &mut Context<'_>, stream: &ClientStream) -> Result<bool, End> {
        self.replies.last_id = stream.shared.lock().calls.last_id();
        let mut pipe = stream.pipe.lock();
        let Some(io) = &mut pipe.io else { return Ok(false) };
        let mut frames = 0_usize;
        loop {
            match self.received.next() {
                Ok(Some(Part { frame, took })) => {
                    if let Err(rule) = self.replies.take(frame, took.rest()) {
                        return Err(End::Broken(rule));
                    }
                    self.received.consume(took);
                    if took.rest() == 0 {
                        self.fragment_since = None;
                    }
                    // It may have been answered since this task last looked.
                    self.idle_since = None;
                    frames = frames.saturating_add(1);
                    if frames == FRAMES_A_TURN {
                        return Ok(true);
                    }
                }
                Ok(None) => match self.fill(cx, io).map_err(End::Broken)? {
                    Poll::Pending => return Ok(false),
                    Poll::Ready(Ok(0)) => return Err(End::Lost("the peer ended the stream".into())),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Err(lost(&error)),
                },
                Err(error) => return Err(End::Broken(error.to_string())),
            }
        }
    }

    /// Read once: what is to come of a chunk goes where its body is collected. An error names the rule that is broken.
    fn fill(&mut self, cx: &mut Context<'_>, io: &mut Box<dyn ByteStream>) -> Result<Poll<io::Result<usize>>, String> {
        let Some(open) = self.received.open_chunk() else { return Ok(self.received.poll_fill(cx, io)) };
        let Some(partial) = self.replies.partials.get_mut(&open.id) else { return Ok(self.received.poll_fill(cx, io)) };
        let room = partial.room(open.rest).ok_or("a body is longer than announced")?;
        let filled = self.received.poll_fill_chunk(cx, io, room);
        if let Poll::Ready(Ok(n @ 1..)) = filled {
            let whole = partial.fill(n, now());
            self.replies.received(open.id, n, whole);
            self.idle_since = None;
            if open.rest == n {
                self.fragment_since = None;
            }
        }
        Ok(filled)
    }

    /// Hand out what came. True if many are about to call again.
    fn settle(&mut self, stream: &Arc<ClientStream>) -> bool {
        let mut completed: Vec<(Arc<PendingCall>, Answer)> = Vec::new();
        let (flush, retire, under_way) = {
            let mut shared = stream.shared.lock();
            let config = self.owner.config();
            if let Some(hello) = self.replies.hello.take() {
                shared.peer = PeerLimits::of(&hello, true);
                config.reports.greeted(self.owner.peer());
            }
            for (id, answer) in self.replies.done.drain(..) {
                if let Some(call) = shared.take(id, config) {
                    shared.out.remove_bulk(id);
                    completed.push((call.call, answer));
                }
            }
            let go_away = self.replies.go_away.take();
            if let Some((last, error)) = &go_away {
                shared.taking = false;
                let refused: Vec<u64> = shared.calls.iter().map(|(id, _)| id).filter(|id| id > last).collect();
                for id in refused {
                    shared.out.remove_bulk(id);
                    if let Some(call) = shared.take(id, config) {
                        completed.push((call.call, Err(error.clone()).into()));
                    }
                }
            }
            for id in shared.dropped.drain(..) {
                self.replies.forget(id);
            }
            let wanted = std::mem::take(&mut shared.wanted) | shared.of_peer.take_wanted();
            (wanted, go_away.is_some(), shared.calls.len())
        };
        if retire {
            self.owner.retire(stream);
        }
        let many = completed.len() > 1 && completed.len().saturating_add(under_way) >= BATCH_FROM;
        for (slot, answer) in completed {
            slot.complete(answer);
        }
        if flush {
            self.owner.flush();
        }
        many
    }

    fn keep_time(
        &mut self,
        cx: &mut Context<'_>,
        more: bool,
        stream: &ClientStream,
        writer: &mut Writer,
    ) -> Option<End> {
        loop {
            let now = now();
            if let Some(end) = self.look_at_clocks(now, more, stream, writer) {
                return Some(end);
            }
            if self.alarm.poll(cx).is_pending() {
                return None;
            }
        }
    }

    fn look_at_clocks(&mut self, now: Instant, more: bool, stream: &ClientStream, writer: &mut Writer) -> Option<End> {
        if writer.is_stalled(now) {
            return Some(End::Lost("the peer does not read".into()));
        }
        if !self.replies.greeted {
            let at = later(self.started, HELLO_TIMEOUT);
            if now >= at {
                return Some(End::Broken("no hello came in time".into()));
            }
            self.alarm.not_after(at);
        }
        if self.received.is_partial() {
            let at = later(*self.fragment_since.get_or_insert(now), MOVE_TIMEOUT);
            if now >= at {
                return Some(End::Lost("the peer stopped in the middle of a frame".into()));
            }
            self.alarm.not_after(at);
        }
        if let Some(at) = writer.check_at() {
            self.alarm.not_after(at.max(later(now, Duration::from_millis(1))));
        }
        let mut late = Vec::new();
        let written;
        {
            let mut shared = stream.shared.lock();
            written = shared.was_full && !shared.is_full();
            shared.was_full &= !written;
            if shared.lost && !more {
                return Some(End::Lost("it was closed".into()));
            }
            if shared.cut_off {
                return Some(End::Lost("the peer left too many calls on older streams without an answer".into()));
            }
            if shared.next_deadline.is_some_and(|next| next <= now) {
                let config = self.owner.config();
                let ids: Vec<u64> =
                    shared.calls.iter().filter(|(_, call)| call.head.deadline <= now).map(|(id, _)| id).collect();
                for id in ids {
                    let Some(call) = shared.take(id, config) else { continue };
                    let error = if shared.give_up(id) {
                        RpcError::never_sent(ErrorKind::DeadlineExceeded, "it could not be sent as a whole in time")
                    } else {
                        RpcError::may_have_run(ErrorKind::DeadlineExceeded, "no answer came in time")
                    };
                    late.push((call.call, error));
                }
                shared.next_deadline = shared.calls.iter().map(|(_, call)| call.head.deadline).min();
            }
            if let Some(next) = shared.next_deadline {
                self.alarm.not_after(next);
            }
            let quiet = shared.calls.is_empty() && shared.out.is_empty() && writer.is_empty();
            if quiet && !shared.taking {
                return Some(End::Done);
            }
            if !quiet {
                self.idle_since = None;
            } else {
                let since = *self.idle_since.get_or_insert(now);
                let shrink_at = later(since, SHRINK_AFTER);
                if now >= shrink_at {
                    Scratch::forget_large();
                    self.received.shrink();
                    writer.shrink();
                    shared.out.shrink();
                    shared.calls.shrink();
                } else {
                    self.alarm.not_after(shrink_at);
                }
                let at = since.checked_add(self.owner.config().idle_timeout);
                if at.is_some_and(|at| now >= at) {
                    shared.taking = false;
                    return Some(End::Done);
                }
                if let Some(at) = at {
                    self.alarm.not_after(at);
                }
            }
        }
        let timed_out = !late.is_empty();
        self.gave_up |= timed_out;
        if timed_out {
            stream.connection().note_unanswered(now);
        }
        for (slot, error) in late {
            slot.complete(Err(error));
        }
        if timed_out || written {
            self.owner.flush();
        }
        None
    }

    /// True if the other end closed the connection at once: so does a peer that doesn't admit us.
    fn hung_up(&self, stream: &ClientStream) -> bool {
        !self.replies.greeted && stream.connection().is_mute() && now() < later(self.started, HELLO_TIMEOUT)
    }

    /// The stream is no more: say so to all whose call was on it. Gives the substream, and what it has taken.
    fn finish(&mut self, end: &End, stream: &Arc<ClientStream>) -> (Option<Box<dyn ByteStream>>, Written) {
        self.finished = true;
        let (unsent, lost, io, written) = {
            let mut pipe = stream.pipe.lock();
            let mut shared = stream.shared.lock();
            shared.taking = false;
            let config = self.owner.config();
            let shared = &mut *shared;
            let ids: Vec<u64> = shared.calls.iter().map(|(id, _)| id).collect();
            let mut calls: HashMap<u64, _> = HashMap::with_capacity(ids.len());
            for id in ids {
                calls.extend(shared.take(id, config).map(|call| (id, call)));
            }
            let unsent = match end {
                End::Unsupported => Vec::new(),
                _ => unsent::unsent(&mut calls, &mut shared.out, &pipe.writer),
            };
            let written = match &pipe.writer {
                writer if !writer.has_begun() => Written::Nothing,
                writer if writer.is_cut() => Written::Cut,
                _ => Written::Frames,
            };
            (unsent, calls, pipe.io.take(), written)
        };
        let error = match end {
            End::Done => RpcError::may_have_run(ErrorKind::ConnectionLost, ""),
            End::Unsupported => RpcError::never_sent(ErrorKind::NotSupported, ""),
            End::Lost(_) if self.hung_up(stream) => RpcError::may_have_run(ErrorKind::ConnectionLost, NOT_ADMITTED),
            End::Lost(why) => RpcError::may_have_run(ErrorKind::ConnectionLost, why),
            End::Broken(rule) => {
                RpcError::may_have_run(ErrorKind::ConnectionLost, format_args!("the peer broke the protocol: {rule}"))
            }
        };
        for call in lost.into_values() {
            call.call.complete(Err(error.clone()));
        }
        self.owner.ended(stream, unsent);
        (io, written)
    }
}

fn lost(error: &io::Error) -> End {
    let refused = error
        .get_ref()
        .is_some_and(|inner| matches!(inner.downcast_ref::<NegotiationError>(), Some(NegotiationError::Failed)));
    if refused { End::Unsupported } else { End::Lost(error.to_string()) }
}

//! What waits to be written, and the writing of it.
//!
//! Frames are appended to one buffer under the stream's lock; the writer swaps that buffer for an empty one and writes
//! it in pieces. Large bodies stand in a queue of their own and go a chunk at a time, in turns, after the frames.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use futures::AsyncWrite;

use crate::clock::later;
use crate::clock::now;
use crate::wire::{self, MAX_CHUNK};

/// Bodies past this size don't go into the buffer of frames.
pub(crate) const BULK_FROM: usize = 16 * 1024;
/// The size of one write. Yamux cuts frames at this size, and each is an allocation, an encryption and a system call.
const PIECE: usize = 16 * 1024;
/// So much of a large body goes in one frame: with its head, four pieces at the most.
const BULK_CHUNK: usize = 4 * PIECE - 64;
const _: () = assert!(BULK_CHUNK <= MAX_CHUNK);
/// A write moves [`STALL_BYTES`], or all that is queued, in this time.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
const STALL_BYTES: usize = 64 * 1024;
/// Buffers past this size are given back once they are written.
const KEPT_CAPACITY: usize = 64 * 1024;

/// A large body on its way.
#[derive(Debug)]
pub(crate) struct Bulk<T> {
    pub(crate) id: u64,
    /// The frame that announces it, if that hasn't been queued yet.
    pub(crate) head: Option<Vec<u8>>,
    pub(crate) body: Bytes,
    pub(crate) sent: usize,
    pub(crate) of: T,
}

/// What waits to be written on a stream. `T` is what its side wants to know of a large body.
#[derive(Debug)]
pub(crate) struct SendQueue<T> {
    frames: Vec<u8>,
    /// Large bodies that have begun: they take turns.
    bulk: VecDeque<Bulk<T>>,
    /// Large bodies that wait for the other end's limit to leave room.
    held: VecDeque<Bulk<T>>,
    bulk_bytes: usize,
    begun_bytes: usize,
    /// Wakes the writer's task.
    waker: Option<Waker>,
    /// The writer waits for the other end to read, and not for more to write.
    blocked: bool,
}

impl<T> Default for SendQueue<T> {
    fn default() -> Self {
        SendQueue {
            frames: Vec::new(),
            bulk: VecDeque::new(),
            held: VecDeque::new(),
            bulk_bytes: 0,
            begun_bytes: 0,
            waker: None,
            blocked: false,
        }
    }
}

impl<T> SendQueue<T> {
    /// Where whole frames are appended.
    pub(crate) fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.frames
    }

    pub(crate) fn queued_frames(&self) -> &[u8] {
        &self.frames
    }

    /// A body whose head is queued already, or that needs no room at the other end.
    pub(crate) fn push_bulk(&mut self, bulk: Bulk<T>) {
        self.bulk_bytes = self.bulk_bytes.saturating_add(bulk.body.len());
        self.begun_bytes = self.begun_bytes.saturating_add(bulk.body.len());
        self.bulk.push_back(bulk);
    }

    /// A body that begins once bodies of less than `limit` bytes are on their way.
    pub(crate) fn hold_bulk(&mut self, bulk: Bulk<T>, limit: usize) {
        self.bulk_bytes = self.bulk_bytes.saturating_add(bulk.body.len());
        self.held.push_back(bulk);
        self.begin_held(limit);
    }

    pub(crate) fn begin_held(&mut self, limit: usize) {
        while let Some(next) = self.held.front() {
            let begun = self.begun_bytes.saturating_add(next.body.len());
            if self.begun_bytes > 0 && begun > limit {
                return;
            }
            self.begun_bytes = begun;
            self.bulk.extend(self.held.pop_front());
        }
    }

    /// Forget a large body. True if there was one.
    pub(crate) fn remove_bulk(&mut self, id: u64) -> Option<Bulk<T>> {
        let found = if let Some(at) = self.bulk.iter().position(|bulk| bulk.id == id) {
            let bulk = self.bulk.remove(at)?;
            self.begun_bytes = self.begun_bytes.saturating_sub(bulk.body.len());
            Some(bulk)
        } else {
            let at = self.held.iter().position(|bulk| bulk.id == id)?;
            self.held.remove(at)
        };
        if let Some(bulk) = &found {
            self.bulk_bytes = self.bulk_bytes.saturating_sub(bulk.body.len().saturating_sub(bulk.sent));
        }
        found
    }

    pub(crate) fn drain_bulk(&mut self) -> impl Iterator<Item = Bulk<T>> + '_ {
        self.bulk_bytes = 0;
        self.begun_bytes = 0;
        self.bulk.drain(..).chain(self.held.drain(..))
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.frames.len().saturating_add(self.bulk_bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.bulk.is_empty() && self.held.is_empty()
    }

    /// Give back what only a busy stream needs.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            self.frames = Vec::new();
            self.bulk = VecDeque::new();
            self.held = VecDeque::new();
        }
    }

    /// Whom to wake after something was queued: the writer, if it sleeps for want of it.
    #[must_use]
    pub(crate) fn take_waker(&mut self) -> Option<Waker> {
        if self.blocked { None } else { self.waker.take() }
    }

    /// Whom to wake for anything else than something to write.
    #[must_use]
    pub(crate) fn take_any_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// The writer has nothing to do, or is `blocked`: what it has to do can't be done yet.
    pub(crate) fn park(&mut self, cx: &Context<'_>, blocked: bool) {
        self.blocked = blocked;
        match &self.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => self.waker = Some(cx.waker().clone()),
        }
    }

    /// Hand the next bytes to the writer, whose buffer is empty: all frames, or else the next chunk of a large body.
    /// Gives the bodies that are now wholly handed over.
    pub(crate) fn refill(&mut self, writer: &mut Writer) -> Option<Bulk<T>> {
        if !self.frames.is_empty() {
            std::mem::swap(&mut self.frames, &mut writer.buffer);
            return None;
        }
        let mut bulk = self.bulk.pop_front()?;
        if let Some(head) = bulk.head.take() {
            writer.buffer.extend_from_slice(&head);
        }
        let end = bulk.sent.saturating_add(BULK_CHUNK).min(bulk.body.len());
        writer.set_chunk(bulk.id, bulk.body.slice(bulk.sent..end));
        self.bulk_bytes = self.bulk_bytes.saturating_sub(end.saturating_sub(bulk.sent));
        bulk.sent = end;
        if end < bulk.body.len() {
            self.bulk.push_back(bulk);
            return None;
        }
        self.begun_bytes = self.begun_bytes.saturating_sub(bulk.body.len());
        Some(bulk)
    }
}

/// The one who writes.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    buffer: Vec<u8>,
    at: usize,
    /// What follows the buffer: the rest of a chunk of a large body, which is written from where it is.
    chunk: Bytes,
    blocked: Option<(Instant, usize)>,
    flushed: bool,
    begun: bool,
}

impl Writer {
    /// Where the writer's own task appends frames without a lock.
    pub(crate) fn frames(&mut self) -> &mut Vec<u8> {
        self.flushed = false;
        if !self.chunk.is_empty() {
            self.buffer.extend_from_slice(&std::mem::take(&mut self.chunk));
        }
        // While the other end is never quite up to date, what it has read must not pile up in front.
        if self.at >= KEPT_CAPACITY && self.at > self.buffer.len() / 2 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        &mut self.buffer
    }

    /// Add a frame with a chunk of a large body.
    fn set_chunk(&mut self, id: u64, mut chunk: Bytes) {
        let buffer = self.frames();
        wire::encode_body_head(buffer, id, chunk.len());
        // The head fills its piece.
        let with_head = chunk.len().min(PIECE.saturating_sub(buffer.len()));
        buffer.extend_from_slice(&chunk.split_to(with_head));
        self.chunk = chunk;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len().saturating_sub(self.at).saturating_add(self.chunk.len())
    }

    /// Give back what only a busy stream needs.
    pub(crate) fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }

    /// The frames, of which the first begins here and the last may end in the chunk, and how much of them the substream has taken.
    pub(crate) fn unfinished(&self) -> (&[u8], usize) {
        (&self.buffer, self.at)
    }

    /// True if the substream has taken a part of what is here.
    pub(crate) fn is_cut(&self) -> bool {
        self.at > 0
    }

    /// True if the substream has taken anything, ever.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// All that the substream has not taken.
    pub(crate) fn rest(&mut self) -> &[u8] {
        self.frames();
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Write the buffer. Ready once it is empty.
    pub(crate) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut W,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let from_buffer = self.at < self.buffer.len();
            let next = if from_buffer { self.buffer.get(self.at..).unwrap_or_default() } else { &*self.chunk };
            match Pin::new(&mut *io).poll_write(cx, next.get(..PIECE).unwrap_or(next))? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(n) => {
                    if from_buffer {
                        self.at = self.at.saturating_add(n);
                    } else {
                        self.chunk.advance(n);
                    }
                    self.flushed = false;
                    self.begun = true;
                    if let Some((_, moved)) = &mut self.blocked {
                        *moved = moved.saturating_add(n);
                    }
                }
                Poll::Pending => {
                    self.blocked.get_or_insert_with(|| (now(), 0));
                    return Poll::Pending;
                }
            }
        }
        self.at = 0;
        if self.buffer.capacity() > KEPT_CAPACITY {
            self.buffer = Vec::new();
        } else {
            self.buffer.clear();
        }
        Poll::Ready(Ok(()))
    }

    /// All that was queued has been written.
    pub(crate) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut W,
    ) -> Poll<io::Result<()>> {
        if !self.flushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.flushed = true;
        }
        self.blocked = None;
        Poll::Ready(Ok(()))
    }

    /// When to look whether the other end has stopped reading.
    pub(crate) fn check_at(&self) -> Option<Instant> {
        self.blocked.map(|(since, _)| later(since, STALL_TIMEOUT))
    }

    /// True if the other end has stopped reading.
    pub(crate) fn is_stalled(&mut self, now: Instant) -> bool {
        match &mut self.blocked {
            Some((since, moved)) if now >= later(*since, STALL_TIMEOUT) => {
                let stalled = *moved < STALL_BYTES;
                (*since, *moved) = (now, 0);
                stalled
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker;

    use super::*;

    /// Takes `room` bytes and then no more.
    struct Slow {
        room: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let n = bytes.len().min(self.room);
            self.room -= n;
            if n == 0 { Poll::Pending } else { Poll::Ready(Ok(n)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_writer_that_never_catches_up_keeps_only_what_waits() {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let mut writer = Writer::default();
        writer.frames().extend_from_slice(&[0; 100_000]);
        for _ in 0..10_000 {
            writer.frames().extend_from_slice(&[0; 1000]);
            assert!(writer.poll_write(&mut cx, &mut Slow { room: 1000 }).is_pending());
            assert_eq!(writer.len(), 100_000);
            assert!(writer.buffer.len() < 500_000, "{}", writer.buffer.len());
        }
    }

    #[test]
    fn large_bodies_take_turns_behind_small_frames() {
        let mut out = SendQueue::<()>::default();
        let bulk = |id| Bulk { id, head: None, body: vec![0; 3 * BULK_CHUNK].into(), sent: 0, of: () };
        out.push_bulk(bulk(1));
        out.push_bulk(bulk(2));
        let mut order = Vec::new();
        let mut writer = Writer::default();
        while !out.is_empty() {
            if order.len() == 2 {
                wire::encode_cancel(out.frames(), 9).unwrap();
            }
            out.refill(&mut writer);
            let (frame, _) = wire::decode(writer.rest()).unwrap().unwrap();
            order.push(match frame {
                wire::Frame::Body { id, .. } | wire::Frame::Cancel { id } => id,
                other => panic!("{other:?}"),
            });
            writer = Writer::default();
        }
        assert_eq!(order, [1, 2, 9, 1, 2, 1, 2]);
        assert_eq!(out.len(), 0);
    }
}

//! The bytes that came and are not yet used.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::AsyncRead;

use crate::wire::{self, Frame, MAX_FRAME, WireError};

/// What a stream begins with.
const SMALL: usize = 2 * 1024;
const LARGE: usize = 128 * 1024;
const _: () = assert!(LARGE >= MAX_FRAME + 3);

/// A receive buffer: small while little comes, large while much does.
///
/// A chunk of a body need not be whole before it is used, and what is to come of it can go where the body is collected.
#[derive(Debug, Default)]
pub(crate) struct RecvBuffer {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The chunk of which more is to come.
    open: Option<Open>,
}

/// A chunk of a body whose rest is to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) id: u64,
    pub(crate) rest: usize,
}

/// A frame, or the next part of one with a chunk that isn't whole.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) took: Took,
}

/// What a frame took from the buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    len: usize,
    open: Option<Open>,
}

impl Took {
    /// Bytes of the chunk that are to come.
    pub(crate) fn rest(&self) -> usize {
        self.open.map_or(0, |open| open.rest)
    }
}

impl RecvBuffer {
    /// Read once. 0 is the end of the stream.
    pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut R,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let n = ready!(Pin::new(io).poll_read(cx, self.buffer.get_mut(self.end..).unwrap_or_default()))?;
        self.end = self.end.saturating_add(n).min(self.buffer.len());
        Poll::Ready(Ok(n))
    }

    fn make_room(&mut self) {
        if self.buffer.is_empty() {
            self.buffer.resize(SMALL, 0);
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.end == self.buffer.len() {
            if self.start <= self.buffer.len() / 2 && self.buffer.len() < LARGE {
                self.buffer.resize(self.buffer.len().saturating_mul(4).min(LARGE), 0);
            } else {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end = self.end.saturating_sub(self.start);
                self.start = 0;
            }
        }
    }

    /// Read once into `room`, where the rest of the open chunk goes.
    pub(crate) fn poll_fill_chunk<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut R,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(io).poll_read(cx, room))?;
        let left = |open: Open| Open { rest: open.rest.saturating_sub(n), ..open };
        self.open = self.open.map(left).filter(|open| open.rest > 0);
        Poll::Ready(Ok(n))
    }

    /// The chunk of which more is to come, if nothing else waits to be used.
    pub(crate) fn open_chunk(&self) -> Option<Open> {
        self.open.filter(|_| self.start == self.end)
    }

    /// The next frame, or part of a chunk; `None` until more has come.
    pub(crate) fn next(&self) -> Result<Option<Part<'_>>, WireError> {
        let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
        if let Some(Open { id, rest }) = self.open {
            return Ok(part(id, bytes, 0, rest));
        }
        if let Some((frame, len)) = wire::decode(bytes)? {
            return Ok(Some(Part { frame, took: Took { len, open: None } }));
        }
        Ok(wire::begun_body(bytes)?.and_then(|(id, head, whole)| part(id, bytes, head, whole)))
    }

    /// The last bytes of what a frame took.
    pub(crate) fn last_of(&self, took: Took, bytes: usize) -> &[u8] {
        let end = self.start.saturating_add(took.len);
        self.buffer.get(end.saturating_sub(bytes)..end).unwrap_or_default()
    }

    pub(crate) fn consume(&mut self, took: Took) {
        self.start = self.start.saturating_add(took.len).min(self.end);
        self.open = took.open;
    }

    /// True in the middle of a frame.
    pub(crate) fn is_partial(&self) -> bool {
        self.start < self.end || self.open.is_some()
    }

    /// Give back what only a busy stream needs.
    pub(crate) fn shrink(&mut self) {
        if !self.is_partial() {
            *self = RecvBuffer::default();
        }
    }
}

#[cfg(test)]
impl RecvBuffer {
    /// The bytes of its buffer.
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity()
    }
}

/// What is there of a chunk.
fn part(id: u64, bytes: &[u8], head: usize, whole: usize) -> Option<Part<'_>> {
    let chunk = bytes.get(head..)?;
    let chunk = chunk.get(..whole).unwrap_or(chunk);
    if chunk.is_empty() {
        return None;
    }
    let rest = whole.saturating_sub(chunk.len());
    let open = (rest > 0).then_some(Open { id, rest });
    Some(Part { frame: Frame::Body { id, chunk }, took: Took { len: head.saturating_add(chunk.len()), open } })
}

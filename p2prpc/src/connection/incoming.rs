//! The bytes that came and are not yet used.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::AsyncRead;

use crate::wire::{self, MAX_FRAME, WireError};

/// What an idle stream keeps.
const SMALL: usize = 2 * 1024;
const LARGE: usize = 128 * 1024;
const _: () = assert!(LARGE >= MAX_FRAME + 3);

/// A receive buffer: small while little comes, large while much does.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Incoming {
    /// Read once. 0 is the end of the stream.
    pub(super) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut R,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let n = ready!(Pin::new(io).poll_read(cx, &mut self.buffer[self.end..]))?;
        self.end += n;
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
            if self.start > self.buffer.len() / 2 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else if self.buffer.len() < LARGE {
                self.buffer.resize((self.buffer.len() * 4).min(LARGE), 0);
            } else {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
        }
    }

    /// The next whole frame and its length; `None` until more has come.
    pub(super) fn frame(&self) -> Result<Option<(wire::Frame<'_>, usize)>, WireError> {
        wire::decode(&self.buffer[self.start..self.end])
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.start += n;
    }

    /// True in the middle of a frame.
    pub(super) fn is_partial(&self) -> bool {
        self.start < self.end
    }

    /// Give back what only a busy stream needs.
    pub(super) fn shrink(&mut self) {
        if self.start == self.end && self.buffer.len() > SMALL {
            *self = Incoming::default();
        }
    }
}

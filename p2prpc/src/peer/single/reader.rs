//! One MessagePack value after the other, as their bytes come.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{AsyncRead, AsyncReadExt};

use crate::wire::gorpc::scan::{Hopeless, Skim};

/// The bytes that are read at once, at the least and at the most.
const STEP: std::ops::RangeInclusive<usize> = 1024..=64 * 1024;

/// Why there is no value.
#[derive(Debug)]
pub(super) enum Unread {
    /// The other side has ended its half: before the value, or within it.
    Ended {
        within: bool,
    },
    Hopeless(Hopeless),
    /// Nothing came for too long.
    Silent,
    /// What is read has no room here.
    NoRoom,
    Io(io::Error),
}

/// What comes in on a substream.
#[derive(Debug)]
pub(super) struct Reading<R> {
    io: R,
    buffer: BytesMut,
    patience: Duration,
}

impl<R: AsyncRead + Unpin> Reading<R> {
    /// A value is waited for until nothing has come for so long.
    pub(super) fn new(io: R, patience: Duration) -> Self {
        Reading { io, buffer: BytesMut::new(), patience }
    }

    /// True if nothing is there behind the values that were read.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next value, of at most `limit` bytes. `room` is asked with the bytes that are held before more are read.
    pub(super) async fn value(&mut self, limit: usize, mut room: impl FnMut(usize) -> bool) -> Result<Bytes, Unread> {
        let mut skim = Skim::new(limit);
        loop {
            if let Some(len) = skim.end(&self.buffer).map_err(Unread::Hopeless)? {
                let value = self.buffer.split_to(len).freeze();
                return Ok(value);
            }
            if !room(self.buffer.len()) {
                return Err(Unread::NoRoom);
            }
            let more = tokio::time::timeout(self.patience, self.more()).await.map_err(|_| Unread::Silent)?;
            if more.map_err(Unread::Io)? == 0 {
                return Err(Unread::Ended { within: !self.buffer.is_empty() });
            }
        }
    }

    /// Wait until something comes, and forget it: so many bytes, none at the end.
    pub(super) async fn skip(&mut self) -> io::Result<usize> {
        self.buffer.clear();
        self.more().await
    }

    async fn more(&mut self) -> io::Result<usize> {
        let held = self.buffer.len();
        self.buffer.resize(held.saturating_add(held.clamp(*STEP.start(), *STEP.end())), 0);
        let read = match self.buffer.get_mut(held..) {
            Some(free) => self.io.read(free).await,
            None => Ok(0),
        };
        // Cancelled meanwhile, it would hold zeros: but then nobody reads on.
        self.buffer.truncate(held.saturating_add(read.as_ref().map_or(0, |read| *read)));
        read
    }
}

//! Whole messages out of the frames of a stream for streaming calls: one body at a time.

use std::io;
use std::task::{Context, Poll};

use futures::AsyncRead;

use super::recv_buffer::{Part, RecvBuffer, Took};
use crate::scratch::Scratch;
use crate::wire::{self, Frame, Item, MAX_CHUNK, WireError};

/// What came, whole. Its chunk is the whole body.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) frame: Frame<'a>,
    /// The body, where the frame has one.
    pub(crate) body: &'a [u8],
}

/// Why nothing more can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("a body is longer than announced")]
    TooLong,
    #[error("the bytes of a body come without its beginning, or another message comes within it")]
    OutOfPlace,
    /// Of so many bytes, where so many are the limit.
    #[error("a message of {0} bytes came, and {1} are the limit")]
    TooLarge(u64, usize),
}

/// Reads messages. It holds what has come of one, and a buffer of what comes next.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    received: RecvBuffer,
    /// What the message that was given last took from the buffer.
    took: Option<Took>,
    /// The frame that begins a body of several.
    head: Vec<u8>,
    body: Scratch,
    len: usize,
    id: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Between,
    /// Within a body.
    Collecting,
    /// The collected message has been given.
    Given,
}

/// What the next part of what came is.
enum Step {
    Nothing,
    /// A message in one frame.
    Whole(Took),
    /// An item in one frame, of so many bytes: there are so many of these that they aren't decoded twice.
    Item(Took, u64, usize),
    Begun(Took),
    More(Took),
}

impl Messages {
    /// Read once. 0 is the end of the stream.
    pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut R,
    ) -> Poll<io::Result<usize>> {
        self.release();
        self.received.poll_fill(cx, io)
    }

    /// True in the middle of a message.
    pub(crate) fn is_partial(&self) -> bool {
        self.state == State::Collecting || self.took.is_none() && self.received.is_partial()
    }

    /// The bytes of the body that is being collected: announced, and come.
    pub(crate) fn collecting(&self) -> Option<(usize, usize)> {
        (self.state == State::Collecting).then_some((self.len, self.body.0.len()))
    }

    /// Give back what only a busy stream needs.
    pub(crate) fn shrink(&mut self) {
        self.release();
        self.received.shrink();
        self.head = Vec::new();
    }

    /// What the last message took is free for what comes next.
    fn release(&mut self) {
        if let Some(took) = self.took.take() {
            self.received.consume(took);
        }
        if self.state == State::Given {
            self.state = State::Between;
            // A large buffer goes to whoever has a large body next.
            self.body = Scratch::default();
        }
    }

    /// The next message, with a body of at most `limit` bytes; `None` until more has come.
    pub(crate) fn next(&mut self, limit: usize) -> Result<Option<Message<'_>>, Unreadable> {
        self.release();
        loop {
            match self.step(limit)? {
                Step::Nothing => return Ok(None),
                Step::Whole(took) => {
                    self.took = Some(took);
                    let Some(Part { frame, .. }) = self.received.next()? else { return Ok(None) };
                    let body = chunk_of(&frame).unwrap_or_default();
                    return Ok(Some(Message { body, frame }));
                }
                Step::Item(took, id, len) => {
                    self.took = Some(took);
                    let chunk = self.received.last_of(took, len);
                    let item = Item { id, body_len: len as u64, chunk };
                    return Ok(Some(Message { frame: Frame::Item(item), body: chunk }));
                }
                Step::Begun(took) | Step::More(took) => {
                    self.received.consume(took);
                    if self.body.0.len() == self.len {
                        self.state = State::Given;
                        let Some((frame, _)) = wire::decode(&self.head)? else { return Ok(None) };
                        return Ok(Some(Message { frame, body: &self.body.0 }));
                    }
                }
            }
        }
    }

    fn step(&mut self, limit: usize) -> Result<Step, Unreadable> {
        let Some(Part { frame, took }) = self.received.next()? else { return Ok(Step::Nothing) };
        if self.state == State::Collecting {
            let Frame::Body { id, chunk } = frame else { return Err(Unreadable::OutOfPlace) };
            if id != self.id {
                return Err(Unreadable::OutOfPlace);
            }
            if chunk.len() > self.len.saturating_sub(self.body.0.len()) {
                return Err(Unreadable::TooLong);
            }
            self.body.0.extend_from_slice(chunk);
            return Ok(Step::More(took));
        }
        let (id, body_len) = match &frame {
            Frame::Body { .. } => return Err(Unreadable::OutOfPlace),
            Frame::Request(request) => (request.id, request.body_len),
            Frame::Response(reply) => (reply.id, reply.body_len),
            Frame::Error(reply) => (reply.id, reply.body_len),
            Frame::Item(item) => (item.id, item.body_len),
            _ => return Ok(Step::Whole(took)),
        };
        let len = usize::try_from(body_len).unwrap_or(usize::MAX);
        if len > limit {
            return Err(Unreadable::TooLarge(body_len, limit));
        }
        let chunk = chunk_of(&frame).unwrap_or_default();
        if chunk.len() == len {
            let is_item = matches!(frame, Frame::Item(_));
            return Ok(if is_item { Step::Item(took, id, len) } else { Step::Whole(took) });
        }
        self.head.clear();
        wire::encode(&mut self.head, &frame)?;
        self.body = if len > MAX_CHUNK { Scratch::take_large().unwrap_or_default() } else { Scratch::take() };
        self.body.0.clear();
        self.body.0.extend_from_slice(chunk);
        (self.id, self.len, self.state) = (id, len, State::Collecting);
        Ok(Step::Begun(took))
    }
}

fn chunk_of<'a>(frame: &Frame<'a>) -> Option<&'a [u8]> {
    match frame {
        Frame::Request(request) => Some(request.chunk),
        Frame::Response(reply) => Some(reply.chunk),
        Frame::Error(reply) => Some(reply.chunk),
        Frame::Item(item) => Some(item.chunk),
        _ => None,
    }
}

#[cfg(test)]
impl Messages {
    /// The bytes of its buffers.
    fn held(&self) -> usize {
        self.received.held() + self.head.capacity() + self.body.0.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MetadataRef, Request};

    fn fed(bytes: &[u8], step: usize, limit: usize) -> Result<Vec<(u8, Vec<u8>)>, Unreadable> {
        let mut messages = Messages::default();
        let (mut rest, mut found) = (bytes, Vec::new());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        loop {
            while let Some(message) = messages.next(limit)? {
                found.push((message.frame.kind(), message.body.to_vec()));
            }
            if rest.is_empty() {
                return Ok(found);
            }
            let (mut now, later) = rest.split_at(step.min(rest.len()));
            while !now.is_empty() {
                let read = messages.poll_fill(&mut cx, &mut now);
                assert!(matches!(read, Poll::Ready(Ok(1..))));
                while let Some(message) = messages.next(limit)? {
                    found.push((message.frame.kind(), message.body.to_vec()));
                }
            }
            rest = later;
        }
    }

    fn item(out: &mut Vec<u8>, body: &[u8]) {
        wire::encode_items(out, 1, body);
    }

    #[test]
    fn messages_come_whole_however_their_bytes_come() {
        let mut bytes = Vec::new();
        let large: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let (chunk, rest) = large.split_at(70);
        let request = Request {
            id: 1,
            method: "S.M",
            codec: 1,
            deadline: None,
            metadata: MetadataRef::EMPTY,
            body_len: large.len() as u64,
            chunk,
        };
        wire::encode_request(&mut bytes, &request).unwrap();
        rest.chunks(65_536).for_each(|chunk| wire::encode_body(&mut bytes, 1, chunk).unwrap());
        item(&mut bytes, b"");
        item(&mut bytes, b"small");
        item(&mut bytes, &large);
        item(&mut bytes, b"last");
        let expected = [(2, large.clone()), (8, vec![]), (8, b"small".to_vec()), (8, large), (8, b"last".to_vec())];
        for step in [1, 7, 1000, 70_000, 1 << 20] {
            assert_eq!(fed(&bytes, step, 1 << 20).unwrap(), expected, "{step}");
        }
    }

    #[test]
    fn a_large_body_leaves_no_large_buffer_behind() {
        let mut bytes = Vec::new();
        item(&mut bytes, &[7; 1 << 20]);
        let (mut messages, mut rest) = (Messages::default(), &bytes[..]);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while messages.next(1 << 20).unwrap().is_none() {
            assert!(messages.poll_fill(&mut cx, &mut rest).is_ready());
        }
        assert!(messages.next(1 << 20).unwrap().is_none());
        assert!(messages.held() < 256 * 1024, "{} bytes", messages.held());
        messages.shrink();
        assert_eq!(messages.held(), 0);
    }

    #[test]
    fn what_is_too_large_or_out_of_place_is_no_message() {
        let mut bytes = Vec::new();
        item(&mut bytes, &[1; 1001]);
        assert!(matches!(fed(&bytes, 1 << 20, 1000), Err(Unreadable::TooLarge(1001, 1000))));
        bytes.clear();
        wire::encode_body(&mut bytes, 1, b"lost").unwrap();
        assert!(matches!(fed(&bytes, 1 << 20, 1000), Err(Unreadable::OutOfPlace)));
        bytes.clear();
        let begun = Item { id: 1, body_len: 10, chunk: b"four" };
        wire::encode_item(&mut bytes, &begun).unwrap();
        let mut other = bytes.clone();
        wire::encode_body(&mut bytes, 1, b"seven..").unwrap();
        assert!(matches!(fed(&bytes, 1 << 20, 1000), Err(Unreadable::TooLong)));
        item(&mut other, b"within");
        assert!(matches!(fed(&other, 1 << 20, 1000), Err(Unreadable::OutOfPlace)));
    }
}

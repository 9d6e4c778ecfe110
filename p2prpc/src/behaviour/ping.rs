//! The [ping protocol](https://github.com/libp2p/specs/blob/master/ping/ping.md) of libp2p: 32 bytes, and the same 32 bytes back.
//!
//! `libp2p-ping` asks at its own times only, and keeps nothing apart of the connections of one peer. Here a connection is asked
//! the moment that it is doubted.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncWrite};

use crate::clock::now;

pub(super) const PROTOCOL: &str = "/ipfs/ping/1.0.0";
const LEN: usize = 32;
/// Streams on which one connection may ask us. One more takes the place of the oldest.
const MAX_INBOUND: usize = 3;
/// Answers that are given before other tasks have a turn.
const ANSWERS_A_TURN: usize = 4;

/// Answers the other end's pings.
#[derive(Debug)]
pub(super) struct Responder<S> {
    streams: VecDeque<Echo<S>>,
}

#[derive(Debug)]
struct Echo<S> {
    io: S,
    buffer: [u8; LEN],
    read: usize,
    written: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Echo<S> {
    /// Ready when one ping was answered, or with an error when the stream is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.read < LEN {
            let n = ready!(Pin::new(&mut self.io).poll_read(cx, &mut self.buffer[self.read..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.read += n;
        }
        while self.written < LEN {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, &self.buffer[self.written..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        (self.read, self.written) = (0, 0);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Responder<S> {
    pub(super) fn new() -> Self {
        Responder { streams: VecDeque::new() }
    }

    pub(super) fn accept(&mut self, io: S) {
        if self.streams.len() == MAX_INBOUND {
            self.streams.pop_front();
        }
        self.streams.push_back(Echo { io, buffer: [0; LEN], read: 0, written: 0 });
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        self.streams.retain_mut(|stream| {
            for _ in 0..ANSWERS_A_TURN {
                match stream.poll(cx) {
                    Poll::Pending => return true,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return false,
                }
            }
            cx.waker().wake_by_ref();
            true
        });
    }
}

/// A stream of ours on which the other end is asked, again and again.
#[derive(Debug)]
pub(super) struct Pinger<S> {
    io: S,
    payload: [u8; LEN],
    sent: Option<Instant>,
    written: usize,
    answer: [u8; LEN],
    read: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pinger<S> {
    pub(super) fn new(io: S) -> Self {
        Pinger { io, payload: [0; LEN], sent: None, written: 0, answer: [0; LEN], read: 0 }
    }

    /// Asks, unless an answer is still to come.
    pub(super) fn start(&mut self) {
        if self.sent.is_none() {
            self.payload = rand::random();
            self.sent = Some(now());
            (self.written, self.read) = (0, 0);
        }
    }

    /// Ready with the round-trip time when the answer has come, pending also while nothing was asked.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Duration>> {
        let Some(sent) = self.sent else { return Poll::Pending };
        while self.written < LEN {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, &self.payload[self.written..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        while self.read < LEN {
            let n = ready!(Pin::new(&mut self.io).poll_read(cx, &mut self.answer[self.read..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.read += n;
        }
        self.sent = None;
        if self.answer == self.payload {
            Poll::Ready(Ok(now().saturating_duration_since(sent)))
        } else {
            Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the answer to a ping is not what was sent")))
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::poll_fn;
    use tokio::io::DuplexStream;
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

    use super::*;

    fn pipe() -> (Compat<DuplexStream>, Compat<DuplexStream>) {
        // Narrower than a ping: it goes and comes in pieces.
        let (near, far) = tokio::io::duplex(20);
        (near.compat(), far.compat())
    }

    async fn asks(pinger: &mut Pinger<Compat<DuplexStream>>) -> io::Result<Duration> {
        pinger.start();
        poll_fn(|cx| pinger.poll(cx)).await
    }

    #[tokio::test]
    async fn a_ping_is_answered_again_and_again() {
        let (near, far) = pipe();
        let mut responder = Responder::new();
        responder.accept(far);
        tokio::spawn(poll_fn(move |cx| {
            responder.poll(cx);
            Poll::<()>::Pending
        }));
        let mut pinger = Pinger::new(near);
        for _ in 0..20 {
            asks(&mut pinger).await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_oldest_of_too_many_streams_is_ended_and_the_others_are_answered() {
        let mut responder = Responder::new();
        let mut pingers = Vec::new();
        for _ in 0..MAX_INBOUND + 1 {
            let (near, far) = pipe();
            responder.accept(far);
            pingers.push(Pinger::new(near));
        }
        tokio::spawn(poll_fn(move |cx| {
            responder.poll(cx);
            Poll::<()>::Pending
        }));
        assert!(asks(&mut pingers[0]).await.is_err());
        for pinger in &mut pingers[1..] {
            asks(pinger).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_wrong_answer_is_an_error() {
        use futures::{AsyncReadExt, AsyncWriteExt};
        let (near, mut far) = pipe();
        tokio::spawn(async move {
            let mut asked = [0; LEN];
            far.read_exact(&mut asked).await.unwrap();
            asked[7] ^= 1;
            far.write_all(&asked).await.unwrap();
        });
        assert_eq!(asks(&mut Pinger::new(near)).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

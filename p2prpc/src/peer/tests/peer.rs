//! The other end of a pipe.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::wire::{self, Delivery, ErrorCode, Frame, GoAwayReason, Hello, MetadataRef};

/// A frame that outlives the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Got {
    Hello,
    Request { id: u64, body_len: u64, chunk: usize },
    Response { id: u64, body_len: u64, chunk: usize },
    Error { id: u64, code: ErrorCode, delivery: Delivery },
    Body { id: u64, chunk: usize },
    Cancel { id: u64 },
    GoAway { last: u64, reason: GoAwayReason, message: String },
    Unknown { kind: u8 },
}

impl From<Frame<'_>> for Got {
    fn from(frame: Frame<'_>) -> Self {
        match frame {
            Frame::Hello(_) => Got::Hello,
            Frame::Request(r) => Got::Request { id: r.id, body_len: r.body_len, chunk: r.chunk.len() },
            Frame::Response(r) => Got::Response { id: r.id, body_len: r.body_len, chunk: r.chunk.len() },
            Frame::Error(r) => Got::Error { id: r.id, code: r.code, delivery: r.delivery },
            Frame::Body { id, chunk } => Got::Body { id, chunk: chunk.len() },
            Frame::Cancel { id } => Got::Cancel { id },
            Frame::GoAway { last_call_id, reason, message } => {
                Got::GoAway { last: last_call_id, reason, message: message.into() }
            }
            Frame::Item(_) | Frame::End(_) => panic!("nothing is streamed on a call stream"),
            Frame::Unknown { kind, .. } => Got::Unknown { kind },
        }
    }
}

/// Speaks the protocol as well or as badly as it is told.
pub(super) struct Peer {
    io: DuplexStream,
    buffer: Vec<u8>,
}

impl Peer {
    pub(super) fn new(io: DuplexStream) -> Self {
        Peer { io, buffer: Vec::new() }
    }

    /// Take its end of the pipe, and give it another.
    pub(super) fn replace_io(&mut self, io: DuplexStream) -> DuplexStream {
        std::mem::replace(&mut self.io, io)
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        // The node may have closed the stream meanwhile: what it said is still to be read.
        let _ = self.io.write_all(bytes).await;
    }

    pub(super) async fn send(&mut self, frame: Frame<'_>) {
        let mut bytes = Vec::new();
        wire::encode(&mut bytes, &frame).unwrap();
        self.send_bytes(&bytes).await;
    }

    pub(super) async fn hello(&mut self) {
        self.send(Frame::Hello(Hello::default())).await;
    }

    pub(super) async fn request(&mut self, id: u64, method: &str, body: &[u8]) {
        self.begin(id, method, body.len() as u64, body).await;
    }

    /// The first frame of a request whose body may be longer.
    pub(super) async fn begin(&mut self, id: u64, method: &str, body_len: u64, chunk: &[u8]) {
        let bytes = request(id, method, None, body_len, chunk);
        self.send_bytes(&bytes).await;
    }

    pub(super) async fn respond(&mut self, id: u64, body: &[u8]) {
        self.send(Frame::Response(wire::Reply {
            id,
            metadata: MetadataRef::EMPTY,
            body_len: body.len() as u64,
            chunk: body,
        }))
        .await;
    }

    /// An error that isn't the handler's own.
    pub(super) async fn fail(&mut self, id: u64, code: ErrorCode, delivery: Delivery, message: &str) {
        let metadata = MetadataRef::EMPTY;
        let reply = wire::ErrorReply { id, code, delivery, message, metadata, body_len: 0, chunk: &[] };
        self.send(Frame::Error(reply)).await;
    }

    /// The next frame; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<Got> {
        loop {
            if let Some((frame, len)) = wire::decode(&self.buffer).expect("the node sent a bad frame") {
                let got = Got::from(frame);
                self.buffer.drain(..len);
                return Some(got);
            }
            let read = tokio::time::timeout(Duration::from_secs(10_000), self.io.read_buf(&mut self.buffer)).await;
            if read.expect("the node is silent").ok()? == 0 {
                return None;
            }
        }
    }

    /// The next frame that isn't a `Hello`.
    pub(super) async fn answer(&mut self) -> Option<Got> {
        loop {
            match self.next().await? {
                Got::Hello => {}
                got => return Some(got),
            }
        }
    }

    /// All frames until the node ends the stream.
    pub(super) async fn rest(&mut self) -> Vec<Got> {
        let mut all = Vec::new();
        while let Some(got) = self.answer().await {
            all.push(got);
        }
        all
    }

    /// Read so many bytes and forget them; fewer at the end of the stream.
    pub(super) async fn skip(&mut self, mut bytes: usize) {
        let mut scratch = vec![0; 16 * 1024];
        while bytes > 0 {
            let most = bytes.min(scratch.len());
            match self.io.read(&mut scratch[..most]).await {
                Ok(n) if n > 0 => bytes -= n,
                _ => return,
            }
        }
    }

    /// True if nothing comes in this time.
    pub(super) async fn is_silent(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.answer()).await.is_err()
    }
}

pub(super) fn request(id: u64, method: &str, deadline: Option<Duration>, body_len: u64, chunk: &[u8]) -> Vec<u8> {
    let metadata = MetadataRef::EMPTY;
    let frame = wire::Request { id, method, codec: 1, deadline, metadata, body_len, chunk };
    let mut bytes = Vec::new();
    wire::encode_request(&mut bytes, &frame).unwrap();
    bytes
}

/// How often a stream's task has tried to read: once for each time it ran, at least.
#[derive(Clone, Default)]
pub(super) struct Reads(Arc<AtomicUsize>);

impl Reads {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) fn counted<S>(io: S) -> (Counted<S>, Reads) {
    let reads = Reads::default();
    (Counted { io, reads: reads.clone() }, reads)
}

pub(super) struct Counted<S> {
    io: S,
    reads: Reads,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.reads.0.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

//! Frames, and bytes that are none.

use std::fmt;
use std::time::Duration;

use libp2p::Stream;
use libp2p::futures::{AsyncReadExt, AsyncWriteExt};
use p2prpc::wire::{self, Delivery, ErrorCode, Frame, GoAwayReason, Hello, MetadataRef};
use serde::Serialize;

/// A frame that came, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the wire")]
pub enum Got {
    Hello,
    Request { id: u64, method: String, body_len: u64 },
    Response { id: u64, body_len: u64 },
    Error { id: u64, code: ErrorCode, delivery: Delivery },
    Body { id: u64, len: usize },
    Cancel { id: u64 },
    GoAway { last: u64, reason: GoAwayReason, message: String },
    Unknown { kind: u8 },
}

impl From<Frame<'_>> for Got {
    fn from(frame: Frame<'_>) -> Self {
        match frame {
            Frame::Hello(_) => Got::Hello,
            Frame::Request(r) => Got::Request { id: r.id, method: r.method.into(), body_len: r.body_len },
            Frame::Response(r) => Got::Response { id: r.id, body_len: r.body_len },
            Frame::Error(r) => Got::Error { id: r.id, code: r.code, delivery: r.delivery },
            Frame::Body { id, chunk } => Got::Body { id, len: chunk.len() },
            Frame::Cancel { id } => Got::Cancel { id },
            Frame::GoAway { last_call_id, reason, message } => {
                Got::GoAway { last: last_call_id, reason, message: message.into() }
            }
            Frame::Item(_) | Frame::End(_) => panic!("nothing is streamed on a call stream"),
            Frame::Unknown { kind, .. } => Got::Unknown { kind },
        }
    }
}

/// A substream under p2prpc's protocol. Dropping it resets it.
pub struct RawStream {
    io: Stream,
    buffer: Vec<u8>,
}

impl RawStream {
    pub(super) fn new(io: Stream) -> Self {
        RawStream { io, buffer: Vec::new() }
    }

    /// Send any bytes. That the other end has closed the stream is no failure: what it said is still to be read.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.io.write_all(bytes).await;
        let _ = self.io.flush().await;
    }

    /// End this half; the other goes on.
    pub async fn half_close(&mut self) {
        let _ = self.io.close().await;
    }

    /// The bytes that come until these are enough, or until the end.
    ///
    /// # Panics
    /// If neither is so after 20 s.
    pub async fn bytes_until(&mut self, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut all = Vec::new();
        while !enough(&all) {
            let mut bytes = [0; 4096];
            let read = tokio::time::timeout(Duration::from_secs(20), self.io.read(&mut bytes)).await;
            match read.unwrap_or_else(|_| panic!("nothing came for 20 s after {all:02x?}")) {
                Ok(n) if n > 0 => all.extend_from_slice(&bytes[..n]),
                _ => break,
            }
        }
        all
    }

    /// Send a frame that keeps the rules of a single frame.
    ///
    /// # Panics
    /// If it doesn't.
    pub async fn send(&mut self, frame: Frame<'_>) {
        let mut bytes = Vec::new();
        wire::encode(&mut bytes, &frame).expect("a valid frame");
        self.send_bytes(&bytes).await;
    }

    /// Say hello with the defaults.
    pub async fn hello(&mut self) {
        self.send_bytes(&hello(&Hello::default())).await;
    }

    /// A whole call, encoded with the default codec.
    pub async fn call<T: Serialize>(&mut self, id: u64, method: &str, args: &T) {
        let body = encoded(args);
        self.send_bytes(&request(id, method, None, body.len() as u64, &body)).await;
    }

    /// A whole answer.
    pub async fn respond(&mut self, id: u64, body: &[u8]) {
        self.send(Frame::Response(wire::Reply {
            id,
            metadata: MetadataRef::EMPTY,
            body_len: body.len() as u64,
            chunk: body,
        }))
        .await;
    }

    /// A failure.
    pub async fn fail(&mut self, id: u64, code: ErrorCode, message: &str) {
        let delivery = Delivery::MayHaveRun;
        self.send(Frame::Error(wire::ErrorReply {
            id,
            code,
            delivery,
            message,
            metadata: MetadataRef::EMPTY,
            body_len: 0,
            chunk: &[],
        }))
        .await;
    }

    /// The next frame but for `Hello`; `None` at the end of the stream.
    ///
    /// # Panics
    /// If what comes is no frame, or nothing comes for 20 s.
    pub async fn next(&mut self) -> Option<Got> {
        loop {
            if let Some((frame, len)) = wire::decode(&self.buffer).expect("the node keeps the rules") {
                let got = Got::from(frame);
                self.buffer.drain(..len);
                if got != Got::Hello {
                    return Some(got);
                }
                continue;
            }
            let mut bytes = [0; 4096];
            let read = tokio::time::timeout(Duration::from_secs(20), self.io.read(&mut bytes)).await;
            match read.expect("the node said nothing for 20 s") {
                Ok(n) if n > 0 => self.buffer.extend_from_slice(&bytes[..n]),
                _ => return None,
            }
        }
    }

    /// All frames until the end of the stream.
    pub async fn rest(&mut self) -> Vec<Got> {
        let mut all = Vec::new();
        while let Some(got) = self.next().await {
            all.push(got);
        }
        all
    }

    /// The reason and the words with which the node ended the stream; `None` if it said none.
    pub async fn farewell(&mut self) -> Option<(GoAwayReason, String)> {
        match self.rest().await.pop() {
            Some(Got::GoAway { reason, message, .. }) => Some((reason, message)),
            _ => None,
        }
    }
}

impl fmt::Debug for RawStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawStream").finish_non_exhaustive()
    }
}

/// A `Hello` frame.
///
/// # Panics
/// If it breaks a rule.
pub fn hello(hello: &Hello) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode_hello(&mut bytes, hello).expect("a valid hello");
    bytes
}

/// A `Request` frame.
///
/// # Panics
/// If it breaks a rule.
pub fn request(id: u64, method: &str, deadline: Option<Duration>, body_len: u64, chunk: &[u8]) -> Vec<u8> {
    let metadata = MetadataRef::EMPTY;
    let codec = u64::from(p2prpc::CodecId::default().get());
    let mut bytes = Vec::new();
    wire::encode_request(&mut bytes, &wire::Request { id, method, codec, deadline, metadata, body_len, chunk })
        .expect("a valid request");
    bytes
}

/// A value in the default codec.
///
/// # Panics
/// If it can't be encoded.
pub fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    p2prpc::codec::encode(p2prpc::CodecId::default(), value, &mut bytes, usize::MAX).expect("it can be encoded");
    bytes
}

/// A number as the wire writes it.
pub fn varint(number: u64) -> Vec<u8> {
    unsigned_varint::encode::u64(number, &mut unsigned_varint::encode::u64_buffer()).to_vec()
}

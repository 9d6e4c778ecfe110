//! Whole sessions with a peer that says anything at any time.

mod calling;
mod served;

use std::collections::HashMap;
use std::time::Duration;

use bolero::TypeGenerator;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

use super::settle;
use crate::wire::{self, ErrorCode, Frame, GoAwayReason, Hello, MetadataBuf};

/// Longer than any time that is kept here, but for those that a test sets.
const LONG: Duration = Duration::from_secs(4000);

/// Something that either end may say, at a wrong time too.
#[derive(Clone, Debug, TypeGenerator)]
enum Word {
    Hello {
        one_call: bool,
        calls: u16,
        message: u32,
        bytes: u32,
    },
    Response {
        back: u8,
        len: u16,
        over: u16,
    },
    Error {
        back: u8,
        code: u8,
        delivery: u8,
        over: u8,
    },
    Body {
        back: u8,
        len: u16,
    },
    /// The beginning of a chunk whose rest comes later, as it likes.
    Begun {
        back: u8,
        len: u16,
        there: u16,
    },
    Cancel {
        back: u8,
    },
    GoAway {
        last: u8,
        reason: u8,
    },
    Bytes(Vec<u8>),
}

impl Word {
    /// Its bytes, where ids are counted back from `last`. Nothing for what can't be said.
    fn bytes(&self, last: u64) -> Vec<u8> {
        let id = |back: u8| last.saturating_sub(back.into()).max(1);
        let of = |len: u16| vec![7; len.into()];
        let mut out = Vec::new();
        let _ = match self {
            Word::Hello { one_call, calls, message, bytes } => wire::encode_hello(
                &mut out,
                &Hello {
                    role: if *one_call { wire::Role::OneCall } else { wire::Role::Calls },
                    max_calls: u64::from(*calls).max(1),
                    max_message: wire::MIN_LIMIT_BYTES + u64::from(*message),
                    max_bytes_in_flight: wire::MIN_LIMIT_BYTES + u64::from(*bytes),
                    ..Hello::default()
                },
            ),
            Word::Response { back, len, over } => {
                let metadata = metadata_of(*over);
                let (metadata, body_len) = (metadata.view(), u64::from(*len) + u64::from(*over));
                let reply = wire::Reply { id: id(*back), metadata, body_len, chunk: &of(*len) };
                wire::encode_response(&mut out, &reply)
            }
            Word::Error { back, code, delivery, over } => {
                let code = ErrorCode::from(u64::from(*code % 14));
                let of_its_own = code == ErrorCode::Application;
                let delivery = match delivery % 3 {
                    _ if of_its_own => wire::Delivery::Answered,
                    0 => wire::Delivery::NeverSent,
                    1 => wire::Delivery::Answered,
                    _ => wire::Delivery::MayHaveRun,
                };
                let body_len = if of_its_own { u64::from(*over) } else { 0 };
                let metadata = metadata_of(*over);
                let (id, metadata) = (id(*back), metadata.view());
                let reply = wire::ErrorReply { id, code, delivery, message: "no", metadata, body_len, chunk: &[] };
                wire::encode_error(&mut out, &reply)
            }
            Word::Body { back, len } => wire::encode_body(&mut out, id(*back), &of(*len)),
            Word::Begun { back, len, there } => {
                let done = wire::encode_body(&mut out, id(*back), &of(*len));
                out.truncate(out.len().saturating_sub((*len).into()) + usize::from(*there % len.max(&1)));
                done
            }
            Word::Cancel { back } => wire::encode_cancel(&mut out, id(*back)),
            Word::GoAway { last, reason } => {
                wire::encode_go_away(&mut out, (*last).into(), GoAwayReason::from(u64::from(*reason)), "go");
                Ok(())
            }
            Word::Bytes(bytes) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
        };
        out
    }
}

/// How time goes on.
#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Wait {
    Settle,
    Millis(u16),
    Seconds(u8),
}

impl Wait {
    async fn pass(self) {
        match self {
            Wait::Settle => settle().await,
            Wait::Millis(millis) => tokio::time::sleep(Duration::from_millis(millis.into())).await,
            Wait::Seconds(seconds) => tokio::time::sleep(Duration::from_secs(seconds.into())).await,
        }
    }
}

/// The peer's end of a stream.
struct Wire {
    io: DuplexStream,
    unsent: Vec<u8>,
    came: Vec<u8>,
    /// The announced bytes of each body that are still to come.
    bodies: HashMap<u64, u64>,
    greeted: bool,
}

impl Wire {
    fn new(io: DuplexStream) -> Self {
        Wire { io, unsent: Vec::new(), came: Vec::new(), bodies: HashMap::new(), greeted: false }
    }

    /// Send it, as far as the node reads now; the rest goes out with what is sent next.
    async fn send(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        while !self.unsent.is_empty() {
            match timeout(Duration::from_millis(1), self.io.write(&self.unsent)).await {
                Ok(Ok(n)) if n > 0 => drop(self.unsent.drain(..n)),
                Ok(_) => self.unsent.clear(),
                Err(_) => return,
            }
        }
    }

    /// Read so many bytes, if there are so many. What comes has to keep the rules.
    async fn read(&mut self, most: usize, mut each: impl FnMut(&Frame<'_>)) {
        let mut left = most;
        while left > 0 {
            let mut buffer = vec![0; left.min(16 * 1024)];
            match timeout(Duration::from_millis(1), self.io.read(&mut buffer)).await {
                Ok(Ok(n)) if n > 0 => {
                    self.came.extend_from_slice(&buffer[..n]);
                    left -= n;
                }
                _ => break,
            }
        }
        let mut at = 0;
        while let Some((frame, len)) = wire::decode(&self.came[at..]).expect("the node keeps the rules") {
            at += len;
            let greets = matches!(frame, Frame::Hello(_));
            assert_eq!(std::mem::replace(&mut self.greeted, true), !greets, "a hello comes first, and once");
            note_body(&mut self.bodies, &frame);
            each(&frame);
        }
        self.came.drain(..at);
    }
}

/// None, one of the application's or one of the protocol's own.
fn metadata_of(seed: impl Into<u64>) -> MetadataBuf {
    let pairs: &[_] = match seed.into() % 3 {
        0 => &[],
        1 => &[("key", "value")],
        _ => &[("p2prpc-later", "1")],
    };
    MetadataBuf::from_pairs(pairs.iter().copied()).expect("it keeps the rules")
}

/// Bodies are as long as they were announced.
fn note_body(bodies: &mut HashMap<u64, u64>, frame: &Frame<'_>) {
    let (id, len, chunk) = match frame {
        Frame::Request(request) => (request.id, request.body_len, request.chunk),
        Frame::Response(reply) => (reply.id, reply.body_len, reply.chunk),
        Frame::Error(reply) => (reply.id, reply.body_len, reply.chunk),
        Frame::Body { id, chunk } => {
            let left = bodies.get_mut(id).expect("a body is announced");
            *left = left.checked_sub(chunk.len() as u64).expect("a body is as long as it was announced");
            return;
        }
        Frame::Item(item) => (item.id, item.body_len, item.chunk),
        Frame::Hello(_) | Frame::Cancel { .. } | Frame::GoAway { .. } | Frame::End(_) | Frame::Unknown { .. } => return,
    };
    assert!(bodies.insert(id, len - chunk.len() as u64).is_none(), "one request, and one answer, of an id");
}

//! What p2prpc stands on: frames of a length, a number and a text, on one stream, without codec, methods, deadlines or limits.
//!
//! Requests of many callers share a buffer; the writer swaps it for an empty one and takes what has queued in one write.

pub(super) mod raw;
pub(super) mod substream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};

use super::Echo;

const HEADER: usize = 12;
/// One write to a Yamux stream, one read of a socket.
const PIECE: usize = 16 * 1024;

#[derive(Default)]
struct Outgoing {
    buffer: Mutex<Vec<u8>>,
    filled: Notify,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outgoing {
    fn append(&self, id: u64, body: &[u8]) {
        let mut buffer = locked(&self.buffer);
        let was_empty = buffer.is_empty();
        buffer.extend_from_slice(&u32::try_from(body.len()).expect("a message of 4 GiB").to_be_bytes());
        buffer.extend_from_slice(&id.to_be_bytes());
        buffer.extend_from_slice(body);
        drop(buffer);
        if was_empty {
            self.filled.notify_one();
        }
    }

    async fn write(&self, mut io: impl AsyncWrite + Unpin) {
        let mut taken = Vec::new();
        loop {
            std::mem::swap(&mut *locked(&self.buffer), &mut taken);
            if taken.is_empty() {
                self.filled.notified().await;
                continue;
            }
            for piece in taken.chunks(PIECE) {
                if io.write_all(piece).await.is_err() {
                    return;
                }
            }
            if io.flush().await.is_err() {
                return;
            }
            taken.clear();
        }
    }
}

/// Gives each frame that comes to `take`, until the end.
async fn read(mut io: impl AsyncRead + Unpin, mut take: impl FnMut(u64, &[u8])) {
    let mut buffer: Vec<u8> = Vec::with_capacity(4 * PIECE);
    loop {
        let mut at = 0;
        while let Some((header, rest)) = buffer[at..].split_first_chunk::<HEADER>() {
            let (len, id) = header.split_at(4);
            let len = u32::from_be_bytes(len.try_into().expect("4 bytes")) as usize;
            let Some(body) = rest.get(..len) else { break };
            take(u64::from_be_bytes(id.try_into().expect("8 bytes")), body);
            at += HEADER + len;
        }
        buffer.drain(..at);
        buffer.reserve(PIECE);
        if !matches!(io.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}

/// Answers on a stream: in the reader, or in a task a call.
fn answer(io: impl AsyncRead + AsyncWrite + Send + 'static, task_a_call: bool) {
    let (reader, writer) = tokio::io::split(io);
    let outgoing = Arc::<Outgoing>::default();
    let out = outgoing.clone();
    tokio::spawn(async move { out.write(Box::pin(writer)).await });
    tokio::spawn(async move {
        read(Box::pin(reader), |id, body| {
            if task_a_call {
                let (outgoing, body) = (outgoing.clone(), body.to_vec());
                tokio::spawn(async move { outgoing.append(id, &body) });
            } else {
                outgoing.append(id, body);
            }
        })
        .await;
    });
}

#[derive(Default)]
struct Calls {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<String>>,
}

/// Calls on a stream.
fn call(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Echo {
    let (reader, writer) = tokio::io::split(io);
    let outgoing = Arc::<Outgoing>::default();
    let calls = Arc::<Mutex<Calls>>::default();
    let (out, waiting) = (outgoing.clone(), calls.clone());
    tokio::spawn(async move { out.write(Box::pin(writer)).await });
    tokio::spawn(async move {
        read(Box::pin(reader), |id, body| {
            let text = String::from_utf8(body.to_vec()).expect("the echo is not text");
            if let Some(caller) = locked(&waiting).waiting.remove(&id) {
                let _ = caller.send(text);
            }
        })
        .await;
        // Whoever waits still is told so.
        locked(&waiting).waiting.clear();
    });
    Arc::new(move |message| {
        let (outgoing, calls) = (outgoing.clone(), calls.clone());
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let id = {
                let mut calls = locked(&calls);
                calls.next += 1;
                let id = calls.next;
                calls.waiting.insert(id, answer);
                id
            };
            outgoing.append(id, message.as_bytes());
            answered.await.expect("an echo of a floor failed")
        })
    })
}

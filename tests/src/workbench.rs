//! The service that most tests call.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use p2prpc::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::until;

/// What the tests call.
#[p2p_service(gorpc = "WorkbenchAPI")]
pub trait Workbench {
    /// The text, back again.
    async fn echo(&self, text: String) -> String;
    /// The sum, of several arguments.
    async fn add(&self, a: i64, b: i64, c: i64) -> i64;
    /// A method that can fail.
    async fn divide(&self, a: i64, b: i64) -> Result<i64, MathError>;
    /// Who asks.
    async fn who(&self, cx: &Context) -> String;
    /// The value of a key of the call's metadata.
    async fn metadata(&self, cx: &Context, key: String) -> Option<String>;
    /// Microseconds until the handler's deadline.
    async fn left(&self, cx: &Context) -> u64;
    /// Answers after so many milliseconds.
    async fn rest(&self, millis: u64) -> u64;
    /// Waits for [`Bench::release`] and gives the text back.
    async fn hold(&self, text: String) -> String;
    /// Blocks its thread so many milliseconds.
    async fn block(&self, millis: u64) -> u64;
    /// Blocks its thread until [`Bench::release`].
    #[rpc(spawn)]
    async fn block_until_released(&self);
    /// Blocks its thread until [`Bench::release`], where the request was read.
    async fn block_reader(&self);
    /// A text of so many bytes.
    async fn text(&self, bytes: u64) -> String;
    /// Counts itself under this tag.
    async fn count(&self, tag: String) -> u64;
    /// Counts itself under this tag and waits for [`Bench::release`]; it may be called again.
    #[rpc(idempotent)]
    async fn count_again(&self, tag: String) -> u64;
    /// Calls `relay` on `path`'s first peer with the rest, or echoes where there is none.
    async fn relay(&self, cx: &Context, path: Vec<String>, text: String) -> Result<String, String>;
    /// What `left` says at that peer, called from this handler.
    async fn left_there(&self, cx: &Context, peer: String) -> Result<u64, String>;
    /// Holds at that peer, called from this handler.
    async fn hold_there(&self, cx: &Context, peer: String) -> Result<String, String>;
}

/// The error of [`Workbench::divide`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MathError {
    /// There is no answer.
    DivisionByZero {
        /// What was to be divided.
        dividend: i64,
    },
}

impl fmt::Display for MathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MathError::DivisionByZero { dividend } = self;
        write!(f, "{dividend} can't be divided by zero")
    }
}

impl std::error::Error for MathError {}

/// What a [`Bench`] has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Handlers that wait now.
    pub waiting: usize,
    /// The most that ever waited at once.
    pub most_waiting: usize,
    /// Handlers that were dropped before they were done.
    pub dropped: usize,
    /// How often each tag was counted.
    pub counted: HashMap<String, u64>,
    released: bool,
}

/// Serves a [`Workbench`], and says what it sees. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Bench(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    seen: watch::Sender<Seen>,
    gate: (Mutex<bool>, Condvar),
}

impl Bench {
    /// A new one.
    pub fn new() -> Self {
        Self::default()
    }

    /// It, as a service.
    pub fn service(&self) -> Service {
        WorkbenchServer::new(self.clone()).into()
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Seen {
        self.0.seen.borrow().clone()
    }

    /// Waits until it has seen that.
    pub async fn has_seen(&self, what: &str, is: impl FnMut(&Seen) -> bool) -> Seen {
        until(what, &self.0.seen, is).await
    }

    /// Waits until so many handlers wait at once.
    pub async fn has_waiting(&self, n: usize) {
        self.has_seen(&format!("{n} handlers wait"), |seen| seen.waiting == n).await;
    }

    /// Waits until so many handlers were dropped.
    pub async fn has_dropped(&self, n: usize) {
        self.has_seen(&format!("{n} handlers were dropped"), |seen| seen.dropped == n).await;
    }

    /// Let all go on that wait, from now on.
    pub fn release(&self) {
        self.0.seen.send_modify(|seen| seen.released = true);
        *self.0.gate.0.lock().unwrap() = true;
        self.0.gate.1.notify_all();
    }

    async fn wait(&self) {
        let mut seen = self.0.seen.subscribe();
        let mut inside = Inside::enter(self);
        let _ = seen.wait_for(|seen| seen.released).await;
        inside.done = true;
    }

    fn block_thread(&self) {
        let mut inside = Inside::enter(self);
        let mut open = self.0.gate.0.lock().unwrap();
        while !*open {
            open = self.0.gate.1.wait(open).unwrap();
        }
        inside.done = true;
    }

    fn note(&self, tag: String) -> u64 {
        let mut count = 0;
        self.0.seen.send_modify(|seen| {
            let counted = seen.counted.entry(tag).or_default();
            *counted += 1;
            count = *counted;
        });
        count
    }
}

/// Counts a handler that waits, and whether it is dropped.
struct Inside {
    bench: Bench,
    done: bool,
}

impl Inside {
    fn enter(bench: &Bench) -> Self {
        bench.0.seen.send_modify(|seen| {
            seen.waiting += 1;
            seen.most_waiting = seen.most_waiting.max(seen.waiting);
        });
        Inside { bench: bench.clone(), done: false }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.bench.0.seen.send_modify(|seen| {
            seen.waiting -= 1;
            seen.dropped += usize::from(!self.done);
        });
    }
}

impl Workbench for Bench {
    async fn echo(&self, text: String) -> String {
        text
    }

    async fn add(&self, a: i64, b: i64, c: i64) -> i64 {
        a + b + c
    }

    async fn divide(&self, a: i64, b: i64) -> Result<i64, MathError> {
        a.checked_div(b).ok_or(MathError::DivisionByZero { dividend: a })
    }

    async fn who(&self, cx: &Context) -> String {
        cx.peer().to_string()
    }

    async fn metadata(&self, cx: &Context, key: String) -> Option<String> {
        cx.metadata().get(&key).map(str::to_owned)
    }

    async fn left(&self, cx: &Context) -> u64 {
        u64::try_from(cx.remaining().as_micros()).unwrap_or(u64::MAX)
    }

    async fn rest(&self, millis: u64) -> u64 {
        let mut inside = Inside::enter(self);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        inside.done = true;
        millis
    }

    async fn hold(&self, text: String) -> String {
        self.wait().await;
        text
    }

    async fn block(&self, millis: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(millis));
        millis
    }

    async fn block_until_released(&self) {
        self.block_thread();
    }

    async fn block_reader(&self) {
        self.block_thread();
    }

    async fn text(&self, bytes: u64) -> String {
        "x".repeat(bytes as usize)
    }

    async fn count(&self, tag: String) -> u64 {
        self.note(tag)
    }

    async fn count_again(&self, tag: String) -> u64 {
        let count = self.note(tag);
        self.wait().await;
        count
    }

    async fn relay(&self, cx: &Context, mut path: Vec<String>, text: String) -> Result<String, String> {
        if path.is_empty() {
            return Ok(text);
        }
        let next = peer_id(&path.remove(0))?;
        let there = WorkbenchClient::new(cx).peer(next);
        there.relay(path, text).await.map_err(|error| error.to_string())
    }

    async fn left_there(&self, cx: &Context, peer: String) -> Result<u64, String> {
        let there = WorkbenchClient::new(cx).peer(peer_id(&peer)?);
        there.left().timeout(Duration::from_secs(3600)).await.map_err(|error| error.to_string())
    }

    async fn hold_there(&self, cx: &Context, peer: String) -> Result<String, String> {
        let there = WorkbenchClient::new(cx).peer(peer_id(&peer)?);
        there.hold(String::new()).timeout(Duration::from_secs(3600)).await.map_err(|error| error.to_string())
    }
}

fn peer_id(text: &str) -> Result<PeerId, String> {
    text.parse().map_err(|_| format!("{text} is no peer id"))
}

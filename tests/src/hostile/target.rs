//! What is called, and what its handlers saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use p2prpc::prelude::*;
use serde::{Deserialize, Serialize};

/// A value that contains itself, as deep as its bytes say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nested {
    /// What is inside.
    pub inside: Vec<Nested>,
}

/// What is attacked.
#[p2p_service(gorpc = "TargetAPI")]
pub trait Target {
    /// The text, back again.
    async fn echo(&self, text: String) -> String;
    /// Never ends by itself.
    async fn wait(&self) -> ();
    /// Never ends by itself, and takes a few milliseconds to be dropped.
    async fn cling(&self) -> ();
    /// A text of so many bytes, after so many milliseconds.
    async fn big(&self, len: u32, millis: u64) -> String;
    /// Fails with this text.
    async fn fail(&self, text: String) -> Result<String, String>;
    /// How deep it is, counted without recursion.
    async fn nest(&self, value: Nested) -> u32;
    /// How many.
    async fn count(&self, units: Vec<()>) -> u64;
}

/// How many handlers there were and are.
#[derive(Debug, Default)]
pub struct Count {
    started: AtomicUsize,
    alive: AtomicUsize,
    most: AtomicUsize,
}

impl Count {
    /// Handlers that were started.
    pub fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    /// Handlers that are there.
    pub fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    /// The most that ever were there at once.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn enter(self: &Arc<Self>) -> Inside {
        self.started.fetch_add(1, Ordering::SeqCst);
        self.most.fetch_max(self.alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Inside(self.clone())
    }
}

struct Inside(Arc<Count>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Clinging(#[allow(dead_code, reason = "it is there to be dropped")] Inside);

impl Drop for Clinging {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The [`Target`] that counts.
#[derive(Clone, Debug, Default)]
pub struct Probe(pub Arc<Count>);

impl Target for Probe {
    async fn echo(&self, text: String) -> String {
        text
    }

    async fn wait(&self) {
        let _inside = self.0.enter();
        std::future::pending().await
    }

    async fn cling(&self) {
        let _inside = Clinging(self.0.enter());
        std::future::pending().await
    }

    async fn big(&self, len: u32, millis: u64) -> String {
        let _inside = self.0.enter();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        "x".repeat((len as usize).min(8 << 20))
    }

    async fn fail(&self, text: String) -> Result<String, String> {
        Err(text)
    }

    async fn nest(&self, value: Nested) -> u32 {
        let (mut depth, mut value) = (0, value);
        while let Some(inside) = value.inside.pop() {
            (depth, value) = (depth + 1, inside);
        }
        depth
    }

    async fn count(&self, units: Vec<()>) -> u64 {
        units.len() as u64
    }
}

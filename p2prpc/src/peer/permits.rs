//! Permits for calls under way at one peer, and a bounded queue before them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many calls at once; of those past them, so many wait.
#[derive(Debug)]
pub(crate) struct Permits {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
}

/// What a call takes with it until it is over.
pub(crate) type Permit = OwnedSemaphorePermit;

/// A call's turn: there already, or to come.
#[derive(Debug)]
pub(crate) enum Turn {
    Now(Permit),
    Later(Waiting),
}

/// One that waits.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Permits>);

impl Permits {
    pub(crate) fn new(permits: usize, max_waiting: usize) -> Arc<Self> {
        Arc::new(Permits { free: Arc::new(Semaphore::new(permits)), waiting: AtomicUsize::new(0), max_waiting })
    }

    /// `None` if too many wait already. Those that wait are not overtaken.
    pub(crate) fn queue_up(self: &Arc<Self>) -> Option<Turn> {
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            return Some(Turn::Now(permit));
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Turn::Later(Waiting(self.clone())))
    }
}

impl Turn {
    /// `None` if there are no permits any more.
    pub(crate) async fn come(self) -> Option<Permit> {
        match self {
            Turn::Now(permit) => Some(permit),
            Turn::Later(waiting) => waiting.0.free.clone().acquire_owned().await.ok(),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

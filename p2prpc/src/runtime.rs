//! The Tokio runtime that the tasks of a node live on, whoever makes calls through it.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Where tasks are spawned. The first runtime that it is used on counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spawner(Arc<OnceLock<Handle>>);

impl Spawner {
    /// On the runtime of now, if there is one.
    pub(crate) fn here() -> Self {
        let spawner = Spawner::default();
        spawner.handle();
        spawner
    }

    fn handle(&self) -> Option<&Handle> {
        if self.0.get().is_none()
            && let Ok(here) = Handle::try_current()
        {
            // Whoever was first has said the same, or is as good.
            let _ = self.0.set(here);
        }
        self.0.get()
    }

    pub(crate) fn has_runtime(&self) -> bool {
        self.handle().is_some()
    }

    /// Spawn a task; `None` if there is no runtime. On one that has ended it is dropped at once.
    pub(crate) fn spawn<F>(&self, task: F) -> Option<JoinHandle<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        #[cfg(test)]
        if crate::sync::is_modelled() {
            shuttle::future::spawn(async move { drop(task.await) });
            return None;
        }
        self.handle().map(|handle| handle.spawn(task))
    }

    /// True if whoever runs here runs only as long as the tasks do.
    pub(crate) fn is_here(&self) -> bool {
        match (self.0.get(), Handle::try_current()) {
            (Some(own), Ok(here)) => own.id() == here.id(),
            _ => false,
        }
    }
}

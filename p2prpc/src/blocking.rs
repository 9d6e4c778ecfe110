//! Work of handlers that holds up its thread.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::available_parallelism;

use crate::accounts::{CallPermit, PeerAccount};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Pieces of blocking work at once, for each processor.
pub(crate) const BLOCKING_A_CORE: usize = 4;

/// The places at which the handlers of a node do blocking work.
#[derive(Clone, Debug)]
pub(crate) struct BlockingPlaces(Arc<Semaphore>);

impl Default for BlockingPlaces {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        BlockingPlaces(Arc::new(Semaphore::new(cores.saturating_mul(BLOCKING_A_CORE))))
    }
}

/// Whether the call for which the work is done still counts by itself.
enum Counted {
    ByItsCall,
    /// The call is over, and the work isn't.
    ByItself {
        _permit: CallPermit,
    },
    /// The work is done.
    NoMore,
}

/// Lets go of the work when its caller does.
struct Work {
    account: Arc<PeerAccount>,
    counted: Arc<Mutex<Counted>>,
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut counted = self.counted.lock();
        if let Counted::ByItsCall = *counted {
            *counted = Counted::ByItself { _permit: self.account.hold() };
        }
    }
}

impl BlockingPlaces {
    /// Do this on a thread for blocking work, once there is a place. It counts as a call of this account until it is done, also if
    /// what is returned here is dropped before.
    pub(crate) async fn run<T, F>(&self, account: Arc<PeerAccount>, work: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let Ok(place) = self.0.clone().acquire_owned().await else { return std::future::pending().await };
        let counted = Arc::new(Mutex::new(Counted::ByItsCall));
        let ends = counted.clone();
        let running = tokio::task::spawn_blocking(move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            drop(place);
            drop(std::mem::replace(&mut *ends.lock(), Counted::NoMore));
            result
        });
        let _work = Work { account, counted };
        match running.await {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => resume_unwind(panic),
            // The runtime is shutting down, and drops the handler too.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use futures::FutureExt;
    use libp2p::PeerId;

    use super::*;
    use crate::accounts::Accounts;
    use crate::limits::Limits;

    #[tokio::test]
    async fn work_counts_until_it_is_done_though_nobody_waits_for_it() {
        let account = Accounts::new(Limits::default()).open(PeerId::random(), None);
        let places = BlockingPlaces::default();
        let (go_on, wait) = mpsc::channel::<()>();
        let call = account.admit().unwrap();
        let mut work = Box::pin(places.run(account.clone(), move || wait.recv()));
        assert!(work.as_mut().now_or_never().is_none());
        assert_eq!(account.in_use().0, 1);
        drop(work);
        drop(call);
        assert_eq!(account.in_use().0, 1, "it goes on");
        go_on.send(()).unwrap();
        while account.in_use().0 > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn what_finds_no_place_waits_for_one() {
        let account = Accounts::new(Limits::default()).open(PeerId::random(), None);
        let places = BlockingPlaces(Arc::new(Semaphore::new(1)));
        let (go_on, wait) = mpsc::channel::<()>();
        let mut first = Box::pin(places.run(account.clone(), move || wait.recv().unwrap()));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(places.run(account.clone(), || 2));
        assert!(second.as_mut().now_or_never().is_none());
        go_on.send(()).unwrap();
        first.await;
        assert_eq!(second.await, 2);
    }
}

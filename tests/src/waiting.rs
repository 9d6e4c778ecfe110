//! Waiting for what a test asserts, instead of for a while.

use std::future::{Future, IntoFuture};
use std::time::Duration;

use tokio::sync::watch;

/// Longer than anything here takes on a loaded machine: a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than [`PATIENCE`]: for calls that are not to end by their deadline.
pub const LONG: Duration = Duration::from_secs(600);

/// What `future` gives.
///
/// # Panics
/// If that takes longer than [`PATIENCE`].
#[track_caller]
pub fn soon<T>(what: &str, future: impl IntoFuture<Output = T>) -> impl Future<Output = T> {
    let at = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future.into_future()).await {
            Ok(value) => value,
            Err(_) => panic!("{at}: {what}: not within {PATIENCE:?}"),
        }
    }
}

/// Waits until a watched value is so, and gives it.
///
/// # Panics
/// If that takes longer than [`PATIENCE`], or nobody can change the value any more.
#[track_caller]
pub fn until<T: Clone>(what: &str, watch: &watch::Sender<T>, is: impl FnMut(&T) -> bool) -> impl Future<Output = T> {
    let mut watch = watch.subscribe();
    soon(what, async move { watch.wait_for(is).await.expect("its sender is borrowed").clone() })
}

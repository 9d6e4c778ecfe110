//! The one clock of the library, that of Tokio's timers, so that a test that stops it stops all of it; and timers that end
//! wherever they are polled.

use std::future::Future;
use std::panic::catch_unwind;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use tokio::time::Sleep;

/// What can't be added to the clock becomes this.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// It works outside of a runtime, too.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// So much later than now.
pub(crate) fn after(time: Duration) -> Instant {
    let now = now();
    now.checked_add(time).unwrap_or_else(|| now + LONGEST)
}

/// So much later than then, or far from now if the clock doesn't reach so far.
pub(crate) fn later(then: Instant, time: Duration) -> Instant {
    then.checked_add(time).unwrap_or_else(|| now() + LONGEST)
}

/// A timer of the runtime that it is made in, or of no runtime if there is none, or one without timers.
pub(crate) enum Timer {
    Tokio(Pin<Box<Sleep>>),
    Elsewhere(futures_timer::Delay),
}

impl Timer {
    pub(crate) fn at(deadline: Instant) -> Self {
        // Tokio has no other way to say that a runtime has no timers.
        let tokio = || catch_unwind(|| Box::pin(tokio::time::sleep_until(deadline.into()))).ok();
        match tokio::runtime::Handle::try_current().ok().and_then(|_| tokio()) {
            Some(sleep) => Timer::Tokio(sleep),
            None => Timer::Elsewhere(futures_timer::Delay::new(deadline.saturating_duration_since(now()))),
        }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self {
            Timer::Tokio(sleep) => sleep.as_mut().poll(cx),
            Timer::Elsewhere(delay) => Pin::new(delay).poll(cx),
        }
    }
}

/// What the future gives, if it does by then.
pub(crate) async fn by<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    match select(pin!(future), Timer::at(deadline)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// What the future gives, if it does within this time.
#[cfg(feature = "node")]
pub(crate) async fn within<F: Future + Unpin>(time: Duration, future: F) -> Option<F::Output> {
    match select(future, Timer::at(after(time))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

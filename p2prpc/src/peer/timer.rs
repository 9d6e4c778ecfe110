//! One timer for all that a stream waits for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

/// Fires at the earliest time that was asked for since it last fired: whoever uses it looks at all clocks then.
#[derive(Debug, Default)]
pub(crate) struct EarliestTimer {
    sleep: Option<Pin<Box<Sleep>>>,
    at: Option<Instant>,
}

impl EarliestTimer {
    /// Fire at `at`, or earlier if that was asked for before.
    pub(crate) fn not_after(&mut self, at: Instant) {
        if self.at.is_some_and(|earlier| earlier <= at) {
            return;
        }
        self.at = Some(at);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at.into()),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at.into()))),
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match (&mut self.sleep, self.at) {
            (Some(sleep), Some(_)) => {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.at = None;
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }
}

//! A handler that can't take anything down with it.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::ErrorKind;
use crate::service::{HandlerFuture, Outcome};

/// A handler's future. A panic while it is made, polled or dropped ends its own call and nothing else.
///
/// What the panic said stays here: it isn't told to the caller. (With `panic = "abort"` no panic can be caught.)
pub(crate) struct Guarded {
    handler: Option<HandlerFuture>,
}

impl Guarded {
    pub(crate) fn new(make: impl FnOnce() -> HandlerFuture) -> Self {
        Guarded { handler: quietly(make) }
    }

    /// Drop the handler now.
    fn clear(&mut self) {
        let handler = self.handler.take();
        quietly(move || drop(handler));
    }
}

impl Future for Guarded {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let polled = match &mut self.handler {
            Some(handler) => quietly(|| handler.as_mut().poll(cx)),
            None => None,
        };
        match polled {
            Some(Poll::Pending) => Poll::Pending,
            Some(Poll::Ready(outcome)) => {
                self.clear();
                Poll::Ready(outcome)
            }
            None => {
                self.clear();
                Poll::Ready(Outcome::failed(ErrorKind::Panicked, ""))
            }
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.handler.is_some() {
            self.clear();
        }
    }
}

/// Runs what a user wrote; `None` if it panicked.
fn quietly<T>(run: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => Some(value),
        Err(payload) => {
            drop_quietly(payload);
            None
        }
    }
}

/// What was thrown may panic again when it is dropped.
fn drop_quietly(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        std::mem::forget(again);
    }
}

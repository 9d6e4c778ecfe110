//! A handler that can't take anything down with it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p::PeerId;

use super::quota::MethodPermit;
use crate::error::ErrorKind;
use crate::panics::caught;
use crate::service::{HandlerFuture, Outcome};

/// A handler's future. A panic while it is made, polled or dropped ends its own call and nothing else.
pub(crate) struct Guarded {
    handler: Option<HandlerFuture>,
    /// `Service.Method`.
    method: &'static str,
    /// Who calls.
    peer: PeerId,
    /// Given back once the handler is gone.
    permit: Option<MethodPermit>,
}

impl Guarded {
    pub(super) fn new(
        method: &'static str,
        peer: PeerId,
        permit: Option<MethodPermit>,
        make: impl FnOnce() -> HandlerFuture,
    ) -> Self {
        Guarded { handler: caught(make), method, peer, permit }
    }

    /// Drop the handler now.
    fn clear(&mut self) {
        let handler = self.handler.take();
        caught(move || drop(handler));
        self.permit = None;
    }
}

impl Future for Guarded {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let polled = match &mut self.handler {
            Some(handler) => caught(|| handler.as_mut().poll(cx)),
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
                tracing::warn!(peer = %self.peer, method = self.method, "a handler panicked");
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

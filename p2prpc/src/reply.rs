//! Where the answer of one call is put down by the network and picked up by the caller.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::error::RpcError;
use crate::metadata::Metadata;

/// What came back, still encoded.
#[derive(Debug)]
pub(crate) enum RawReply {
    /// The method's return value.
    Response(Bytes),
    /// The handler's own error.
    Application(Bytes),
    /// The method's return value, as gorpc encodes it.
    #[cfg(feature = "gorpc")]
    GorpcResponse(Bytes),
    /// The handler's own error, as gorpc encodes it.
    #[cfg(feature = "gorpc")]
    GorpcApplication(Bytes),
}

#[cfg(feature = "gorpc")]
impl RawReply {
    /// It came in gorpc.
    pub(crate) fn in_gorpc(self) -> Self {
        match self {
            RawReply::Response(body) => RawReply::GorpcResponse(body),
            RawReply::Application(body) => RawReply::GorpcApplication(body),
            other => other,
        }
    }
}

pub(crate) type RawResult = Result<RawReply, RpcError>;

/// How a call ended, with what the handler sent along.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) result: RawResult,
    /// `None` for none, as most answers have.
    pub(crate) metadata: Option<Box<Metadata>>,
}

impl From<RawResult> for Answer {
    fn from(result: RawResult) -> Self {
        Answer { result, metadata: None }
    }
}

/// Where the call is while it has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// With its link, which waits for a connection, a stream or room.
    Queued,
    /// On call stream number `stream` of its link, under this call id.
    Sent { stream: u64, id: u64 },
}

#[derive(Debug)]
enum State {
    Waiting { waker: Option<Waker>, place: Place },
    Done(Answer),
    Taken,
}

/// One caller's slot. It is completed once; later words are ignored.
#[derive(Debug)]
pub(crate) struct ReplySlot {
    state: Mutex<State>,
}

impl ReplySlot {
    pub(crate) fn new() -> Self {
        ReplySlot { state: Mutex::new(State::Waiting { waker: None, place: Place::Queued }) }
    }

    pub(crate) fn set_place(&self, to: Place) {
        if let State::Waiting { place, .. } = &mut *self.state.lock() {
            *place = to;
        }
    }

    /// Where the call is; `None` once it is answered.
    pub(crate) fn place(&self) -> Option<Place> {
        match &*self.state.lock() {
            State::Waiting { place, .. } => Some(*place),
            _ => None,
        }
    }

    /// Nobody waits any more. Gives where the call is, and the caller's waker, which is to be dropped without a lock; `None` if
    /// the call is answered.
    pub(crate) fn abandon(&self) -> Option<(Place, Option<Waker>)> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Waiting { place, waker } => Some((place, waker)),
            answered => {
                *state = answered;
                None
            }
        }
    }

    pub(crate) fn complete(&self, answer: impl Into<Answer>) {
        let answer = answer.into();
        let mut state = self.state.lock();
        if let State::Waiting { waker, .. } = &mut *state {
            let waker = waker.take();
            *state = State::Done(answer);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.state.lock();
        match &mut *state {
            State::Waiting { waker: Some(waker), .. } if waker.will_wake(cx.waker()) => Poll::Pending,
            State::Waiting { waker, .. } => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            State::Taken => Poll::Pending,
            State::Done(_) => match std::mem::replace(&mut *state, State::Taken) {
                State::Done(answer) => Poll::Ready(answer),
                _ => Poll::Pending,
            },
        }
    }
}

/// How long before a resend: doubling from 50 ms.
pub(crate) fn resend_delay(attempt: u32) -> Duration {
    Duration::from_millis(50 << attempt.min(6))
}

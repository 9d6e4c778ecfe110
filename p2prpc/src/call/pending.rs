//! Where the answer of one call is put down by the network and picked up by the caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use crate::codec::gorpc::Gorpc;
use crate::error::{ErrorKind, RpcError};
use crate::metadata::Metadata;
use crate::sync::Mutex;

/// What came back, still encoded.
#[derive(Debug)]
pub(crate) enum RawReply {
    /// The method's return value.
    Value(Bytes),
    /// The handler's own error.
    Error(Bytes),
}

pub(crate) type RawResult = Result<RawReply, RpcError>;

/// How a call ended, with what the handler sent along.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) result: RawResult,
    /// `None` for none, as most answers have.
    pub(crate) metadata: Option<Box<Metadata>>,
    /// Whoever answered speaks gorpc, and its reply is written so.
    pub(crate) gorpc: Option<Gorpc>,
}

impl Answer {
    /// Bytes of the reply's body.
    fn len(&self) -> usize {
        match &self.result {
            Ok(RawReply::Value(body) | RawReply::Error(body)) => body.len(),
            Err(_) => 0,
        }
    }
}

impl From<RawResult> for Answer {
    fn from(result: RawResult) -> Self {
        Answer { result, metadata: None, gorpc: None }
    }
}

/// Where the call is while it has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In its session's queue, which waits for a connection, a stream or room.
    Queued,
    /// On stream number `stream` of many calls, under this id.
    Mux { stream: u64, id: u64 },
    /// In a task of its own, under this number.
    Task(u64),
}

#[derive(Debug)]
enum State {
    Waiting { waker: Option<Waker>, place: Place },
    Done(Answer),
    Taken,
}

/// Bytes of replies that wait to be read in one call to many peers.
pub(crate) const MAX_UNREAD_REPLIES: usize = 64 << 20;

/// What the calls of one call to many peers share: a caller that doesn't read must not fill the memory.
#[derive(Debug, Default)]
pub(crate) struct UnreadReplies(AtomicUsize);

impl UnreadReplies {
    /// Room for one more, or the error in its place. One that is alone finds room always.
    fn take(&self, answer: &mut Answer) {
        let bytes = answer.len();
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        if before > 0 && before.saturating_add(bytes) > MAX_UNREAD_REPLIES {
            self.0.fetch_sub(bytes, Ordering::Relaxed);
            let detail =
                "the replies of other peers that wait to be read take more than 64 MiB: read them as they come";
            answer.result = Err(RpcError::answered(ErrorKind::TooLarge, detail));
        }
    }

    fn give_back(&self, answer: &Answer) {
        self.0.fetch_sub(answer.len(), Ordering::Relaxed);
    }
}

/// One caller's slot. It is completed once; later words are ignored.
#[derive(Debug)]
pub(crate) struct PendingCall {
    state: Mutex<State>,
    /// Of the call to many peers that this one belongs to.
    unread: Option<Arc<UnreadReplies>>,
}

impl PendingCall {
    pub(crate) fn new(unread: Option<Arc<UnreadReplies>>) -> Self {
        PendingCall { state: Mutex::new(State::Waiting { waker: None, place: Place::Queued }), unread }
    }

    /// False if nobody waits for the call any more: it isn't to go there.
    pub(crate) fn set_place(&self, to: Place) -> bool {
        match &mut *self.state.lock() {
            State::Waiting { place, .. } => {
                *place = to;
                true
            }
            _ => false,
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
        let mut answer = answer.into();
        let mut state = self.state.lock();
        if let State::Waiting { waker, .. } = &mut *state {
            let waker = waker.take();
            if let Some(unread) = &self.unread {
                unread.take(&mut answer);
            }
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
                State::Done(answer) => {
                    if let Some(unread) = &self.unread {
                        unread.give_back(&answer);
                    }
                    Poll::Ready(answer)
                }
                _ => Poll::Pending,
            },
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if let (Some(unread), State::Done(answer)) = (&self.unread, self.state.get_mut()) {
            unread.give_back(answer);
        }
    }
}

/// How long before a resend: doubling from 50 ms.
pub(crate) fn resend_delay(attempt: u32) -> Duration {
    Duration::from_millis(50 << attempt.min(6))
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// What one thread does to a slot under its lock: between two of these any other thread may come.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Step {
        /// With the first or second waker.
        Poll(usize),
        Abandon,
        Place,
        Answer,
        Fail,
    }

    /// All orders in which the steps of these threads can happen.
    fn orders(threads: &[&[Step]]) -> Vec<Vec<Step>> {
        let mut all = Vec::new();
        for (at, thread) in threads.iter().enumerate() {
            let Some((first, rest)) = thread.split_first() else { continue };
            let mut left = threads.to_vec();
            left[at] = rest;
            all.extend(orders(&left).into_iter().map(|order| [&[*first][..], &order].concat()));
        }
        if all.is_empty() { vec![Vec::new()] } else { all }
    }

    /// As every method takes the lock once, the orders of their steps are all that threads can do.
    fn play(order: &[Step]) {
        let slot = PendingCall::new(None);
        let woken = [Arc::<Woken>::default(), Arc::default()];
        let wakers = woken.clone().map(Waker::from);
        let (mut taken, mut abandoned, mut answered, mut waits) = (None, false, None, None);
        for step in order {
            match step {
                Step::Poll(by) => match slot.poll(&mut Context::from_waker(&wakers[*by])) {
                    Poll::Ready(answer) => {
                        assert!(taken.replace(answer.result.is_ok()).is_none(), "an answer is given once: {order:?}");
                        waits = None;
                    }
                    Poll::Pending => waits = (answered.is_none() && !abandoned).then_some(*by),
                },
                Step::Abandon => {
                    let was_waiting = slot.abandon().is_some();
                    assert_eq!(was_waiting, answered.is_none() && !abandoned, "{order:?}");
                    abandoned |= was_waiting;
                    waits = waits.filter(|_| !was_waiting);
                }
                Step::Place => {
                    slot.set_place(Place::Mux { stream: 1, id: 1 });
                }
                Step::Answer | Step::Fail => {
                    slot.complete(match step {
                        Step::Answer => Ok(RawReply::Value(Bytes::new())),
                        _ => Err(RpcError::never_sent(ErrorKind::Closed, "")),
                    });
                    if !abandoned {
                        answered.get_or_insert(*step == Step::Answer);
                    }
                }
            }
            assert_eq!(slot.place().is_some(), answered.is_none() && !abandoned, "{order:?}");
            if let (Some(by), Some(_)) = (waits, answered) {
                assert_eq!(woken[by].0.load(Ordering::SeqCst), 1, "who waits is woken: {order:?}");
            }
        }
        if let Some(taken) = taken {
            assert_eq!(Some(taken), answered, "the first answer counts: {order:?}");
        }
    }

    #[test]
    fn in_every_order_a_call_has_one_answer_and_who_waits_is_woken() {
        use Step::{Abandon, Answer, Fail, Place, Poll};
        for caller in [&[Poll(0), Poll(1), Poll(0)][..], &[Poll(0), Poll(1), Abandon], &[Abandon, Poll(0)]] {
            for order in orders(&[caller, &[Place, Answer], &[Fail], &[Fail, Answer]]) {
                play(&order);
            }
        }
    }

    #[test]
    fn replies_that_nobody_reads_are_bounded_and_those_that_are_read_leave_room() {
        let unread = Arc::<UnreadReplies>::default();
        let reply = || Ok(RawReply::Value(Bytes::from(vec![0; 16 << 20])));
        let calls: Vec<_> = (0..6).map(|_| PendingCall::new(Some(unread.clone()))).collect();
        let read = |call: &PendingCall| match call.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer.result,
            Poll::Pending => panic!("it was answered"),
        };
        calls[..5].iter().for_each(|call| call.complete(reply()));
        let error = read(&calls[4]).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::TooLarge, crate::Delivery::Answered));
        assert!(read(&calls[0]).is_ok());
        calls[5].complete(reply());
        assert!(read(&calls[5]).is_ok());
        drop(calls);
        assert_eq!(unread.0.load(Ordering::Relaxed), 0);
        // One that is alone is taken however large it is.
        let call = PendingCall::new(Some(unread.clone()));
        call.complete(Ok(RawReply::Value(Bytes::from(vec![0; MAX_UNREAD_REPLIES + 1]))));
        assert!(read(&call).is_ok());
    }
}

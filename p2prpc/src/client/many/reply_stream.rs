//! The results of many peers, as they come.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::Stream;
use futures::stream::{FuturesUnordered, StreamExt};
use libp2p::PeerId;

use super::{IsGood, MultiCall, PeerResult, Targets};
use crate::call::{Encoded, Handle, Network, UnreadReplies};
use crate::client::{Call, CallOptions};
use crate::clock::{self, Timer};
use crate::error::sealed::FromReply;
use crate::error::{ErrorKind, RpcError};
use crate::panics::caught;
use crate::runtime::Spawner;
use crate::service::Method;

/// The results of a [`MultiCall`] as they come: one `(PeerId, Result)` for each peer asked. Dropping it cancels the rest.
#[must_use = "a stream does nothing until it is polled"]
pub struct ReplyStream<M: Method> {
    pub(super) state: StreamState<M>,
}

pub(super) enum StreamState<M: Method> {
    Ready(Box<MultiCall<M>>),
    Running(Box<Running<M>>),
    /// Only while it starts.
    Starting,
}

pub(super) struct Running<M: Method> {
    pub(super) handle: Handle,
    pub(super) own: Option<Arc<dyn Network>>,
    pub(super) body: Result<Encoded, RpcError>,
    pub(super) options: CallOptions,
    pub(super) deadline: Instant,
    pub(super) concurrency: usize,
    pub(super) hedge: Option<Hedge>,
    pub(super) is_good: Option<IsGood<M>>,
    pub(super) may_be_enough: bool,
    pub(super) asked: Arc<[PeerId]>,
    /// Why no member could be asked.
    pub(super) failure: Option<RpcError>,
    /// Those whose turn hasn't come.
    pub(super) waiting: VecDeque<PeerId>,
    pub(super) calls: FuturesUnordered<Named<M>>,
    pub(super) unread: Arc<UnreadReplies>,
    pub(super) timer: Option<Timer>,
}

impl<M: Method> ReplyStream<M> {
    /// Whom it asks; nobody before it is first polled.
    pub(super) fn asked(&self) -> &[PeerId] {
        match &self.state {
            StreamState::Running(running) => &running.asked,
            _ => &[],
        }
    }

    /// Let what is still under way come to its end, though nobody waits for it.
    pub(super) fn go_on_alone(mut self) {
        if self.left() > 0 {
            drop(Spawner::here().spawn(async move { while self.next().await.is_some() {} }));
        }
    }

    /// How many results are still to come, once it has been polled.
    pub(super) fn left(&self) -> usize {
        match &self.state {
            StreamState::Running(running) => running.waiting.len() + running.calls.len(),
            _ => 0,
        }
    }

    /// What is said of those that are still asked, and of those that never were.
    pub(super) fn given_up(&self) -> Vec<(PeerId, PeerResult<M>)> {
        let StreamState::Running(running) = &self.state else { return Vec::new() };
        let detail = "too many others have failed";
        let begun = RpcError::may_have_run(ErrorKind::Cancelled, detail);
        let asked = running.calls.iter().map(|Named(call)| (call.peer(), begun.clone()));
        let never = match &running.body {
            Ok(_) => RpcError::never_sent(ErrorKind::Cancelled, detail),
            // Nobody can be asked.
            Err(error) => error.clone(),
        };
        let waiting = running.waiting.iter().map(|peer| (*peer, never.clone()));
        let failed = |(peer, error): (PeerId, RpcError)| (peer, Err(M::Error::from_rpc(error.about(peer, M::NAME))));
        asked.chain(waiting).map(failed).collect()
    }

    /// Why no member could be asked, as soon as that is known: the node is closed, or has not been started.
    pub fn failure(&self) -> Option<&RpcError> {
        match &self.state {
            StreamState::Running(running) => running.failure.as_ref(),
            _ => None,
        }
    }
}

/// One more peer is asked each time that nobody has answered for so long.
pub(super) struct Hedge {
    pause: Duration,
    timer: Timer,
}

impl Hedge {
    pub(super) fn new(pause: Duration) -> Self {
        Hedge { pause, timer: Timer::at(clock::after(pause)) }
    }

    /// One more is asked after this.
    fn wait(&mut self, pause: Duration) {
        self.timer = Timer::at(clock::after(pause));
    }
}

impl<M: Method> Running<M> {
    fn start_some(&mut self, body: &Encoded) {
        if self.waiting.is_empty() || clock::now() >= self.deadline {
            return;
        }
        while self.calls.len() < self.concurrency && self.start_one(body) {}
    }

    fn start_one(&mut self, body: &Encoded) -> bool {
        let Some(peer) = self.waiting.pop_front() else { return false };
        let (route, own, options) = (self.handle.route_to(peer), self.own.clone(), self.options.clone());
        let call = Call::encoded(route, own, peer, body.clone(), options, self.deadline, self.unread.clone());
        // One that is answered at once must not keep the others from being made.
        self.calls.push(Named(call.begin()));
        true
    }

    /// Nobody has answered for a while: ask one more, and let the context's task be woken for the next one.
    fn poll_hedge(&mut self, body: &Encoded, cx: &mut Context<'_>) {
        while !self.waiting.is_empty() && clock::now() < self.deadline {
            let Some(hedge) = &mut self.hedge else { return };
            if Pin::new(&mut hedge.timer).poll(cx).is_pending() {
                return;
            }
            hedge.wait(hedge.pause);
            self.start_one(body);
        }
    }

    /// What the peer gave, if that is good.
    fn checked(&self, (peer, result): (PeerId, PeerResult<M>)) -> (PeerId, PeerResult<M>) {
        let (Some(is_good), Ok(output)) = (&self.is_good, &result) else { return (peer, result) };
        if caught(|| is_good(&peer, output)).unwrap_or(false) {
            return (peer, result);
        }
        caught(move || drop(result));
        let error = RpcError::answered(ErrorKind::BadReply, "it isn't what the caller takes for good");
        (peer, Err(M::Error::from_rpc(error.about(peer, M::NAME))))
    }

    /// A waiting peer whose turn didn't come before the deadline.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Option<PeerId> {
        if self.waiting.is_empty() {
            return None;
        }
        let deadline = self.deadline;
        let timer = self.timer.get_or_insert_with(|| Timer::at(deadline));
        if Pin::new(timer).poll(cx).is_pending() {
            return None;
        }
        self.waiting.pop_front()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(PeerId, PeerResult<M>)>> {
        let failed = |peer, error: RpcError| Some((peer, Err(M::Error::from_rpc(error.about(peer, M::NAME)))));
        let body = match &self.body {
            Ok(body) => body.clone(),
            Err(error) => {
                let error = error.clone();
                return Poll::Ready(self.waiting.pop_front().and_then(|peer| failed(peer, error)));
            }
        };
        self.start_some(&body);
        self.poll_hedge(&body, cx);
        match self.calls.poll_next_unpin(cx) {
            Poll::Ready(Some(result)) => {
                let result = self.checked(result);
                // One that isn't good is a reason to ask the next now. If nobody is asked any more, that happens without this.
                let now = result.1.is_err() && !self.calls.is_empty();
                if let Some(hedge) = &mut self.hedge {
                    hedge.wait(if now { Duration::ZERO } else { hedge.pause });
                }
                if !self.may_be_enough {
                    self.start_some(&body);
                }
                return Poll::Ready(Some(result));
            }
            Poll::Ready(None) if self.waiting.is_empty() => return Poll::Ready(None),
            _ => {}
        }
        match self.poll_late(cx) {
            Some(peer) => {
                let late = RpcError::never_sent(ErrorKind::DeadlineExceeded, "its turn did not come in time");
                Poll::Ready(failed(peer, late))
            }
            None => Poll::Pending,
        }
    }
}

impl<M: Method> Stream for ReplyStream<M> {
    type Item = (PeerId, PeerResult<M>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::mem::replace(&mut self.state, StreamState::Starting) {
                StreamState::Ready(multicall) => self.state = StreamState::Running(Box::new(multicall.start())),
                StreamState::Running(mut running) => {
                    let polled = running.poll_next(cx);
                    self.state = StreamState::Running(running);
                    return polled;
                }
                StreamState::Starting => return Poll::Ready(None),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.state {
            StreamState::Ready(multicall) => match &multicall.targets {
                Targets::Peers(peers) => (peers.len(), Some(peers.len())),
                Targets::Members { .. } => (0, None),
            },
            StreamState::Running(_) => (self.left(), Some(self.left())),
            StreamState::Starting => (0, Some(0)),
        }
    }
}

impl<M: Method> Unpin for ReplyStream<M> {}

impl<M: Method> fmt::Debug for ReplyStream<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyStream")
            .field("method", &M::NAME)
            .field("left", &self.size_hint().0)
            .finish_non_exhaustive()
    }
}

pub(super) struct Named<M: Method>(Call<M>);

impl<M: Method> Future for Named<M> {
    type Output = (PeerId, PeerResult<M>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let peer = self.0.peer();
        Pin::new(&mut self.0).poll(cx).map(|result| (peer, result))
    }
}

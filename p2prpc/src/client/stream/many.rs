//! The streams of many peers, merged.

use std::collections::HashSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll, Stream, StreamExt};
use libp2p::PeerId;

use super::StreamCall;
use crate::call::{Encoded, Formats, Handle, Network};
use crate::client::call::{Arguments, encode_in};
use crate::client::many::Targets;
use crate::client::{CallOptions, max_request, select};
use crate::codec::CodecId;
use crate::error::RpcError;
use crate::members::Snapshot;
use crate::service::Method;

/// What one peer's stream gives; `None` once it has ended well.
type PeerItem<M> = (PeerId, Option<Result<<M as Method>::Output, <M as Method>::Error>>);

/// A call of a method that gives a stream, at many peers: set its options, then take items from it as they come, each with the peer it is of.
///
/// A peer whose stream ends well gives `None` last, and one whose stream fails an `Err`; whichever comes, nothing more of it does. It ends when
/// all of them have. Peers that have something take turns, and one that is slow or silent holds up no other; taking items slowly slows down each peer
/// by itself. Members are those of the moment of the first poll, without the node itself. Dropping it cancels all handlers.
///
/// ```no_run
/// # use p2prpc::prelude::*;
/// # #[p2p_service] trait Clock { async fn ticks(&self, every_ms: u64) -> impl Stream<Item = u64>; }
/// # async fn doc(node: &Node) {
/// let mut ticks = ClockClient::new(node).all().ticks(1000).follow_members();
/// while let Some((peer, tick)) = ticks.next().await {
///     match tick {
///         Some(Ok(tick)) => println!("{peer}: {tick}"),
///         Some(Err(error)) => println!("{error}"),
///         None => println!("{peer} has stopped"),
///     }
/// }
/// # }
/// ```
#[must_use = "a stream does nothing until it is polled"]
pub struct MultiStreamCall<M: Method> {
    state: State<M>,
}

enum State<M: Method> {
    Ready(Box<Start<M>>),
    Running(Box<Running<M>>),
    Done(Option<RpcError>),
}

struct Start<M: Method> {
    handle: Handle,
    own: Option<Arc<dyn Network>>,
    targets: Targets,
    args: M::Args,
    options: Options,
    follow: bool,
}

#[derive(Clone)]
struct Options {
    call: CallOptions,
    timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
}

struct Running<M: Method> {
    handle: Handle,
    own: Option<Arc<dyn Network>>,
    body: Encoded,
    options: Options,
    streams: SelectAll<OfPeer<M>>,
    follow: Option<Follow>,
}

/// New members are called too.
struct Follow {
    members: BoxStream<'static, Snapshot>,
    service: &'static str,
    rendezvous: Option<Arc<str>>,
    /// Those of the last time.
    known: Vec<PeerId>,
    /// Those whose streams go on.
    going: HashSet<PeerId>,
}

impl<M: Method> MultiStreamCall<M> {
    pub(crate) fn new(
        handle: Handle,
        own: Option<Arc<dyn Network>>,
        targets: Targets,
        args: M::Args,
        call: CallOptions,
    ) -> Self {
        let options = Options { call, timeout: None, idle_timeout: None };
        let start = Start { handle, own, targets, args, options, follow: false };
        MultiStreamCall { state: State::Ready(Box::new(start)) }
    }

    /// End each peer's stream after this time, as [`StreamCall::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        self.set(|start| start.options.timeout = Some(timeout))
    }

    /// End a peer's stream when it has sent no item for so long, as [`StreamCall::idle_timeout`].
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        self.set(|start| start.options.idle_timeout = Some(timeout))
    }

    /// Encode with this codec, as [`Call::codec`](crate::Call::codec).
    pub fn codec(self, codec: CodecId) -> Self {
        self.set(|start| start.options.call.codec = Some(codec))
    }

    /// Send a key and a value along, as [`Call::metadata`](crate::Call::metadata).
    pub fn metadata(self, key: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.set(|start| start.options.call.add_metadata(key, value))
    }

    /// Call members that join meanwhile too, and one that has left and joins again anew, once its stream has ended. It doesn't end then before the node does.
    /// With `peers(..)` there is nobody to follow.
    pub fn follow_members(self) -> Self {
        self.set(|start| start.follow = true)
    }

    /// Why nobody could be asked, once it has been polled: the node is closed, or has not been started, or the arguments can't be sent.
    pub fn failure(&self) -> Option<&RpcError> {
        match &self.state {
            State::Done(failure) => failure.as_ref(),
            _ => None,
        }
    }

    fn set(mut self, change: impl FnOnce(&mut Start<M>)) -> Self {
        if let State::Ready(start) = &mut self.state {
            change(start);
        }
        self
    }
}

impl<M: Method> Start<M> {
    fn start(self) -> Result<Running<M>, RpcError> {
        let Start { handle, own, targets, args, mut options, follow } = self;
        let network = handle.network()?;
        let defaults = network.defaults();
        let codec = *options.call.codec.get_or_insert(defaults.codec);
        let body = encode_in::<M>(Formats::NATIVE, codec, args, max_request::<M>(defaults.max_message))?;
        let (peers, follow) = match targets {
            Targets::Peers(peers) => (peers.to_vec(), None),
            Targets::Members { service, rendezvous } => {
                let mut watch = network.members().watch();
                let members = select(&watch.borrow_and_update().clone(), service, rendezvous.as_deref());
                let follow = follow.then(|| {
                    let changes = futures::stream::unfold(watch, |mut watch| async move {
                        watch.changed().await.ok()?;
                        let members = watch.borrow_and_update().clone();
                        Some((members, watch))
                    });
                    let (known, going) = (members.clone(), members.iter().copied().collect());
                    Follow { members: changes.boxed(), service, rendezvous, known, going }
                });
                (members, follow)
            }
        };
        let mut running = Running { handle, own, body, options, streams: SelectAll::new(), follow };
        peers.into_iter().for_each(|peer| running.call(peer));
        Ok(running)
    }
}

impl<M: Method> Running<M> {
    fn call(&mut self, peer: PeerId) {
        let (route, args) = (self.handle.route_to(peer), Arguments::Encoded(self.body.clone()));
        let mut call = StreamCall::new(route, self.own.clone(), peer, args, self.options.call.clone());
        if let Some(timeout) = self.options.timeout {
            call = call.timeout(timeout);
        }
        if let Some(timeout) = self.options.idle_timeout {
            call = call.idle_timeout(timeout);
        }
        self.streams.push(OfPeer { call, ended: false });
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<PeerItem<M>>> {
        while let Some(follow) = &mut self.follow {
            match follow.members.poll_next_unpin(cx) {
                Poll::Ready(Some(members)) => {
                    let now = select(&members, follow.service, follow.rendezvous.as_deref());
                    let known = std::mem::replace(&mut follow.known, now.clone());
                    let new = now.into_iter().filter(|peer| !known.contains(peer) && follow.going.insert(*peer));
                    let new: Vec<PeerId> = new.collect();
                    new.into_iter().for_each(|peer| self.call(peer));
                }
                Poll::Ready(None) => self.follow = None,
                Poll::Pending => break,
            }
        }
        match self.streams.poll_next_unpin(cx) {
            Poll::Ready(None) if self.follow.is_some() => Poll::Pending,
            Poll::Ready(Some((peer, item))) => {
                if let Some(follow) = &mut self.follow
                    && !matches!(item, Some(Ok(_)))
                {
                    follow.going.remove(&peer);
                }
                Poll::Ready(Some((peer, item)))
            }
            polled => polled,
        }
    }
}

impl<M: Method> Stream for MultiStreamCall<M> {
    type Item = PeerItem<M>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Done(None)) {
                State::Ready(start) => match start.start() {
                    Ok(running) => State::Running(Box::new(running)),
                    Err(error) => State::Done(Some(error)),
                },
                State::Running(mut running) => {
                    let polled = running.poll_next(cx);
                    if !matches!(polled, Poll::Ready(None)) {
                        self.state = State::Running(running);
                    }
                    return polled;
                }
                State::Done(failure) => {
                    self.state = State::Done(failure);
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl<M: Method> Unpin for MultiStreamCall<M> {}

impl<M: Method> fmt::Debug for MultiStreamCall<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiStreamCall").field("method", &M::NAME).finish_non_exhaustive()
    }
}

/// One peer's stream, with its end as the last item.
struct OfPeer<M: Method> {
    call: StreamCall<M>,
    ended: bool,
}

impl<M: Method> Stream for OfPeer<M> {
    type Item = PeerItem<M>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let peer = self.call.peer();
        if self.ended {
            return Poll::Ready(None);
        }
        self.call.poll_next_unpin(cx).map(|item| {
            self.ended = !matches!(item, Some(Ok(_)));
            Some((peer, item))
        })
    }
}

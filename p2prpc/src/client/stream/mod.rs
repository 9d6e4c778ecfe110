//! Calls of methods that give or take a stream.

mod duplex;
mod many;
mod opening;
mod receiving;
mod sending;
#[cfg(test)]
mod tests;
mod upload;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use libp2p::PeerId;

use super::CallOptions;
use super::call::Arguments;
use crate::call::{Network, Opening, Route};
use crate::clock::{self, Timer};
use crate::codec::CodecId;
use crate::error::sealed::FromReply;
use crate::error::{ErrorKind, RpcError};
use crate::metadata::Metadata;
use crate::panics::caught;
use crate::service::Method;

pub use duplex::DuplexCall;
pub use many::MultiStreamCall;
use opening::Start;
use receiving::{Receiving, Told};
use sending::StopOnDrop;
pub use sending::StreamSender;
pub use upload::UploadCall;

/// A method that takes a stream: `Streaming<T>` is one of its arguments. Generated code implements it.
pub trait TakesItems: Method {
    /// What is streamed.
    type Item: crate::service::Value;
}

/// A call of a method that gives a stream, and the stream: set its options, then take items from it.
///
/// It is lazy: nothing happens before it is first polled. From then on items come as they are sent, and it needn't wait for one to be
/// there. It ends with `None` once the peer has said that all are sent, and with one `Err` where it was cut off before, whose text says how many
/// had come; after either it gives `None`. Dropping it cancels the handler on the other side.
///
/// Taking items slowly slows the handler down: what waits is bounded by the connection's window for one stream (Yamux: from 256 KiB on, as the path
/// needs it) and one item.
///
/// ```no_run
/// # use p2prpc::prelude::*;
/// # #[p2p_service] trait Clock { async fn ticks(&self, every_ms: u64) -> impl Stream<Item = u64>; }
/// # async fn doc(node: &Node, peer: PeerId) -> Result<(), RpcError> {
/// let mut ticks = ClockClient::new(node).peer(peer).ticks(1000);
/// while let Some(tick) = ticks.next().await {
///     println!("{}", tick?);
/// }
/// # Ok(()) }
/// ```
#[must_use = "a stream does nothing until it is polled"]
pub struct StreamCall<M: Method> {
    peer: PeerId,
    state: State<M>,
    deadline: Option<Timer>,
    idle_timeout: Option<Duration>,
    idle: Option<Timer>,
    metadata: Option<Box<Metadata>>,
    items: u64,
    /// Ends the task that sends, if there is one.
    sending: Option<StopOnDrop>,
}

enum State<M: Method> {
    Ready(Box<Start<M>>),
    Opening {
        opening: Opening,
        codec: CodecId,
        /// Of what we send no more comes: the substream may carry another call afterwards.
        complete: bool,
        _own: Option<Arc<dyn Network>>,
    },
    Receiving(Box<Receiving<M>>, Option<Arc<dyn Network>>),
    /// Before anybody is told.
    Failed(RpcError),
    Done,
}

impl<M: Method> StreamCall<M> {
    pub(crate) fn new(
        route: Route,
        own: Option<Arc<dyn Network>>,
        peer: PeerId,
        args: Arguments<M>,
        options: CallOptions,
    ) -> Self {
        StreamCall::of(peer, State::Ready(Box::new(Start::new(route, own, args, options))))
    }

    fn of(peer: PeerId, state: State<M>) -> Self {
        let (deadline, idle_timeout, idle, metadata, items, sending) = Default::default();
        StreamCall { peer, state, deadline, idle_timeout, idle, metadata, items, sending }
    }

    /// What receives of a call that is being made, and that something is sent to.
    fn begun(
        peer: PeerId,
        opening: Opening,
        codec: CodecId,
        deadline: Option<Instant>,
        own: Option<Arc<dyn Network>>,
        sending: StopOnDrop,
    ) -> Self {
        let mut call = StreamCall::of(peer, State::Opening { opening, codec, complete: false, _own: own });
        call.deadline = deadline.map(Timer::at);
        call.sending = Some(sending);
        call
    }

    fn failed(peer: PeerId, error: RpcError) -> Self {
        StreamCall::of(peer, State::Failed(error))
    }

    fn ended(peer: PeerId) -> Self {
        StreamCall::of(peer, State::Done)
    }

    /// The peer that is called.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// End the stream after this time, counted from the first poll: it gives [`ErrorKind::DeadlineExceeded`] then. Default: none, but what a handler's own deadline
    /// leaves where the call is made through its [`Context`](crate::Context). The opening alone, until the request is on its way, has the time of
    /// any other call ([`Call::timeout`](crate::Call::timeout)).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if let State::Ready(start) = &mut self.state {
            start.timeout = Some(timeout);
        }
        self
    }

    /// End the stream when no item has come for so long, with [`ErrorKind::DeadlineExceeded`]. Default: none: a peer that is gone is found out by
    /// the connection, and ends the stream as [`ErrorKind::ConnectionLost`].
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Encode arguments and items with this codec, as [`Call::codec`](crate::Call::codec).
    pub fn codec(mut self, codec: CodecId) -> Self {
        self.set(|options| options.codec = Some(codec));
        self
    }

    /// Send a key and a value along, as [`Call::metadata`](crate::Call::metadata).
    pub fn metadata(mut self, key: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.set(|options| options.add_metadata(key, value));
        self
    }

    /// What the handler sent along with the end of the stream, once it has ended
    /// ([`Context::insert_reply_metadata`](crate::Context::insert_reply_metadata)); `None` before, and if it sent none. It is the peer's word.
    pub fn end_metadata(&self) -> Option<&Metadata> {
        self.metadata.as_deref()
    }

    fn set(&mut self, change: impl FnOnce(&mut CallOptions)) {
        if let State::Ready(start) = &mut self.state {
            change(&mut start.options);
        }
    }

    /// Nothing more comes.
    fn fail(&mut self, error: RpcError) -> Poll<Option<Result<M::Output, M::Error>>> {
        self.state = State::Done;
        self.sending = None;
        Poll::Ready(Some(Err(M::Error::from_rpc(error.about(self.peer, M::NAME)))))
    }

    fn late(&self, why: &str) -> RpcError {
        RpcError::may_have_run(ErrorKind::DeadlineExceeded, format_args!("{why}, after {} items", self.items))
    }

    /// True, and the context's task is woken later if not, if the time is up.
    fn is_late(&mut self, cx: &mut Context<'_>) -> Option<RpcError> {
        if let Some(deadline) = &mut self.deadline
            && Pin::new(deadline).poll(cx).is_ready()
        {
            return Some(self.late("the stream's time was up"));
        }
        let timeout = self.idle_timeout?;
        let idle = self.idle.get_or_insert_with(|| Timer::at(clock::after(timeout)));
        Pin::new(idle).poll(cx).is_ready().then(|| self.late("no item came for too long"))
    }

    /// What comes next, be it an item or the end.
    fn poll_told(&mut self, cx: &mut Context<'_>) -> Poll<Result<Told<M>, RpcError>> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Ready(start) => match start.prepare(self.peer) {
                    Err(error) => return Poll::Ready(Err(error)),
                    Ok(mut prepared) => {
                        self.deadline = prepared.deadline.map(Timer::at);
                        let (codec, own) = (prepared.head.codec, prepared.own.take());
                        let opening: Opening = Box::pin(prepared.begin(true));
                        self.state = State::Opening { opening, codec, complete: true, _own: own };
                    }
                },
                State::Opening { mut opening, codec, complete, _own } => match opening.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.state = State::Opening { opening, codec, complete, _own };
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(Ok(stream)) => {
                        self.state = State::Receiving(Box::new(Receiving::new(stream, codec, complete)), _own);
                    }
                },
                State::Receiving(mut receiving, own) => {
                    let told = receiving.poll(cx);
                    match &told {
                        Poll::Pending | Poll::Ready(Ok(Told::Item(_))) => self.state = State::Receiving(receiving, own),
                        Poll::Ready(Ok(Told::Value(_) | Told::End | Told::Failed(_))) => {
                            self.metadata = receiving.finish();
                            self.sending = None;
                        }
                        Poll::Ready(Err(_)) => {}
                    }
                    return told;
                }
                State::Failed(error) => return Poll::Ready(Err(error)),
                State::Done => return Poll::Pending,
            }
        }
    }
}

impl<M: Method> Stream for StreamCall<M> {
    type Item = Result<M::Output, M::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let State::Done = this.state {
            return Poll::Ready(None);
        }
        match this.poll_told(cx) {
            Poll::Ready(Ok(Told::Item(item))) => {
                this.items = this.items.saturating_add(1);
                this.idle = None;
                Poll::Ready(Some(Ok(item)))
            }
            Poll::Ready(Ok(Told::End)) => Poll::Ready(None),
            Poll::Ready(Ok(Told::Failed(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Ok(Told::Value(value))) => {
                caught(move || drop(value));
                this.fail(RpcError::answered(ErrorKind::BadReply, "the method gives no stream there"))
            }
            Poll::Ready(Err(error)) => this.fail(error),
            Poll::Pending => match this.is_late(cx) {
                Some(late) => this.fail(late),
                None => Poll::Pending,
            },
        }
    }
}

// Nothing in it is pinned in place: its inner futures are boxed.
impl<M: Method> Unpin for StreamCall<M> {}

impl<M: Method> Drop for StreamCall<M> {
    fn drop(&mut self) {
        if let State::Ready(start) = std::mem::replace(&mut self.state, State::Done) {
            caught(move || drop(start));
        }
    }
}

impl<M: Method> fmt::Debug for StreamCall<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Ready(_) => "ready",
            State::Opening { .. } => "opening",
            State::Receiving(..) => "receiving",
            State::Failed(_) | State::Done => "done",
        };
        f.debug_struct("StreamCall")
            .field("method", &M::NAME)
            .field("peer", &self.peer)
            .field("state", &state)
            .field("items", &self.items)
            .finish()
    }
}

/// The only value of a call that gives no stream.
async fn only_value<M: Method>(mut answer: StreamCall<M>) -> Result<M::Output, M::Error> {
    let told = std::future::poll_fn(|cx| match answer.poll_told(cx) {
        Poll::Pending => answer.is_late(cx).map_or(Poll::Pending, |late| Poll::Ready(Err(late))),
        told => told,
    });
    let error = match told.await {
        Ok(Told::Value(value)) => return Ok(value),
        Ok(Told::Failed(error)) => return Err(error),
        Ok(Told::Item(_) | Told::End) => RpcError::answered(ErrorKind::BadReply, "the method gives a stream there"),
        Err(error) => error,
    };
    Err(M::Error::from_rpc(error.about(answer.peer, M::NAME)))
}

/// All items of a stream that fails as a whole, as a call of its own.
impl<M: Method> StreamCall<M> {
    /// Waits for the end and gives all items; `Err` if it was cut off, and the items that had come are lost. It keeps them all in memory.
    ///
    /// ```
    /// use p2prpc::prelude::*;
    ///
    /// #[p2p_service]
    /// trait Counter {
    ///     async fn up_to(&self, n: u32) -> impl Stream<Item = u32>;
    /// }
    ///
    /// struct Here;
    /// impl Counter for Here {
    ///     async fn up_to(&self, n: u32) -> impl Stream<Item = u32> {
    ///         futures::stream::iter(1..=n)
    ///     }
    /// }
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let counter = CounterClient::local(Here).peer(PeerId::random());
    /// assert_eq!(counter.up_to(3).collect_all().await.unwrap(), [1, 2, 3]);
    /// # });
    /// ```
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn collect_all(mut self) -> Result<Vec<M::Output>, M::Error> {
        let mut items = Vec::new();
        while let Some(item) = self.next().await {
            items.push(item?);
        }
        Ok(items)
    }
}

/// The earlier of two deadlines, where there are some.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

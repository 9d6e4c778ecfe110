//! A call that streams to a method that answers once.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use futures::stream::{BoxStream, Stream, StreamExt};
use libp2p::PeerId;

use super::opening::Start;
use super::sending::{self, StreamSender};
use super::{StreamCall, TakesItems, only_value};
use crate::call::{Network, Route};
use crate::client::CallOptions;
use crate::client::call::Arguments;
use crate::codec::CodecId;
use crate::error::sealed::FromReply;
use crate::error::{Delivery, ErrorKind, RpcError};
use crate::panics::caught;
use crate::service::Method;

/// A call of a method that takes a stream and gives one value: set its options, then `.await` it.
///
/// It is lazy: nothing happens before it is first polled. It takes items from the stream as the peer takes them, says that these were all once
/// the stream has ended, and gives the answer. The peer may answer before it has taken all: the rest isn't sent then. Dropping it cancels the
/// handler on the other side, for which the items end in an error and not as if they were all.
///
/// ```no_run
/// # use p2prpc::prelude::*;
/// # #[p2p_service] trait Store { async fn put(&self, name: String, chunks: Streaming<Vec<u8>>) -> Result<u64, String>; }
/// # async fn doc(node: &Node, peer: PeerId) -> Result<(), Box<dyn std::error::Error>> {
/// let chunks = futures::stream::iter([vec![1; 1000], vec![2; 1000]]);
/// let bytes = StoreClient::new(node).peer(peer).put("name".into(), chunks).await?;
/// # Ok(()) }
/// ```
#[must_use = "a call does nothing until it is awaited"]
pub struct UploadCall<M: TakesItems> {
    peer: PeerId,
    state: State<M>,
}

enum State<M: TakesItems> {
    Ready(Box<Start<M>>, BoxStream<'static, M::Item>),
    Running(BoxFuture<'static, Result<M::Output, M::Error>>),
    Done,
}

impl<M: TakesItems> UploadCall<M> {
    pub(crate) fn new(
        route: Route,
        own: Option<Arc<dyn Network>>,
        peer: PeerId,
        args: M::Args,
        items: impl Stream<Item = M::Item> + Send + 'static,
        options: CallOptions,
    ) -> Self {
        let start = Start::new(route, own, Arguments::Plain(args), options);
        UploadCall { peer, state: State::Ready(Box::new(start), items.boxed()) }
    }

    /// The peer that is called.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Give up after this time, counted from the first poll. Default as [`StreamCall::timeout`]: none.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if let State::Ready(start, _) = &mut self.state {
            start.timeout = Some(timeout);
        }
        self
    }

    /// Encode arguments, items and the answer with this codec, as [`Call::codec`](crate::Call::codec).
    pub fn codec(mut self, codec: CodecId) -> Self {
        self.set(|options| options.codec = Some(codec));
        self
    }

    /// Send a key and a value along, as [`Call::metadata`](crate::Call::metadata).
    pub fn metadata(mut self, key: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.set(|options| options.add_metadata(key, value));
        self
    }

    fn set(&mut self, change: impl FnOnce(&mut CallOptions)) {
        if let State::Ready(start, _) = &mut self.state {
            change(&mut start.options);
        }
    }
}

async fn run<M: TakesItems>(
    peer: PeerId,
    start: Start<M>,
    items: BoxStream<'static, M::Item>,
) -> Result<M::Output, M::Error> {
    let prepared = start.prepare(peer).map_err(|error| M::Error::from_rpc(error.about(peer, M::NAME)))?;
    let (sender, answer) = begin::<M>(peer, prepared);
    let (answer, send) = (pin!(only_value(answer)), pin!(send_all(sender, items)));
    match select(answer, send).await {
        Either::Left((answer, _)) => answer,
        Either::Right((Ok(()), answer)) => answer.await,
        Either::Right((Err(error), _)) => {
            // The request was sent before.
            let error = error.if_never_sent(Delivery::MayHaveRun);
            Err(M::Error::from_rpc(error.about(peer, M::NAME)))
        }
    }
}

/// Make the call: what sends, and what receives.
pub(super) fn begin<M: TakesItems>(
    peer: PeerId,
    mut prepared: super::opening::Prepared,
) -> (StreamSender<M::Item>, StreamCall<M>) {
    let (codec, deadline, own) = (prepared.head.codec, prepared.deadline, prepared.own.take());
    let channel = prepared.channel.clone();
    let (sender, opening, sending) = sending::start(&channel, prepared, codec);
    (sender, StreamCall::begun(peer, opening, codec, deadline, own, sending))
}

/// Items of which more are to be sent: whoever gives the call up, or whose stream panics, hasn't said that these were all.
struct Unfinished<T>(Option<StreamSender<T>>);

impl<T> Drop for Unfinished<T> {
    fn drop(&mut self) {
        if let Some(sender) = &self.0 {
            sender.stop(RpcError::may_have_run(ErrorKind::Cancelled, "not all items were sent"));
        }
    }
}

/// Sends them. An error is that of an item; one of the call is said by its answer.
async fn send_all<T: crate::service::Value>(
    sender: StreamSender<T>,
    mut items: BoxStream<'static, T>,
) -> Result<(), RpcError> {
    let mut unfinished = Unfinished(Some(sender));
    while let (Some(sender), Some(item)) = (&mut unfinished.0, items.next().await) {
        match sender.send(item).await {
            Err(_) if sender.is_over() => return Ok(()),
            sent => sent?,
        }
    }
    drop(unfinished.0.take());
    Ok(())
}

impl<M: TakesItems> Future for UploadCall<M> {
    type Output = Result<M::Output, M::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Done) {
                State::Ready(start, items) => State::Running(Box::pin(run(self.peer, *start, items))),
                State::Running(mut running) => {
                    let polled = running.as_mut().poll(cx);
                    if polled.is_pending() {
                        self.state = State::Running(running);
                    }
                    return polled;
                }
                State::Done => return Poll::Pending,
            }
        }
    }
}

// Nothing in it is pinned in place: its inner futures are boxed.
impl<M: TakesItems> Unpin for UploadCall<M> {}

impl<M: TakesItems> Drop for UploadCall<M> {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Done);
        caught(move || drop(state));
    }
}

impl<M: TakesItems> fmt::Debug for UploadCall<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadCall")
            .field("method", &<M as Method>::NAME)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

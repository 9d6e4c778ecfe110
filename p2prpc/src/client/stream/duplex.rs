//! A call that streams both ways.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use libp2p::PeerId;

use super::opening::Start;
use super::sending::StreamSender;
use super::{StreamCall, TakesItems, upload};
use crate::call::{Network, Route};
use crate::client::CallOptions;
use crate::client::call::Arguments;
use crate::codec::CodecId;
use crate::error::{ErrorKind, RpcError};
use crate::metadata::Metadata;
use crate::service::Method;

/// The receiving half, and the sending one as long as more is to come. They are dropped in this order: a call that is given up as a
/// whole hasn't said that its items were all.
type Halves<M> = (StreamCall<M>, Option<StreamSender<<M as TakesItems>::Item>>);

/// A call of a method that takes a stream and gives one: set its options, then send and take items, here or with its two
/// halves ([`into_split`](DuplexCall::into_split)).
///
/// It is made when it is first used, and gives the stream at once: either side may speak first. Dropping the sending half says that its items
/// were all; dropping the receiving one cancels the handler on the other side. Its items are those of a [`StreamCall`].
///
/// ```no_run
/// # use p2prpc::prelude::*;
/// # #[p2p_service] trait Chat { async fn chat(&self, lines: Streaming<String>) -> impl Stream<Item = String>; }
/// # async fn doc(node: &Node, peer: PeerId) -> Result<(), RpcError> {
/// let mut chat = ChatClient::new(node).peer(peer).chat();
/// chat.send("hello".into()).await?;
/// println!("{:?}", chat.next().await.transpose()?);
/// # Ok(()) }
/// ```
#[must_use = "a call does nothing until it is used"]
pub struct DuplexCall<M: TakesItems> {
    peer: PeerId,
    start: Option<Box<Start<M>>>,
    idle_timeout: Option<Duration>,
    begun: Option<Halves<M>>,
}

impl<M: TakesItems> DuplexCall<M> {
    pub(crate) fn new(
        route: Route,
        own: Option<Arc<dyn Network>>,
        peer: PeerId,
        args: M::Args,
        options: CallOptions,
    ) -> Self {
        let start = Start::new(route, own, Arguments::Plain(args), options);
        DuplexCall { peer, start: Some(Box::new(start)), idle_timeout: None, begun: None }
    }

    /// The peer that is called.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// As [`StreamCall::timeout`], counted from the first use.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if let Some(start) = &mut self.start {
            start.timeout = Some(timeout);
        }
        self
    }

    /// As [`StreamCall::idle_timeout`], of the items that come.
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

    fn set(&mut self, change: impl FnOnce(&mut CallOptions)) {
        if let Some(start) = &mut self.start {
            change(&mut start.options);
        }
    }

    /// As [`StreamSender::send`].
    ///
    /// # Errors
    /// As there, and after [`finish_sending`](DuplexCall::finish_sending).
    pub async fn send(&mut self, item: M::Item) -> Result<(), RpcError> {
        match &mut self.begin().1 {
            Some(sender) => sender.send(item).await,
            None => Err(all_sent()),
        }
    }

    /// Say that the items that were sent are all.
    pub fn finish_sending(&mut self) {
        self.begin().1 = None;
    }

    /// What the handler sent along with the end of its items, as [`StreamCall::end_metadata`].
    pub fn end_metadata(&self) -> Option<&Metadata> {
        self.begun.as_ref().and_then(|(receiver, _)| receiver.end_metadata())
    }

    /// The two halves, for tasks of their own. The call is made now, and the caller's runtime need not stay: a task of the node does the
    /// sending. If the call can't be made both say why.
    pub fn into_split(mut self) -> (StreamSender<M::Item>, StreamCall<M>) {
        self.begin();
        let (receiver, sender) = self.begun.take().unwrap_or_else(|| (StreamCall::ended(self.peer), None));
        (sender.unwrap_or_else(|| StreamSender::over(all_sent())), receiver)
    }

    fn begin(&mut self) -> &mut Halves<M> {
        let (peer, idle_timeout, start) = (self.peer, self.idle_timeout, self.start.take());
        self.begun.get_or_insert_with(|| {
            let Some(start) = start else { return (StreamCall::ended(peer), None) };
            let (sender, mut receiver) = match start.prepare(peer) {
                Ok(prepared) => upload::begin(peer, prepared),
                Err(error) => (StreamSender::over(error.clone()), StreamCall::failed(peer, error)),
            };
            receiver.idle_timeout = idle_timeout;
            (receiver, Some(sender))
        })
    }
}

fn all_sent() -> RpcError {
    RpcError::never_sent(ErrorKind::InvalidRequest, "the items that were sent were said to be all")
}

impl<M: TakesItems> Stream for DuplexCall<M> {
    type Item = Result<M::Output, M::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.begin().0).poll_next(cx)
    }
}

impl<M: TakesItems> Unpin for DuplexCall<M> {}

impl<M: TakesItems> fmt::Debug for DuplexCall<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplexCall")
            .field("method", &<M as Method>::NAME)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

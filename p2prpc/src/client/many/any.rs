//! One call to whichever of many peers answers well.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use libp2p::PeerId;

use super::{MultiCall, Replies};
use crate::codec::CodecId;
use crate::service::Method;

/// How long a peer has alone to answer an idempotent call, unless [`AnyCall::hedge_after`] says otherwise.
pub const DEFAULT_HEDGE_AFTER: Duration = Duration::from_secs(1);

/// A call to any one of many peers that has not been made yet, from a client's `any()` or `any_of(peers)`: set its options, then `.await` it.
///
/// One peer is asked after the other, until one gives an answer that is good; what is still under way then is cancelled. A peer that
/// can't be reached, refuses or fails is a reason to ask the next, whatever its error says: a method that isn't idempotent may have run at
/// more than one of them. The arguments are encoded once, and one deadline holds for all.
///
/// # Errors
/// All results, if no answer was good: an error that names each peer's cause, or says that nobody was asked.
///
/// ```no_run
/// # use p2prpc::prelude::*;
/// # use std::time::Duration;
/// # #[p2p_service] trait Blocks { #[rpc(idempotent)] async fn get(&self, hash: [u8; 32]) -> Option<Vec<u8>>; }
/// # fn hash_of(_: &[u8]) -> [u8; 32] { [0; 32] }
/// # async fn doc(node: &Node, hash: [u8; 32]) -> Result<(), Box<dyn std::error::Error>> {
/// let (peer, block) = BlocksClient::new(node)
///     .any()
///     .get(hash)
///     .validate(move |_, block| block.as_ref().is_some_and(|block| hash_of(block) == hash))
///     .hedge_after(Duration::from_millis(300))
///     .await?;
/// # Ok(()) }
/// ```
#[must_use = "a call does nothing until it is awaited"]
pub struct AnyCall<M: Method>(MultiCall<M>);

impl<M: Method> AnyCall<M> {
    pub(crate) fn new(multicall: MultiCall<M>) -> Self {
        let hedge_after = M::IDEMPOTENT.then_some(DEFAULT_HEDGE_AFTER);
        AnyCall(MultiCall { concurrency: 1, hedge_after, in_turn: true, ..multicall })
    }

    /// Give up after this time, for all peers together. Default as [`Call::timeout`](crate::Call::timeout).
    pub fn timeout(self, timeout: Duration) -> Self {
        AnyCall(self.0.timeout(timeout))
    }

    /// Encode with this codec, as [`MultiCall::codec`].
    pub fn codec(self, codec: CodecId) -> Self {
        AnyCall(self.0.codec(codec))
    }

    /// Send a key and a value along, as [`Call::metadata`](crate::Call::metadata).
    pub fn metadata(self, key: impl AsRef<str>, value: impl Into<String>) -> Self {
        AnyCall(self.0.metadata(key, value))
    }

    /// Only an answer for which this gives true is good, as [`MultiCall::validate`].
    pub fn validate(self, is_good: impl Fn(&PeerId, &M::Output) -> bool + Send + Sync + 'static) -> Self {
        AnyCall(self.0.validate(is_good))
    }

    /// Ask one more peer each time that nobody has answered for so long, and take the first answer that is good. The
    /// method may run at several peers then. Default: [`DEFAULT_HEDGE_AFTER`], 1 s, for methods that are `#[rpc(idempotent)]`; of all others a
    /// peer that doesn't answer is waited for until the deadline, and so is every peer with [`Duration::MAX`].
    pub fn hedge_after(self, pause: Duration) -> Self {
        AnyCall(MultiCall { hedge_after: Some(pause), ..self.0 })
    }
}

impl<M: Method> IntoFuture for AnyCall<M> {
    type Output = AnyResult<M>;
    type IntoFuture = AnyAnswer<M>;

    fn into_future(self) -> AnyAnswer<M> {
        AnyAnswer(Box::pin(self.0.first_ok()))
    }
}

impl<M: Method> fmt::Debug for AnyCall<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyCall")
            .field("method", &M::NAME)
            .field("targets", &self.0.targets)
            .field("hedge_after", &self.0.hedge_after)
            .finish_non_exhaustive()
    }
}

/// The peer whose answer was good, and the answer.
type AnyResult<M> = Result<(PeerId, <M as Method>::Output), Replies<M>>;

/// The future of an [`AnyCall`]. Dropping it cancels what is under way.
#[must_use = "a call does nothing until it is awaited"]
pub struct AnyAnswer<M: Method>(BoxFuture<'static, AnyResult<M>>);

impl<M: Method> Future for AnyAnswer<M> {
    type Output = AnyResult<M>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<M: Method> fmt::Debug for AnyAnswer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyAnswer").field("method", &M::NAME).finish_non_exhaustive()
    }
}

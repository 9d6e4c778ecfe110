//! One call to many peers: a result for each, always.

mod any;
mod replies;
mod reply_stream;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use libp2p::PeerId;

use crate::call::{Handle, Network};
use crate::client::{CallOptions, deadline_of, encode_in, max_request, select};
use crate::codec::CodecId;
use crate::panics::caught;
use crate::service::Method;

pub use any::{AnyAnswer, AnyCall, DEFAULT_HEDGE_AFTER};
pub use replies::Replies;
pub use reply_stream::ReplyStream;
use reply_stream::{Hedge, Running, StreamState};

/// How many peers are asked at the same time, unless [`MultiCall::concurrency`] says otherwise.
pub const DEFAULT_CONCURRENCY: usize = 256;

/// Whom a multicall asks.
#[derive(Clone, Debug)]
pub(crate) enum Targets {
    Peers(Arc<[PeerId]>),
    Members { service: &'static str, rendezvous: Option<Arc<str>> },
}

/// Which answers are good.
type IsGood<M> = Arc<dyn Fn(&PeerId, &<M as Method>::Output) -> bool + Send + Sync>;

/// A call to many peers that has not been made yet: set its options, then `.await` it for all results, or take them as
/// they come from [`replies`](MultiCall::replies).
///
/// The arguments are encoded once. One deadline holds for all: a peer that has not been started by then gives
/// [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded), never sent. Members are those of the moment of the first poll, without the node
/// itself; if there is none, the result is empty at once (see `wait_for` of the client). If the node is closed or not started it is
/// empty too, and [`Replies::failure`] says so.
///
/// ```no_run
/// # use p2prpc::prelude::*;
/// # #[p2p_service] trait Greeter { async fn greet(&self, name: String) -> String; }
/// # async fn doc(node: &Node) {
/// let client = GreeterClient::new(node);
/// for (peer, reply) in client.greet_all("Ada".into()).await {
///     match reply {
///         Ok(greeting) => println!("{peer}: {greeting}"),
///         Err(error) => println!("{error}"),
///     }
/// }
/// # }
/// ```
#[must_use = "a call does nothing until it is awaited"]
pub struct MultiCall<M: Method> {
    handle: Handle,
    own: Option<Arc<dyn Network>>,
    targets: Targets,
    args: M::Args,
    options: CallOptions,
    concurrency: usize,
    hedge_after: Option<Duration>,
    /// Each time another member is the first to be asked.
    in_turn: bool,
    /// So many of them are asked.
    sample: Option<usize>,
    is_good: Option<IsGood<M>>,
    keeps_going: bool,
    /// The result that was just given may be the last that is wanted: nobody is asked before the next one is.
    may_be_enough: bool,
}

/// What one peer gave.
pub type PeerResult<M> = Result<<M as Method>::Output, <M as Method>::Error>;

impl<M: Method> MultiCall<M> {
    pub(crate) fn new(
        handle: Handle,
        own: Option<Arc<dyn Network>>,
        targets: Targets,
        args: M::Args,
        options: CallOptions,
    ) -> Self {
        MultiCall {
            handle,
            own,
            targets,
            args,
            options,
            concurrency: DEFAULT_CONCURRENCY,
            hedge_after: None,
            in_turn: false,
            sample: None,
            is_good: None,
            keeps_going: false,
            may_be_enough: false,
        }
    }

    /// Give up after this time, for all peers together. Default as [`Call::timeout`](crate::Call::timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Encode with this codec. Default: what the client says, or else the node, or else [`CodecId::default`].
    pub fn codec(mut self, codec: CodecId) -> Self {
        self.options.codec = Some(codec);
        self
    }

    /// Send a key and a value along, as [`Call::metadata`](crate::Call::metadata).
    pub fn metadata(mut self, key: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.options.add_metadata(key, value);
        self
    }

    /// Ask at most so many peers at the same time; 0 counts as 1. Default [`DEFAULT_CONCURRENCY`], 256.
    pub fn concurrency(mut self, peers: usize) -> Self {
        self.concurrency = peers.max(1);
        self
    }

    /// Ask only so many of them, chosen at random when it is first polled; all if there are no more. Default: all.
    ///
    /// ```no_run
    /// # use p2prpc::prelude::*;
    /// # #[p2p_service] trait Peers { async fn known(&self) -> Vec<PeerId>; }
    /// # async fn doc(peers: &PeersClient) {
    /// let some = peers.known_all().sample(3).await;
    /// # }
    /// ```
    pub fn sample(mut self, peers: usize) -> Self {
        self.sample = Some(peers);
        self
    }

    /// Only an answer for which this gives true is good. Any other one becomes an error of that peer, [`ErrorKind::BadReply`](crate::ErrorKind::BadReply), answered: for
    /// [`quorum`](MultiCall::quorum) and [`first_ok`](MultiCall::first_ok) it doesn't count. If it panics the answer isn't good. Default: all are.
    pub fn validate(mut self, is_good: impl Fn(&PeerId, &M::Output) -> bool + Send + Sync + 'static) -> Self {
        self.is_good = Some(Arc::new(is_good));
        self
    }

    /// Let [`quorum`](MultiCall::quorum) and [`first_ok`](MultiCall::first_ok) not cancel the calls that they don't wait for: those go on
    /// until they are answered or the deadline has passed, in a task on the Tokio runtime that the future was polled on. So a write reaches
    /// all replicas, although a majority is enough to go on. Default: they are cancelled.
    ///
    /// Dropping the future before it has what it waits for cancels all of them, with this too.
    pub fn keep_going(mut self) -> Self {
        self.keeps_going = true;
        self
    }

    /// The results as they come, as a [`Stream`](futures::Stream). Dropping it cancels what is still under way. Replies that wait to be read take up to 64 MiB:
    /// past that a peer's result is [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge), answered.
    pub fn replies(self) -> ReplyStream<M> {
        ReplyStream { state: StreamState::Ready(Box::new(self)) }
    }

    /// Waits until `n` peers have answered well and gives their answers, in the order they came; the rest is cancelled, unless it is to
    /// [`keep_going`](MultiCall::keep_going).
    ///
    /// # Errors
    /// All results, as soon as so many have failed that `n` can't answer well any more: an error that says who failed and why, or that nobody
    /// was asked. Those that had not answered by then have [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    pub async fn quorum(mut self, n: usize) -> Result<Vec<(PeerId, M::Output)>, Replies<M>> {
        self.may_be_enough = true;
        let keeps_going = self.keeps_going;
        let mut stream = self.replies();
        let mut good = Vec::new();
        let mut bad = Vec::new();
        while good.len() < n {
            match stream.next().await {
                Some((peer, Ok(output))) => good.push((peer, output)),
                Some((peer, Err(error))) => bad.push((peer, Err(error))),
                None => break,
            }
            if good.len() + stream.left() < n {
                bad.extend(stream.given_up());
                break;
            }
        }
        let result = if good.len() < n {
            let results = good.into_iter().map(|(peer, output)| (peer, Ok(output))).chain(bad).collect();
            Err(Replies::in_order_of(stream.asked(), stream.failure(), results))
        } else {
            Ok(good)
        };
        if keeps_going {
            stream.go_on_alone();
        }
        result
    }

    /// Waits until the answers that are good are enough, as `enough` says of those there are, and gives them, in the order they came; the rest is
    /// cancelled, unless it is to [`keep_going`](MultiCall::keep_going). So it is three answers that are the same, say, or the answers of peers that have enough
    /// weight together. It is asked after each good answer; if it panics they aren't enough.
    ///
    /// ```no_run
    /// # use p2prpc::prelude::*;
    /// # #[p2p_service] trait Chain { async fn height(&self) -> u64; }
    /// # async fn doc(chain: &ChainClient) -> Result<(), p2prpc::Replies<chain::Height>> {
    /// let same = |answers: &[(PeerId, u64)]| {
    ///     answers.iter().any(|(_, height)| answers.iter().filter(|(_, other)| other == height).count() >= 3)
    /// };
    /// let answers = chain.height_all().quorum_by(same).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// All results, once all have come and were not enough: an error that says who failed and why.
    pub async fn quorum_by(
        mut self,
        enough: impl Fn(&[(PeerId, M::Output)]) -> bool,
    ) -> Result<Vec<(PeerId, M::Output)>, Replies<M>> {
        self.may_be_enough = true;
        let keeps_going = self.keeps_going;
        let mut stream = self.replies();
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        while let Some((peer, result)) = stream.next().await {
            match result {
                Ok(output) => good.push((peer, output)),
                Err(error) => {
                    bad.push((peer, Err(error)));
                    continue;
                }
            }
            if caught(|| enough(&good)).unwrap_or(false) {
                if keeps_going {
                    stream.go_on_alone();
                }
                return Ok(good);
            }
        }
        let results = good.into_iter().map(|(peer, output)| (peer, Ok(output))).chain(bad).collect();
        Err(Replies::in_order_of(stream.asked(), stream.failure(), results))
    }

    /// Waits for the first peer that answers well; the rest is cancelled, unless it is to [`keep_going`](MultiCall::keep_going).
    ///
    /// # Errors
    /// All results, if none answered well: an error that says who failed and why, or that nobody was asked.
    pub async fn first_ok(self) -> Result<(PeerId, M::Output), Replies<M>> {
        let mut good = self.quorum(1).await?;
        good.pop().ok_or_else(|| Replies { results: Vec::new(), failure: None })
    }

    fn start(self) -> Running<M> {
        let MultiCall { handle, own, targets, args, mut options, concurrency, .. } = self;
        let (hedge_after, is_good, may_be_enough) = (self.hedge_after, self.is_good, self.may_be_enough);
        let network = handle.network();
        let timeout = match (&network, options.timeout.or(M::TIMEOUT)) {
            (_, Some(timeout)) => timeout,
            (Ok(network), None) => network.defaults().timeout,
            (Err(_), None) => Duration::ZERO,
        };
        let deadline = deadline_of(handle.deadline(), timeout);
        let default = network.as_ref().map(|network| network.defaults().codec).unwrap_or_default();
        let codec = *options.codec.get_or_insert(default);
        let body = match &network {
            Err(error) => Err(error.clone()),
            Ok(network) => {
                let most = max_request::<M>(network.defaults().max_message);
                encode_in::<M>(network.formats(), codec, args, most)
            }
        };
        let (asked, failure): (Arc<[PeerId]>, _) = match (targets, network) {
            (Targets::Peers(peers), _) => (peers, None),
            (Targets::Members { service, rendezvous }, Ok(network)) => {
                let mut members = select(&network.members().snapshot(), service, rendezvous.as_deref());
                if self.in_turn {
                    let first = handle.turn() % members.len().max(1);
                    members.rotate_left(first);
                }
                (members.into(), None)
            }
            (Targets::Members { .. }, Err(error)) => (Arc::default(), Some(error)),
        };
        let asked = match self.sample {
            Some(most) if most < asked.len() => sampled(&asked, most),
            _ => asked,
        };
        let waiting = asked.iter().copied().collect();
        let (calls, unread, timer) = (FuturesUnordered::new(), Arc::default(), None);
        let hedge = hedge_after.map(Hedge::new);
        Running {
            handle,
            own,
            body,
            options,
            deadline,
            concurrency,
            hedge,
            is_good,
            may_be_enough,
            asked,
            failure,
            waiting,
            calls,
            unread,
            timer,
        }
    }
}

/// So many of them, in their order.
fn sampled(peers: &[PeerId], most: usize) -> Arc<[PeerId]> {
    let mut chosen = rand::seq::index::sample(&mut rand::rng(), peers.len(), most).into_vec();
    chosen.sort_unstable();
    chosen.into_iter().filter_map(|at| peers.get(at).copied()).collect()
}

impl<M: Method> fmt::Debug for MultiCall<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiCall").field("method", &M::NAME).field("targets", &self.targets).finish_non_exhaustive()
    }
}

impl<M: Method> IntoFuture for MultiCall<M> {
    type Output = Replies<M>;
    type IntoFuture = AllReplies<M>;

    fn into_future(self) -> AllReplies<M> {
        AllReplies { stream: self.replies(), results: Some(Vec::new()) }
    }
}

/// The future of all results of a [`MultiCall`].
#[must_use = "a call does nothing until it is awaited"]
pub struct AllReplies<M: Method> {
    stream: ReplyStream<M>,
    results: Option<Vec<(PeerId, PeerResult<M>)>>,
}

impl<M: Method> Future for AllReplies<M> {
    type Output = Replies<M>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Replies<M>> {
        let AllReplies { stream, results } = &mut *self;
        while let Some(results) = results {
            match ready!(stream.poll_next_unpin(cx)) {
                Some(result) => results.push(result),
                None => break,
            }
        }
        match results.take() {
            Some(results) => Poll::Ready(Replies::in_order_of(stream.asked(), stream.failure(), results)),
            None => Poll::Pending,
        }
    }
}

impl<M: Method> Unpin for AllReplies<M> {}

impl<M: Method> fmt::Debug for AllReplies<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllReplies").field("method", &M::NAME).finish_non_exhaustive()
    }
}

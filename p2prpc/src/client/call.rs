//! One call to one peer.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::CallOptions;
use crate::call::{
    Answer, CallHead, Channel, Encoded, Formats, Found, Network, Payload, RawReply, RawResult, Request, Route, Ticket,
    UnreadReplies, not_named, resend_delay,
};
use crate::clock::{self, Timer};
use crate::codec::{CodecError, CodecId, Format, MethodNames};
use crate::error::sealed::FromReply;
use crate::error::{Delivery, ErrorKind, RpcError};
use crate::limits::MESSAGE_LIMIT;
use crate::metadata::Metadata;
use crate::panics::caught;
use crate::scratch::Scratch;
use crate::service::{Method, Received};
use crate::stack;
use libp2p::PeerId;

/// Bodies past this size are shared with the network instead of copied.
const SHARED_FROM: usize = 16 * 1024;
/// How often an idempotent call is made again after a lost connection.
const MAX_RESENDS: u32 = 2;
/// How long after its deadline a call is given up by a caller whose node is driven elsewhere, and says nothing.
const PATIENCE: Duration = Duration::from_millis(100);

/// A call that has not been made yet: set its options, then `.await` it.
///
/// It is lazy: nothing happens before it is first polled. Dropping it afterwards cancels the handler on the other side.
/// It gives the method's return value or an error, always, and at the latest when its deadline has passed.
///
/// ```no_run
/// # use p2prpc::prelude::*;
/// # use std::time::Duration;
/// # #[p2p_service] trait Greeter { async fn greet(&self, name: String) -> String; }
/// # async fn doc(node: &Node, peer: PeerId) -> Result<(), RpcError> {
/// let client = GreeterClient::new(node);
/// let greeting = client.peer(peer).greet("Ada".into()).timeout(Duration::from_secs(2)).await?;
/// # Ok(()) }
/// ```
#[must_use = "a call does nothing until it is awaited"]
pub struct Call<M: Method> {
    peer: PeerId,
    state: State<M>,
}

enum State<M: Method> {
    Ready(Start<M>),
    Waiting(Waiting),
    /// Before an idempotent call is made again.
    Backoff {
        until: Timer,
        retry: Retry,
    },
    /// Before anybody is told.
    Failed(RpcError),
    Done,
}

struct Start<M: Method> {
    route: Route,
    own: Option<Arc<dyn Network>>,
    args: Arguments<M>,
    options: CallOptions,
    deadline: Option<Instant>,
    unread: Option<Arc<UnreadReplies>>,
}

/// Arguments, encoded or not yet.
pub(crate) enum Arguments<M: Method> {
    Plain(M::Args),
    Encoded(Encoded),
}

struct Waiting {
    ticket: Ticket,
    codec: CodecId,
    /// What an idempotent call needs to be made again.
    retry: Option<Box<Retry>>,
    /// The handler may have run for an earlier attempt.
    may_have_run: bool,
    deadline: Instant,
    /// Looks after the deadline where nobody else may.
    own_timer: Option<Timer>,
    was_polled: bool,
    /// Keeps the network of a local client alive until the call is over.
    _own: Option<Arc<dyn Network>>,
}

struct Retry {
    channel: Arc<dyn Channel>,
    own: Option<Arc<dyn Network>>,
    metadata: Metadata,
    head: CallHead,
    body: Encoded,
    /// The method's other name, if it has one that wasn't tried.
    other: Option<&'static MethodNames>,
    resends: u32,
    /// The handler may have run for one of the attempts so far.
    may_have_run: bool,
    unread: Option<Arc<UnreadReplies>>,
}

impl<M: Method> Call<M> {
    pub(crate) fn new(
        route: Route,
        own: Option<Arc<dyn Network>>,
        peer: PeerId,
        args: M::Args,
        options: CallOptions,
    ) -> Self {
        let start = Start { route, own, args: Arguments::Plain(args), options, deadline: None, unread: None };
        Call { peer, state: State::Ready(start) }
    }

    /// One of many calls with the same body and deadline.
    pub(crate) fn encoded(
        route: Route,
        own: Option<Arc<dyn Network>>,
        peer: PeerId,
        body: Encoded,
        options: CallOptions,
        deadline: Instant,
        unread: Arc<UnreadReplies>,
    ) -> Self {
        let (args, deadline, unread) = (Arguments::Encoded(body), Some(deadline), Some(unread));
        let start = Start { route, own, args, options, deadline, unread };
        Call { peer, state: State::Ready(start) }
    }

    /// The peer that is called.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Give up after this time, counted from the first poll: the call ends as
    /// [`ErrorKind::DeadlineExceeded`]. Default: what the client says, or else the method (`#[rpc(timeout = "60s")]`), or else the node: 10 s.
    ///
    /// The time travels with the call and the server keeps it too. In a handler, a call made from its [`Context`](crate::Context)
    /// never outlives the call that the handler answers.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.set(|options| options.timeout = Some(timeout));
        self
    }

    /// Encode arguments and reply with this codec. Default: what the client says, or else the node, or else [`CodecId::default`].
    pub fn codec(mut self, codec: CodecId) -> Self {
        self.set(|options| options.codec = Some(codec));
        self
    }

    /// Send a key and a value along. A pair that [`Metadata`](crate::Metadata) refuses makes the call end as
    /// [`ErrorKind::InvalidRequest`], never sent.
    pub fn metadata(mut self, key: impl AsRef<str>, value: impl Into<String>) -> Self {
        self.set(|options| options.add_metadata(key, value));
        self
    }

    /// Give the metadata that the handler sent along too ([`Context::insert_reply_metadata`](crate::Context::insert_reply_metadata)),
    /// whether the call goes well or not. It is the peer's word: escape it before it is printed.
    ///
    /// ```no_run
    /// # use p2prpc::prelude::*;
    /// # #[p2p_service] trait Cache { async fn get(&self, cx: &Context, key: String) -> Option<String>; }
    /// # async fn doc(cache: CachePeer) -> Result<(), RpcError> {
    /// let (answer, metadata) = cache.get("key".into()).with_metadata().await;
    /// println!("{:?}, {} s old", answer?, metadata.get("age").unwrap_or("0"));
    /// # Ok(()) }
    /// ```
    pub fn with_metadata(self) -> CallWithMetadata<M> {
        CallWithMetadata(self)
    }

    fn set(&mut self, change: impl FnOnce(&mut CallOptions)) {
        if let State::Ready(start) = &mut self.state {
            change(&mut start.options);
        }
    }

    /// Make the call now, and not when it is first polled.
    pub(crate) fn begin(mut self) -> Self {
        self.state = match mem::replace(&mut self.state, State::Done) {
            State::Ready(start) => self.start(start).map_or_else(State::Failed, State::Waiting),
            begun => begun,
        };
        self
    }

    fn start(&self, start: Start<M>) -> Result<Waiting, RpcError> {
        let Start { route, own, args, options, deadline, unread } = start;
        if let Some(error) = options.invalid {
            return Err(RpcError::never_sent(ErrorKind::InvalidRequest, &error).because(error));
        }
        let Found { channel, defaults, deadline: inherited } = route.resolve(self.peer)?;
        let head = CallHead {
            method: MethodNames::of::<M>(),
            codec: options.codec.unwrap_or(defaults.codec),
            deadline: deadline
                .unwrap_or_else(|| deadline_of(inherited, options.timeout.or(M::TIMEOUT).unwrap_or(defaults.timeout))),
            again: M::IDEMPOTENT,
            nested: inherited.is_some(),
        };
        let (name, other) = names::<M>(&*channel);
        let head = CallHead { method: name, ..head };
        channel.check(&head)?;
        let channel = options.layers.layer(channel);
        let metadata = options.metadata;
        let kept = M::IDEMPOTENT || other.is_some();
        let body = match args {
            Arguments::Encoded(body) => body,
            Arguments::Plain(args) => {
                let formats = channel.formats();
                if formats == Formats::NATIVE {
                    let body = encode_args(Format::Native(head.codec), args, max_request::<M>(defaults.max_message))?;
                    if !kept && body.len() <= SHARED_FROM {
                        let request = Request { head, metadata: &metadata, payload: Payload::Borrowed(&body.0) };
                        return Ok(Waiting::new(Ticket::start(channel, request, unread), own, head, None));
                    }
                    Encoded::natively(body.into_bytes())
                } else {
                    encode_in::<M>(formats, head.codec, args, max_request::<M>(defaults.max_message))?
                }
            }
        };
        let retry = Retry { channel, own, metadata, head, body, other, resends: 0, may_have_run: false, unread };
        let ticket = retry.start();
        let own = retry.own.clone();
        Ok(Waiting::new(ticket, own, head, kept.then(|| Box::new(retry))))
    }
}

/// The name by which the peer is to know the method, and the other one to try, where it has two.
fn names<M: Method>(channel: &dyn Channel) -> (&'static MethodNames, Option<&'static MethodNames>) {
    let name = MethodNames::of::<M>();
    match MethodNames::older_of::<M>() {
        Some(older) if channel.is_not_served(name) && !channel.is_not_served(older) => (older, Some(name)),
        older => (name, older),
    }
}

/// The longest arguments, where those of so many bytes are the longest of all.
pub(crate) fn max_request<M: Method>(of_all: usize) -> usize {
    M::MAX_REQUEST.map_or(of_all, |most| most.min(of_all))
}

pub(crate) fn deadline_of(inherited: Option<Instant>, timeout: Duration) -> Instant {
    let own = clock::after(timeout);
    inherited.map_or(own, |inherited| inherited.min(own))
}

/// Encode arguments in each of these formats, and drop them.
pub(crate) fn encode_in<M: Method>(
    formats: Formats,
    codec: CodecId,
    args: M::Args,
    limit: usize,
) -> Result<Encoded, RpcError> {
    let gorpc = formats.gorpc.filter(|_| M::GORPC.is_some()).map(Format::Gorpc);
    let native = formats.native.then_some(Format::Native(codec));
    let write = |format: Format| encode_with(|out| format.encode_args(&args, out, limit)).map(Scratch::into_bytes);
    let encoded = Encoded { native: native.map(write), gorpc: gorpc.map(write) };
    caught(move || drop(args));
    match &encoded {
        Encoded { native: None, gorpc: None } => Err(not_named()),
        // What can't be written in one format may be in the other, and it isn't known yet which one counts.
        Encoded { native: Some(Err(error)), gorpc: None } => Err(error.clone()),
        _ => Ok(encoded),
    }
}

/// Encode arguments and drop them; neither may take the caller's task down.
pub(crate) fn encode_args<A: serde::Serialize>(format: Format, args: A, limit: usize) -> Result<Scratch, RpcError> {
    encode_with(move |out| format.encode_args(&args, out, limit))
}

/// Encode what `encode` encodes, which may not take the caller's task down.
fn encode_with(encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>) -> Result<Scratch, RpcError> {
    let encoded = caught(move || {
        let mut body = Scratch::take();
        encode(&mut body.0).map(|()| body)
    });
    match encoded {
        Some(Ok(body)) => Ok(body),
        Some(Err(CodecError::TooLarge { limit })) => Err(RpcError::never_sent(
            ErrorKind::TooLarge,
            format_args!("the arguments are larger than {limit} bytes ({MESSAGE_LIMIT}, or the method's max_request)"),
        )),
        Some(Err(error @ CodecError::Unsupported(_))) => {
            Err(RpcError::never_sent(ErrorKind::UnsupportedCodec, &error).because(error))
        }
        Some(Err(error)) => Err(RpcError::never_sent(ErrorKind::InvalidRequest, &error).because(error)),
        None => Err(RpcError::never_sent(ErrorKind::InvalidRequest, "encoding the arguments panicked")),
    }
}

/// What the handler gave, or why that can't be read.
fn decode_reply<M: Method>(format: Format, reply: RawReply) -> Result<Result<M::Output, M::Error>, RpcError> {
    let size = size_of::<(M::Output, M::Error)>();
    if stack::needed(size) == 0 {
        return decode_here::<M>(format, reply);
    }
    *stack::with_room(size, || Box::new(decode_here::<M>(format, reply)))
}

fn decode_here<M: Method>(format: Format, reply: RawReply) -> Result<Result<M::Output, M::Error>, RpcError> {
    let unreadable = |error: CodecError| RpcError::answered(ErrorKind::BadReply, &error).because(error);
    let received = |Received(value): Received<M::Output>| Ok(value);
    let decoded = caught(|| match reply {
        RawReply::Value(body) => format.decode(MethodNames::of::<M>(), &body).map(received).map_err(unreadable),
        RawReply::Error(body) => M::Error::from_application(format, &body).map(Err),
    });
    decoded.unwrap_or_else(|| Err(RpcError::answered(ErrorKind::BadReply, "decoding the reply panicked")))
}

impl Retry {
    /// Make the call.
    fn start(&self) -> Ticket {
        let head = CallHead { again: self.head.again && self.resends < MAX_RESENDS, ..self.head };
        let request = Request { head, metadata: &self.metadata, payload: Payload::Encoded(&self.body) };
        Ticket::start(self.channel.clone(), request, self.unread.clone())
    }

    fn again(self) -> Waiting {
        let (ticket, own, head, may_have_run) = (self.start(), self.own.clone(), self.head, self.may_have_run);
        Waiting { may_have_run, ..Waiting::new(ticket, own, head, Some(Box::new(self))) }
    }
}

impl Waiting {
    fn new(ticket: Ticket, own: Option<Arc<dyn Network>>, head: CallHead, retry: Option<Box<Retry>>) -> Self {
        Waiting {
            ticket,
            codec: head.codec,
            retry,
            may_have_run: false,
            deadline: head.deadline,
            own_timer: None,
            was_polled: false,
            _own: own,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        if let Poll::Ready(answer) = self.ticket.poll(cx) {
            return Poll::Ready(answer);
        }
        if !self.was_polled {
            self.was_polled = true;
            if !self.ticket.is_driven_here() {
                self.own_timer = Some(Timer::at(self.deadline + PATIENCE));
            }
        }
        match &mut self.own_timer {
            Some(timer) => ready!(Pin::new(timer).poll(cx)),
            None => return Poll::Pending,
        }
        self.retry = None;
        let error = RpcError::may_have_run(ErrorKind::DeadlineExceeded, "and the node was not driven meanwhile");
        Poll::Ready(Err(error).into())
    }

    /// What to make again after this result, if the call can be made again.
    fn resend(&mut self, result: &RawResult) -> Option<(Duration, Retry)> {
        let Err(error) = result else { return None };
        if error.kind() != ErrorKind::ConnectionLost || error.delivery() == Delivery::Answered {
            return None;
        }
        let mut retry = self.retry.take().filter(|retry| retry.head.again)?;
        let delay = resend_delay(retry.resends);
        if retry.resends >= MAX_RESENDS || clock::now() + delay >= self.deadline {
            return None;
        }
        retry.resends += 1;
        retry.may_have_run |= error.delivery() == Delivery::MayHaveRun;
        Some((delay, *retry))
    }

    /// What to make instead after this result, if the peer doesn't have the method and may have it by its other name.
    fn by_other_name(&mut self, result: &RawResult) -> Option<Retry> {
        let Err(error) = result else { return None };
        if error.kind() != ErrorKind::NotServed || error.delivery() != Delivery::NeverSent {
            return None;
        }
        let mut retry = self.retry.take_if(|retry| retry.other.is_some())?;
        retry.channel.note_not_served(retry.head.method);
        retry.head.method = retry.other.take()?;
        retry.may_have_run = self.may_have_run;
        Some(*retry)
    }

    /// An error of the last attempt speaks for all of them.
    fn said_of_all(&self, error: RpcError) -> RpcError {
        if self.may_have_run { error.if_never_sent(Delivery::MayHaveRun) } else { error }
    }
}

impl<M: Method> Future for Call<M> {
    type Output = Result<M::Output, M::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_answer(cx).map(|(result, _)| result)
    }
}

/// What [`Call::with_metadata`] gives: a call whose answer comes with the metadata that the handler sent along.
///
/// Dropping it cancels the call, as dropping the [`Call`] does.
#[must_use = "a call does nothing until it is awaited"]
pub struct CallWithMetadata<M: Method>(Call<M>);

impl<M: Method> Future for CallWithMetadata<M> {
    type Output = (Result<M::Output, M::Error>, Metadata);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_answer(cx).map(|(result, metadata)| (result, metadata.map(|boxed| *boxed).unwrap_or_default()))
    }
}

impl<M: Method> fmt::Debug for CallWithMetadata<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The outcome of a call, with what the handler sent along.
type Answered<M> = (Result<<M as Method>::Output, <M as Method>::Error>, Option<Box<Metadata>>);

impl<M: Method> Call<M> {
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answered<M>> {
        let peer = self.peer;
        let failed =
            |error: RpcError, metadata| Poll::Ready((Err(M::Error::from_rpc(error.about(peer, M::NAME))), metadata));
        loop {
            self.state = match mem::replace(&mut self.state, State::Done) {
                State::Ready(start) => self.start(start).map_or_else(State::Failed, State::Waiting),
                State::Failed(error) => return failed(error, None),
                State::Waiting(mut waiting) => {
                    let Poll::Ready(Answer { result, metadata, gorpc }) = waiting.poll(cx) else {
                        self.state = State::Waiting(waiting);
                        return Poll::Pending;
                    };
                    if let Some(retry) = waiting.by_other_name(&result) {
                        State::Waiting(retry.again())
                    } else if let Some((delay, retry)) = waiting.resend(&result) {
                        State::Backoff { until: Timer::at(clock::now() + delay), retry }
                    } else {
                        let format = gorpc.map_or(Format::Native(waiting.codec), Format::Gorpc);
                        return match result.and_then(|reply| decode_reply::<M>(format, reply)) {
                            Ok(outcome) => Poll::Ready((outcome, metadata)),
                            Err(error) => failed(waiting.said_of_all(error), metadata),
                        };
                    }
                }
                State::Backoff { mut until, retry } => {
                    if Pin::new(&mut until).poll(cx).is_pending() {
                        self.state = State::Backoff { until, retry };
                        return Poll::Pending;
                    }
                    State::Waiting(retry.again())
                }
                State::Done => return Poll::Pending,
            };
        }
    }
}

// Nothing in a call is pinned in place: its one inner future is boxed.
impl<M: Method> Unpin for Call<M> {}

impl<M: Method> Drop for Call<M> {
    fn drop(&mut self) {
        if let State::Ready(start) = mem::replace(&mut self.state, State::Done) {
            caught(move || drop(start));
        }
    }
}

impl<M: Method> fmt::Debug for Call<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Ready(_) => "ready",
            State::Waiting(_) => "waiting",
            State::Backoff { .. } => "backoff",
            State::Failed(_) | State::Done => "done",
        };
        f.debug_struct("Call").field("method", &M::NAME).field("peer", &self.peer).field("state", &state).finish()
    }
}

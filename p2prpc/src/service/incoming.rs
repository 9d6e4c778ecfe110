//! A call on its way in: arguments to decode, a handler to run, a reply to encode.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;

#[cfg(test)]
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::accounts::PeerAccount;
use crate::call::{Context, ReplyMetadata};
use crate::codec::{CodecError, Format, MethodNames};
use crate::error::sealed::FromReply;
use crate::error::{ErrorKind, Wraps};
use crate::limits::MESSAGE_LIMIT;
use crate::metadata::Metadata;
use crate::panics::caught;
use crate::scratch::Scratch;
use crate::service::{ItemSink, Method, Sent, StreamParts, Value};
use crate::stack;

/// A handler under way. What it gives is the encoded reply.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Outcome> + Send + 'static>>;

/// How a handler reply, and what it sends along.
pub struct Outcome {
    pub(crate) reply: Reply,
    pub(crate) metadata: Option<Box<Metadata>>,
}

pub(crate) enum Reply {
    /// With the method's return value.
    Value(Scratch),
    /// With an error of its own.
    Error(Scratch),
    /// Without a word of its own.
    Failed(ErrorKind, String),
    /// With a word for which there was no room.
    NoRoom,
    /// All items of a streaming method have been sent.
    End,
}

/// What the caller hears of [`Reply::NoRoom`].
pub(crate) const NO_ROOM: &str = "the handler has answered, and too many answers wait to be read";

impl Reply {
    /// The bytes of the encoded reply, if there is one.
    pub(crate) fn body_len(&self) -> Option<usize> {
        match self {
            Reply::Value(body) | Reply::Error(body) => Some(body.len()),
            Reply::Failed(..) | Reply::NoRoom | Reply::End => None,
        }
    }
}

impl Outcome {
    pub(crate) fn failed(kind: ErrorKind, detail: impl fmt::Display) -> Self {
        Outcome { reply: Reply::Failed(kind, detail.to_string()), metadata: None }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reply {
            Reply::Value(body) => f.debug_tuple("Response").field(&body.len()).finish(),
            Reply::Error(body) => f.debug_tuple("Application").field(&body.len()).finish(),
            Reply::Failed(kind, detail) => f.debug_tuple("Failed").field(kind).field(detail).finish(),
            Reply::NoRoom => f.write_str("NoRoom"),
            Reply::End => f.write_str("End"),
        }
    }
}

/// A request whose body is complete, before its arguments are decoded.
pub struct Incoming<'a> {
    pub(crate) format: Format,
    pub(crate) body: &'a [u8],
    pub(crate) cx: Context,
    pub(crate) account: Option<Arc<PeerAccount>>,
    pub(crate) max_reply: usize,
    /// Of a call that streams.
    pub(crate) stream: Option<StreamParts>,
}

impl Incoming<'_> {
    pub(crate) fn not_served(self) -> HandlerFuture {
        Box::pin(std::future::ready(Outcome::failed(ErrorKind::NotServed, "")))
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("format", &self.format)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Decode the arguments, run a handler that cannot fail, encode what it returns.
pub(crate) fn infallible<A, O, F, Fut>(
    incoming: Incoming<'_>,
    method: &'static MethodNames,
    reply_metadata: Option<ReplyMetadata>,
    run: F,
) -> HandlerFuture
where
    A: DeserializeOwned,
    O: Value,
    F: FnOnce(Context, A) -> Fut,
    Fut: Future<Output = O> + Send + 'static,
{
    let Incoming { format, body, cx, account, max_reply, .. } = incoming;
    let args = match decoded(format, method, body) {
        Ok(args) => args,
        Err(refused) => return refused,
    };
    let handler = run(cx, args);
    Box::pin(async move {
        let reply = {
            let value = handler.await;
            encoded(|out| format.encode(&Sent(&value), out, max_reply), Reply::Value)
        };
        with_room(account.as_deref(), reply, reply_metadata).await
    })
}

/// Decode the arguments, run a handler that can fail, encode its value or its error.
fn answer<A, O, E, W, F, Fut>(
    incoming: Incoming<'_>,
    method: &'static MethodNames,
    reply_metadata: Option<ReplyMetadata>,
    run: F,
    wrap: impl FnOnce(E) -> W + Send + 'static,
    encode_error: impl FnOnce(Format, &W, &mut Vec<u8>, usize) -> Result<(), CodecError> + Send + 'static,
) -> HandlerFuture
where
    A: DeserializeOwned,
    O: Value,
    E: 'static,
    W: 'static,
    F: FnOnce(Context, A) -> Fut,
    Fut: Future<Output = Result<O, E>> + Send + 'static,
{
    let Incoming { format, body, cx, account, max_reply, .. } = incoming;
    let args = match decoded(format, method, body) {
        Ok(args) => args,
        Err(refused) => return refused,
    };
    let handler = run(cx, args);
    Box::pin(async move {
        let reply = match handler.await {
            Ok(value) => encoded(|out| format.encode(&Sent(&value), out, max_reply), Reply::Value),
            Err(error) => {
                let error = wrap(error);
                encoded(|out| encode_error(format, &error, out, max_reply), Reply::Error)
            }
        };
        with_room(account.as_deref(), reply, reply_metadata).await
    })
}

/// Run a handler of `M` that cannot fail. Generated code calls it.
pub fn run<M, F, Fut>(incoming: Incoming<'_>, run: F) -> HandlerFuture
where
    M: Method,
    F: FnOnce(Context, M::Args) -> Fut,
    Fut: Future<Output = M::Output> + Send + 'static,
{
    let reply_metadata = M::TAKES_CONTEXT.then(|| incoming.cx.reply_metadata());
    on_large_stack::<M>(|| infallible(incoming, MethodNames::of::<M>(), reply_metadata, run))
}

/// Run a handler of `M` that can fail. Generated code calls it.
pub fn run_fallible<M, F, Fut, E>(incoming: Incoming<'_>, run: F) -> HandlerFuture
where
    M: Method,
    M::Error: Wraps<E>,
    E: 'static,
    F: FnOnce(Context, M::Args) -> Fut,
    Fut: Future<Output = Result<M::Output, E>> + Send + 'static,
{
    let reply_metadata = M::TAKES_CONTEXT.then(|| incoming.cx.reply_metadata());
    on_large_stack::<M>(|| {
        answer(
            incoming,
            MethodNames::of::<M>(),
            reply_metadata,
            run,
            M::Error::wrap,
            |format, error: &M::Error, out, max| error.encode_application(format, out, max),
        )
    })
}

/// Run a handler of `M` that sends items: what it gives is how the call ends. Generated code calls it.
pub fn run_streaming<M, F, Fut>(incoming: Incoming<'_>, run: F) -> HandlerFuture
where
    M: Method,
    F: FnOnce(Context, M::Args, ItemSink<M>) -> Fut,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    let Some(sink) = incoming.sink::<M>() else { return incoming.not_streamed() };
    on_large_stack::<M>(|| {
        let Incoming { format, body, cx, .. } = incoming;
        match decoded(format, MethodNames::of::<M>(), body) {
            Ok(args) => Box::pin(run(cx, args, sink)),
            Err(refused) => refused,
        }
    })
}

/// Makes a handler, and polls it, where there is stack enough for what it takes and gives.
fn on_large_stack<M: Method>(make: impl FnOnce() -> HandlerFuture) -> HandlerFuture {
    let size = M::ARGS_SIZE + size_of::<M::Output>();
    let mut handler = stack::with_room(size, make);
    if stack::needed(size) == 0 {
        return handler;
    }
    Box::pin(poll_fn(move |cx| stack::with_room(size, || handler.as_mut().poll(cx))))
}

/// A method of no service.
#[cfg(test)]
pub(crate) const PROBE: &MethodNames = &MethodNames::of_test("Probe.Method", None);

/// Run a handler that can fail.
#[cfg(test)]
pub(crate) fn fallible<A, O, E, F, Fut>(incoming: Incoming<'_>, run: F) -> HandlerFuture
where
    A: DeserializeOwned,
    O: Value,
    E: Serialize + fmt::Display + Send + 'static,
    F: FnOnce(Context, A) -> Fut,
    Fut: Future<Output = Result<O, E>> + Send + 'static,
{
    answer(incoming, PROBE, None, run, std::convert::identity, |format, error, out, max| {
        format.encode_error(error, out, max)
    })
}

/// The arguments, or the answer to a call whose arguments can't be read.
fn decoded<A: DeserializeOwned>(format: Format, method: &MethodNames, body: &[u8]) -> Result<A, HandlerFuture> {
    let refused = match caught(|| format.decode_args(method, body)) {
        Some(Ok(args)) => return Ok(args),
        Some(Err(error @ CodecError::Unsupported(_))) => Outcome::failed(ErrorKind::UnsupportedCodec, error),
        Some(Err(error)) => Outcome::failed(ErrorKind::BadArguments, error),
        None => Outcome::failed(ErrorKind::BadArguments, "decoding the arguments panicked"),
    };
    Err(Box::pin(std::future::ready(refused)))
}

/// A reply is handed on once those before it leave room. What waits for that is encoded, and so has a size that is
/// bounded too: a peer that calls and doesn't read costs no more than its share.
fn with_room(
    account: Option<&PeerAccount>,
    reply: Reply,
    reply_metadata: Option<ReplyMetadata>,
) -> impl Future<Output = Outcome> + Send {
    // Few replies have to wait, and every handler would have to have room for it.
    let wait = match (account, reply.body_len()) {
        (Some(account), Some(bytes)) if !account.has_reply_room() => Some(Box::pin(account.reply_room(bytes))),
        _ => None,
    };
    async move {
        let room = match wait {
            Some(wait) => wait.await,
            None => true,
        };
        if room {
            Outcome { reply, metadata: reply_metadata.and_then(ReplyMetadata::take) }
        } else {
            Outcome { reply: Reply::NoRoom, metadata: None }
        }
    }
}

pub(super) fn encoded(
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>,
    reply: fn(Scratch) -> Reply,
) -> Reply {
    let mut body = Scratch::take();
    let written = caught(|| encode(&mut body.0));
    encode_failure(written).unwrap_or_else(|| {
        body.trim();
        reply(body)
    })
}

/// What is answered where something could not be encoded; within is `None` for a panic.
pub(super) fn encode_failure(written: Option<Result<(), CodecError>>) -> Option<Reply> {
    Some(match written {
        Some(Ok(())) => return None,
        Some(Err(CodecError::TooLarge { limit })) => Reply::Failed(
            ErrorKind::TooLarge,
            format!("the reply is larger than {limit} bytes ({MESSAGE_LIMIT}, there or here)"),
        ),
        Some(Err(error)) => Reply::Failed(ErrorKind::BadReply, error.to_string()),
        None => Reply::Failed(ErrorKind::BadReply, "encoding the reply panicked".into()),
    })
}

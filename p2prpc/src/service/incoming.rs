//! A call on its way in: arguments to decode, a handler to run, a reply to encode.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::{Context, ReplyMetadata};
#[cfg(feature = "gorpc")]
use crate::codec::gorpc::Names;
use crate::codec::{self, CodecError, CodecId};
use crate::error::sealed::FromReply;
use crate::error::{ErrorKind, Wraps};
use crate::limits::{MESSAGE_LIMIT, PeerAccount};
use crate::metadata::Metadata;
use crate::panics::caught;
use crate::scratch::Scratch;
use crate::service::{Method, Sent, Value};
use crate::stack;

/// A handler under way. What it gives is the encoded reply.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Outcome> + Send + 'static>>;

/// How a handler ended, and what it sends along.
pub struct Outcome {
    pub(crate) ended: Ended,
    pub(crate) metadata: Option<Box<Metadata>>,
}

pub(crate) enum Ended {
    /// With the method's return value.
    Response(Scratch),
    /// With an error of its own.
    Application(Scratch),
    /// Without a word of its own.
    Failed(ErrorKind, String),
    /// With a word for which there was no room.
    NoRoom,
}

/// What the caller hears of [`Ended::NoRoom`].
pub(crate) const NO_ROOM: &str = "the handler has answered, and too many answers wait to be read";

impl Ended {
    /// The bytes of the encoded reply, if there is one.
    pub(crate) fn body_len(&self) -> Option<usize> {
        match self {
            Ended::Response(body) | Ended::Application(body) => Some(body.len()),
            Ended::Failed(..) | Ended::NoRoom => None,
        }
    }
}

impl Outcome {
    pub(crate) fn failed(kind: ErrorKind, detail: impl fmt::Display) -> Self {
        Outcome { ended: Ended::Failed(kind, detail.to_string()), metadata: None }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ended {
            Ended::Response(body) => f.debug_tuple("Response").field(&body.len()).finish(),
            Ended::Application(body) => f.debug_tuple("Application").field(&body.len()).finish(),
            Ended::Failed(kind, detail) => f.debug_tuple("Failed").field(kind).field(detail).finish(),
            Ended::NoRoom => f.write_str("NoRoom"),
        }
    }
}

/// How arguments and replies are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Native(CodecId),
    #[cfg(feature = "gorpc")]
    Gorpc(Names),
}

impl Form {
    /// The same, of this method.
    #[cfg_attr(
        not(feature = "gorpc"),
        expect(clippy::extra_unused_type_parameters, reason = "only gorpc's names are a method's own")
    )]
    fn of<M: Method>(self) -> Self {
        match self {
            Form::Native(codec) => Form::Native(codec),
            #[cfg(feature = "gorpc")]
            Form::Gorpc(_) => Form::Gorpc(names_of::<M>()),
        }
    }

    fn decode_args<A: DeserializeOwned>(self, body: &[u8]) -> Result<A, CodecError> {
        match self {
            Form::Native(codec) => codec::decode(codec, body),
            #[cfg(feature = "gorpc")]
            Form::Gorpc(names) => codec::gorpc::decode_args(body, names),
        }
    }

    fn encode<T: Serialize>(self, value: &T, out: &mut Vec<u8>, max: usize) -> Result<(), CodecError> {
        match self {
            Form::Native(codec) => codec::encode(codec, value, out, max),
            #[cfg(feature = "gorpc")]
            Form::Gorpc(_) => codec::gorpc::encode(value, out, max),
        }
    }

    /// In Go an error is its text.
    pub(crate) fn encode_error<E: Serialize + fmt::Display>(
        self,
        error: &E,
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CodecError> {
        match self {
            Form::Native(codec) => codec::encode(codec, error, out, max),
            #[cfg(feature = "gorpc")]
            Form::Gorpc(_) => codec::gorpc::write_text(error, out, max),
        }
    }
}

/// Of which method values of Go peers are.
#[cfg(feature = "gorpc")]
pub(crate) fn names_of<M: Method>() -> Names {
    Names::new(M::NAME, M::GORPC_STRICT)
}

/// A request whose body is complete, before its arguments are decoded.
pub struct Incoming<'a> {
    pub(crate) form: Form,
    pub(crate) body: &'a [u8],
    pub(crate) cx: Context,
    pub(crate) account: Option<Arc<PeerAccount>>,
    pub(crate) max_reply: usize,
}

impl Incoming<'_> {
    pub(crate) fn not_served(self) -> HandlerFuture {
        Box::pin(std::future::ready(Outcome::failed(ErrorKind::NotServed, "")))
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("form", &self.form).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// Decode the arguments, run a handler that cannot fail, encode what it returns.
pub(crate) fn infallible<A, O, F, Fut>(
    incoming: Incoming<'_>,
    reply_metadata: Option<ReplyMetadata>,
    run: F,
) -> HandlerFuture
where
    A: DeserializeOwned,
    O: Value,
    F: FnOnce(Context, A) -> Fut,
    Fut: Future<Output = O> + Send + 'static,
{
    let Incoming { form, body, cx, account, max_reply } = incoming;
    let args = match decoded(form, body) {
        Ok(args) => args,
        Err(refused) => return refused,
    };
    let handler = run(cx, args);
    Box::pin(async move {
        let ended = {
            let value = handler.await;
            encoded(|out| form.encode(&Sent(&value), out, max_reply), Ended::Response)
        };
        with_room(account.as_deref(), ended, reply_metadata).await
    })
}

/// Decode the arguments, run a handler that can fail, encode its value or its error.
fn answer<A, O, E, W, F, Fut>(
    incoming: Incoming<'_>,
    reply_metadata: Option<ReplyMetadata>,
    run: F,
    wrap: impl FnOnce(E) -> W + Send + 'static,
    encode_error: impl FnOnce(Form, &W, &mut Vec<u8>, usize) -> Result<(), CodecError> + Send + 'static,
) -> HandlerFuture
where
    A: DeserializeOwned,
    O: Value,
    E: 'static,
    W: 'static,
    F: FnOnce(Context, A) -> Fut,
    Fut: Future<Output = Result<O, E>> + Send + 'static,
{
    let Incoming { form, body, cx, account, max_reply } = incoming;
    let args = match decoded(form, body) {
        Ok(args) => args,
        Err(refused) => return refused,
    };
    let handler = run(cx, args);
    Box::pin(async move {
        let ended = match handler.await {
            Ok(value) => encoded(|out| form.encode(&Sent(&value), out, max_reply), Ended::Response),
            Err(error) => {
                let error = wrap(error);
                encoded(|out| encode_error(form, &error, out, max_reply), Ended::Application)
            }
        };
        with_room(account.as_deref(), ended, reply_metadata).await
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
    let incoming = Incoming { form: incoming.form.of::<M>(), ..incoming };
    on_large_stack::<M>(|| infallible(incoming, reply_metadata, run))
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
    let incoming = Incoming { form: incoming.form.of::<M>(), ..incoming };
    on_large_stack::<M>(|| {
        answer(incoming, reply_metadata, run, M::Error::wrap, |form, error: &M::Error, out, max| {
            error.encode_application(form, out, max)
        })
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
    answer(incoming, None, run, std::convert::identity, |form, error, out, max| form.encode_error(error, out, max))
}

/// The arguments, or the answer to a call whose arguments can't be read.
fn decoded<A: DeserializeOwned>(form: Form, body: &[u8]) -> Result<A, HandlerFuture> {
    let refused = match caught(|| form.decode_args(body)) {
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
    ended: Ended,
    reply_metadata: Option<ReplyMetadata>,
) -> impl Future<Output = Outcome> + Send {
    // Few replies have to wait, and every handler would have to have room for it.
    let wait = match (account, ended.body_len()) {
        (Some(account), Some(bytes)) if !account.has_reply_room() => Some(Box::pin(account.reply_room(bytes))),
        _ => None,
    };
    async move {
        let room = match wait {
            Some(wait) => wait.await,
            None => true,
        };
        if room {
            Outcome { ended, metadata: reply_metadata.and_then(ReplyMetadata::take) }
        } else {
            Outcome { ended: Ended::NoRoom, metadata: None }
        }
    }
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CodecError>, ended: fn(Scratch) -> Ended) -> Ended {
    let mut body = Scratch::take();
    match caught(|| encode(&mut body.0)) {
        Some(Ok(())) => {
            body.trim();
            ended(body)
        }
        Some(Err(CodecError::TooLarge { limit })) => Ended::Failed(
            ErrorKind::TooLarge,
            format!("the reply is larger than {limit} bytes ({MESSAGE_LIMIT}, there or here)"),
        ),
        Some(Err(error)) => Ended::Failed(ErrorKind::BadReply, error.to_string()),
        None => Ended::Failed(ErrorKind::BadReply, "encoding the reply panicked".into()),
    }
}

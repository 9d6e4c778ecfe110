//! What can go wrong with a call, and whether it can have run.

use std::fmt::{self, Debug, Display};
use std::sync::Arc;

use libp2p::PeerId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, CodecError, Format};
use crate::printable::{cut, printable};

/// Whether the handler can have run when a call ends in an error.
///
/// A claim of the other side (for example that it started no handler) is the other side's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The handler has not been started and will not be: calling again is safe.
    NeverSent,
    /// The request, or a part of it, left this node and no answer came: the handler may have run.
    MayHaveRun,
    /// The peer answered: this error is its word.
    Answered,
}

impl Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Delivery::NeverSent => "never sent",
            Delivery::MayHaveRun => "may have run",
            Delivery::Answered => "answered",
        })
    }
}

/// The kinds of failure of a call. [`docs::errors`](crate::docs::errors) has the table with what to do about each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The handler ran and returned its own error.
    Application,
    /// The peer serves no such service or method, or doesn't let us call it. Which of them it doesn't say.
    NotServed,
    /// The arguments could not be decoded by the peer.
    BadArguments,
    /// The handler panicked. The peer's other calls go on.
    Panicked,
    /// A limit on calls or bytes in flight was reached.
    Overloaded,
    /// The deadline of the call passed.
    DeadlineExceeded,
    /// A message is larger than a limit of ours or of the peer's.
    TooLarge,
    /// The codec of the call isn't compiled in, here or there.
    UnsupportedCodec,
    /// The handler was stopped before it answered.
    Cancelled,
    /// The peer is shutting down.
    ShuttingDown,
    /// The reply could not be encoded by the peer, or not be decoded here.
    BadReply,
    /// No connection to the peer could be made.
    Unreachable,
    /// The connection ended while the call was under way.
    ConnectionLost,
    /// The peer is there and doesn't speak this application's protocol.
    NotSupported,
    /// This node has been shut down or dropped.
    Closed,
    /// This node has not been started yet.
    NotStarted,
    /// The call could not be made as asked: arguments that can't be encoded, bad metadata.
    InvalidRequest,
    /// The peer failed in a way that it doesn't explain.
    Internal,
}

impl ErrorKind {
    /// A short name in snake case, for logs and metrics: `not_served`, `deadline_exceeded`, ..
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Application => "application",
            ErrorKind::NotServed => "not_served",
            ErrorKind::BadArguments => "bad_arguments",
            ErrorKind::Panicked => "panicked",
            ErrorKind::Overloaded => "overloaded",
            ErrorKind::DeadlineExceeded => "deadline_exceeded",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::UnsupportedCodec => "unsupported_codec",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::ShuttingDown => "shutting_down",
            ErrorKind::BadReply => "bad_reply",
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::ConnectionLost => "connection_lost",
            ErrorKind::NotSupported => "not_supported",
            ErrorKind::Closed => "closed",
            ErrorKind::NotStarted => "not_started",
            ErrorKind::InvalidRequest => "invalid_request",
            ErrorKind::Internal => "internal",
        }
    }

    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            ErrorKind::Application => "the handler returned an error",
            ErrorKind::NotServed => "the peer serves no such method, or does not let us call it",
            ErrorKind::BadArguments => "the peer could not read the arguments",
            ErrorKind::Panicked => "the handler panicked",
            ErrorKind::Overloaded => "too many calls or bytes are in flight",
            ErrorKind::DeadlineExceeded => "the deadline passed",
            ErrorKind::TooLarge => "the message is too large",
            ErrorKind::UnsupportedCodec => "the codec is not supported",
            ErrorKind::Cancelled => "the handler was stopped before it answered",
            ErrorKind::ShuttingDown => "the peer is shutting down",
            ErrorKind::BadReply => "the reply could not be written or read",
            ErrorKind::Unreachable => "the peer could not be reached",
            ErrorKind::ConnectionLost => "the connection was lost",
            ErrorKind::NotSupported => "the peer does not speak this application's protocol",
            ErrorKind::Closed => "the node is closed",
            ErrorKind::NotStarted => "the node has not been started",
            ErrorKind::InvalidRequest => "the call could not be made",
            ErrorKind::Internal => "the peer failed",
        }
    }
}

impl Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a call failed, for every reason but the handler's own error.
///
/// `Display` is one sentence for a person, with the delivery behind it, which is "never run" behind the words of a Go peer that refused it.
/// Text that came from the peer is cut to 256 bytes and escaped in it.
#[derive(Clone)]
pub struct RpcError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    delivery: Delivery,
    method: Option<&'static str>,
    peer: Option<PeerId>,
    detail: Box<str>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl RpcError {
    /// An error of this kind, with a detail that `Display` puts behind the kind's own sentence.
    ///
    /// The detail is cut to 256 bytes.
    pub fn new(kind: ErrorKind, delivery: Delivery, detail: impl Display) -> Self {
        let detail = detail.to_string();
        RpcError(Box::new(Inner {
            kind,
            delivery,
            method: None,
            peer: None,
            detail: cut(&detail).into(),
            source: None,
        }))
    }

    /// Say another delivery, if this one is [`Delivery::NeverSent`].
    pub(crate) fn if_never_sent(mut self, delivery: Delivery) -> Self {
        if self.0.delivery == Delivery::NeverSent {
            self.0.delivery = delivery;
        }
        self
    }

    pub(crate) fn never_sent(kind: ErrorKind, detail: impl Display) -> Self {
        Self::new(kind, Delivery::NeverSent, detail)
    }

    pub(crate) fn may_have_run(kind: ErrorKind, detail: impl Display) -> Self {
        Self::new(kind, Delivery::MayHaveRun, detail)
    }

    pub(crate) fn answered(kind: ErrorKind, detail: impl Display) -> Self {
        Self::new(kind, Delivery::Answered, detail)
    }

    /// With what it came of, for those who follow [`source`](std::error::Error::source).
    pub(crate) fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    pub(crate) fn about(mut self, peer: PeerId, method: &'static str) -> Self {
        self.0.peer = Some(peer);
        self.0.method = Some(method);
        self
    }

    /// In words of its own, as Go peers have them: behind those "never sent" would be no answer of theirs.
    fn was_refused(&self) -> bool {
        self.0.kind == ErrorKind::NotServed && !self.0.detail.is_empty()
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the handler can have run.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// The method that was called, as `Service.Method`, where it is known.
    pub fn method(&self) -> Option<&'static str> {
        self.0.method
    }

    /// The peer that was called, where it is known.
    pub fn peer(&self) -> Option<PeerId> {
        self.0.peer
    }

    /// What is known beyond the kind; empty where nothing is. It may be a peer's text: print it through [`printable`](crate::printable).
    pub fn detail(&self) -> &str {
        &self.0.detail
    }
}

impl Debug for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcError")
            .field("kind", &self.0.kind)
            .field("delivery", &self.0.delivery)
            .field("method", &self.0.method)
            .field("peer", &self.0.peer.map(|peer| peer.to_string()))
            .field("detail", &self.0.detail)
            .finish()
    }
}

impl Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.method, self.0.peer) {
            (Some(method), Some(peer)) => write!(f, "{method} at {peer}: ")?,
            (Some(method), None) => write!(f, "{method}: ")?,
            (None, Some(peer)) => write!(f, "{peer}: ")?,
            (None, None) => {}
        }
        f.write_str(self.0.kind.sentence())?;
        if !self.0.detail.is_empty() {
            write!(f, ": {}", printable(&self.0.detail))?;
        }
        let delivery: &dyn Display = if self.was_refused() { &"never run" } else { &self.0.delivery };
        write!(f, " ({delivery})")
    }
}

impl std::error::Error for RpcError {
    /// What the error came of, where that is an error of its own: a [`CodecError`](crate::codec::CodecError), or the
    /// [`io::Error`](std::io::Error) for which no connection could be made.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Why a call to a method that returns a `Result` failed: with the handler's own error, or on the way.
#[derive(Clone, Debug)]
pub enum CallError<E> {
    /// The handler's own error.
    Application(E),
    /// Everything else.
    Rpc(RpcError),
}

impl<E> CallError<E> {
    /// The handler's own error, if it is that.
    pub fn application(&self) -> Option<&E> {
        match self {
            CallError::Application(error) => Some(error),
            CallError::Rpc(_) => None,
        }
    }
}

impl<E: OwnError> Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Application(error) => Display::fmt(&printable(error), f),
            CallError::Rpc(error) => Display::fmt(error, f),
        }
    }
}

impl<E: OwnError> std::error::Error for CallError<E> {
    /// What the library's error came of. The handler's own error has crossed a network, and nothing but itself came with it.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CallError::Application(_) => None,
            CallError::Rpc(error) => error.source(),
        }
    }
}

impl<E> From<RpcError> for CallError<E> {
    fn from(error: RpcError) -> Self {
        CallError::Rpc(error)
    }
}

/// What the two error types of calls, [`RpcError`] and [`CallError`], have in common. It is implemented for these two only.
pub trait Failure: std::error::Error + Send + Sync + Sized + 'static + sealed::FromReply {
    /// What went wrong; [`ErrorKind::Application`] for the handler's own error.
    fn kind(&self) -> ErrorKind;
    /// Whether the handler can have run.
    fn delivery(&self) -> Delivery;
    /// The error of the way, unless it is the handler's own.
    fn as_rpc(&self) -> Option<&RpcError>;
}

impl Failure for RpcError {
    fn kind(&self) -> ErrorKind {
        RpcError::kind(self)
    }

    fn delivery(&self) -> Delivery {
        RpcError::delivery(self)
    }

    fn as_rpc(&self) -> Option<&RpcError> {
        Some(self)
    }
}

/// What a method can fail with: all types that are `Serialize + DeserializeOwned + Debug + Display + Send + Sync + 'static`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a service's method: it cannot travel, or be told",
    label = "an error is `Serialize`, `Deserialize`, `Debug`, `Display`, `Send`, `Sync` and `'static`",
    note = "`String` is, and so is an enum with `#[derive(Debug, serde::Serialize, serde::Deserialize, thiserror::Error)]`",
    note = "`anyhow::Error`, `Box<dyn Error>` and `io::Error` cannot travel: send their text, `error.to_string()`"
)]
pub trait OwnError: Serialize + DeserializeOwned + Debug + Display + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<E: Serialize + DeserializeOwned + Debug + Display + Send + Sync + 'static> OwnError for E {}

/// Made of a handler's own error, whatever that is.
pub trait Wraps<E> {
    /// Wrap it.
    fn wrap(error: E) -> Self;
}

impl<E> Wraps<E> for CallError<E> {
    fn wrap(error: E) -> Self {
        CallError::Application(error)
    }
}

impl<E: OwnError> Failure for CallError<E> {
    fn kind(&self) -> ErrorKind {
        self.as_rpc().map_or(ErrorKind::Application, RpcError::kind)
    }

    fn delivery(&self) -> Delivery {
        self.as_rpc().map_or(Delivery::Answered, RpcError::delivery)
    }

    fn as_rpc(&self) -> Option<&RpcError> {
        match self {
            CallError::Application(_) => None,
            CallError::Rpc(error) => Some(error),
        }
    }
}

pub(crate) mod sealed {
    use super::*;

    /// How an error comes out of a reply.
    pub trait FromReply {
        fn from_rpc(error: RpcError) -> Self;
        /// The handler's own error, as it is sent to a caller.
        fn encode_application(&self, format: Format, out: &mut Vec<u8>, max: usize) -> Result<(), CodecError>;
        /// The handler's own error, unless that can't be read. That of a Go peer's handler is a text.
        fn from_application(format: Format, body: &[u8]) -> Result<Self, RpcError>
        where
            Self: Sized;
    }

    impl FromReply for RpcError {
        fn from_rpc(error: RpcError) -> Self {
            error
        }

        fn encode_application(&self, format: Format, out: &mut Vec<u8>, max: usize) -> Result<(), CodecError> {
            format.encode_error(&self.to_string(), out, max)
        }

        fn from_application(format: Format, body: &[u8]) -> Result<Self, RpcError> {
            let detail = "an error of the handler's came, and the method here cannot fail";
            Err(match format {
                Format::Native(_) => RpcError::answered(ErrorKind::BadReply, detail),
                Format::Gorpc(_) => RpcError::answered(ErrorKind::Application, String::from_utf8_lossy(body)),
            })
        }
    }

    impl<E: OwnError> FromReply for CallError<E> {
        fn encode_application(&self, format: Format, out: &mut Vec<u8>, max: usize) -> Result<(), CodecError> {
            match self {
                CallError::Application(error) => format.encode_error(error, out, max),
                CallError::Rpc(error) => format.encode_error(&error.to_string(), out, max),
            }
        }

        fn from_rpc(error: RpcError) -> Self {
            CallError::Rpc(error)
        }

        fn from_application(format: Format, body: &[u8]) -> Result<Self, RpcError> {
            let codec = match format {
                Format::Native(codec) => codec,
                Format::Gorpc(_) => {
                    // Not every `E` can be made of a text: what can't be is told as it came.
                    let text = String::from_utf8_lossy(body);
                    let error =
                        E::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(&text));
                    return error
                        .map(CallError::Application)
                        .map_err(|_| RpcError::answered(ErrorKind::Application, text));
                }
            };
            match codec::decode(codec, body) {
                Ok(error) => Ok(CallError::Application(error)),
                Err(error) => Err(RpcError::answered(ErrorKind::BadReply, &error).because(error)),
            }
        }
    }
}

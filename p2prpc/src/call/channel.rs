//! The seam between those who make calls and those who carry them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use libp2p::PeerId;

use super::{Answer, Formats, Opening, PendingCall, UnreadReplies};
use crate::codec::{CodecId, MethodNames};
use crate::error::{ErrorKind, RpcError};
use crate::metadata::Metadata;

/// The way to one peer, whether it is connected or not, far or this node itself.
pub(crate) trait Channel: Send + Sync + 'static {
    /// The formats in which a call has to be there, so that it can be sent whatever the peer turns out to speak.
    fn formats(&self) -> Formats {
        Formats::NATIVE
    }
    /// Is the method at the other end what it is here? It is an error where the node is to make sure of it.
    fn check(&self, _: &CallHead) -> Result<(), RpcError> {
        Ok(())
    }
    /// The peer has said that it has no such method: that is remembered until it is connected anew.
    fn note_not_served(&self, _: &'static MethodNames) {}
    /// True if it has said so of this one.
    fn is_not_served(&self, _: &'static MethodNames) -> bool {
        false
    }
    /// Take a call. It never blocks; all that becomes of the call, failures included, comes through `call`.
    fn submit(&self, request: Request<'_>, call: &Arc<PendingCall>);
    /// The caller has gone: forget the call, and tell the peer if it was told of it.
    fn cancel(&self, call: &Arc<PendingCall>);
    /// A substream for a streaming call, which nothing has been sent on for it.
    fn open_stream(&self, _: &CallHead) -> Opening {
        let error = RpcError::never_sent(ErrorKind::NotSupported, "streaming calls don't go this way");
        Box::pin(std::future::ready(Err(error)))
    }
    /// Run a task that looks after a call of this channel, on the runtime of its node. False if there is none.
    fn spawn(&self, _: Pin<Box<dyn Future<Output = ()> + Send>>) -> bool {
        false
    }
    /// True if the tasks that look after the call run wherever its caller runs. A caller elsewhere keeps its deadline itself.
    fn is_driven_here(&self) -> bool {
        true
    }
}

/// A call that was handed over. Dropping it before it is answered cancels the call.
pub(crate) struct Ticket {
    channel: Arc<dyn Channel>,
    call: Arc<PendingCall>,
    answered: bool,
}

impl Ticket {
    /// Hand a call over; one of a call to many peers with what those have in common.
    pub(crate) fn start(channel: Arc<dyn Channel>, request: Request<'_>, unread: Option<Arc<UnreadReplies>>) -> Self {
        let call = Arc::new(PendingCall::new(unread));
        channel.submit(request, &call);
        Ticket { channel, call, answered: false }
    }

    pub(crate) fn is_driven_here(&self) -> bool {
        self.channel.is_driven_here()
    }

    /// The answer, once.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let answer = self.call.poll(cx);
        self.answered |= answer.is_ready();
        answer
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.answered {
            self.channel.cancel(&self.call);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("call", &self.call).finish_non_exhaustive()
    }
}

/// A call on its way out.
pub(crate) struct Request<'a> {
    pub(crate) head: CallHead,
    pub(crate) metadata: &'a Metadata,
    pub(crate) payload: Payload<'a>,
}

/// What holds for a call in whichever format it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallHead {
    pub(crate) method: &'static MethodNames,
    /// Of the native format.
    pub(crate) codec: CodecId,
    pub(crate) deadline: Instant,
    /// Its caller makes it again when it ends as [`ErrorKind::ConnectionLost`]: it needn't wait for a connection that is silent.
    pub(crate) again: bool,
    /// It is made inside a handler.
    pub(crate) nested: bool,
}

/// The encoded arguments.
pub(crate) enum Payload<'a> {
    /// Small, in the native format alone, and copied by whoever keeps it.
    Borrowed(&'a [u8]),
    /// Shared by whoever keeps it.
    Encoded(&'a Encoded),
}

/// Arguments, in each format that the call may be made in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoded {
    pub(crate) native: Option<Result<Bytes, RpcError>>,
    pub(crate) gorpc: Option<Result<Bytes, RpcError>>,
}

impl Encoded {
    pub(crate) fn natively(body: Bytes) -> Self {
        Encoded { native: Some(Ok(body)), gorpc: None }
    }

    /// # Errors
    /// If they can't be written in gorpc, or have not been.
    pub(crate) fn in_gorpc(&self, method: &MethodNames) -> Result<Bytes, RpcError> {
        match &self.gorpc {
            Some(args) => args.clone(),
            None if method.gorpc.is_none() => Err(not_named()),
            None => Err(other_protocol()),
        }
    }
}

impl Payload<'_> {
    /// # Errors
    /// If they can't be written natively, or have not been.
    pub(crate) fn natively(&self) -> Result<&[u8], RpcError> {
        match self {
            Payload::Borrowed(bytes) => Ok(bytes),
            Payload::Encoded(encoded) => match &encoded.native {
                Some(Ok(bytes)) => Ok(bytes),
                Some(Err(error)) => Err(error.clone()),
                None => Err(other_protocol()),
            },
        }
    }

    /// What [`natively`](Payload::natively) gave, to be kept.
    pub(crate) fn keep(&self, native: &[u8]) -> Bytes {
        match self {
            Payload::Encoded(Encoded { native: Some(Ok(bytes)), .. }) => bytes.clone(),
            _ => Bytes::copy_from_slice(native),
        }
    }

    pub(crate) fn to_encoded(&self) -> Encoded {
        match self {
            Payload::Borrowed(bytes) => Encoded::natively(Bytes::copy_from_slice(bytes)),
            Payload::Encoded(encoded) => (*encoded).clone(),
        }
    }
}

/// What it was encoded for is not what the peer speaks now.
fn other_protocol() -> RpcError {
    RpcError::never_sent(ErrorKind::ConnectionLost, "the peer came back with another protocol")
}

/// What becomes of a call of a Go peer to a service that has no name there.
pub(crate) fn not_named() -> RpcError {
    let detail = "the peer speaks gorpc, and the service has no name in it: #[p2p_service(gorpc = \"..\")]";
    RpcError::never_sent(ErrorKind::NotSupported, detail)
}

/// Where a call goes, what holds for it, and the deadline that it inherits.
pub(crate) struct Found {
    pub(crate) channel: Arc<dyn Channel>,
    pub(crate) defaults: super::CallDefaults,
    pub(crate) deadline: Option<Instant>,
}

/// The way to a peer, as far as it was known when a call was made.
pub(crate) enum Route {
    Known(Found),
    Unknown(super::Handle),
}

impl Route {
    pub(crate) fn resolve(self, peer: PeerId) -> Result<Found, RpcError> {
        match self {
            Route::Known(found) => Ok(found),
            Route::Unknown(handle) => handle.find(peer),
        }
    }
}

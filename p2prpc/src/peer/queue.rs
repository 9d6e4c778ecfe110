//! A call that waits to be sent.

use std::sync::Arc;

use crate::call::{CallHead, Encoded, Payload, PendingCall, Request};
use crate::error::{ErrorKind, RpcError};
use crate::metadata::Metadata;

/// How often a call that was never sent is given to another stream.
pub(super) const MAX_RESENDS: u8 = 2;

/// A call that has not been sent.
pub(super) struct Queued {
    pub(super) call: Arc<PendingCall>,
    pub(super) head: CallHead,
    pub(super) metadata: Metadata,
    pub(super) body: Encoded,
    pub(super) resends: u8,
}

impl Queued {
    pub(super) fn request(&self) -> Request<'_> {
        Request { head: self.head, metadata: &self.metadata, payload: Payload::Encoded(&self.body) }
    }

    /// Of its arguments, as they go out natively.
    pub(super) fn bytes(&self) -> usize {
        Payload::Encoded(&self.body).natively().map_or(0, <[u8]>::len)
    }
}

pub(super) fn too_late() -> RpcError {
    RpcError::never_sent(ErrorKind::DeadlineExceeded, "it could not be sent in time")
}

/// What becomes of a call that was given to one stream after the other, and never sent.
pub(super) fn lost_too_often() -> RpcError {
    RpcError::never_sent(ErrorKind::ConnectionLost, format_args!("and {MAX_RESENDS} times before"))
}

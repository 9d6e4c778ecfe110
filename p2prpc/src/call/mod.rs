//! The call: what a client hands over, what a handler is given, and the seam between those who call and those who carry.

mod channel;
mod context;
mod format;
mod handle;
mod pending;
mod stream;

pub(crate) use channel::{CallHead, Channel, Encoded, Found, Payload, Request, Route, Ticket, not_named};
pub(crate) use context::ReplyMetadata;
pub use context::{CallInfo, Context, Dialect};
pub(crate) use format::Formats;
pub use handle::Handle;
pub(crate) use handle::{CallDefaults, DEFAULT_TIMEOUT, Network};
pub(crate) use pending::{Answer, PendingCall, Place, RawReply, RawResult, UnreadReplies, resend_delay};
pub(crate) use stream::{Duplex, OpenedStream, Opening, StreamHome};

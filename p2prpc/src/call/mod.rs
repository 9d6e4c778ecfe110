//! The call: what a client hands over, what a handler is given, and the seam between whoever calls and whoever carries.

mod context;
mod handle;
mod pending;

pub(crate) use context::ReplyMetadata;
pub use context::{CallInfo, Context, Dialect};
pub use handle::Handle;
pub(crate) use handle::*;
pub(crate) use pending::*;

//! What stands for gorpc where it isn't compiled in.

use std::sync::Arc;

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;

use crate::accounts::PeerAccount;
use crate::call::RawResult;
use crate::error::{ErrorKind, RpcError};
use crate::server::Server;

/// What to call.
pub(super) struct GoCall {
    pub(super) service: &'static str,
    pub(super) method: &'static str,
    pub(super) args: Bytes,
    pub(super) max_reply: usize,
}

/// Ends at once.
pub(super) async fn call<S>(_: S, call: GoCall) -> RawResult
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let GoCall { service, method, args, max_reply } = call;
    let detail = format!("gorpc isn't compiled in: {service}.{method}, {} bytes, {max_reply} back", args.len());
    Err(RpcError::never_sent(ErrorKind::NotSupported, detail))
}

/// Ends at once.
pub(crate) async fn serve<S>(_: Arc<Server>, _: Arc<PeerAccount>, _: PeerId, _: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
}

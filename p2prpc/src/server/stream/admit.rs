//! Whether a streaming call may run.

use std::sync::Arc;

use libp2p::PeerId;

use super::{Admitted, Arriving, LONGEST_DEADLINE, Refusal, Server};
use crate::accounts::PeerAccount;
use crate::clock::{later, now};
use crate::codec::CodecId;
use crate::error::ErrorKind;
use crate::metadata::Metadata;
use crate::wire;

/// May this call run? Gives it, or what its caller is told.
pub(super) fn admit(
    server: &Server,
    account: &Arc<PeerAccount>,
    peer: PeerId,
    request: &wire::Request<'_>,
) -> Result<(Admitted, CodecId), (ErrorKind, &'static str)> {
    let told = |refusal: Refusal| (refusal.kind(), refusal.detail());
    let now = now();
    let metadata = Metadata::from_checked(request.metadata.iter());
    let call = Arriving { peer, metadata, left: request.deadline, whole: true, now };
    let router = server.router();
    let mut call = server.admit(router.find(request.method), account, call).map_err(told)?;
    if !call.entry.descriptor().streaming {
        return Err((ErrorKind::BadArguments, "the method does not stream, and the call does"));
    }
    if request.body_len > call.entry.max_request(server.limits().max_message) as u64 {
        return Err(told(Refusal::TooLarge));
    }
    let codec = u8::try_from(request.codec).map(CodecId::new).ok().filter(|codec| codec.is_supported());
    // A stream may last: only its caller says for how long.
    call.deadline = later(now, request.deadline.unwrap_or(LONGEST_DEADLINE).min(LONGEST_DEADLINE));
    Ok((call, codec.ok_or(told(Refusal::Codec))?))
}

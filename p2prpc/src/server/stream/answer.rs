//! The frames that end a streaming call.

use crate::error::{Delivery, ErrorKind};
use crate::framing::{code_of, delivery_to_wire};
use crate::metadata::Metadata;
use crate::server::delivery_of;
use crate::service::{NO_ROOM, Outbound, Outcome, Reply};
use crate::wire::{self, MAX_CHUNK};

/// Put down how a call has ended, behind the items that were sent.
pub(super) fn answer(outbound: &Outbound, outcome: Outcome) {
    let metadata = outcome.metadata.as_deref().map(Metadata::to_wire).unwrap_or_default();
    outbound.end(|out, id, items| {
        // Each of them is checked where it is made.
        let _ = match outcome.reply {
            Reply::End => wire::encode_end(out, &wire::End { id, items, metadata: metadata.view() }),
            Reply::Value(body) => body_frames(out, id, &body.0, |out, chunk| {
                let (metadata, body_len) = (metadata.view(), body.0.len() as u64);
                wire::encode_response(out, &wire::Reply { id, metadata, body_len, chunk })
            }),
            Reply::Error(body) => body_frames(out, id, &body.0, |out, chunk| {
                let (code, delivery) = (wire::ErrorCode::Application, wire::Delivery::Answered);
                let (metadata, body_len) = (metadata.view(), body.0.len() as u64);
                wire::encode_error(
                    out,
                    &wire::ErrorReply { id, code, delivery, message: "", metadata, body_len, chunk },
                )
            }),
            Reply::Failed(kind, detail) => {
                error_frame(out, id, kind, delivery_of(kind), &detail);
                Ok(())
            }
            Reply::NoRoom => {
                error_frame(out, id, ErrorKind::Overloaded, Delivery::Answered, NO_ROOM);
                Ok(())
            }
        };
    });
}

/// A frame with the first chunk of a body, and the rest of it.
fn body_frames(
    out: &mut Vec<u8>,
    id: u64,
    body: &[u8],
    first: impl FnOnce(&mut Vec<u8>, &[u8]) -> Result<(), wire::WireError>,
) -> Result<(), wire::WireError> {
    let (chunk, rest) = body.split_at_checked(MAX_CHUNK).unwrap_or((body, &[]));
    first(out, chunk)?;
    rest.chunks(MAX_CHUNK).try_for_each(|chunk| wire::encode_body(out, id, chunk))
}

pub(super) fn error_frame(out: &mut Vec<u8>, id: u64, kind: ErrorKind, delivery: Delivery, message: &str) {
    let error = wire::ErrorReply {
        id,
        code: code_of(kind),
        delivery: delivery_to_wire(delivery),
        message,
        metadata: wire::MetadataRef::EMPTY,
        body_len: 0,
        chunk: &[],
    };
    let written = wire::encode_error(out, &error);
    debug_assert!(written.is_ok(), "the library's own errors can be written");
}

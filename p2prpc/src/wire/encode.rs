//! Frames to bytes.
//!
//! A frame's length comes first, so it is computed from the fields, and the frame is written once.

use super::frame::{check_chunk, check_id, deadline_to_number, text_len};
use super::{
    End, ErrorReply, FIRST_IGNORED_KIND, Frame, GoAwayReason, Hello, Item, Kind, MAX_CHUNK, MAX_FRAME, MAX_HEADER,
    MAX_MESSAGE_TEXT, MAX_METADATA_BYTES, MAX_METADATA_PAIRS, MAX_METHOD, Reply, Request, WireError, check_method, cut,
    sum, varint,
};

/// The longest fields before a chunk: a request's, or an error's with its message for the method's name. Numbers have at most
/// 10 bytes, the lengths of keys one, those of values and of the method two.
const LONGEST_FIELDS: usize = 10 + (2 + MAX_METHOD) + 10 + 10 + (1 + 3 * MAX_METADATA_PAIRS + MAX_METADATA_BYTES) + 10;
const _: () = assert!(LONGEST_FIELDS < MAX_HEADER && MAX_MESSAGE_TEXT <= MAX_METHOD);

/// Append any frame to `out`.
///
/// # Errors
/// If the frame breaks a rule of the wire. Nothing is written then.
pub fn encode(out: &mut Vec<u8>, frame: &Frame<'_>) -> Result<(), WireError> {
    match frame {
        Frame::Hello(hello) => encode_hello(out, hello),
        Frame::Request(request) => encode_request(out, request),
        Frame::Response(reply) => encode_response(out, reply),
        Frame::Error(reply) => encode_error(out, reply),
        Frame::Body { id, chunk } => encode_body(out, *id, chunk),
        Frame::Cancel { id } => encode_cancel(out, *id),
        Frame::GoAway { last_call_id, reason, message } => {
            encode_go_away(out, *last_call_id, *reason, message);
            Ok(())
        }
        Frame::Item(item) => encode_item(out, item),
        Frame::End(end) => encode_end(out, end),
        Frame::Unknown { kind, fields } => encode_unknown(out, *kind, fields),
    }
}

/// Append a `Hello` to `out`.
///
/// # Errors
/// If a limit or the list of codecs isn't allowed. Nothing is written then.
pub fn encode_hello(out: &mut Vec<u8>, hello: &Hello) -> Result<(), WireError> {
    hello.check()?;
    begin(out, Kind::Hello, hello.encoded_len(), 0);
    hello.encode(out)
}

/// Append a call to `out`, with the first chunk of its arguments.
///
/// # Errors
/// If the id is 0, the method's name isn't allowed, or the chunk is longer than [`MAX_CHUNK`] or the body. Nothing is
/// written then.
#[inline]
pub fn encode_request(out: &mut Vec<u8>, request: &Request<'_>) -> Result<(), WireError> {
    check_id(request.id)?;
    check_method(request.method)?;
    check_chunk(request.chunk, request.body_len)?;
    begin(out, Kind::Request, request.fields_len(), request.chunk.len());
    varint::write(out, request.id);
    write_text(out, request.method);
    varint::write(out, request.codec);
    varint::write(out, deadline_to_number(request.deadline));
    request.metadata.write(out);
    varint::write(out, request.body_len);
    out.extend_from_slice(request.chunk);
    Ok(())
}

/// Append a return value to `out`, or its first chunk.
///
/// # Errors
/// If the id is 0, or the chunk is longer than [`MAX_CHUNK`] or the body. Nothing is written then.
#[inline]
pub fn encode_response(out: &mut Vec<u8>, reply: &Reply<'_>) -> Result<(), WireError> {
    check_id(reply.id)?;
    check_chunk(reply.chunk, reply.body_len)?;
    begin(out, Kind::Response, reply.fields_len(), reply.chunk.len());
    varint::write(out, reply.id);
    reply.metadata.write(out);
    varint::write(out, reply.body_len);
    out.extend_from_slice(reply.chunk);
    Ok(())
}

/// Append a failed call to `out`. The message is cut to [`MAX_MESSAGE_TEXT`] bytes.
///
/// # Errors
/// If the id is 0, the chunk is longer than [`MAX_CHUNK`] or the body, or the code, delivery and body don't go together
/// (see [`ErrorReply`]). Nothing is written then.
pub fn encode_error(out: &mut Vec<u8>, reply: &ErrorReply<'_>) -> Result<(), WireError> {
    check_id(reply.id)?;
    reply.check()?;
    begin(out, Kind::Error, reply.fields_len(), reply.chunk.len());
    varint::write(out, reply.id);
    varint::write(out, reply.code.into());
    varint::write(out, reply.delivery as u64);
    write_text(out, cut(reply.message));
    reply.metadata.write(out);
    varint::write(out, reply.body_len);
    out.extend_from_slice(reply.chunk);
    Ok(())
}

/// Append the next chunk of a body to `out`.
///
/// # Errors
/// If the id is 0, or the chunk is empty or longer than [`MAX_CHUNK`]. Nothing is written then.
pub fn encode_body(out: &mut Vec<u8>, id: u64, chunk: &[u8]) -> Result<(), WireError> {
    check_id(id)?;
    if chunk.is_empty() {
        return Err(WireError::ChunkEmpty);
    }
    if chunk.len() > MAX_CHUNK {
        return Err(WireError::ChunkTooLong);
    }
    encode_body_head(out, id, chunk.len());
    out.extend_from_slice(chunk);
    Ok(())
}

/// Append all of a [`Frame::Body`] but its chunk, of 1 to [`MAX_CHUNK`] bytes, which has to follow.
pub(crate) fn encode_body_head(out: &mut Vec<u8>, id: u64, chunk: usize) {
    begin(out, Kind::Body, varint::len(id), chunk);
    varint::write(out, id);
}

/// Append the cancellation of a call to `out`.
///
/// # Errors
/// If the id is 0. Nothing is written then.
pub fn encode_cancel(out: &mut Vec<u8>, id: u64) -> Result<(), WireError> {
    check_id(id)?;
    begin(out, Kind::Cancel, varint::len(id), 0);
    varint::write(out, id);
    Ok(())
}

/// Append to `out` that no call after `last_call_id` (0: none at all) is taken on this stream. The message is cut to
/// [`MAX_MESSAGE_TEXT`] bytes.
pub fn encode_go_away(out: &mut Vec<u8>, last_call_id: u64, reason: GoAwayReason, message: &str) {
    let (reason, message) = (reason.into(), cut(message));
    begin(out, Kind::GoAway, sum([varint::len(last_call_id), varint::len(reason), text_len(message)]), 0);
    varint::write(out, last_call_id);
    varint::write(out, reason);
    write_text(out, message);
}

/// Append an item of a streaming call to `out`, or its first chunk.
///
/// # Errors
/// If the id is 0, or the chunk is longer than [`MAX_CHUNK`] or the body. Nothing is written then.
#[inline]
pub fn encode_item(out: &mut Vec<u8>, item: &Item<'_>) -> Result<(), WireError> {
    check_id(item.id)?;
    check_chunk(item.chunk, item.body_len)?;
    begin(out, Kind::Item, sum([varint::len(item.id), varint::len(item.body_len)]), item.chunk.len());
    varint::write(out, item.id);
    varint::write(out, item.body_len);
    out.extend_from_slice(item.chunk);
    Ok(())
}

/// Append the end of one end's items to `out`.
///
/// # Errors
/// If the id is 0. Nothing is written then.
pub fn encode_end(out: &mut Vec<u8>, end: &End<'_>) -> Result<(), WireError> {
    check_id(end.id)?;
    begin(out, Kind::End, sum([varint::len(end.id), varint::len(end.items), end.metadata.encoded_len()]), 0);
    varint::write(out, end.id);
    varint::write(out, end.items);
    end.metadata.write(out);
    Ok(())
}

/// Append all of an item to `out`, in as many frames as it takes. The id is at least 1.
pub(crate) fn encode_items(out: &mut Vec<u8>, id: u64, body: &[u8]) {
    let (first, rest) = body.split_at_checked(MAX_CHUNK).unwrap_or((body, &[]));
    let begun = encode_item(out, &Item { id, body_len: body.len() as u64, chunk: first });
    debug_assert!(begun.is_ok(), "ids are counted from 1");
    for chunk in rest.chunks(MAX_CHUNK) {
        encode_body_head(out, id, chunk.len());
        out.extend_from_slice(chunk);
    }
}

fn encode_unknown(out: &mut Vec<u8>, kind: u8, fields: &[u8]) -> Result<(), WireError> {
    if kind < FIRST_IGNORED_KIND {
        return Err(WireError::UnknownKind(kind));
    }
    if fields.len() >= MAX_FRAME {
        return Err(WireError::FrameTooLong);
    }
    varint::write(out, (fields.len() as u64).saturating_add(1));
    out.push(kind);
    out.extend_from_slice(fields);
    Ok(())
}

/// Make room for a whole frame, and write its length and kind.
#[inline]
fn begin(out: &mut Vec<u8>, kind: Kind, fields: usize, chunk: usize) {
    let len = sum([1, fields, chunk]);
    debug_assert!(len <= MAX_FRAME, "the limits of the fields keep every frame below MAX_FRAME");
    out.reserve(sum([varint::len(len as u64), len]));
    varint::write(out, len as u64);
    out.push(kind as u8);
}

#[inline]
fn write_text(out: &mut Vec<u8>, text: &str) {
    varint::write(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

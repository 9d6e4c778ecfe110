//! Bytes to frames.

use super::frame::{check_chunk, check_id, deadline_from_number};
use super::{
    Delivery, End, ErrorReply, Field, Frame, Hello, Item, Kind, MAX_CHUNK, MAX_FRAME, MAX_HELLO, MAX_MESSAGE_TEXT,
    MetadataRef, Reply, Request, WireError, check_method, varint,
};

/// The bytes of a length prefix that can announce at most [`MAX_FRAME`].
const MAX_PREFIX: usize = 3;
const _: () = assert!(MAX_FRAME < 1 << (7 * MAX_PREFIX));

/// How many bytes the frame at the start of `buf` has in all, its length prefix included, or `None` while that isn't
/// known. It is at most [`MAX_FRAME`] and the prefix's 3 bytes: a buffer of that size holds any frame.
///
/// # Errors
/// If the frame is empty or longer than [`MAX_FRAME`], or its length isn't in its shortest form. This is known
/// after 3 bytes, and nothing has to be kept or waited for to see it.
#[inline]
pub fn frame_len(buf: &[u8]) -> Result<Option<usize>, WireError> {
    Ok(prefix(buf)?.map(|(prefix, len)| prefix.saturating_add(len)))
}

/// Read the frame at the start of `buf`: the frame, and how many bytes of `buf` it took. `None`: the frame isn't
/// whole yet.
///
/// The frame borrows from `buf`; only a [`Hello`] allocates, at most the list of its codecs. Decoding takes time
/// linear in the frame's length, and the same frame comes out whatever follows it in `buf`.
///
/// # Errors
/// If the bytes break a rule of the wire, at the latest when the frame is whole. An impossible length, a kind that there isn't
/// and an overlong `Hello` are seen as soon as their bytes are there.
#[inline]
pub fn decode(buf: &[u8]) -> Result<Option<(Frame<'_>, usize)>, WireError> {
    let Some((prefix, len)) = prefix(buf)? else {
        return Ok(None);
    };
    let (_, rest) = buf.split_at_checked(prefix).unwrap_or_default();
    let Some(kind) = rest.first() else {
        return Ok(None);
    };
    let known = Kind::from_byte(*kind)?;
    if known == Some(Kind::Hello) && len > 1 + MAX_HELLO {
        return Err(WireError::HelloTooLong);
    }
    let Some(fields) = rest.get(1..len) else {
        return Ok(None);
    };
    let frame = match known {
        Some(kind) => read_frame(kind, Reader::new(fields))?,
        None => Frame::Unknown { kind: *kind, fields },
    };
    Ok(Some((frame, prefix.saturating_add(len))))
}

/// A [`Frame::Body`] at the start of a buffer that ends in the middle of its chunk: the call's id, where the chunk begins,
/// and how long it is in all.
pub(crate) fn begun_body(buf: &[u8]) -> Result<Option<(u64, usize, usize)>, WireError> {
    let Some((prefix, len)) = prefix(buf)? else { return Ok(None) };
    let fields = match buf.get(prefix..) {
        Some([kind, fields @ ..]) if Kind::from_byte(*kind)? == Some(Kind::Body) => fields,
        _ => return Ok(None),
    };
    let Some((id, chunk)) = varint::read(fields)? else { return Ok(None) };
    check_id(id)?;
    // The kind and the id.
    let head = fields.len().saturating_sub(chunk.len()).saturating_add(1);
    match len.checked_sub(head) {
        None | Some(0) => Err(WireError::ChunkEmpty),
        Some(whole) if whole > MAX_CHUNK => Err(WireError::ChunkTooLong),
        Some(whole) => Ok(Some((id, prefix.saturating_add(head), whole))),
    }
}

/// The bytes of the length prefix, and the length it announces.
#[inline]
fn prefix(buf: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let buf = buf.get(..MAX_PREFIX).unwrap_or(buf);
    match varint::read(buf)? {
        Some((0, _)) => Err(WireError::FrameEmpty),
        Some((len, rest)) if len <= MAX_FRAME as u64 => Ok(Some((buf.len().saturating_sub(rest.len()), len as usize))),
        None if buf.len() < MAX_PREFIX => Ok(None),
        _ => Err(WireError::FrameTooLong),
    }
}

#[inline]
fn read_frame(kind: Kind, mut fields: Reader<'_>) -> Result<Frame<'_>, WireError> {
    let frame = match kind {
        Kind::Hello => return Ok(Frame::Hello(Hello::decode(fields.rest())?)),
        Kind::Request => Frame::Request(read_request(&mut fields)?),
        Kind::Response => {
            let id = fields.id()?;
            let metadata = MetadataRef::read(&mut fields)?;
            let (body_len, chunk) = fields.body()?;
            Frame::Response(Reply { id, metadata, body_len, chunk })
        }
        Kind::Error => Frame::Error(read_error(&mut fields)?),
        Kind::Body => {
            let id = fields.id()?;
            let chunk = fields.remaining();
            if chunk.is_empty() {
                return Err(WireError::ChunkEmpty);
            }
            if chunk.len() > MAX_CHUNK {
                return Err(WireError::ChunkTooLong);
            }
            Frame::Body { id, chunk }
        }
        Kind::Cancel => Frame::Cancel { id: fields.id()? },
        Kind::GoAway => Frame::GoAway {
            last_call_id: fields.varint()?,
            reason: fields.varint()?.into(),
            message: fields.message()?,
        },
        Kind::Item => {
            let id = fields.id()?;
            let (body_len, chunk) = fields.body()?;
            Frame::Item(Item { id, body_len, chunk })
        }
        Kind::End => {
            let (id, items) = (fields.id()?, fields.varint()?);
            Frame::End(End { id, items, metadata: MetadataRef::read(&mut fields)? })
        }
    };
    fields.end()?;
    Ok(frame)
}

#[inline]
fn read_request<'a>(fields: &mut Reader<'a>) -> Result<Request<'a>, WireError> {
    let id = fields.id()?;
    let method = fields.prefixed()?.text(Field::Method)?;
    check_method(method)?;
    let codec = fields.varint()?;
    let deadline = deadline_from_number(fields.varint()?);
    let metadata = MetadataRef::read(fields)?;
    let (body_len, chunk) = fields.body()?;
    Ok(Request { id, method, codec, deadline, metadata, body_len, chunk })
}

fn read_error<'a>(fields: &mut Reader<'a>) -> Result<ErrorReply<'a>, WireError> {
    let id = fields.id()?;
    let code = fields.varint()?.into();
    let delivery = Delivery::from_number(fields.varint()?)?;
    let message = fields.message()?;
    let metadata = MetadataRef::read(fields)?;
    let (body_len, chunk) = fields.body()?;
    let error = ErrorReply { id, code, delivery, message, metadata, body_len, chunk };
    error.check()?;
    Ok(error)
}

/// Bytes that are all there, read from the front.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(super) fn end(&self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::TrailingBytes) }
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        let (number, rest) = varint::read(self.rest)?.ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(number)
    }

    /// The bytes behind a length.
    #[inline]
    pub(super) fn prefixed(&mut self) -> Result<Reader<'a>, WireError> {
        let len = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(Reader::new(bytes))
    }

    #[inline]
    fn remaining(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    #[inline]
    fn id(&mut self) -> Result<u64, WireError> {
        let id = self.varint()?;
        check_id(id)?;
        Ok(id)
    }

    #[inline]
    fn text(self, field: Field) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.rest).map_err(|_| WireError::NotUtf8(field))
    }

    fn message(&mut self) -> Result<&'a str, WireError> {
        let message = self.prefixed()?;
        if message.rest.len() > MAX_MESSAGE_TEXT {
            return Err(WireError::MessageTooLong);
        }
        message.text(Field::Message)
    }

    /// The length of a body, and its first chunk: all that is left.
    #[inline]
    fn body(&mut self) -> Result<(u64, &'a [u8]), WireError> {
        let body_len = self.varint()?;
        let chunk = self.remaining();
        check_chunk(chunk, body_len)?;
        Ok((body_len, chunk))
    }
}

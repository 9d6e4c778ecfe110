//! The frames.

use std::time::Duration;

use super::{
    Delivery, ErrorCode, GoAwayReason, Hello, Kind, MAX_CHUNK, MAX_METHOD, MetadataRef, WireError, cut, sum, varint,
};

/// One frame, borrowed from the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The first frame of both ends, and only that.
    Hello(Hello),
    /// A call.
    Request(Request<'a>),
    /// A return value.
    Response(Reply<'a>),
    /// A failed call.
    Error(ErrorReply<'a>),
    /// The next chunk of the body that a request, response or error of this id began.
    Body {
        /// The call.
        id: u64,
        /// 1 to [`MAX_CHUNK`] bytes.
        chunk: &'a [u8],
    },
    /// The caller isn't interested in this call any more.
    Cancel {
        /// The call.
        id: u64,
    },
    /// The sender takes no more calls on this stream.
    GoAway {
        /// The last call that it has taken; 0 if none. Later ones have not been started and won't be.
        last_call_id: u64,
        /// Why.
        reason: GoAwayReason,
        /// For a person; at most [`MAX_MESSAGE_TEXT`](super::MAX_MESSAGE_TEXT) bytes, may be empty. It is
        /// the peer's text: escape it before it is printed.
        message: &'a str,
    },
    /// An item of a streaming call, from either end.
    Item(Item<'a>),
    /// The sender's items of a streaming call are all sent.
    End(End<'a>),
    /// A frame of a later version, to be ignored.
    Unknown {
        /// [`FIRST_IGNORED_KIND`](super::FIRST_IGNORED_KIND) or higher.
        kind: u8,
        /// All that follows the kind, at most [`MAX_FRAME`](super::MAX_FRAME) less one bytes.
        fields: &'a [u8],
    },
}

impl Frame<'_> {
    /// The number of the frame's kind, a [`Kind`] or that of a later version.
    pub fn kind(&self) -> u8 {
        let kind = match self {
            Frame::Hello(_) => Kind::Hello,
            Frame::Request(_) => Kind::Request,
            Frame::Response(_) => Kind::Response,
            Frame::Error(_) => Kind::Error,
            Frame::Body { .. } => Kind::Body,
            Frame::Cancel { .. } => Kind::Cancel,
            Frame::GoAway { .. } => Kind::GoAway,
            Frame::Item(_) => Kind::Item,
            Frame::End(_) => Kind::End,
            Frame::Unknown { kind, .. } => return *kind,
        };
        kind as u8
    }
}

/// A call, with the first chunk of its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The call's number on this stream: at least 1, and higher than that of every earlier request.
    pub id: u64,
    /// `Service.Method`, as [`check_method`] allows it.
    pub method: &'a str,
    /// The number of the codec of arguments, return value and error.
    pub codec: u64,
    /// The time left when the frame was queued, in whole microseconds (what is left over is cut off). `None`:
    /// the caller sets no deadline. Zero: it has passed.
    pub deadline: Option<Duration>,
    /// Pairs that travel with the call.
    pub metadata: MetadataRef<'a>,
    /// The length of the encoded arguments, in bytes.
    pub body_len: u64,
    /// Their first bytes, at most [`MAX_CHUNK`] and `body_len`. May be empty; the rest comes in `Body` frames.
    pub chunk: &'a [u8],
}

/// A return value, or its first chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The call.
    pub id: u64,
    /// Pairs that travel with the answer.
    pub metadata: MetadataRef<'a>,
    /// The length of the encoded return value, in bytes.
    pub body_len: u64,
    /// Its first bytes, at most [`MAX_CHUNK`] and `body_len`. May be empty; the rest comes in `Body` frames.
    pub chunk: &'a [u8],
}

/// A failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorReply<'a> {
    /// The call.
    pub id: u64,
    /// Why it failed.
    pub code: ErrorCode,
    /// Whether the handler was started; [`Delivery::Answered`] with [`ErrorCode::Application`].
    pub delivery: Delivery,
    /// For a person; at most [`MAX_MESSAGE_TEXT`](super::MAX_MESSAGE_TEXT) bytes, may be empty. The encoder
    /// cuts what is longer. It is the peer's text: escape it before it is printed.
    pub message: &'a str,
    /// Pairs that travel with the answer.
    pub metadata: MetadataRef<'a>,
    /// The length of the handler's own error, encoded with the request's codec, in bytes; 0 unless the code is
    /// [`ErrorCode::Application`].
    pub body_len: u64,
    /// Its first bytes, at most [`MAX_CHUNK`] and `body_len`. May be empty; the rest comes in `Body` frames.
    pub chunk: &'a [u8],
}

/// An item of a streaming call, or its first chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// The call.
    pub id: u64,
    /// The length of the encoded item, in bytes.
    pub body_len: u64,
    /// Its first bytes, at most [`MAX_CHUNK`] and `body_len`. May be empty; the rest comes in `Body` frames.
    pub chunk: &'a [u8],
}

/// The end of one end's items, when all went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<'a> {
    /// The call.
    pub id: u64,
    /// How many items its sender has sent in this call.
    pub items: u64,
    /// Pairs that travel with the end.
    pub metadata: MetadataRef<'a>,
}

impl Request<'_> {
    /// The bytes of the frame on the stream beside its chunk.
    pub fn head_len(&self) -> usize {
        head_len(self.fields_len(), self.chunk)
    }

    pub(super) fn fields_len(&self) -> usize {
        sum([
            varint::len(self.id),
            text_len(self.method),
            varint::len(self.codec),
            varint::len(deadline_to_number(self.deadline)),
            self.metadata.encoded_len(),
            varint::len(self.body_len),
        ])
    }
}

impl Reply<'_> {
    /// The bytes of the frame on the stream beside its chunk.
    pub fn head_len(&self) -> usize {
        head_len(self.fields_len(), self.chunk)
    }

    pub(super) fn fields_len(&self) -> usize {
        sum([varint::len(self.id), self.metadata.encoded_len(), varint::len(self.body_len)])
    }
}

impl ErrorReply<'_> {
    /// The bytes of the frame on the stream beside its chunk.
    pub fn head_len(&self) -> usize {
        head_len(self.fields_len(), self.chunk)
    }

    pub(super) fn fields_len(&self) -> usize {
        sum([
            varint::len(self.id),
            varint::len(self.code.into()),
            varint::len(self.delivery as u64),
            text_len(cut(self.message)),
            self.metadata.encoded_len(),
            varint::len(self.body_len),
        ])
    }

    pub(super) fn check(&self) -> Result<(), WireError> {
        if self.code == ErrorCode::Application {
            if self.delivery != Delivery::Answered {
                return Err(WireError::ApplicationNotAnswered);
            }
        } else if self.body_len != 0 {
            return Err(WireError::UnexpectedErrorBody);
        }
        check_chunk(self.chunk, self.body_len)
    }
}

/// Whether `method` can be the name of a method on the wire, such as `EchoService.Echo`.
///
/// # Errors
/// If it is empty or longer than [`MAX_METHOD`] bytes, or has a character that is white space, a control
/// character, or a mark that is invisible or changes the order in which a line reads.
#[inline]
pub fn check_method(method: &str) -> Result<(), WireError> {
    if method.is_empty() || method.len() > MAX_METHOD {
        return Err(WireError::MethodLength);
    }
    if method.bytes().all(|byte| byte.is_ascii_graphic()) || method.chars().all(is_printable) {
        return Ok(());
    }
    Err(WireError::MethodNotPrintable)
}

fn is_printable(c: char) -> bool {
    let mark = matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    !c.is_control() && !c.is_whitespace() && !mark
}

#[inline]
pub(super) fn check_id(id: u64) -> Result<(), WireError> {
    if id == 0 { Err(WireError::CallIdZero) } else { Ok(()) }
}

#[inline]
pub(super) fn check_chunk(chunk: &[u8], body_len: u64) -> Result<(), WireError> {
    if chunk.len() > MAX_CHUNK {
        return Err(WireError::ChunkTooLong);
    }
    if chunk.len() as u64 > body_len {
        return Err(WireError::ChunkPastBody);
    }
    Ok(())
}

/// 0 for none, else one more than the microseconds.
#[inline]
pub(super) fn deadline_to_number(deadline: Option<Duration>) -> u64 {
    deadline.map_or(0, |left| u64::try_from(left.as_micros()).unwrap_or(u64::MAX).saturating_add(1))
}

#[inline]
pub(super) fn deadline_from_number(number: u64) -> Option<Duration> {
    number.checked_sub(1).map(Duration::from_micros)
}

#[inline]
pub(super) fn text_len(text: &str) -> usize {
    sum([varint::len(text.len() as u64), text.len()])
}

/// The bytes before the chunk: length, kind and fields.
#[inline]
fn head_len(fields: usize, chunk: &[u8]) -> usize {
    let len = sum([1, fields, chunk.len()]);
    sum([varint::len(len as u64), 1, fields])
}

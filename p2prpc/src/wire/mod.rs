//! The frames of `/p2prpc/1`: bytes to [`Frame`] and back.
//!
//! Nothing here reads or writes a socket, waits or keeps state: [`decode`] takes whatever bytes came and
//! borrows from them, the `encode_*` functions append to a buffer. What a frame means for the calls of a
//! stream, and which end may send it, is for the reader of the stream to judge. It is here for peers of one's own in tests (feature
//! `unstable-wire`), and semantic versioning doesn't cover it. The bytes are specified,
//! with test vectors, in [`docs::wire`](crate::docs::wire).
//!
//! ```
//! use p2prpc::wire::{self, Frame, MetadataRef, Request};
//!
//! let mut buffer = Vec::new();
//! wire::encode_request(&mut buffer, &Request {
//!     id: 1,
//!     method: "EchoService.Echo",
//!     codec: 1,
//!     deadline: None,
//!     metadata: MetadataRef::EMPTY,
//!     body_len: 2,
//!     chunk: b"hi",
//! })?;
//!
//! let (frame, consumed) = wire::decode(&buffer)?.expect("a whole frame");
//! assert!(matches!(frame, Frame::Request(request) if request.chunk == b"hi"));
//! assert_eq!(consumed, buffer.len());
//!
//! buffer.truncate(5);
//! assert_eq!(wire::decode(&buffer)?, None, "the rest has yet to come");
//! # Ok::<(), wire::WireError>(())
//! ```

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects))]

mod codes;
mod decode;
mod encode;
mod error;
mod frame;
#[cfg(test)]
mod fuzz;
#[cfg(feature = "gorpc")]
pub(crate) mod gorpc;
mod hello;
mod metadata;
mod varint;

pub use codes::{Delivery, ErrorCode, GoAwayReason, Kind, Role};
pub(crate) use decode::begun_body;
pub use decode::{decode, frame_len};
pub use encode::{
    encode, encode_body, encode_cancel, encode_end, encode_error, encode_go_away, encode_hello, encode_item,
    encode_request, encode_response,
};
pub(crate) use encode::{encode_body_head, encode_items};
pub use error::{Field, WireError};
pub use frame::{End, ErrorReply, Frame, Item, Reply, Request, check_method};
pub use hello::Hello;
pub use metadata::{MetadataBuf, MetadataIter, MetadataRef};

/// What is appended to an application's protocol id to name this protocol: `P/p2prpc/1`.
pub const PROTOCOL_SUFFIX: &str = "/p2prpc/1";

/// What is appended to that protocol id to name the one of streaming calls: `P/p2prpc/1/streams`.
pub const STREAMS_SUFFIX: &str = "/streams";

/// The most bytes of a body in one frame.
pub const MAX_CHUNK: usize = 64 * 1024;

/// The most bytes of a frame beside its chunk and its length prefix.
///
/// The limits of the single fields keep every frame well below it.
pub const MAX_HEADER: usize = 16 * 1024;

/// The most that a frame's length prefix may announce, in bytes.
pub const MAX_FRAME: usize = MAX_CHUNK + MAX_HEADER;

/// The longest method name, in bytes.
pub const MAX_METHOD: usize = 256;

/// The most pairs of metadata of a request, response or error.
pub const MAX_METADATA_PAIRS: usize = 64;

/// The longest key of a pair of metadata, in bytes.
pub const MAX_METADATA_KEY: usize = 64;

/// The most bytes of all keys and values of a frame's metadata together.
pub const MAX_METADATA_BYTES: usize = 8 * 1024;

/// Metadata keys that begin so are the protocol's own. None is defined yet: whoever gets one ignores the pair.
pub const RESERVED_METADATA_PREFIX: &str = "p2prpc-";

/// The longest message of an `Error` or `GoAway` frame, in bytes. The encoder cuts what is longer.
pub const MAX_MESSAGE_TEXT: usize = 256;

/// The most bytes of all entries of a `Hello`.
pub const MAX_HELLO: usize = 4 * 1024;

/// The most entries of a `Hello`, unknown ones included.
pub const MAX_HELLO_ENTRIES: usize = 32;

/// The most codecs that a `Hello` lists.
pub const MAX_CODECS: usize = 16;

/// The most features that a `Hello` lists.
pub const MAX_FEATURES: usize = 32;

/// A frame of this kind or a higher one is ignored by who doesn't know it.
pub const FIRST_IGNORED_KIND: u8 = 16;

/// The calls in flight that an end which doesn't say otherwise takes from the other.
pub const DEFAULT_MAX_CALLS: u64 = 1024;

/// The longest body that an end which doesn't say otherwise takes, in bytes.
pub const DEFAULT_MAX_MESSAGE: u64 = 4 * 1024 * 1024;

/// The bytes of bodies in flight that an end which doesn't say otherwise takes from the other.
pub const DEFAULT_MAX_BYTES_IN_FLIGHT: u64 = 64 * 1024 * 1024;

/// The least that a `Hello` may give as a limit in bytes: one chunk.
pub const MIN_LIMIT_BYTES: u64 = MAX_CHUNK as u64;

/// The length of what has parts of these lengths.
#[inline]
fn sum<const N: usize>(lengths: [usize; N]) -> usize {
    lengths.into_iter().fold(0, usize::saturating_add)
}

/// The first `MAX_MESSAGE_TEXT` bytes of `text`, cut between characters.
fn cut(text: &str) -> &str {
    if text.len() <= MAX_MESSAGE_TEXT {
        return text;
    }
    let end = (0..=MAX_MESSAGE_TEXT).rev().find(|at| text.is_char_boundary(*at));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

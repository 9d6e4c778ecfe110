//! Values to bytes and back.
//!
//! A request names the codec of its body by a [`CodecId`], so one server serves callers of any codec it was built with. Four exist, each
//! behind a cargo feature of its own name:
//!
//! | id | codec | feature | format |
//! | --- | --- | --- | --- |
//! | 1 | [`CodecId::BINCODE`] | `bincode` (default) | [bincode 2](https://docs.rs/bincode/2.0.1), its `standard()` configuration |
//! | 2 | [`CodecId::MESSAGEPACK`] | `messagepack` | [MessagePack](https://msgpack.org), structs as maps with named fields |
//! | 3 | [`CodecId::POSTCARD`] | `postcard` | [Postcard 1](https://postcard.jamesmunns.com) |
//! | 4 | [`CodecId::JSON`] | `json` | [JSON](https://www.rfc-editor.org/rfc/rfc8259) |
//!
//! MessagePack and JSON are *self-describing*: their bytes say which field is which. Fields can be added later (`#[serde(default)]`), and
//! `flatten`, untagged and internally tagged enums work. Bincode and Postcard are positional: smaller and faster, but both ends must have
//! the same types. A field that `skip_serializing_if` leaves out can't be told there: that is [`CodecError::Encode`].
//!
//! # Bytes from a peer
//!
//! A body whose size is limited can still end the process that decodes it, in ways its size does not show:
//!
//! - **Depth.** `enum Tree { Leaf, Node(Box<Tree>) }` takes one byte a level in bincode. Four megabytes of `01` are four million levels, each a
//!   few stack frames deep. The stack overflows, and that is an abort, not a panic.
//! - **Time.** A `Vec<()>` takes no bytes an element. Nine bytes announce 2^40 of them.
//! - **Memory.** An enum is as large as its largest variant. One of 256 bytes whose first variant is empty takes one byte in the body:
//!   four megabytes decode into a `Vec` of one gigabyte. A length that is announced may also be reserved before a single element has come.
//!
//! So every codec decodes through one adapter, which is between the value and the format and counts:
//!
//! - at most [`MAX_DEPTH`] structs, tuples, sequences, maps and enums inside one another ([`CodecError::TooDeep`]), and at most four times as
//!   many levels when `Some` and newtypes are counted too;
//! - at most [`MAX_STACK`] bytes of stack, because a level of a large type can take many times the stack of a small one
//!   ([`CodecError::OutOfStack`]);
//! - a budget of memory, [`decode_budget`], from which each value takes its `size_of` (at least 1) and each string and byte array its length
//!   ([`CodecError::OverBudget`]).
//!
//! The budget counts what is stored, not what the allocator adds to it: a growing `Vec` may hold twice its elements. It does not see what
//! serde builds from a value that it has buffered for an untagged, internally tagged or flattened type: the buffered value is counted, the
//! copy made from it is not. Nor does it help when a type's own `Deserialize` allocates by a number that it has read.
//!
//! A recursive untagged enum tries its variants one by one at each level, which can take time exponential in the depth: don't take one from
//! strangers.
//!
//! Bytes left over after the value are an error too ([`CodecError::TrailingBytes`]), as is a body that ends within it.
//!
//! # Example
//!
//! ```
//! use p2prpc::codec::{self, CodecError, CodecId};
//!
//! # if CodecId::default().is_supported() {
//! let mut body = Vec::new();
//! codec::encode(CodecId::default(), &("hello", 42u32), &mut body, 1024)?;
//! let (word, number): (String, u32) = codec::decode(CodecId::default(), &body)?;
//! assert_eq!((word.as_str(), number), ("hello", 42));
//! # }
//! # Ok::<(), CodecError>(())
//! ```

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects))]

#[cfg(feature = "bincode")]
mod bincode;
#[cfg(any(feature = "bincode", feature = "messagepack", feature = "postcard", feature = "json", feature = "gorpc"))]
mod bounded;
#[cfg(any(feature = "bincode", feature = "messagepack", feature = "postcard", feature = "json", feature = "gorpc"))]
mod budget;
mod error;
mod format;
#[cfg(test)]
mod fuzz;
#[cfg(feature = "gorpc")]
pub(crate) mod gorpc;
#[cfg(not(feature = "gorpc"))]
#[path = "no_gorpc.rs"]
pub(crate) mod gorpc;
mod id;
#[cfg(feature = "json")]
mod json;
mod limits;
#[cfg(feature = "messagepack")]
mod messagepack;
#[cfg(any(feature = "bincode", feature = "postcard"))]
mod positional;
#[cfg(feature = "postcard")]
mod postcard;

#[cfg(feature = "bincode")]
use self::bincode::Bincode;
pub use self::error::CodecError;
pub(crate) use self::format::{Format, MethodNames};
pub use self::id::CodecId;
#[cfg(feature = "json")]
use self::json::Json;
pub use self::limits::{MAX_DEPTH, MAX_STACK, decode_budget};
#[cfg(feature = "messagepack")]
use self::messagepack::MessagePack;
#[cfg(feature = "postcard")]
use self::postcard::Postcard;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A format that values travel in: one unit type for each codec that is compiled in.
#[cfg(any(feature = "bincode", feature = "messagepack", feature = "postcard", feature = "json"))]
trait Codec {
    /// As [`encode`].
    fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>, limit: usize) -> Result<(), CodecError>;

    /// As [`decode`].
    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError>;
}

/// Appends the value to `out` in the format that `codec` names: at most `limit` bytes.
///
/// # Errors
///
/// [`CodecError::Unsupported`] when the codec is unknown or not compiled in, [`CodecError::TooLarge`] when the value takes more than `limit`
/// bytes, [`CodecError::Encode`] when the value or the format refuses. `out` is then what it was before.
///
/// # Panics
///
/// When the `Serialize` of `T` does; `out` is then what it was before.
#[inline]
#[cfg_attr(
    not(any(feature = "bincode", feature = "messagepack", feature = "postcard", feature = "json")),
    expect(unused_variables, clippy::ptr_arg, reason = "without a codec nothing is encoded")
)]
pub fn encode<T: Serialize + ?Sized>(
    codec: CodecId,
    value: &T,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), CodecError> {
    match codec {
        #[cfg(feature = "bincode")]
        CodecId::BINCODE => Bincode::encode(value, out, limit),
        #[cfg(feature = "messagepack")]
        CodecId::MESSAGEPACK => MessagePack::encode(value, out, limit),
        #[cfg(feature = "postcard")]
        CodecId::POSTCARD => Postcard::encode(value, out, limit),
        #[cfg(feature = "json")]
        CodecId::JSON => Json::encode(value, out, limit),
        other => Err(CodecError::Unsupported(other)),
    }
}

/// Reads the value that `bytes` hold, all of them, in the format that `codec` names, within the [limits](self#bytes-from-a-peer) of depth and
/// memory.
///
/// # Errors
///
/// [`CodecError::Unsupported`] when the codec is unknown or not compiled in, [`CodecError::Decode`] when the bytes are not a `T` or end too soon,
/// [`CodecError::TrailingBytes`] when some are left over, [`CodecError::TooDeep`], [`CodecError::OutOfStack`] and
/// [`CodecError::OverBudget`] past a limit.
///
/// # Panics
///
/// When the `Deserialize` of `T` does.
#[inline]
#[cfg_attr(
    not(any(feature = "bincode", feature = "messagepack", feature = "postcard", feature = "json")),
    expect(unused_variables, reason = "without a codec nothing is decoded")
)]
pub fn decode<T: DeserializeOwned>(codec: CodecId, bytes: &[u8]) -> Result<T, CodecError> {
    match codec {
        #[cfg(feature = "bincode")]
        CodecId::BINCODE => Bincode::decode(bytes),
        #[cfg(feature = "messagepack")]
        CodecId::MESSAGEPACK => MessagePack::decode(bytes),
        #[cfg(feature = "postcard")]
        CodecId::POSTCARD => Postcard::decode(bytes),
        #[cfg(feature = "json")]
        CodecId::JSON => Json::decode(bytes),
        other => Err(CodecError::Unsupported(other)),
    }
}

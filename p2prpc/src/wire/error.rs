//! What breaks the rules of the wire.

use std::fmt;

use super::{
    MAX_CHUNK, MAX_CODECS, MAX_FEATURES, MAX_FRAME, MAX_HELLO, MAX_HELLO_ENTRIES, MAX_MESSAGE_TEXT, MAX_METADATA_BYTES,
    MAX_METADATA_KEY, MAX_METADATA_PAIRS, MAX_METHOD, MIN_LIMIT_BYTES,
};

/// A frame breaks a rule of the wire.
///
/// From [`decode`](super::decode) it is the peer's fault: a protocol error, after which nothing that comes on
/// the stream can be trusted. From an `encode_*` function it is ours, and nothing was written. `Display` is a
/// sentence about the rule; of the peer's bytes it shows numbers only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A number is longer than it has to be.
    #[error("a number is not in its shortest form")]
    VarintNotMinimal,
    /// A number has more than 64 bits.
    #[error("a number has more than 64 bits")]
    VarintOverflow,
    /// A frame of length 0.
    #[error("a frame is empty")]
    FrameEmpty,
    /// A frame announces more than [`MAX_FRAME`].
    #[error("a frame is longer than {MAX_FRAME} bytes")]
    FrameTooLong,
    /// A kind of frame that isn't [`Kind`](super::Kind), and is below [`FIRST_IGNORED_KIND`](super::FIRST_IGNORED_KIND).
    #[error("frame kind {0} is unknown")]
    UnknownKind(u8),
    /// The frame's length is too short for its fields.
    #[error("a frame ends in the middle of a field")]
    Truncated,
    /// The frame goes on after its last field.
    #[error("a frame has bytes after its last field")]
    TrailingBytes,
    /// Call ids begin at 1.
    #[error("a call id is 0")]
    CallIdZero,
    /// A chunk longer than [`MAX_CHUNK`].
    #[error("a chunk is longer than {MAX_CHUNK} bytes")]
    ChunkTooLong,
    /// A `Body` frame without a byte of a body.
    #[error("a body frame has an empty chunk")]
    ChunkEmpty,
    /// More bytes came than `body_len` announces.
    #[error("a chunk is longer than the body it is of")]
    ChunkPastBody,
    /// A text is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(Field),
    /// A method without a name, or with one longer than [`MAX_METHOD`].
    #[error("a method name is not 1 to {MAX_METHOD} bytes long")]
    MethodLength,
    /// A method name with white space, control characters or marks that change how a line reads.
    #[error("a method name has characters that can't be printed")]
    MethodNotPrintable,
    /// More than [`MAX_METADATA_PAIRS`].
    #[error("there are more than {MAX_METADATA_PAIRS} pairs of metadata")]
    MetadataTooManyPairs,
    /// More than [`MAX_METADATA_BYTES`].
    #[error("the metadata's keys and values are more than {MAX_METADATA_BYTES} bytes")]
    MetadataTooLong,
    /// A malformed key.
    #[error("a metadata key is not 1 to {MAX_METADATA_KEY} characters of a-z, 0-9, '.', '_' and '-'")]
    MetadataKey,
    /// A key that occurs twice.
    #[error("a metadata key occurs twice")]
    MetadataDuplicate,
    /// A message longer than [`MAX_MESSAGE_TEXT`].
    #[error("a message is longer than {MAX_MESSAGE_TEXT} bytes")]
    MessageTooLong,
    /// A delivery that isn't [`Delivery`](super::Delivery).
    #[error("delivery {0} is unknown")]
    UnknownDelivery(u64),
    /// Only the handler's own error has a body.
    #[error("an error that is not the handler's own has a body")]
    UnexpectedErrorBody,
    /// The handler's own error, from a handler that is said not to have answered.
    #[error("the handler's own error is not marked as answered")]
    ApplicationNotAnswered,
    /// A `Hello` of more than [`MAX_HELLO`].
    #[error("a hello is longer than {MAX_HELLO} bytes")]
    HelloTooLong,
    /// A `Hello` of more than [`MAX_HELLO_ENTRIES`].
    #[error("a hello has more than {MAX_HELLO_ENTRIES} entries")]
    HelloTooManyEntries,
    /// An entry of a `Hello` that occurs twice.
    #[error("entry {0} of a hello occurs twice")]
    HelloDuplicate(u64),
    /// A role that isn't [`Role`](super::Role).
    #[error("role {0} of a hello is unknown")]
    HelloRole(u64),
    /// A `Hello` that would allow no calls.
    #[error("a hello allows no calls")]
    HelloNoCalls,
    /// A limit under [`MIN_LIMIT_BYTES`].
    #[error("a limit of a hello is {0} bytes, and {MIN_LIMIT_BYTES} is the least")]
    HelloLimitTooSmall(u64),
    /// A `Hello` with more than [`MAX_CODECS`].
    #[error("a hello lists more than {MAX_CODECS} codecs")]
    HelloTooManyCodecs,
    /// A codec that a `Hello` lists twice.
    #[error("a hello lists codec {0} twice")]
    HelloDuplicateCodec(u64),
    /// A `Hello` with more than [`MAX_FEATURES`].
    #[error("a hello lists more than {MAX_FEATURES} features")]
    HelloTooManyFeatures,
    /// A feature that a `Hello` lists twice.
    #[error("a hello lists feature {0} twice")]
    HelloDuplicateFeature(u64),
}

/// A field that holds text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// The name of a method.
    Method,
    /// The value of a pair of metadata.
    MetadataValue,
    /// The message of an `Error` or `GoAway`.
    Message,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::Method => "a method name",
            Field::MetadataValue => "a metadata value",
            Field::Message => "a message",
        })
    }
}

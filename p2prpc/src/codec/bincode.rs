use ::bincode::enc::write::Writer;
use ::bincode::error::{DecodeError, EncodeError};
use ::bincode::serde as front;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bounded::{Bounded, Full};
use super::positional::LeftOut;
use super::{Codec, CodecError, CodecId, budget};

/// bincode 2, serde's front, `bincode::config::standard()`: little-endian, integers of two bytes and more as varints, no limit of its own
/// (its `with_limit` charges the decoded widths of integers and so refuses honest bodies).
#[derive(Clone, Copy, Debug)]
pub(super) struct Bincode;

impl Codec for Bincode {
    fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>, limit: usize) -> Result<(), CodecError> {
        let mut writer = Bounded::new(out, limit);
        let left_out = LeftOut::default();
        let result = front::encode_into_writer(left_out.watch(value), &mut writer, ::bincode::config::standard());
        writer.finish(left_out.check(CodecId::BINCODE, result.map_err(encode_error)))
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        budget::within(bytes.len(), |root| {
            let (value, read) =
                front::seed_decode_from_slice(root, bytes, ::bincode::config::standard()).map_err(decode_error)?;
            if read < bytes.len() {
                return Err(CodecError::TrailingBytes { codec: CodecId::BINCODE });
            }
            Ok(value)
        })
    }
}

impl Writer for Bounded<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.append(bytes).map_err(|Full| EncodeError::UnexpectedEnd)
    }
}

/// bincode's own `Display` prints the Rust of its error.
fn encode_error(error: EncodeError) -> CodecError {
    match error {
        EncodeError::OtherString(text) => CodecError::encode(text),
        EncodeError::Other(text) => CodecError::encode(text),
        EncodeError::Serde(front::EncodeError::SequenceMustHaveLength) => {
            CodecError::encode("bincode needs to know the length of a sequence or map before its first element")
        }
        other => CodecError::encode(other),
    }
}

fn decode_error(error: DecodeError) -> CodecError {
    match error {
        DecodeError::OtherString(text) => CodecError::decode(text),
        DecodeError::Other(text) => CodecError::decode(text),
        DecodeError::UnexpectedEnd { .. } => CodecError::decode("they end too soon"),
        DecodeError::Utf8 { inner } => CodecError::decode(format_args!("a string is not UTF-8: {inner}")),
        DecodeError::InvalidCharEncoding(_) => CodecError::decode("a character is not UTF-8"),
        DecodeError::InvalidBooleanValue(byte) => CodecError::decode(format_args!("a bool is {byte}, neither 0 nor 1")),
        DecodeError::UnexpectedVariant { found, .. } => {
            CodecError::decode(format_args!("an Option starts with {found}, neither 0 nor 1"))
        }
        DecodeError::InvalidIntegerType { expected, .. } => {
            CodecError::decode(format_args!("an integer is too large for the type {expected:?}"))
        }
        DecodeError::Serde(_) => {
            CodecError::decode("bincode is not self-describing, and this type has to ask what comes next")
        }
        other => CodecError::decode(other),
    }
}

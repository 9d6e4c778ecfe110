use ::postcard::Error;
use ::postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use super::bounded::{Bounded, Full};
use super::positional::LeftOut;
use super::{Codec, CodecError, CodecId, budget};

/// [Postcard 1](https://postcard.jamesmunns.com/wire-format): positional, integers of two bytes and more as LEB128 varints.
///
/// Its errors carry no text of the value's own `Serialize` and `Deserialize`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Postcard;

impl Codec for Postcard {
    fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>, limit: usize) -> Result<(), CodecError> {
        let mut writer = Bounded::new(out, limit);
        let left_out = LeftOut::default();
        let result = ::postcard::serialize_with_flavor(&left_out.watch(value), Append(&mut writer));
        writer.finish(left_out.check(CodecId::POSTCARD, result.map_err(encode_error)))
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        budget::within(bytes.len(), |root| {
            let mut deserializer = ::postcard::Deserializer::from_bytes(bytes);
            let value = root.deserialize(&mut deserializer).map_err(decode_error)?;
            let rest = deserializer.finalize().map_err(decode_error)?;
            if !rest.is_empty() {
                return Err(CodecError::TrailingBytes { codec: CodecId::POSTCARD });
            }
            Ok(value)
        })
    }
}

struct Append<'a, 'b>(&'a mut Bounded<'b>);

impl Flavor for Append<'_, '_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> Result<(), Error> {
        self.try_extend(&[byte])
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.0.append(bytes).map_err(|Full| Error::SerializeBufferFull)
    }

    fn finalize(self) -> Result<(), Error> {
        Ok(())
    }
}

fn encode_error(error: Error) -> CodecError {
    match error {
        Error::SerdeSerCustom | Error::CollectStrError => {
            CodecError::encode("its own Serialize refused (Postcard does not keep the reason)")
        }
        Error::SerializeSeqLengthUnknown => {
            CodecError::encode("Postcard needs to know the length of a sequence or map before its first element")
        }
        other => CodecError::encode(other),
    }
}

fn decode_error(error: Error) -> CodecError {
    match error {
        Error::DeserializeUnexpectedEnd => CodecError::decode("they end too soon"),
        Error::DeserializeBadVarint => CodecError::decode("an integer is too large for its type"),
        Error::DeserializeBadBool => CodecError::decode("a bool is neither 0 nor 1"),
        Error::DeserializeBadOption => CodecError::decode("an Option starts with neither 0 nor 1"),
        Error::DeserializeBadChar => CodecError::decode("a character is not UTF-8"),
        Error::DeserializeBadUtf8 => CodecError::decode("a string is not UTF-8"),
        Error::SerdeDeCustom => {
            CodecError::decode("the type's own Deserialize refused them (Postcard does not keep the reason)")
        }
        Error::WontImplement => {
            CodecError::decode("Postcard is not self-describing, and this type has to ask what comes next")
        }
        other => CodecError::decode(other),
    }
}

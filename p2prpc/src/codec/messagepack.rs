use std::io::ErrorKind;

use rmp_serde::decode::Error as DecodeError;
use serde::de::{DeserializeOwned, DeserializeSeed};
use serde::{Deserialize, Serialize};

use super::bounded::Bounded;
use super::{Codec, CodecError, CodecId, budget};

/// MessagePack, structs and struct variants as maps with named fields: what Go's codecs write too.
///
/// Decoding also takes structs as arrays of their fields in order. `Some(None)` decodes as `None`: both are nil.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessagePack;

impl Codec for MessagePack {
    fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>, limit: usize) -> Result<(), CodecError> {
        let mut writer = Bounded::new(out, limit);
        let result = value.serialize(&mut rmp_serde::Serializer::new(&mut writer).with_struct_map());
        writer.finish(result.map_err(CodecError::encode))
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        budget::within(bytes.len(), |root| {
            let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
            // Ours is the lower limit, and gives the same error as in the other codecs.
            deserializer.set_max_depth(usize::MAX);
            let value = root.deserialize(&mut deserializer).map_err(decode_error)?;
            // rmp-serde does not say how far it has read. A bool is one marker, and reading it never recurses.
            match bool::deserialize(&mut deserializer) {
                Err(DecodeError::InvalidMarkerRead(_)) => Ok(value),
                _ => Err(CodecError::TrailingBytes { codec: CodecId::MESSAGEPACK }),
            }
        })
    }
}

fn decode_error(error: DecodeError) -> CodecError {
    match error {
        DecodeError::InvalidMarkerRead(io) | DecodeError::InvalidDataRead(io)
            if io.kind() == ErrorKind::UnexpectedEof =>
        {
            CodecError::decode("they end too soon")
        }
        other => CodecError::decode(other),
    }
}

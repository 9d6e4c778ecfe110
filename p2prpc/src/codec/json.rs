use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use super::bounded::Bounded;
use super::{Codec, CodecError, CodecId, budget};

/// JSON, compact. Space around the value is allowed when decoding.
///
/// JSON has no number that is infinite or not a number: they encode as `null`, which does not decode as a float.
#[derive(Clone, Copy, Debug)]
pub(super) struct Json;

impl Codec for Json {
    fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>, limit: usize) -> Result<(), CodecError> {
        let mut writer = Bounded::new(out, limit);
        let result = serde_json::to_writer(&mut writer, value);
        writer.finish(result.map_err(CodecError::encode))
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        budget::within(bytes.len(), |root| {
            let mut deserializer = serde_json::Deserializer::from_slice(bytes);
            // serde_json counts an enum and what it holds as two levels. Ours gives the same error as in the other codecs.
            deserializer.disable_recursion_limit();
            let value = root.deserialize(&mut deserializer).map_err(CodecError::decode)?;
            deserializer.end().map_err(|_| CodecError::TrailingBytes { codec: CodecId::JSON })?;
            Ok(value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_come_back_to_the_last_bit() {
        for float in [0.001_886_664_208_315_650_2, 1.346_142_965_621_413_4e-306, f64::MIN_POSITIVE, f64::MAX] {
            let mut text = Vec::new();
            Json::encode(&float, &mut text, 100).unwrap();
            assert_eq!(Json::decode::<f64>(&text), Ok(float));
        }
    }
}

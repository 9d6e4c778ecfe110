//! tmp
use serde::{Serialize, de::DeserializeOwned};
/// x
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CodecId(u8);
impl Default for CodecId {
    fn default() -> Self {
        CodecId(1)
    }
}
impl std::fmt::Display for CodecId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}
impl CodecId {
    /// x
    pub const fn new(n: u8) -> Self {
        CodecId(n)
    }
    /// x
    pub const fn get(self) -> u8 {
        self.0
    }
    /// x
    pub fn is_supported(self) -> bool {
        self.0 == 1
    }
    /// x
    pub fn supported() -> &'static [CodecId] {
        &[CodecId(1)]
    }
}
/// x
#[derive(Debug, Clone, thiserror::Error)]
pub enum CodecError {
    /// x
    #[error("unsupported {0}")]
    Unsupported(CodecId),
    /// x
    #[error("too large")]
    TooLarge {
        /** x */
        limit: usize,
    },
    /// x
    #[error("{0}")]
    Encode(String),
    /// x
    #[error("{0}")]
    Decode(String),
}
/// x
pub fn encode<T: Serialize + ?Sized>(
    _c: CodecId,
    value: &T,
    out: &mut Vec<u8>,
    _limit: usize,
) -> Result<(), CodecError> {
    bincode::serde::encode_into_std_write(value, out, bincode::config::standard())
        .map(|_| ())
        .map_err(|e| CodecError::Encode(e.to_string()))
}
/// x
pub fn decode<T: DeserializeOwned>(_c: CodecId, bytes: &[u8]) -> Result<T, CodecError> {
    bincode::serde::decode_from_slice(bytes, bincode::config::standard())
        .map(|(v, _)| v)
        .map_err(|e| CodecError::Decode(e.to_string()))
}

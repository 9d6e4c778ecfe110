//! Key-value pairs that travel with a call or its answer.

use std::fmt;

use crate::wire::{
    MAX_METADATA_BYTES as MAX_BYTES, MAX_METADATA_KEY as MAX_KEY, MAX_METADATA_PAIRS as MAX_PAIRS, MetadataBuf,
    MetadataRef, RESERVED_METADATA_PREFIX as RESERVED_PREFIX,
};

/// Key-value pairs that travel with a call, or with its answer: at most 64, together at most 8 KiB.
///
/// A key is 1 to 64 characters of `a-z`, `0-9`, `.`, `_` and `-`, and doesn't begin with `p2prpc-`; each occurs once. A value is text.
///
/// ```
/// let mut metadata = p2prpc::Metadata::new();
/// metadata.insert("trace-id", "4bf92f35")?;
/// assert_eq!(metadata.get("trace-id"), Some("4bf92f35"));
/// assert!(metadata.insert("Trace", "upper case").is_err());
/// # Ok::<(), p2prpc::InvalidMetadata>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    pairs: Vec<(Box<str>, Box<str>)>,
}

/// Why a pair can't be part of [`Metadata`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMetadata {
    /// The key has a wrong length or a character that isn't allowed.
    #[error("a metadata key is 1 to 64 characters of a-z, 0-9, '.', '_' and '-'")]
    Key,
    /// The key begins with `p2prpc-`.
    #[error("metadata keys that begin with 'p2prpc-' are reserved")]
    Reserved,
    /// There would be more than 64 pairs.
    #[error("a call has at most 64 pairs of metadata")]
    TooMany,
    /// Keys and values would be more than 8 KiB together.
    #[error("the metadata of a call is at most 8 KiB")]
    TooLarge,
}

impl Metadata {
    /// No pairs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Add a pair; the value of a key that is there already is replaced.
    ///
    /// # Errors
    /// If the key is malformed or reserved, or the pair would take the call past a limit; nothing is changed then.
    pub fn insert(&mut self, key: impl AsRef<str>, value: impl Into<String>) -> Result<(), InvalidMetadata> {
        let (key, value) = (key.as_ref(), value.into());
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'_' | b'-');
        if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(allowed) {
            return Err(InvalidMetadata::Key);
        }
        if key.starts_with(RESERVED_PREFIX) {
            return Err(InvalidMetadata::Reserved);
        }
        let others = self.iter().filter(|(other, _)| *other != key);
        let (count, bytes) = others.fold((0, 0), |(n, sum), (k, v)| (n + 1, sum + k.len() + v.len()));
        if count >= MAX_PAIRS {
            return Err(InvalidMetadata::TooMany);
        }
        if bytes + key.len() + value.len() > MAX_BYTES {
            return Err(InvalidMetadata::TooLarge);
        }
        self.pairs.retain(|(other, _)| &**other != key);
        self.pairs.push((key.into(), value.into()));
        Ok(())
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == key).map(|(_, value)| value)
    }

    /// All pairs, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// True if there is no pair.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Pairs that the wire's decoder has checked. Those of the protocol's own are not for users.
    pub(crate) fn from_checked<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let own = pairs.filter(|(key, _)| !key.starts_with(RESERVED_PREFIX));
        Metadata { pairs: own.map(|(key, value)| (key.into(), value.into())).collect() }
    }

    /// What came with an answer: mostly nothing.
    pub(crate) fn of_answer(metadata: MetadataRef<'_>) -> Option<Box<Self>> {
        (!metadata.is_empty()).then(|| Box::new(Metadata::from_checked(metadata.iter())))
    }

    /// As the wire takes it. These pairs keep its rules.
    pub(crate) fn to_wire(&self) -> MetadataBuf {
        MetadataBuf::from_pairs(self.iter()).unwrap_or_default()
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_the_wire_would_refuse() {
        let mut metadata = Metadata::new();
        assert_eq!(metadata.insert("", "x"), Err(InvalidMetadata::Key));
        assert_eq!(metadata.insert("k".repeat(65), "x"), Err(InvalidMetadata::Key));
        assert_eq!(metadata.insert("p2prpc-x", "x"), Err(InvalidMetadata::Reserved));
        assert_eq!(metadata.insert("big", "x".repeat(MAX_BYTES)), Err(InvalidMetadata::TooLarge));
        for n in 0..MAX_PAIRS {
            metadata.insert(n.to_string(), "x").unwrap();
        }
        assert_eq!(metadata.insert("one-more", "x"), Err(InvalidMetadata::TooMany));
        metadata.insert("0", "replaced").unwrap();
        assert_eq!((metadata.len(), metadata.get("0")), (MAX_PAIRS, Some("replaced")));
    }
}

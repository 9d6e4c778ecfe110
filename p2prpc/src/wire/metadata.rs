//! Pairs of text that travel with a request or its answer.

use std::fmt;

use super::decode::Reader;
use super::frame::text_len;
use super::{Field, MAX_METADATA_BYTES, MAX_METADATA_KEY, MAX_METADATA_PAIRS, WireError, sum, varint};

/// The metadata of a frame, still encoded and known to keep all rules: at most [`MAX_METADATA_PAIRS`] pairs of at
/// most [`MAX_METADATA_BYTES`] together, each key once.
///
/// `Debug` shows keys and, since a value may be a secret, the lengths of the values in bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct MetadataRef<'a> {
    count: usize,
    pairs: &'a [u8],
}

impl<'a> MetadataRef<'a> {
    /// No pairs.
    pub const EMPTY: MetadataRef<'static> = MetadataRef { count: 0, pairs: &[] };

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if there is no pair.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The keys with their values, in the order of the frame.
    pub fn iter(&self) -> MetadataIter<'a> {
        MetadataIter { rest: Reader::new(self.pairs), left: self.count }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.iter().find(|(other, _)| *other == key).map(|(_, value)| value)
    }

    #[inline]
    pub(super) fn read(from: &mut Reader<'a>) -> Result<Self, WireError> {
        match from.varint()? {
            0 => Ok(Self::EMPTY),
            count if count > MAX_METADATA_PAIRS as u64 => Err(WireError::MetadataTooManyPairs),
            count => Self::read_pairs(from, count as usize),
        }
    }

    fn read_pairs(from: &mut Reader<'a>, count: usize) -> Result<Self, WireError> {
        let start = from.rest();
        let mut keys = [&[][..]; MAX_METADATA_PAIRS];
        let mut bytes = 0;
        for at in 0..count {
            let key = from.prefixed()?.rest();
            check_key(key)?;
            let (earlier, later) = keys.split_at_mut(at);
            if earlier.contains(&key) {
                return Err(WireError::MetadataDuplicate);
            }
            if let Some(slot) = later.first_mut() {
                *slot = key;
            }
            let value = from.prefixed()?.rest();
            bytes = sum([bytes, key.len(), value.len()]);
            if bytes > MAX_METADATA_BYTES {
                return Err(WireError::MetadataTooLong);
            }
            if std::str::from_utf8(value).is_err() {
                return Err(WireError::NotUtf8(Field::MetadataValue));
            }
        }
        let len = start.len().saturating_sub(from.rest().len());
        Ok(MetadataRef { count, pairs: start.get(..len).unwrap_or_default() })
    }

    #[inline]
    pub(super) fn encoded_len(&self) -> usize {
        sum([varint::len(self.count as u64), self.pairs.len()])
    }

    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        varint::write(out, self.count as u64);
        out.extend_from_slice(self.pairs);
    }
}

impl fmt::Debug for MetadataRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(key, value)| (key, value.len()))).finish()
    }
}

impl<'a> IntoIterator for MetadataRef<'a> {
    type Item = (&'a str, &'a str);
    type IntoIter = MetadataIter<'a>;

    fn into_iter(self) -> MetadataIter<'a> {
        self.iter()
    }
}

/// The pairs of a [`MetadataRef`], key and value.
#[derive(Clone, Debug)]
pub struct MetadataIter<'a> {
    rest: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for MetadataIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut text = || std::str::from_utf8(self.rest.prefixed().ok()?.rest()).ok();
        Some((text()?, text()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for MetadataIter<'_> {}

/// The metadata of a frame, encoded once and sent as often as needed. Empty, it takes no memory.
///
/// ```
/// use p2prpc::wire::MetadataBuf;
///
/// let mut metadata = MetadataBuf::default();
/// metadata.push("trace-id", "4bf92f35")?;
/// assert_eq!(metadata.view().get("trace-id"), Some("4bf92f35"));
/// # Ok::<(), p2prpc::wire::WireError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MetadataBuf {
    count: usize,
    bytes: usize,
    pairs: Vec<u8>,
}

impl MetadataBuf {
    /// Add a pair.
    ///
    /// # Errors
    /// If the key is malformed or there already, or the pair would take the whole past a limit. Nothing
    /// is changed then.
    pub fn push(&mut self, key: &str, value: &str) -> Result<(), WireError> {
        check_key(key.as_bytes())?;
        if self.count >= MAX_METADATA_PAIRS {
            return Err(WireError::MetadataTooManyPairs);
        }
        let bytes = self.bytes.saturating_add(key.len()).saturating_add(value.len());
        if bytes > MAX_METADATA_BYTES {
            return Err(WireError::MetadataTooLong);
        }
        if self.view().get(key).is_some() {
            return Err(WireError::MetadataDuplicate);
        }
        self.pairs.reserve(sum([text_len(key), text_len(value)]));
        for text in [key, value] {
            varint::write(&mut self.pairs, text.len() as u64);
            self.pairs.extend_from_slice(text.as_bytes());
        }
        self.count = self.count.saturating_add(1);
        self.bytes = bytes;
        Ok(())
    }

    /// All of these pairs, in this order.
    ///
    /// # Errors
    /// As [`push`](MetadataBuf::push), for the first pair that can't be added.
    pub fn from_pairs<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Result<Self, WireError> {
        let mut metadata = MetadataBuf::default();
        for (key, value) in pairs {
            metadata.push(key, value)?;
        }
        Ok(metadata)
    }

    /// The pairs, as a [`Request`](super::Request) takes them.
    pub fn view(&self) -> MetadataRef<'_> {
        MetadataRef { count: self.count, pairs: &self.pairs }
    }
}

impl fmt::Debug for MetadataBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

fn check_key(key: &[u8]) -> Result<(), WireError> {
    let allowed = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    if key.is_empty() || key.len() > MAX_METADATA_KEY || !key.iter().all(allowed) {
        return Err(WireError::MetadataKey);
    }
    Ok(())
}

//! What both ends say of themselves before anything else.

use super::decode::Reader;
use super::{
    DEFAULT_MAX_BYTES_IN_FLIGHT, DEFAULT_MAX_CALLS, DEFAULT_MAX_MESSAGE, MAX_CODECS, MAX_FEATURES, MAX_HELLO,
    MAX_HELLO_ENTRIES, MIN_LIMIT_BYTES, Role, WireError, sum, varint,
};

const ROLE: u64 = 1;
const MAX_CALLS: u64 = 2;
const MAX_MESSAGE: u64 = 3;
const MAX_BYTES_IN_FLIGHT: u64 = 4;
const CODECS: u64 = 5;
const FEATURES: u64 = 6;

/// What an end says of itself and of what it takes.
///
/// The default is what holds for an end whose `Hello` has not come yet, and for every entry that it leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What the stream is for: the opener's word. The accepter's is to be ignored.
    pub role: Role,
    /// The calls in flight that this end takes from the other, over all its streams and connections; at least 1.
    /// Past it calls are answered with [`ErrorCode::Overloaded`](super::ErrorCode::Overloaded).
    /// [`DEFAULT_MAX_CALLS`] by default.
    pub max_calls: u64,
    /// The longest body that this end takes, in bytes; at least [`MIN_LIMIT_BYTES`]. A longer one is discarded.
    /// [`DEFAULT_MAX_MESSAGE`] by default.
    pub max_message: u64,
    /// The bytes of bodies in flight that this end takes from the other, over all its streams and connections; at
    /// least [`MIN_LIMIT_BYTES`]. The other waits until there is room. [`DEFAULT_MAX_BYTES_IN_FLIGHT`] by default.
    pub max_bytes_in_flight: u64,
    /// The codecs that this end has, the one it likes best first; at most [`MAX_CODECS`], each once. Empty: it
    /// doesn't say.
    pub codecs: Vec<u64>,
    /// What this end can beyond the protocol's first version; at most [`MAX_FEATURES`], each once. None is defined yet, and
    /// numbers that an end doesn't know are to be ignored.
    pub features: Vec<u64>,
}

impl Default for Hello {
    fn default() -> Self {
        Hello {
            role: Role::Calls,
            max_calls: DEFAULT_MAX_CALLS,
            max_message: DEFAULT_MAX_MESSAGE,
            max_bytes_in_flight: DEFAULT_MAX_BYTES_IN_FLIGHT,
            codecs: Vec::new(),
            features: Vec::new(),
        }
    }
}

impl Hello {
    /// Read the entries of a `Hello` frame: all that follows its kind. Entries with an unknown tag are ignored.
    ///
    /// # Errors
    /// If the entries are malformed, too many or too long, a known one comes twice, or a value isn't allowed.
    pub fn decode(entries: &[u8]) -> Result<Self, WireError> {
        if entries.len() > MAX_HELLO {
            return Err(WireError::HelloTooLong);
        }
        let mut hello = Hello::default();
        let mut entries = Reader::new(entries);
        let mut seen = [false; FEATURES as usize + 1];
        for at in 0.. {
            if entries.is_empty() {
                break;
            }
            if at == MAX_HELLO_ENTRIES {
                return Err(WireError::HelloTooManyEntries);
            }
            let tag = entries.varint()?;
            let mut value = entries.prefixed()?;
            if let Some(seen) = usize::try_from(tag).ok().and_then(|tag| seen.get_mut(tag))
                && std::mem::replace(seen, true)
            {
                return Err(WireError::HelloDuplicate(tag));
            }
            match tag {
                ROLE => hello.role = Role::from_number(value.varint()?)?,
                MAX_CALLS => hello.max_calls = value.varint()?,
                MAX_MESSAGE => hello.max_message = value.varint()?,
                MAX_BYTES_IN_FLIGHT => hello.max_bytes_in_flight = value.varint()?,
                CODECS => read_list(&mut value, &mut hello.codecs, MAX_CODECS, WireError::HelloTooManyCodecs)?,
                FEATURES => read_list(&mut value, &mut hello.features, MAX_FEATURES, WireError::HelloTooManyFeatures)?,
                _ => continue,
            }
            value.end()?;
        }
        hello.check()?;
        Ok(hello)
    }

    /// Append the entries of a `Hello` frame: all that follows its kind.
    ///
    /// # Errors
    /// If a value isn't allowed. Nothing is written then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        self.check()?;
        for (tag, number) in self.numbers() {
            varint::write(out, tag);
            varint::write(out, varint::len(number) as u64);
            varint::write(out, number);
        }
        for (tag, list) in self.lists() {
            varint::write(out, tag);
            varint::write(out, list_len(list) as u64);
            list.iter().for_each(|number| varint::write(out, *number));
        }
        Ok(())
    }

    pub(super) fn encoded_len(&self) -> usize {
        let prefixed = |tag, len| sum([varint::len(tag), varint::len(len as u64), len]);
        let numbers: usize = self.numbers().map(|(tag, number)| prefixed(tag, varint::len(number))).iter().sum();
        sum([numbers, self.lists().map(|(tag, list)| prefixed(tag, list_len(list))).sum()])
    }

    pub(super) fn check(&self) -> Result<(), WireError> {
        if self.max_calls == 0 {
            return Err(WireError::HelloNoCalls);
        }
        let least = self.max_message.min(self.max_bytes_in_flight);
        if least < MIN_LIMIT_BYTES {
            return Err(WireError::HelloLimitTooSmall(least));
        }
        if self.codecs.len() > MAX_CODECS {
            return Err(WireError::HelloTooManyCodecs);
        }
        if let Some(codec) = repeated(&self.codecs) {
            return Err(WireError::HelloDuplicateCodec(codec));
        }
        if self.features.len() > MAX_FEATURES {
            return Err(WireError::HelloTooManyFeatures);
        }
        repeated(&self.features).map_or(Ok(()), |feature| Err(WireError::HelloDuplicateFeature(feature)))
    }

    fn numbers(&self) -> [(u64, u64); 4] {
        [
            (ROLE, self.role as u64),
            (MAX_CALLS, self.max_calls),
            (MAX_MESSAGE, self.max_message),
            (MAX_BYTES_IN_FLIGHT, self.max_bytes_in_flight),
        ]
    }

    /// Those that are not empty.
    fn lists(&self) -> impl Iterator<Item = (u64, &[u64])> {
        [(CODECS, &self.codecs[..]), (FEATURES, &self.features[..])].into_iter().filter(|(_, list)| !list.is_empty())
    }
}

fn read_list(value: &mut Reader<'_>, list: &mut Vec<u64>, most: usize, past: WireError) -> Result<(), WireError> {
    while !value.is_empty() {
        if list.len() == most {
            return Err(past);
        }
        list.push(value.varint()?);
    }
    Ok(())
}

fn list_len(list: &[u64]) -> usize {
    list.iter().map(|number| varint::len(*number)).sum()
}

fn repeated(list: &[u64]) -> Option<u64> {
    list.iter()
        .enumerate()
        .find(|(at, number)| list.iter().take(*at).any(|earlier| earlier == *number))
        .map(|(_, n)| *n)
}

//! MessagePack as Go peers have it: what go-libp2p-gorpc's codec, `github.com/ugorji/go/codec` with its defaults, writes
//! and takes.
//!
//! Strings and byte arrays are one family of raw bytes, without the newer `str 8` and `bin` types; integers keep their
//! sign; structs are maps, and what is empty may be left out of them. A body is read through the same
//! limits as in the other codecs. Unlike Go it refuses unsigned numbers past what a signed type holds, and arrays of a wrong length.

mod absent;
mod de;
mod error;
mod header;
mod names;
mod parts;
mod ser;

use std::fmt::Display;
use std::io::Write;

use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use self::absent::Absent;
use self::de::Deserializer;
use self::error::Failed;
pub(crate) use self::header::{Header, NeverUsed};
use self::names::Misnamed;
use self::ser::Serializer;
use super::bounded::Bounded;
use super::{CodecError, budget};

/// The format of Go peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gorpc;

impl Gorpc {
    /// `None` where it isn't compiled in.
    pub(crate) const AVAILABLE: Option<Gorpc> = Some(Gorpc);

    /// Appends a value: at most `limit` bytes.
    pub(crate) fn encode<T: Serialize>(self, value: &T, out: &mut Vec<u8>, limit: usize) -> Result<(), CodecError> {
        encode(value, out, limit)
    }

    /// Appends the arguments of a method: one as itself, none as `struct{}`, several as a struct.
    pub(crate) fn encode_args<T: Serialize>(self, args: &T, out: &mut Vec<u8>, limit: usize) -> Result<(), CodecError> {
        append(out, limit, |writer| args.serialize(Serializer::of_args(writer, limit)))
    }

    /// Appends what an error says, as it is: at most `limit` bytes.
    pub(crate) fn encode_error(self, error: &impl Display, out: &mut Vec<u8>, limit: usize) -> Result<(), CodecError> {
        let mut writer = Bounded::new(out, limit);
        let result = write!(writer, "{error}").map_err(CodecError::encode);
        writer.finish(result)
    }

    /// Reads the arguments of this method, all of `bytes`. Structs whose fields seem to have other names in Go are an error if `strict`, and
    /// told of once otherwise.
    pub(crate) fn decode_args<T: DeserializeOwned>(
        self,
        bytes: &[u8],
        method: &'static str,
        strict: bool,
    ) -> Result<T, CodecError> {
        let (args, misnamed) = read(bytes, What::Arguments)?;
        names::check(misnamed, method, strict).map(|()| args)
    }

    /// Reads what this method gave, as [`decode_args`](Gorpc::decode_args) does.
    pub(crate) fn decode_reply<T: DeserializeOwned>(
        self,
        bytes: &[u8],
        method: &'static str,
        strict: bool,
    ) -> Result<T, CodecError> {
        let (value, misnamed) = read(bytes, What::Value)?;
        names::check(misnamed, method, strict).map(|()| value)
    }
}

/// Appends a value: at most `limit` bytes.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>, limit: usize) -> Result<(), CodecError> {
    append(out, limit, |writer| value.serialize(Serializer::new(writer, limit)))
}

fn append<F>(out: &mut Vec<u8>, limit: usize, write: F) -> Result<(), CodecError>
where
    F: FnOnce(&mut Bounded<'_>) -> Result<(), Failed>,
{
    let mut writer = Bounded::new(out, limit);
    let result = write(&mut writer).map_err(|error| match error {
        Failed::Full => CodecError::TooLarge { limit },
        other => CodecError::encode(other),
    });
    writer.finish(result)
}

/// Reads the value that `bytes` hold, all of them.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    read(bytes, What::Value).map(|(value, _)| value)
}

#[derive(Clone, Copy)]
enum What {
    Value,
    Arguments,
}

fn read<T: DeserializeOwned>(bytes: &[u8], what: What) -> Result<(T, Option<Misnamed>), CodecError> {
    let mut absent = Absent::default();
    loop {
        absent.take_misnamed();
        let mut needed = None;
        let result = budget::within(bytes.len(), |root| {
            let mut deserializer = match what {
                What::Value => Deserializer::new(bytes, &absent),
                What::Arguments => Deserializer::of_args(bytes, &absent),
            };
            match root.deserialize(&mut deserializer) {
                Ok(value) if deserializer.is_at_end() => Ok(value),
                Ok(_) => Err(CodecError::decode("there are bytes left over after the value")),
                Err(error) => {
                    if let Failed::Missing(field) = error {
                        needed = Some(field);
                    }
                    Err(CodecError::decode(error))
                }
            }
        });
        match needed {
            Some(field) if absent.learn(field) => {}
            _ => return result.map(|value| (value, absent.take_misnamed())),
        }
    }
}

#[cfg(test)]
mod tests;

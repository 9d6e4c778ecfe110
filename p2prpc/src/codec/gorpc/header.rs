//! The first bytes of a MessagePack value: what it is, and how much follows.
//!
//! <https://github.com/msgpack/msgpack/blob/master/spec.md>

use rmp::Marker;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Header {
    Nil,
    Bool(bool),
    /// Below zero, or written as a signed integer.
    Int(i64),
    Uint(u64),
    F32(f32),
    F64(f64),
    /// A string or byte array, which Go doesn't tell apart: so many bytes follow.
    Raw(u32),
    /// So many values follow.
    Array(u32),
    /// So many pairs of values follow.
    Map(u32),
    /// An extension of this type: so many bytes follow.
    Ext(i8, u32),
}

/// The one byte that begins no value: `c1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeverUsed;

impl Header {
    /// The header that `bytes` begin with, and its length; none if it isn't whole yet.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<(Header, usize)>, NeverUsed> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let marker = Marker::from_u8(first);
        if marker == Marker::Reserved {
            return Err(NeverUsed);
        }
        Ok(read_behind(marker, rest).map(|(header, len)| (header, len.saturating_add(1))))
    }

    /// The bytes that follow and are no values.
    pub(crate) fn payload(self) -> usize {
        match self {
            Header::Raw(len) | Header::Ext(_, len) => len as usize,
            _ => 0,
        }
    }

    /// The values that follow and are parts of this one.
    pub(crate) fn parts(self) -> u64 {
        match self {
            Header::Array(len) => len.into(),
            Header::Map(len) => 2 * u64::from(len),
            _ => 0,
        }
    }
}

/// The header, and how many bytes of it are behind the marker.
fn read_behind(marker: Marker, rest: &[u8]) -> Option<(Header, usize)> {
    let unsigned = |size: usize| {
        let bytes = rest.get(..size)?;
        Some(bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let len = |size: usize| unsigned(size).and_then(|len| u32::try_from(len).ok());
    let ext = |size: usize| Some((len(size)?, i8::from_be_bytes([*rest.get(size)?])));
    let fixed = |header| Some((header, 0));
    let fixed_ext = |len| Some((Header::Ext(i8::from_be_bytes([*rest.first()?]), len), 1));
    match marker {
        Marker::FixPos(value) => fixed(Header::Uint(value.into())),
        Marker::FixNeg(value) => fixed(Header::Int(value.into())),
        Marker::FixMap(len) => fixed(Header::Map(len.into())),
        Marker::FixArray(len) => fixed(Header::Array(len.into())),
        Marker::FixStr(len) => fixed(Header::Raw(len.into())),
        Marker::Null | Marker::Reserved => fixed(Header::Nil),
        Marker::False => fixed(Header::Bool(false)),
        Marker::True => fixed(Header::Bool(true)),
        Marker::U8 => Some((Header::Uint(unsigned(1)?), 1)),
        Marker::U16 => Some((Header::Uint(unsigned(2)?), 2)),
        Marker::U32 => Some((Header::Uint(unsigned(4)?), 4)),
        Marker::U64 => Some((Header::Uint(unsigned(8)?), 8)),
        Marker::I8 => Some((Header::Int(i8::from_be_bytes(*rest.first_chunk()?).into()), 1)),
        Marker::I16 => Some((Header::Int(i16::from_be_bytes(*rest.first_chunk()?).into()), 2)),
        Marker::I32 => Some((Header::Int(i32::from_be_bytes(*rest.first_chunk()?).into()), 4)),
        Marker::I64 => Some((Header::Int(i64::from_be_bytes(*rest.first_chunk()?)), 8)),
        Marker::F32 => Some((Header::F32(f32::from_be_bytes(*rest.first_chunk()?)), 4)),
        Marker::F64 => Some((Header::F64(f64::from_be_bytes(*rest.first_chunk()?)), 8)),
        Marker::Str8 | Marker::Bin8 => Some((Header::Raw(len(1)?), 1)),
        Marker::Str16 | Marker::Bin16 => Some((Header::Raw(len(2)?), 2)),
        Marker::Str32 | Marker::Bin32 => Some((Header::Raw(len(4)?), 4)),
        Marker::Array16 => Some((Header::Array(len(2)?), 2)),
        Marker::Array32 => Some((Header::Array(len(4)?), 4)),
        Marker::Map16 => Some((Header::Map(len(2)?), 2)),
        Marker::Map32 => Some((Header::Map(len(4)?), 4)),
        Marker::FixExt1 => fixed_ext(1),
        Marker::FixExt2 => fixed_ext(2),
        Marker::FixExt4 => fixed_ext(4),
        Marker::FixExt8 => fixed_ext(8),
        Marker::FixExt16 => fixed_ext(16),
        Marker::Ext8 => ext(1).map(|(len, kind)| (Header::Ext(kind, len), 2)),
        Marker::Ext16 => ext(2).map(|(len, kind)| (Header::Ext(kind, len), 3)),
        Marker::Ext32 => ext(4).map(|(len, kind)| (Header::Ext(kind, len), 5)),
    }
}

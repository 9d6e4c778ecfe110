//! Values as go-libp2p-gorpc takes them: lenient about how a value is written, strict about what it is.

use serde::de::value::{BytesDeserializer, SeqDeserializer};
use serde::de::{self, Error, IntoDeserializer, Visitor};

use super::absent::Absent;
use super::error::Failed;
use super::header::{Header, NeverUsed};
use super::parts::{Argument, Arguments, Elements, Entries, Fields, Variant};

pub(super) type Result<T> = std::result::Result<T, Failed>;

/// The type of the extension that times have.
const TIMESTAMP: i8 = -1;

/// What stands for a value that isn't there.
const NIL: &[u8] = &[0xc0];

pub(super) struct Deserializer<'de, 'a> {
    rest: &'de [u8],
    pub(super) absent: &'a Absent,
    /// The value is the arguments of a method: one travels as itself, none as `struct{}`.
    args: bool,
}

impl<'de, 'a> Deserializer<'de, 'a> {
    pub(super) fn new(bytes: &'de [u8], absent: &'a Absent) -> Self {
        Deserializer { rest: bytes, absent, args: false }
    }

    pub(super) fn of_args(bytes: &'de [u8], absent: &'a Absent) -> Self {
        Deserializer { rest: bytes, absent, args: true }
    }

    /// Of the zero value of whatever is asked for.
    pub(super) fn of_nil(absent: &'a Absent) -> Self {
        Deserializer::new(NIL, absent)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn header(&mut self) -> Result<Header> {
        let read = Header::read(self.rest).map_err(|NeverUsed| Failed::custom("c1 begins no value"))?;
        let (header, len) = read.ok_or_else(Failed::cut)?;
        self.rest = self.rest.get(len..).ok_or_else(Failed::cut)?;
        // Each part takes a byte at least: what is announced and can't be there is refused before room is made for it.
        if header.parts() > self.rest.len() as u64 {
            return Err(Failed::cut());
        }
        Ok(header)
    }

    pub(super) fn payload(&mut self, len: u32) -> Result<&'de [u8]> {
        let (payload, rest) = self.rest.split_at_checked(len as usize).ok_or_else(Failed::cut)?;
        self.rest = rest;
        Ok(payload)
    }

    /// The key of a struct, if the next value can be one.
    pub(super) fn peek_raw(&self) -> Option<&'de [u8]> {
        match Header::read(self.rest) {
            Ok(Some((Header::Raw(len), behind))) => self.rest.get(behind..)?.get(..len as usize),
            _ => None,
        }
    }

    pub(super) fn skip(&mut self) -> Result<()> {
        let mut left = 1_u64;
        while left > 0 {
            let header = self.header()?;
            self.payload(header.payload() as u32)?;
            left = left.saturating_sub(1).saturating_add(header.parts());
        }
        Ok(())
    }

    fn number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        match self.header()? {
            Header::Nil => visitor.visit_u64(0),
            Header::Int(value) => visitor.visit_i64(value),
            Header::Uint(value) => visitor.visit_u64(value),
            Header::F32(value) => integral(value.into(), visitor),
            Header::F64(value) => integral(value, visitor),
            other => Err(unexpected(other, &visitor)),
        }
    }

    fn nothing<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        match Header::read(self.rest) {
            Ok(Some((Header::Nil | Header::Map(_) | Header::Array(_), _))) => {
                self.skip()?;
                visitor.visit_unit()
            }
            _ => Err(unexpected(self.header()?, &visitor)),
        }
    }

    /// So many values, no fewer and no more.
    fn exactly<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value> {
        let found = match self.header()? {
            Header::Nil => 0,
            Header::Array(found) => found as usize,
            Header::Raw(found) if found as usize == len => return self.bytes_one_by_one(found, visitor),
            Header::Raw(found) => found as usize,
            other => return Err(unexpected(other, &visitor)),
        };
        if found != len {
            return Err(Failed::invalid_length(found, &visitor));
        }
        visitor.visit_seq(Elements { left: found as u64, de: self })
    }

    fn bytes_one_by_one<V: Visitor<'de>>(&mut self, len: u32, visitor: V) -> Result<V::Value> {
        let bytes = self.payload(len)?;
        visitor.visit_seq(SeqDeserializer::<_, Failed>::new(bytes.iter().copied()))
    }

    /// Bytes that were written as numbers.
    fn gathered(&mut self, len: u32) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for _ in 0..len {
            match self.header()? {
                Header::Uint(byte) => {
                    bytes.push(u8::try_from(byte).map_err(|_| Failed::custom("no byte is as large"))?)
                }
                _ => return Err(Failed::custom("a byte is a number")),
            }
        }
        Ok(bytes)
    }
}

/// A number that a float can only be if it has no fraction.
fn integral<'de, V: Visitor<'de>>(value: f64, visitor: V) -> Result<V::Value> {
    // 2^63 and 2^64: the largest integers are not floats themselves.
    const MIDDLE: f64 = 9_223_372_036_854_775_808.0;
    const END: f64 = 18_446_744_073_709_551_616.0;
    if value.fract() != 0.0 {
        Err(Failed::invalid_type(de::Unexpected::Float(value), &visitor))
    } else if (-MIDDLE..MIDDLE).contains(&value) {
        visitor.visit_i64(value as i64)
    } else if (MIDDLE..END).contains(&value) {
        visitor.visit_u64(value as u64)
    } else {
        Err(Failed::invalid_value(de::Unexpected::Float(value), &visitor))
    }
}

fn unexpected(header: Header, expected: &dyn de::Expected) -> Failed {
    use de::Unexpected;
    let found = match header {
        Header::Nil => Unexpected::Unit,
        Header::Bool(value) => Unexpected::Bool(value),
        Header::Int(value) => Unexpected::Signed(value),
        Header::Uint(value) => Unexpected::Unsigned(value),
        Header::F32(value) => Unexpected::Float(value.into()),
        Header::F64(value) => Unexpected::Float(value),
        Header::Raw(_) => Unexpected::Other("a string or bytes"),
        Header::Array(_) => Unexpected::Seq,
        Header::Map(_) => Unexpected::Map,
        Header::Ext(..) => Unexpected::Other("an extension"),
    };
    Failed::invalid_type(found, expected)
}

fn text<'de, V: Visitor<'de>>(bytes: &'de [u8], visitor: V) -> Result<V::Value> {
    match std::str::from_utf8(bytes) {
        Ok(text) => visitor.visit_borrowed_str(text),
        Err(_) => Err(Failed::invalid_value(de::Unexpected::Other("bytes that are not UTF-8"), &visitor)),
    }
}

macro_rules! numbers {
    ($($of:ident)*) => {
        $(
            fn $of<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
                self.number(visitor)
            }
        )*
    };
}

impl<'de> de::Deserializer<'de> for &mut Deserializer<'de, '_> {
    type Error = Failed;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.header()? {
            Header::Nil => visitor.visit_unit(),
            Header::Bool(value) => visitor.visit_bool(value),
            Header::Int(value) => visitor.visit_i64(value),
            Header::Uint(value) => visitor.visit_u64(value),
            Header::F32(value) => visitor.visit_f32(value),
            Header::F64(value) => visitor.visit_f64(value),
            Header::Raw(len) | Header::Ext(_, len) => {
                let bytes = self.payload(len)?;
                match std::str::from_utf8(bytes) {
                    Ok(text) => visitor.visit_borrowed_str(text),
                    Err(_) => visitor.visit_borrowed_bytes(bytes),
                }
            }
            Header::Array(len) => visitor.visit_seq(Elements { left: len.into(), de: self }),
            Header::Map(len) => visitor.visit_map(Entries { left: len, de: self }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.header()? {
            Header::Nil | Header::Uint(0) => visitor.visit_bool(false),
            Header::Uint(1) => visitor.visit_bool(true),
            Header::Bool(value) => visitor.visit_bool(value),
            other => Err(unexpected(other, &visitor)),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.header()? {
            Header::F64(value) if value.is_finite() && (value as f32).is_infinite() => {
                Err(Failed::invalid_value(de::Unexpected::Float(value), &visitor))
            }
            header => float(header, visitor),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        float(self.header()?, visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.header()? {
            Header::Nil => visitor.visit_borrowed_str(""),
            Header::Raw(len) => text(self.payload(len)?, visitor),
            Header::Array(len) => match String::from_utf8(self.gathered(len)?) {
                Ok(text) => visitor.visit_string(text),
                Err(_) => Err(Failed::invalid_value(de::Unexpected::Other("bytes that are not UTF-8"), &visitor)),
            },
            other => Err(unexpected(other, &visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.header()? {
            Header::Nil => visitor.visit_borrowed_bytes(&[]),
            Header::Raw(len) | Header::Ext(TIMESTAMP, len) => visitor.visit_borrowed_bytes(self.payload(len)?),
            Header::Array(len) => visitor.visit_byte_buf(self.gathered(len)?),
            other => Err(unexpected(other, &visitor)),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match Header::read(self.rest) {
            Ok(Some((Header::Nil, len))) => {
                self.payload(len as u32)?;
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.nothing(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        self.nothing(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.header()? {
            Header::Nil => visitor.visit_seq(Elements { left: 0, de: self }),
            Header::Raw(len) => self.bytes_one_by_one(len, visitor),
            header @ (Header::Array(_) | Header::Map(_)) => {
                visitor.visit_seq(Elements { left: header.parts(), de: self })
            }
            other => Err(unexpected(other, &visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.exactly(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, len: usize, visitor: V) -> Result<V::Value> {
        self.exactly(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.header()? {
            Header::Nil => visitor.visit_map(Entries { left: 0, de: self }),
            Header::Map(len) => visitor.visit_map(Entries { left: len, de: self }),
            other => Err(unexpected(other, &visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        if std::mem::take(&mut self.args) {
            return match fields {
                [] => {
                    self.skip()?;
                    visitor.visit_map(Entries { left: 0, de: self })
                }
                [field] => visitor.visit_map(Argument::new(self, field)),
                fields => match self.header()? {
                    Header::Nil => visitor.visit_map(Arguments::new(self, 0, fields)),
                    Header::Map(len) => visitor.visit_map(Arguments::new(self, len, fields)),
                    Header::Array(len) => positional(self, len, fields, visitor),
                    other => Err(unexpected(other, &visitor)),
                },
            };
        }
        match self.header()? {
            Header::Nil => visitor.visit_map(Fields::new(self, 0, name, fields)),
            Header::Map(len) => visitor.visit_map(Fields::new(self, len, name, fields)),
            Header::Array(len) => positional(self, len, fields, visitor),
            other => Err(unexpected(other, &visitor)),
        }
    }

    /// A variant without a value is its name, as the constants of a named string type are in Go.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.header()? {
            Header::Raw(len) => match std::str::from_utf8(self.payload(len)?) {
                Ok(name) => visitor.visit_enum(IntoDeserializer::<Failed>::into_deserializer(name)),
                Err(_) => Err(Failed::invalid_value(de::Unexpected::Other("bytes that are not UTF-8"), &visitor)),
            },
            Header::Map(1) => visitor.visit_enum(Variant { de: self }),
            other => Err(unexpected(other, &visitor)),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.header()? {
            Header::Raw(len) => {
                let bytes = self.payload(len)?;
                match std::str::from_utf8(bytes) {
                    Ok(name) => visitor.visit_borrowed_str(name),
                    Err(_) => de::Deserializer::deserialize_bytes(BytesDeserializer::<Failed>::new(bytes), visitor),
                }
            }
            other => Err(unexpected(other, &visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.skip()?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

fn float<'de, V: Visitor<'de>>(header: Header, visitor: V) -> Result<V::Value> {
    match header {
        Header::Nil => visitor.visit_f64(0.0),
        Header::Int(value) => visitor.visit_f64(value as f64),
        Header::Uint(value) => visitor.visit_f64(value as f64),
        Header::F32(value) => visitor.visit_f32(value),
        Header::F64(value) => visitor.visit_f64(value),
        other => Err(unexpected(other, &visitor)),
    }
}

/// The fields of a struct in order: those that aren't there are zero, and those that are too many are skipped.
fn positional<'de, V: Visitor<'de>>(
    de: &mut Deserializer<'de, '_>,
    len: u32,
    fields: &'static [&'static str],
    visitor: V,
) -> Result<V::Value> {
    let mut elements = super::parts::Positions { left: len, fields: fields.len(), de };
    let value = visitor.visit_seq(&mut elements)?;
    elements.skip_the_rest()?;
    Ok(value)
}

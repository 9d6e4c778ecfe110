//! Values as ugorji's codec writes them with its defaults, which are those of go-libp2p-gorpc.

use std::fmt::Display;
use std::io;

use heck::ToUpperCamelCase;
use rmp::encode;
use serde::ser::{self, Serialize};

use super::error::Failed;
use crate::codec::bounded::Bounded;

type Result<T = ()> = std::result::Result<T, Failed>;

/// Where bytes are appended: the message, or a part of it whose number of elements isn't known before.
pub(super) trait Sink {
    fn put(&mut self, bytes: &[u8]) -> Result;
}

impl Sink for Bounded<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result {
        self.append(bytes).map_err(|_| Failed::Full)
    }
}

/// A part of at most as many bytes.
pub(super) struct Part {
    bytes: Vec<u8>,
    room: usize,
}

impl Sink for Part {
    fn put(&mut self, bytes: &[u8]) -> Result {
        self.room = self.room.checked_sub(bytes.len()).ok_or(Failed::Full)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

pub(super) struct Serializer<'a, S> {
    out: &'a mut S,
    /// The most bytes that the message may have.
    limit: usize,
    place: Place,
}

/// Where the value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is the arguments of a method.
    Arguments,
    /// It is what an argument or a reply is.
    Top,
    /// It is a part of that.
    Within,
}

/// The bytes of a number of at most nine, and of lengths.
struct Small {
    bytes: [u8; 9],
    len: usize,
}

impl Small {
    fn new() -> Self {
        Small { bytes: [0; 9], len: 0 }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl io::Write for Small {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = io::Write::write(&mut self.bytes.get_mut(self.len..).unwrap_or_default(), bytes)?;
        self.len = self.len.saturating_add(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a, S: Sink> Serializer<'a, S> {
    pub(super) fn new(out: &'a mut S, limit: usize) -> Self {
        Serializer { out, limit, place: Place::Top }
    }

    /// For the arguments of a method: one travels as itself, none as `struct{}`.
    pub(super) fn of_args(out: &'a mut S, limit: usize) -> Self {
        Serializer { out, limit, place: Place::Arguments }
    }

    fn of(&mut self, place: Place) -> Serializer<'_, S> {
        Serializer { out: self.out, limit: self.limit, place }
    }

    fn small<T, E: Display>(&mut self, write: impl FnOnce(&mut Small) -> std::result::Result<T, E>) -> Result {
        let mut small = Small::new();
        write(&mut small).map_err(ser::Error::custom)?;
        self.out.put(small.bytes())
    }

    /// Signed, whatever its sign.
    fn int(&mut self, value: i64) -> Result {
        self.small(|out| {
            if let Ok(value) = i8::try_from(value) {
                match value {
                    0.. => encode::write_pfix(out, value.unsigned_abs()).map_err(|error| error.to_string()),
                    -32..0 => encode::write_nfix(out, value).map_err(|error| error.to_string()),
                    _ => encode::write_i8(out, value).map_err(|error| error.to_string()),
                }
            } else if let Ok(value) = i16::try_from(value) {
                encode::write_i16(out, value).map_err(|error| error.to_string())
            } else if let Ok(value) = i32::try_from(value) {
                encode::write_i32(out, value).map_err(|error| error.to_string())
            } else {
                encode::write_i64(out, value).map_err(|error| error.to_string())
            }
        })
    }

    fn uint(&mut self, value: u64) -> Result {
        self.small(|out| encode::write_uint(out, value))
    }

    /// A string or byte array, in the family of raw bytes that MessagePack had before it knew strings.
    fn raw(&mut self, bytes: &[u8]) -> Result {
        let len = length(bytes.len())?;
        match len {
            0..32 => self.out.put(&[rmp::Marker::FixStr(len as u8).to_u8()])?,
            32..=0xffff => self.lengthy(rmp::Marker::Str16, &(len as u16).to_be_bytes())?,
            _ => self.lengthy(rmp::Marker::Str32, &len.to_be_bytes())?,
        }
        self.out.put(bytes)
    }

    fn lengthy(&mut self, marker: rmp::Marker, len: &[u8]) -> Result {
        self.out.put(&[marker.to_u8()])?;
        self.out.put(len)
    }

    fn array(&mut self, len: usize) -> Result {
        let len = length(len)?;
        self.small(|out| encode::write_array_len(out, len))
    }

    fn map(&mut self, len: usize) -> Result {
        let len = length(len)?;
        self.small(|out| encode::write_map_len(out, len))
    }

    fn pair(&mut self, name: &str) -> Result {
        self.map(1)?;
        self.raw(name.as_bytes())
    }
}

fn length(len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| ser::Error::custom("it has more than 2^32 elements"))
}

impl<'a, S: Sink> ser::Serializer for Serializer<'a, S> {
    type Ok = ();
    type Error = Failed;
    type SerializeSeq = Elements<'a, S>;
    type SerializeTuple = Elements<'a, S>;
    type SerializeTupleStruct = Elements<'a, S>;
    type SerializeTupleVariant = Elements<'a, S>;
    type SerializeMap = Elements<'a, S>;
    type SerializeStruct = Elements<'a, S>;
    type SerializeStructVariant = Elements<'a, S>;

    fn serialize_bool(self, value: bool) -> Result {
        self.out.put(&[if value { rmp::Marker::True } else { rmp::Marker::False }.to_u8()])
    }

    fn serialize_i8(mut self, value: i8) -> Result {
        self.int(value.into())
    }

    fn serialize_i16(mut self, value: i16) -> Result {
        self.int(value.into())
    }

    fn serialize_i32(mut self, value: i32) -> Result {
        self.int(value.into())
    }

    fn serialize_i64(mut self, value: i64) -> Result {
        self.int(value)
    }

    fn serialize_i128(mut self, value: i128) -> Result {
        self.int(i64::try_from(value).map_err(|_| Failed::too_wide())?)
    }

    fn serialize_u8(mut self, value: u8) -> Result {
        self.uint(value.into())
    }

    fn serialize_u16(mut self, value: u16) -> Result {
        self.uint(value.into())
    }

    fn serialize_u32(mut self, value: u32) -> Result {
        self.uint(value.into())
    }

    fn serialize_u64(mut self, value: u64) -> Result {
        self.uint(value)
    }

    fn serialize_u128(mut self, value: u128) -> Result {
        self.uint(u64::try_from(value).map_err(|_| Failed::too_wide())?)
    }

    fn serialize_f32(mut self, value: f32) -> Result {
        self.small(|out| encode::write_f32(out, value))
    }

    fn serialize_f64(mut self, value: f64) -> Result {
        self.small(|out| encode::write_f64(out, value))
    }

    fn serialize_char(mut self, value: char) -> Result {
        self.raw(value.encode_utf8(&mut [0; 4]).as_bytes())
    }

    fn serialize_str(mut self, value: &str) -> Result {
        self.raw(value.as_bytes())
    }

    fn serialize_bytes(mut self, value: &[u8]) -> Result {
        self.raw(value)
    }

    fn serialize_none(self) -> Result {
        self.out.put(&[rmp::Marker::Null.to_u8()])
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        value.serialize(self)
    }

    /// Nil within a value. A reply or an argument that is nothing else is `struct{}`: nil would end a Go process that reads it
    /// from a stream of replies.
    fn serialize_unit(mut self) -> Result {
        if self.place == Place::Within { self.serialize_none() } else { self.map(0) }
    }

    fn serialize_unit_struct(mut self, _: &'static str) -> Result {
        self.map(0)
    }

    fn serialize_unit_variant(mut self, _: &'static str, _: u32, variant: &'static str) -> Result {
        self.raw(variant.as_bytes())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result {
        self.pair(variant)?;
        value.serialize(self.of(Place::Within))
    }

    fn serialize_seq(mut self, len: Option<usize>) -> Result<Elements<'a, S>> {
        match len {
            Some(len) => {
                self.array(len)?;
                Ok(Elements::Counted(self))
            }
            None => Ok(Elements::gathered(self, Kind::Array)),
        }
    }

    fn serialize_tuple(self, len: usize) -> Result<Elements<'a, S>> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Elements<'a, S>> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Elements<'a, S>> {
        self.pair(variant)?;
        self.serialize_seq(Some(len))
    }

    fn serialize_map(mut self, len: Option<usize>) -> Result<Elements<'a, S>> {
        match len {
            Some(len) => {
                self.map(len)?;
                Ok(Elements::Counted(self))
            }
            None => Ok(Elements::gathered(self, Kind::Map)),
        }
    }

    fn serialize_struct(mut self, _: &'static str, len: usize) -> Result<Elements<'a, S>> {
        match (self.place, len) {
            (Place::Top | Place::Within, _) => self.serialize_map(Some(len)),
            (Place::Arguments, 1) => Ok(Elements::Argument(self)),
            (Place::Arguments, _) => {
                self.map(len)?;
                Ok(Elements::Arguments(self))
            }
        }
    }

    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Elements<'a, S>> {
        self.pair(variant)?;
        self.serialize_map(Some(len))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Array,
    Map,
}

/// The parts of a value.
pub(super) enum Elements<'a, S> {
    /// Behind their number.
    Counted(Serializer<'a, S>),
    /// The only one, by itself.
    Argument(Serializer<'a, S>),
    /// Behind their number, under the names that fields of a struct have in Go.
    Arguments(Serializer<'a, S>),
    /// To be counted: a map that is flattened into another doesn't know how large it will be.
    Gathered { whole: Serializer<'a, S>, kind: Kind, part: Part, count: usize },
}

impl<'a, S: Sink> Elements<'a, S> {
    fn gathered(whole: Serializer<'a, S>, kind: Kind) -> Self {
        let part = Part { bytes: Vec::new(), room: whole.limit };
        Elements::Gathered { whole, kind, part, count: 0 }
    }

    fn add<T: Serialize + ?Sized>(&mut self, value: &T, counts: bool) -> Result {
        match self {
            Elements::Argument(serializer) => value.serialize(serializer.of(Place::Top)),
            Elements::Counted(serializer) | Elements::Arguments(serializer) => {
                value.serialize(serializer.of(Place::Within))
            }
            Elements::Gathered { whole, part, count, .. } => {
                *count = count.saturating_add(counts.into());
                part_serialize(value, part, whole.limit)
            }
        }
    }

    fn name(&mut self, name: &'static str) -> Result {
        match self {
            Elements::Argument(_) => Ok(()),
            Elements::Arguments(serializer) => serializer.raw(name.to_upper_camel_case().as_bytes()),
            Elements::Counted(_) | Elements::Gathered { .. } => self.add(name, true),
        }
    }

    fn end(self) -> Result {
        match self {
            Elements::Counted(_) | Elements::Argument(_) | Elements::Arguments(_) => Ok(()),
            Elements::Gathered { mut whole, kind, part, count } => {
                match kind {
                    Kind::Array => whole.array(count)?,
                    Kind::Map => whole.map(count)?,
                }
                whole.out.put(&part.bytes)
            }
        }
    }
}

fn part_serialize<T: Serialize + ?Sized>(value: &T, part: &mut Part, limit: usize) -> Result {
    value.serialize(Serializer { out: part, limit, place: Place::Within })
}

macro_rules! elements {
    ($($of:ident: $add:ident;)*) => {
        $(
            impl<S: Sink> ser::$of for Elements<'_, S> {
                type Ok = ();
                type Error = Failed;

                fn $add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
                    self.add(value, true)
                }

                fn end(self) -> Result {
                    Elements::end(self)
                }
            }
        )*
    };
}

elements! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
}

impl<S: Sink> ser::SerializeMap for Elements<'_, S> {
    type Ok = ();
    type Error = Failed;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result {
        self.add(key, true)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.add(value, false)
    }

    fn end(self) -> Result {
        Elements::end(self)
    }
}

macro_rules! fields {
    ($($of:ident;)*) => {
        $(
            impl<S: Sink> ser::$of for Elements<'_, S> {
                type Ok = ();
                type Error = Failed;

                fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result {
                    self.name(name)?;
                    self.add(value, false)
                }

                fn end(self) -> Result {
                    Elements::end(self)
                }
            }
        )*
    };
}

fields! {
    SerializeStruct;
    SerializeStructVariant;
}

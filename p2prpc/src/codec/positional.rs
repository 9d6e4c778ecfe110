//! The serde adapter that codecs without field names encode through: a field that is left out has no place there.
//!
//! `#[serde(skip_serializing_if = "..")]` tells the format which field it leaves out. Formats that write values one after the other
//! go on with the next one, and whoever reads them takes that for the one that is missing.

use std::cell::Cell;
use std::fmt;

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{CodecError, CodecId};

/// The field that was left out, if any was.
#[derive(Default)]
pub(super) struct LeftOut(Cell<Option<&'static str>>);

impl LeftOut {
    /// The value, as the format is to have it.
    pub(super) fn watch<'a, T: ?Sized>(&'a self, value: &'a T) -> Watched<'a, T> {
        Watched { value, left_out: self }
    }

    /// How encoding ended: the format's own error may have lost the reason, and a `Serialize` may have gone on without the field.
    pub(super) fn check(&self, codec: CodecId, result: Result<(), CodecError>) -> Result<(), CodecError> {
        match self.0.get() {
            None => result,
            Some(field) => Err(CodecError::encode(format_args!(
                "its field `{field}` is left out, and {codec} has no field names to tell that by: take MessagePack or JSON, or \
                 write the field always"
            ))),
        }
    }

    #[cold]
    fn fail<E: Error>(&self, field: &'static str) -> E {
        self.0.set(Some(field));
        E::custom("a field is left out")
    }
}

/// A value, or what makes one, under watch.
pub(super) struct Watched<'a, T: ?Sized> {
    left_out: &'a LeftOut,
    value: &'a T,
}

impl<T: Serialize + ?Sized> Serialize for Watched<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Watching { left_out: self.left_out, inner: serializer })
    }
}

/// A serializer, or a part of one, that watches.
pub(super) struct Watching<'a, S> {
    left_out: &'a LeftOut,
    inner: S,
}

macro_rules! plain {
    ($($serialize:ident: $of:ty,)*) => {
        $(
            #[inline]
            fn $serialize(self, value: $of) -> Result<S::Ok, S::Error> {
                self.inner.$serialize(value)
            }
        )*
    };
}

macro_rules! compound {
    ($($serialize:ident($($name:ident: $of:ty),*) -> $part:ident,)*) => {
        $(
            #[inline]
            fn $serialize(self, $($name: $of),*) -> Result<Self::$part, S::Error> {
                let inner = self.inner.$serialize($($name),*)?;
                Ok(Watching { left_out: self.left_out, inner })
            }
        )*
    };
}

impl<'a, S: Serializer> Serializer for Watching<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Watching<'a, S::SerializeSeq>;
    type SerializeTuple = Watching<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Watching<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Watching<'a, S::SerializeTupleVariant>;
    type SerializeMap = Watching<'a, S::SerializeMap>;
    type SerializeStruct = Watching<'a, S::SerializeStruct>;
    type SerializeStructVariant = Watching<'a, S::SerializeStructVariant>;

    plain! {
        serialize_bool: bool,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
        serialize_f32: f32, serialize_f64: f64,
        serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    compound! {
        serialize_seq(len: Option<usize>) -> SerializeSeq,
        serialize_tuple(len: usize) -> SerializeTuple,
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct,
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> SerializeTupleVariant,
        serialize_map(len: Option<usize>) -> SerializeMap,
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct,
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> SerializeStructVariant,
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&self.left_out.watch(value))
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_struct(name, &self.left_out.watch(value))
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_variant(name, index, variant, &self.left_out.watch(value))
    }

    #[inline]
    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! elements {
    ($($part:ident: $add:ident;)*) => {
        $(
            impl<S: $part> $part for Watching<'_, S> {
                type Ok = S::Ok;
                type Error = S::Error;

                #[inline]
                fn $add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                    self.inner.$add(&self.left_out.watch(value))
                }

                #[inline]
                fn end(self) -> Result<S::Ok, S::Error> {
                    self.inner.end()
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

impl<S: SerializeMap> SerializeMap for Watching<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.inner.serialize_key(&self.left_out.watch(key))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.inner.serialize_value(&self.left_out.watch(value))
    }

    #[inline]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}

macro_rules! fields {
    ($($part:ident;)*) => {
        $(
            impl<S: $part> $part for Watching<'_, S> {
                type Ok = S::Ok;
                type Error = S::Error;

                #[inline]
                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    name: &'static str,
                    value: &T,
                ) -> Result<(), S::Error> {
                    self.inner.serialize_field(name, &self.left_out.watch(value))
                }

                fn skip_field(&mut self, name: &'static str) -> Result<(), S::Error> {
                    Err(self.left_out.fail(name))
                }

                #[inline]
                fn end(self) -> Result<S::Ok, S::Error> {
                    self.inner.end()
                }
            }
        )*
    };
}

fields! {
    SerializeStruct;
    SerializeStructVariant;
}

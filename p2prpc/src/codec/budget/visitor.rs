use std::fmt;

use serde::de::{Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use super::Place;
use super::access::{Elements, Entries, Variants};
use super::deserializer::Guarded;

/// The value's visitor, as the format sees it.
pub(super) struct Watched<'m, V> {
    pub(super) inner: V,
    pub(super) place: Place<'m>,
    /// How many bytes of the value's parts its own size has paid for.
    pub(super) inline: usize,
}

macro_rules! forward {
    ($($visit:ident: $type:ty;)*) => {
        $(
            #[inline]
            fn $visit<E: Error>(self, value: $type) -> Result<V::Value, E> {
                self.inner.$visit(value)
            }
        )*
    };
}

macro_rules! forward_by_length {
    ($($visit:ident: $type:ty;)*) => {
        $(
            #[inline]
            fn $visit<E: Error>(self, value: $type) -> Result<V::Value, E> {
                self.place.charge(value.len())?;
                self.inner.$visit(value)
            }
        )*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watched<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    forward! {
        visit_bool: bool;
        visit_i8: i8;
        visit_i16: i16;
        visit_i32: i32;
        visit_i64: i64;
        visit_i128: i128;
        visit_u8: u8;
        visit_u16: u16;
        visit_u32: u32;
        visit_u64: u64;
        visit_u128: u128;
        visit_f32: f32;
        visit_f64: f64;
        visit_char: char;
    }

    forward_by_length! {
        visit_str: &str;
        visit_borrowed_str: &'de str;
        visit_string: String;
        visit_bytes: &[u8];
        visit_borrowed_bytes: &'de [u8];
        visit_byte_buf: Vec<u8>;
    }

    #[inline]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let place = self.place.inside_wrapper()?;
        self.inner.visit_some(Guarded { inner: deserializer, place, paid: self.inline })
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let place = self.place.inside_wrapper()?;
        self.inner.visit_newtype_struct(Guarded { inner: deserializer, place, paid: self.inline })
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let place = self.place.inside_container()?;
        self.inner.visit_seq(Elements { inner: access, place, inline: self.inline })
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let place = self.place.inside_container()?;
        self.inner.visit_map(Entries { inner: access, place, inline: self.inline })
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let inside = self.place.inside_container()?;
        self.inner.visit_enum(Variants { inner: access, outside: self.place, inside, inline: self.inline })
    }
}

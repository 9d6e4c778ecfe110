use serde::de::{Deserializer, Visitor};

use super::Place;
use super::visitor::Watched;

/// The format's deserializer, as the value's `Deserialize` sees it.
pub(super) struct Guarded<'m, D> {
    pub(super) inner: D,
    pub(super) place: Place<'m>,
    /// How many bytes of the value have been charged already.
    pub(super) paid: usize,
}

/// Where the parts of a value are stored.
enum Parts {
    /// In the value itself.
    Inline,
    /// On the heap, or nobody knows.
    Elsewhere,
}

impl<'m, D> Guarded<'m, D> {
    /// Pays for the value that the visitor makes.
    #[inline]
    fn watch<'de, V>(self, visitor: V, parts: Parts) -> Result<(D, Watched<'m, V>), D::Error>
    where
        D: Deserializer<'de>,
        V: Visitor<'de>,
    {
        let size = size_of::<V::Value>();
        self.place.charge(size.saturating_sub(self.paid))?;
        let inline = match parts {
            Parts::Inline => size.max(self.paid),
            Parts::Elsewhere => 0,
        };
        Ok((self.inner, Watched { inner: visitor, place: self.place, inline }))
    }
}

macro_rules! forward {
    ($($asked:ident => $called:ident, $parts:ident;)*) => {
        $(
            #[inline]
            fn $asked<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
                let (inner, visitor) = self.watch(visitor, Parts::$parts)?;
                inner.$called(visitor)
            }
        )*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guarded<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any => deserialize_any, Elsewhere;
        deserialize_bool => deserialize_bool, Elsewhere;
        deserialize_i8 => deserialize_i8, Elsewhere;
        deserialize_i16 => deserialize_i16, Elsewhere;
        deserialize_i32 => deserialize_i32, Elsewhere;
        deserialize_i64 => deserialize_i64, Elsewhere;
        deserialize_i128 => deserialize_i128, Elsewhere;
        deserialize_u8 => deserialize_u8, Elsewhere;
        deserialize_u16 => deserialize_u16, Elsewhere;
        deserialize_u32 => deserialize_u32, Elsewhere;
        deserialize_u64 => deserialize_u64, Elsewhere;
        deserialize_u128 => deserialize_u128, Elsewhere;
        deserialize_f32 => deserialize_f32, Elsewhere;
        deserialize_f64 => deserialize_f64, Elsewhere;
        deserialize_char => deserialize_char, Elsewhere;
        deserialize_str => deserialize_str, Elsewhere;
        deserialize_bytes => deserialize_bytes, Elsewhere;
        deserialize_option => deserialize_option, Inline;
        deserialize_unit => deserialize_unit, Elsewhere;
        deserialize_seq => deserialize_seq, Elsewhere;
        deserialize_map => deserialize_map, Elsewhere;
        deserialize_identifier => deserialize_identifier, Elsewhere;
        // Asked for an owned string, bincode allocates the length that is announced before it looks whether so many bytes are there.
        // Asked for a borrowed one it looks first, and the visitor of an owned one copies it. The other formats make no difference.
        deserialize_string => deserialize_str, Elsewhere;
        deserialize_byte_buf => deserialize_bytes, Elsewhere;
        // JSON skips a value without telling the visitor what is inside, however deep. Then the limit on depth would be one codec's only.
        deserialize_ignored_any => deserialize_any, Elsewhere;
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        let (inner, visitor) = self.watch(visitor, Parts::Inline)?;
        inner.deserialize_unit_struct(name, visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        let (inner, visitor) = self.watch(visitor, Parts::Inline)?;
        inner.deserialize_newtype_struct(name, visitor)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        let (inner, visitor) = self.watch(visitor, Parts::Inline)?;
        inner.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let (inner, visitor) = self.watch(visitor, Parts::Inline)?;
        inner.deserialize_tuple_struct(name, len, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let (inner, visitor) = self.watch(visitor, Parts::Inline)?;
        inner.deserialize_struct(name, fields, visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let (inner, visitor) = self.watch(visitor, Parts::Inline)?;
        inner.deserialize_enum(name, variants, visitor)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

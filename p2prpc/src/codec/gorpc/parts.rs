//! The parts of a value, one by one.

use heck::ToUpperCamelCase;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Error, Visitor};

use super::de::{Deserializer, Result};
use super::error::Failed;
use super::names::MAX_KEYS;

/// Of an array.
pub(super) struct Elements<'a, 'de, 'b> {
    pub(super) de: &'a mut Deserializer<'de, 'b>,
    pub(super) left: u64,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de, '_> {
    type Error = Failed;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.de).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        usize::try_from(self.left).ok()
    }
}

/// Of a struct that was written as an array.
pub(super) struct Positions<'a, 'de, 'b> {
    pub(super) de: &'a mut Deserializer<'de, 'b>,
    pub(super) left: u32,
    /// Those that the struct has and that were not asked for yet.
    pub(super) fields: usize,
}

impl Positions<'_, '_, '_> {
    pub(super) fn skip_the_rest(&mut self) -> Result<()> {
        (0..self.left).try_for_each(|_| self.de.skip())
    }
}

impl<'de> de::SeqAccess<'de> for &mut Positions<'_, 'de, '_> {
    type Error = Failed;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(fields) = self.fields.checked_sub(1) else { return Ok(None) };
        self.fields = fields;
        let Some(left) = self.left.checked_sub(1) else {
            return seed.deserialize(&mut Deserializer::of_nil(self.de.absent)).map(Some);
        };
        self.left = left;
        seed.deserialize(&mut *self.de).map(Some)
    }
}

/// Of a map.
pub(super) struct Entries<'a, 'de, 'b> {
    pub(super) de: &'a mut Deserializer<'de, 'b>,
    pub(super) left: u32,
}

impl<'de> de::MapAccess<'de> for Entries<'_, 'de, '_> {
    type Error = Failed;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.de).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.de)
    }

    fn size_hint(&self) -> Option<usize> {
        usize::try_from(self.left).ok()
    }
}

/// Of a struct: those that are there, and then those that are left out and have to be zero.
pub(super) struct Fields<'a, 'de, 'b> {
    entries: Entries<'a, 'de, 'b>,
    name: &'static str,
    fields: &'static [&'static str],
    left_out: Vec<&'static str>,
    /// The first keys that are no fields, where some are left out.
    unknown: Vec<&'de [u8]>,
    zero: bool,
}

impl<'a, 'de, 'b> Fields<'a, 'de, 'b> {
    pub(super) fn new(
        de: &'a mut Deserializer<'de, 'b>,
        left: u32,
        name: &'static str,
        fields: &'static [&'static str],
    ) -> Self {
        let left_out = de.absent.fields_of(name).collect();
        Fields { entries: Entries { de, left }, name, fields, left_out, unknown: Vec::new(), zero: false }
    }
}

impl<'de> de::MapAccess<'de> for Fields<'_, 'de, '_> {
    type Error = Failed;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if self.entries.left > 0 {
            if !self.left_out.is_empty()
                && let Some(key) = self.entries.de.peek_raw()
            {
                self.left_out.retain(|field| field.as_bytes() != key);
                if self.unknown.len() < MAX_KEYS && !self.fields.iter().any(|field| field.as_bytes() == key) {
                    self.unknown.push(key);
                }
            }
            return self.entries.next_key_seed(seed);
        }
        if !self.zero {
            self.zero = true;
            self.entries.de.absent.compare(self.name, &self.left_out, &self.unknown);
        }
        match self.left_out.pop() {
            Some(field) => seed.deserialize(StrDeserializer::<Failed>::new(field)).map(Some),
            None => {
                self.entries.de.absent.ended(self.name);
                Ok(None)
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        if self.zero {
            return seed.deserialize(&mut Deserializer::of_nil(self.entries.de.absent));
        }
        self.entries.next_value_seed(seed)
    }
}

/// The only argument, which is the whole value.
pub(super) struct Argument<'a, 'de, 'b> {
    de: &'a mut Deserializer<'de, 'b>,
    name: Option<&'static str>,
}

impl<'a, 'de, 'b> Argument<'a, 'de, 'b> {
    pub(super) fn new(de: &'a mut Deserializer<'de, 'b>, name: &'static str) -> Self {
        Argument { de, name: Some(name) }
    }
}

impl<'de> de::MapAccess<'de> for Argument<'_, 'de, '_> {
    type Error = Failed;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        self.name.take().map(|name| seed.deserialize(StrDeserializer::<Failed>::new(name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.de)
    }
}

/// Several arguments, under the names that fields of a struct have in Go. Those that are left out are zero.
pub(super) struct Arguments<'a, 'de, 'b> {
    entries: Entries<'a, 'de, 'b>,
    left_out: Vec<&'static str>,
    unknown: Vec<&'de [u8]>,
    zero: bool,
}

impl<'a, 'de, 'b> Arguments<'a, 'de, 'b> {
    pub(super) fn new(de: &'a mut Deserializer<'de, 'b>, left: u32, names: &'static [&'static str]) -> Self {
        Arguments { entries: Entries { de, left }, left_out: names.to_vec(), unknown: Vec::new(), zero: false }
    }
}

impl<'de> de::MapAccess<'de> for Arguments<'_, 'de, '_> {
    type Error = Failed;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        while let Some(left) = self.entries.left.checked_sub(1) {
            self.entries.left = left;
            let key =
                self.entries.de.peek_raw().ok_or_else(|| Failed::custom("the name of an argument is a string"))?;
            self.entries.de.skip()?;
            let named = |name: &&str| name.to_upper_camel_case().as_bytes() == key;
            if let Some(index) = self.left_out.iter().position(named) {
                let name = self.left_out.swap_remove(index);
                return seed.deserialize(StrDeserializer::<Failed>::new(name)).map(Some);
            }
            if self.unknown.len() < MAX_KEYS {
                self.unknown.push(key);
            }
            self.entries.de.skip()?;
        }
        if !self.zero {
            self.zero = true;
            self.entries.de.absent.compare("the arguments", &self.left_out, &self.unknown);
        }
        self.left_out.pop().map(|name| seed.deserialize(StrDeserializer::<Failed>::new(name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        if self.zero {
            return seed.deserialize(&mut Deserializer::of_nil(self.entries.de.absent));
        }
        self.entries.next_value_seed(seed)
    }
}

/// Of an enum: the name of the variant, and what it holds.
pub(super) struct Variant<'a, 'de, 'b> {
    pub(super) de: &'a mut Deserializer<'de, 'b>,
}

impl<'de> de::EnumAccess<'de> for Variant<'_, 'de, '_> {
    type Error = Failed;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        Ok((seed.deserialize(&mut *self.de)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de, '_> {
    type Error = Failed;

    fn unit_variant(self) -> Result<()> {
        de::Deserialize::deserialize(self.de)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self.de)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        de::Deserializer::deserialize_tuple(self.de, len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value> {
        de::Deserializer::deserialize_struct(self.de, "", fields, visitor)
    }
}

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::Place;
use super::deserializer::Guarded;
use super::visitor::Watched;

/// A part of a value, charged once the format has found that there is one.
struct Part<'m, S> {
    inner: S,
    place: Place<'m>,
    due: usize,
}

impl<'m, S> Part<'m, S> {
    /// What is stored inline is paid for; what takes no room still takes time.
    #[inline]
    fn new<'de>(seed: S, place: Place<'m>, inline: &mut usize) -> Self
    where
        S: DeserializeSeed<'de>,
    {
        let size = size_of::<S::Value>();
        let paid = size.min(*inline);
        *inline = inline.saturating_sub(paid);
        let due = if size == 0 { 1 } else { size.saturating_sub(paid) };
        Self { inner: seed, place, due }
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Part<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.place.charge(self.due)?;
        self.inner.deserialize(Guarded { inner: deserializer, place: self.place, paid: size_of::<S::Value>() })
    }
}

/// The elements of a sequence or tuple, or the fields of a struct in order.
pub(super) struct Elements<'m, A> {
    pub(super) inner: A,
    pub(super) place: Place<'m>,
    pub(super) inline: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.inner.next_element_seed(Part::new(seed, self.place, &mut self.inline))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.place.cap_hint(self.inner.size_hint())
    }
}

/// The entries of a map, or the named fields of a struct.
pub(super) struct Entries<'m, A> {
    pub(super) inner: A,
    pub(super) place: Place<'m>,
    /// For the values only: the names of a struct's fields are not stored.
    pub(super) inline: usize,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.inner.next_key_seed(Part::new(seed, self.place, &mut 0))
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.inner.next_value_seed(Part::new(seed, self.place, &mut self.inline))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.place.cap_hint(self.inner.size_hint())
    }
}

/// An enum: first which variant it is, then what that holds.
pub(super) struct Variants<'m, A> {
    pub(super) inner: A,
    pub(super) outside: Place<'m>,
    pub(super) inside: Place<'m>,
    pub(super) inline: usize,
}

impl<'de, 'm, A: EnumAccess<'de>> EnumAccess<'de> for Variants<'m, A> {
    type Error = A::Error;
    type Variant = Variants<'m, A::Variant>;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), A::Error> {
        let Self { inner, outside, inside, inline } = self;
        let (variant, inner) = inner.variant_seed(Part::new(seed, inside, &mut 0))?;
        Ok((variant, Variants { inner, outside, inside, inline }))
    }
}

impl<'m, A> Variants<'m, A> {
    /// The fields of a variant are one level with their enum, so their visitor starts outside of it.
    #[inline]
    fn watch<'de, V>(self, visitor: V) -> Result<(A, Watched<'m, V>), A::Error>
    where
        A: VariantAccess<'de>,
        V: Visitor<'de>,
    {
        let size = size_of::<V::Value>();
        self.outside.charge(size.saturating_sub(self.inline))?;
        Ok((self.inner, Watched { inner: visitor, place: self.outside, inline: size.max(self.inline) }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Variants<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(mut self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.newtype_variant_seed(Part::new(seed, self.inside, &mut self.inline))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let (inner, visitor) = self.watch(visitor)?;
        inner.tuple_variant(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let (inner, visitor) = self.watch(visitor)?;
        inner.struct_variant(fields, visitor)
    }
}

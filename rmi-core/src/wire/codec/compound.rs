//! What values within values are read through.

use serde::de::{self, DeserializeSeed, Visitor, value::U32Deserializer};

use super::{decoder::Decoder, error::DecodeError};

/// The elements of a sequence or map: as many as the input says, each paid for.
pub(super) struct Elements<'a, 'm> {
    pub(super) decoder: &'a mut Decoder<'m>,
    pub(super) left: usize,
    /// How many to expect.
    pub(super) hint: usize,
}

impl<'m> de::SeqAccess<'m> for Elements<'_, 'm> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'m>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.decoder.charge(size_of::<S::Value>())?;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint.min(self.left))
    }
}

impl<'m> de::MapAccess<'m> for Elements<'_, 'm> {
    type Error = DecodeError;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'m>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        de::SeqAccess::next_element_seed(self, seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'m>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        self.decoder.charge(size_of::<S::Value>())?;
        seed.deserialize(&mut *self.decoder)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint.min(self.left))
    }
}

/// The fields of a tuple or struct: as many as the type says, paid for where it stands.
pub(super) struct Fields<'a, 'm> {
    pub(super) decoder: &'a mut Decoder<'m>,
    pub(super) left: usize,
}

impl<'m> de::SeqAccess<'m> for Fields<'_, 'm> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'m>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The variant of an enum, and what it holds.
pub(super) struct Variant<'a, 'm> {
    pub(super) decoder: &'a mut Decoder<'m>,
}

impl<'m> de::EnumAccess<'m> for Variant<'_, 'm> {
    type Error = DecodeError;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'m>>(self, seed: S) -> Result<(S::Value, Self), DecodeError> {
        let index = self.decoder.varint::<32>()? as u32;
        let variant = seed.deserialize(U32Deserializer::<DecodeError>::new(index))?;
        Ok((variant, self))
    }
}

impl<'m> de::VariantAccess<'m> for Variant<'_, 'm> {
    type Error = DecodeError;

    #[inline]
    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'m>>(self, seed: S) -> Result<S::Value, DecodeError> {
        seed.deserialize(self.decoder)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'m>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(Fields { decoder: self.decoder, left: len })
    }

    #[inline]
    fn struct_variant<V: Visitor<'m>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(Fields { decoder: self.decoder, left: fields.len() })
    }
}

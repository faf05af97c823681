//! The bounded decoder of the postcard format.

use bytes::Bytes;
use serde::{
    Deserialize,
    de::{self, Visitor},
};

use super::{
    compound::{Elements, Fields, Variant},
    error::{DecodeError, Fault},
};
use crate::{limits::Limits, wire::varint};

/// Most elements that a visitor is told to expect, whatever the input claims.
const SIZE_HINT_MAX: usize = 64 << 10;

/// Reads values off a message, within the bounds of its receiver. All values of one message share
/// the bounds.
#[derive(Clone, Debug)]
pub struct Decoder<'m> {
    input: &'m Bytes,
    rest: &'m [u8],
    limits: &'m Limits,
    nesting_left: u32,
    /// All elements that a message of this length may have, and those that may still come.
    elements: u64,
    elements_left: u64,
    bytes_left: u64,
    /// Elements that visitors may still be told to expect: as many as there are bytes of input, since each takes one.
    hints_left: usize,
}

impl<'m> Decoder<'m> {
    /// A decoder that reads from the front of `input`.
    #[inline]
    #[must_use]
    pub fn new(input: &'m Bytes, limits: &'m Limits) -> Self {
        let elements = limits.elements.min(limits.empty_elements.saturating_add(input.len() as u64));
        Self {
            input,
            rest: input,
            limits,
            nesting_left: limits.nesting,
            elements,
            elements_left: elements,
            bytes_left: limits.decoded_bytes,
            hints_left: input.len(),
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// If the input is no such value, or exceeds a bound, or its `Deserialize` implementation
    /// reports an error.
    #[inline]
    pub fn value<T: Deserialize<'m>>(&mut self) -> Result<T, DecodeError> {
        T::deserialize(self)
    }

    /// Reads bytes where they are.
    ///
    /// # Errors
    /// If the input ends before they do.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'m [u8], DecodeError> {
        let len = self.varint::<64>()?;
        self.take(len, "bytes")
    }

    /// Reads bytes that share the memory of the message.
    ///
    /// # Errors
    /// If the input ends before they do.
    #[inline]
    pub fn shared_bytes(&mut self) -> Result<Bytes, DecodeError> {
        self.bytes().map(|bytes| self.input.slice_ref(bytes))
    }

    /// What was not read.
    #[inline]
    pub(crate) fn rest(&self) -> &'m [u8] {
        self.rest
    }

    /// Reads on in another input, which begins with what was left, within what is left of the bounds.
    pub(crate) fn go_on_in(&mut self, input: &'m Bytes) {
        let more = input.len().saturating_sub(self.rest.len()) as u64;
        let elements = self.elements.saturating_add(more).min(self.limits.elements);
        self.elements_left += elements - self.elements;
        self.elements = elements;
        (self.input, self.rest) = (input, input);
        self.hints_left = self.hints_left.max(input.len());
    }

    /// Whether the next value is this many bytes, and the input ends where they begin. Then it is read.
    pub(crate) fn ends_before_bytes(&mut self, len: usize) -> bool {
        let before = self.rest;
        if self.varint::<64>().is_ok_and(|read| read == len as u64) && self.rest.is_empty() {
            return true;
        }
        self.rest = before;
        false
    }

    /// Ends the message.
    ///
    /// # Errors
    /// If input is left.
    #[inline]
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(Fault::Trailing(self.rest.len()).into()) }
    }

    #[inline]
    fn byte(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        let Some((&byte, rest)) = self.rest.split_first() else { return Err(Fault::Truncated(what).into()) };
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    fn fixed<const LEN: usize>(&mut self, what: &'static str) -> Result<[u8; LEN], DecodeError> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else { return Err(Fault::Truncated(what).into()) };
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    fn take(&mut self, len: u64, what: &'static str) -> Result<&'m [u8], DecodeError> {
        let taken = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let Some((taken, rest)) = taken else { return Err(Fault::Truncated(what).into()) };
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn varint<const BITS: u32>(&mut self) -> Result<u64, DecodeError> {
        Ok(varint::take::<BITS>(&mut self.rest)?)
    }

    #[inline]
    fn zigzag<const BITS: u32>(&mut self) -> Result<i64, DecodeError> {
        self.varint::<BITS>().map(varint::unzigzag)
    }

    #[inline]
    fn text(&mut self) -> Result<&'m str, DecodeError> {
        let len = self.varint::<64>()?;
        let text = self.take(len, "a string")?;
        self.charge(text.len())?;
        std::str::from_utf8(text).map_err(|_| Fault::Invalid("a string is not valid UTF-8").into())
    }

    #[inline]
    fn byte_buf(&mut self) -> Result<&'m [u8], DecodeError> {
        let bytes = self.bytes()?;
        self.charge(bytes.len())?;
        Ok(bytes)
    }

    /// Pays for memory that the value takes: for elements, text and bytes, and for enums and options,
    /// which may take far more than the one byte that says so. What else a type holds, the input
    /// holds too.
    #[inline]
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let Some(left) = self.bytes_left.checked_sub(bytes as u64) else {
            return Err(
                Fault::Limit { what: "the decoded bytes of a message", limit: self.limits.decoded_bytes }.into()
            );
        };
        self.bytes_left = left;
        Ok(())
    }

    /// Reads the length of a sequence or map, and pays for its elements. The other number is what a visitor may
    /// be told to expect, for which it takes memory before any element is read.
    #[inline]
    fn count(&mut self) -> Result<(usize, usize), DecodeError> {
        let count = self.varint::<64>()?;
        let Some(left) = self.elements_left.checked_sub(count) else {
            return Err(Fault::Limit { what: "the elements of a message", limit: self.elements }.into());
        };
        self.elements_left = left;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let hint = count.min(self.hints_left).min(self.rest.len()).min(SIZE_HINT_MAX);
        self.hints_left -= hint;
        Ok((count, hint))
    }

    /// Reads what lies one level deeper.
    #[inline]
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        let Some(left) = self.nesting_left.checked_sub(1) else {
            let limit = self.limits.nesting.into();
            return Err(Fault::Limit { what: "the nested levels of a value", limit }.into());
        };
        self.nesting_left = left;
        let value = read(self);
        self.nesting_left += 1;
        value
    }
}

#[cold]
fn not_self_describing() -> DecodeError {
    Fault::Invalid(
        "the type asks the encoding what comes next, which postcard does not say: \
         it cannot be untagged, flattened or a dynamic value",
    )
    .into()
}

impl<'m> de::Deserializer<'m> for &mut Decoder<'m> {
    type Error = DecodeError;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'m>>(self, _: V) -> Result<V::Value, DecodeError> {
        Err(not_self_describing())
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.byte("a bool")? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => Err(Fault::Invalid("a bool is neither 0 nor 1").into()),
        }
    }

    #[inline]
    fn deserialize_i8<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i8(self.byte("an i8")? as i8)
    }

    #[inline]
    fn deserialize_i16<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i16(self.zigzag::<16>()? as i16)
    }

    #[inline]
    fn deserialize_i32<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i32(self.zigzag::<32>()? as i32)
    }

    #[inline]
    fn deserialize_i64<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i64(self.zigzag::<64>()?)
    }

    fn deserialize_i128<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let value = varint::take_u128(&mut self.rest)?;
        visitor.visit_i128((value >> 1) as i128 ^ -((value & 1) as i128))
    }

    #[inline]
    fn deserialize_u8<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u8(self.byte("a u8")?)
    }

    #[inline]
    fn deserialize_u16<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u16(self.varint::<16>()? as u16)
    }

    #[inline]
    fn deserialize_u32<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u32(self.varint::<32>()? as u32)
    }

    #[inline]
    fn deserialize_u64<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u64(self.varint::<64>()?)
    }

    fn deserialize_u128<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u128(varint::take_u128(&mut self.rest)?)
    }

    #[inline]
    fn deserialize_f32<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_f32(f32::from_le_bytes(self.fixed("an f32")?))
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_f64(f64::from_le_bytes(self.fixed("an f64")?))
    }

    fn deserialize_char<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let len = self.varint::<64>()?;
        let only = match len {
            1..=4 => std::str::from_utf8(self.take(len, "a char")?).ok().and_then(|text| text.parse().ok()),
            _ => None,
        };
        only.ok_or_else(|| Fault::Invalid("a char is not a character").into()).and_then(|char| visitor.visit_char(char))
    }

    #[inline]
    fn deserialize_str<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_str(self.text()?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_str(self.text()?)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_bytes(self.byte_buf()?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_bytes(self.byte_buf()?)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.charge(size_of::<V::Value>())?;
        match self.byte("an option")? {
            0 => visitor.visit_none(),
            1 => self.nested(|decoder| visitor.visit_some(decoder)),
            _ => Err(Fault::Invalid("an option is neither 0 nor 1").into()),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'m>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'m>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        self.nested(|decoder| visitor.visit_newtype_struct(decoder))
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let (left, hint) = self.count()?;
        self.nested(|decoder| visitor.visit_seq(Elements { decoder, left, hint }))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'m>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.nested(|decoder| visitor.visit_seq(Fields { decoder, left: len }))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'m>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'m>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let (left, hint) = self.count()?;
        self.nested(|decoder| visitor.visit_map(Elements { decoder, left, hint }))
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'m>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'m>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.charge(size_of::<V::Value>())?;
        self.nested(|decoder| visitor.visit_enum(Variant { decoder }))
    }

    fn deserialize_identifier<V: Visitor<'m>>(self, _: V) -> Result<V::Value, DecodeError> {
        Err(not_self_describing())
    }

    fn deserialize_ignored_any<V: Visitor<'m>>(self, _: V) -> Result<V::Value, DecodeError> {
        Err(not_self_describing())
    }
}

//! The encoder of the postcard format.

use std::fmt::{Display, Write};

use bytes::BytesMut;
use serde::{Serialize, ser};

use super::error::EncodeError;
use crate::wire::varint;

/// How much room is made at a time for small fields, which are written in place.
const ROOM_LEN: usize = 128;
/// Longest varint of 64 bits.
const VARINT_LEN_MAX: usize = 10;

/// Appends values to a buffer.
#[derive(Debug)]
pub struct Encoder {
    /// What was appended, and room for more behind it.
    out: BytesMut,
    end: usize,
}

impl Encoder {
    /// An encoder that appends to `out`.
    #[inline]
    #[must_use]
    pub fn new(out: BytesMut) -> Self {
        Self { end: out.len(), out }
    }

    /// Appends a value.
    ///
    /// # Errors
    /// If its `Serialize` implementation reports one, or has a sequence or map without a known
    /// length. What was appended until then stays in the buffer.
    #[inline]
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    /// Appends bytes in one copy; equal to a `Vec<u8>` encoded as a value.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.len_of_bytes(bytes.len());
        self.extend(bytes);
    }

    /// Appends what precedes so many bytes.
    #[inline]
    pub(crate) fn len_of_bytes(&mut self, len: usize) {
        self.varint(len as u64);
    }

    /// Appends what is encoded.
    pub(crate) fn raw(&mut self, encoded: &[u8]) {
        self.extend(encoded);
    }

    /// How long the buffer is.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.end
    }

    /// Whether the buffer is empty.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// The buffer.
    #[inline]
    #[must_use]
    pub fn into_inner(mut self) -> BytesMut {
        self.out.truncate(self.end);
        self.out
    }

    /// Room for at least `len` bytes; what is written to it counts once `end` has moved.
    #[inline]
    fn room(&mut self, len: usize) -> &mut [u8] {
        if self.out.len() - self.end < len {
            self.make_room(len);
        }
        self.out.get_mut(self.end..).unwrap_or_default()
    }

    #[cold]
    fn make_room(&mut self, len: usize) {
        self.out.resize(self.end + len.max(ROOM_LEN), 0);
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) {
        if let Some(room) = self.out.get_mut(self.end..self.end + bytes.len()) {
            room.copy_from_slice(bytes);
        } else {
            self.out.truncate(self.end);
            self.out.extend_from_slice(bytes);
        }
        self.end += bytes.len();
    }

    #[inline]
    fn fixed<const LEN: usize>(&mut self, bytes: [u8; LEN]) {
        if let Some(room) = self.room(LEN).first_chunk_mut() {
            *room = bytes;
        }
        self.end += LEN;
    }

    #[inline]
    fn varint(&mut self, mut value: u64) {
        let mut len = 0;
        for byte in self.room(VARINT_LEN_MAX) {
            len += 1;
            if value < 0x80 {
                *byte = value as u8;
                break;
            }
            *byte = value as u8 | 0x80;
            value >>= 7;
        }
        self.end += len;
    }

    fn count(&mut self, len: Option<usize>) -> Result<(), EncodeError> {
        let len = len.ok_or_else(|| {
            EncodeError::new("a sequence or map does not know its length: collect it into a Vec before it is encoded")
        })?;
        self.varint(len as u64);
        Ok(())
    }
}

impl ser::Serializer for &mut Encoder {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), EncodeError> {
        self.serialize_u8(value.into())
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Result<(), EncodeError> {
        self.serialize_u8(value as u8)
    }

    #[inline]
    fn serialize_i16(self, value: i16) -> Result<(), EncodeError> {
        self.serialize_i64(value.into())
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Result<(), EncodeError> {
        self.serialize_i64(value.into())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Result<(), EncodeError> {
        self.serialize_u64(varint::zigzag(value))
    }

    fn serialize_i128(self, value: i128) -> Result<(), EncodeError> {
        self.serialize_u128(((value << 1) ^ (value >> 127)) as u128)
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<(), EncodeError> {
        self.fixed([value]);
        Ok(())
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Result<(), EncodeError> {
        self.serialize_u64(value.into())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Result<(), EncodeError> {
        self.serialize_u64(value.into())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<(), EncodeError> {
        self.varint(value);
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result<(), EncodeError> {
        self.out.truncate(self.end);
        varint::put_u128(&mut self.out, value);
        self.end = self.out.len();
        Ok(())
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<(), EncodeError> {
        self.fixed(value.to_le_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<(), EncodeError> {
        self.fixed(value.to_le_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), EncodeError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        self.bytes(value);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<(), EncodeError> {
        self.serialize_u8(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        self.fixed([1]);
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), EncodeError> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), EncodeError> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), EncodeError> {
        self.serialize_u32(index)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.varint(index.into());
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self, EncodeError> {
        self.count(len)?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self, EncodeError> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, EncodeError> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, EncodeError> {
        self.varint(index.into());
        Ok(self)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self, EncodeError> {
        self.count(len)?;
        Ok(self)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, EncodeError> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, EncodeError> {
        self.varint(index.into());
        Ok(self)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        let mut text = String::new();
        write!(text, "{value}").map_err(|_| EncodeError::new("a Display implementation failed"))?;
        self.serialize_str(&text)
    }
}

/// What stands for the parts of a compound value: each follows the one before it.
macro_rules! compound {
    ($($compound:ident :: $part:ident ( $($key:ident)? )),* $(,)?) => {$(
        impl ser::$compound for &mut Encoder {
            type Ok = ();
            type Error = EncodeError;

            #[inline]
            fn $part<T: Serialize + ?Sized>(&mut self, $($key: &'static str,)? value: &T) -> Result<(), EncodeError> {
                value.serialize(&mut **self)
            }

            #[inline]
            fn end(self) -> Result<(), EncodeError> {
                Ok(())
            }
        }
    )*};
}

compound! {
    SerializeSeq::serialize_element(),
    SerializeTuple::serialize_element(),
    SerializeTupleStruct::serialize_field(),
    SerializeTupleVariant::serialize_field(),
    SerializeStruct::serialize_field(_key),
    SerializeStructVariant::serialize_field(_key),
}

impl ser::SerializeMap for &mut Encoder {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        key.serialize(&mut **self)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(&mut **self)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        Ok(())
    }
}

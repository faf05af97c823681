//! Variable-length integers: seven bits a byte, least significant first, the top bit set in all but
//! the last (LEB128, as postcard has them).

use bytes::{BufMut, BytesMut};

/// Why a varint could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VarintError {
    /// The input ends within it.
    Truncated,
    /// It is wider than its type.
    TooWide,
}

/// Appends `value`.
#[inline]
pub(crate) fn put(out: &mut BytesMut, value: u64) {
    if value < 0x80 {
        out.put_u8(value as u8);
    } else {
        put_long(out, value);
    }
}

fn put_long(out: &mut BytesMut, mut value: u64) {
    // Gathered in a register and copied whole: a copy of constant length is one store.
    let mut word = 0;
    let mut len = 0;
    while value >= 0x80 {
        word |= u128::from(value as u8 | 0x80) << (8 * len);
        value >>= 7;
        len += 1;
    }
    word |= u128::from(value) << (8 * len);
    let end = out.len() + len + 1;
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(end);
}

/// A few short fields, gathered on the stack and appended in one copy.
pub(crate) struct Gathered {
    bytes: [u8; Self::LEN_MAX],
    len: usize,
}

impl Gathered {
    /// So many bytes are kept. What it is used for takes fewer: a byte more would be lost.
    pub(crate) const LEN_MAX: usize = 64;
    /// The longest integer.
    pub(crate) const VARINT_LEN_MAX: usize = 10;

    #[inline]
    pub(crate) fn new() -> Self {
        Self { bytes: [0; Self::LEN_MAX], len: 0 }
    }

    #[inline]
    pub(crate) fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    #[inline]
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Appends `value`.
pub(crate) fn put_u128(out: &mut BytesMut, mut value: u128) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Takes an integer of `BITS` bits (at most 64) off the front of `input`. Needless zeroes at its
/// end are accepted as long as it is no longer than the longest integer of that width.
#[inline]
pub(crate) fn take<const BITS: u32>(input: &mut &[u8]) -> Result<u64, VarintError> {
    match input.split_first() {
        Some((&byte, rest)) if byte < 0x80 => {
            *input = rest;
            Ok(u64::from(byte))
        }
        _ => take_long::<BITS>(input),
    }
}

#[inline]
fn take_long<const BITS: u32>(input: &mut &[u8]) -> Result<u64, VarintError> {
    let len_max = BITS.div_ceil(7);
    let mut value = 0;
    let mut rest = *input;
    for at in 0..len_max {
        let Some((&byte, after)) = rest.split_first() else { return Err(VarintError::Truncated) };
        rest = after;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            if at == len_max - 1 && byte >> (BITS - 7 * at) != 0 {
                return Err(VarintError::TooWide);
            }
            *input = rest;
            return Ok(value);
        }
    }
    Err(VarintError::TooWide)
}

/// Takes an integer of 128 bits off the front of `input`.
pub(crate) fn take_u128(input: &mut &[u8]) -> Result<u128, VarintError> {
    let mut value = 0;
    for shift in (0..128).step_by(7) {
        let (&byte, rest) = input.split_first().ok_or(VarintError::Truncated)?;
        *input = rest;
        let low = u128::from(byte & 0x7f);
        if shift == 126 && low > 3 {
            return Err(VarintError::TooWide);
        }
        value |= low << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(VarintError::TooWide)
}

/// The unsigned form of a signed integer, small for small magnitudes.
#[inline]
pub(crate) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The signed integer of its unsigned form.
#[inline]
pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_widest_values_pass_and_wider_ones_do_not() {
        let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(take::<64>(&mut &max[..]), Ok(u64::MAX));
        assert_eq!(take::<64>(&mut &[0xff; 10][..]), Err(VarintError::TooWide));
        assert_eq!(take::<16>(&mut &[0xff, 0xff, 0x03][..]), Ok(0xffff));
        assert_eq!(take::<16>(&mut &[0xff, 0xff, 0x04][..]), Err(VarintError::TooWide));
        assert_eq!(take::<32>(&mut &[0x80, 0x80][..]), Err(VarintError::Truncated));
        assert_eq!(take::<32>(&mut &[][..]), Err(VarintError::Truncated));
        assert_eq!(take_u128(&mut &[0xff; 19][..]), Err(VarintError::TooWide));
    }

    proptest! {
        #[test]
        fn what_is_put_is_taken(value: u64, wide: u128, signed: i64) {
            let mut out = BytesMut::new();
            put(&mut out, value);
            put_u128(&mut out, wide);
            prop_assert_eq!(&out[..], &postcard::to_stdvec(&(value, wide)).unwrap()[..]);
            let mut input = &out[..];
            prop_assert_eq!(take::<64>(&mut input), Ok(value));
            prop_assert_eq!(take_u128(&mut input), Ok(wide));
            prop_assert!(input.is_empty());
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }
    }
}

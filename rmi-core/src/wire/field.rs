//! The fields that messages are made of.

use bytes::{BufMut, Bytes, BytesMut};

use super::{error::WireError, message::Slot, varint};
use crate::{endpoint::Endpoint, id::NodeId};

/// Longest name of a method, an interface, a service or a metadata entry, in bytes.
pub const NAME_LEN_MAX: usize = 1024;
/// Most endpoints of one node.
pub const ENDPOINTS_MAX: usize = 16;

/// Reads a message field by field.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    body: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(body: &'a Bytes) -> Self {
        Self { body, rest: body }
    }

    /// How many bytes were read.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.body.len() - self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, WireError> {
        let (&byte, rest) = self.rest.split_first().ok_or(WireError::Truncated(what))?;
        self.rest = rest;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn fixed<const LEN: usize>(&mut self, what: &'static str) -> Result<[u8; LEN], WireError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated(what))?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(crate) fn u64_le(&mut self, what: &'static str) -> Result<u64, WireError> {
        self.fixed(what).map(u64::from_le_bytes)
    }

    /// A varint, in its shortest form only.
    #[inline]
    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, WireError> {
        self.varint_of::<64>(what)
    }

    /// A varint of 32 bits, in its shortest form only.
    #[inline]
    pub(crate) fn varint_u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        self.varint_of::<32>(what).map(|value| value as u32)
    }

    #[inline]
    fn varint_of<const BITS: u32>(&mut self, what: &'static str) -> Result<u64, WireError> {
        let before = self.rest;
        let value = varint::take::<BITS>(&mut self.rest).map_err(|error| WireError::varint(error, what))?;
        let len = before.len() - self.rest.len();
        if len > 1 && before.get(len - 1) == Some(&0) {
            return Err(WireError::BadValue { what, problem: "the integer is not in its shortest form" });
        }
        Ok(value)
    }

    /// A count, a length or a number that must not exceed `limit`.
    pub(crate) fn bounded(&mut self, what: &'static str, limit: u64) -> Result<u64, WireError> {
        let size = self.varint(what)?;
        if size > limit { Err(WireError::Limit { what, size, limit }) } else { Ok(size) }
    }

    /// A length of at most `limit`, and that many bytes.
    pub(crate) fn block(&mut self, what: &'static str, limit: usize) -> Result<&'a [u8], WireError> {
        let len = self.bounded(what, limit as u64)? as usize;
        let (block, rest) = self.rest.split_at_checked(len).ok_or(WireError::Truncated(what))?;
        self.rest = rest;
        Ok(block)
    }

    /// As [`block`](Self::block), sharing the memory of the message.
    pub(crate) fn shared_block(&mut self, what: &'static str, limit: usize) -> Result<Bytes, WireError> {
        self.block(what, limit).map(|block| self.body.slice_ref(block))
    }

    /// A length of at most `limit`, and that many bytes of UTF-8.
    pub(crate) fn text(&mut self, what: &'static str, limit: usize) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.block(what, limit)?).map_err(|_| WireError::Utf8(what))
    }

    /// A name, which is never empty.
    pub(crate) fn name(&mut self, what: &'static str) -> Result<String, WireError> {
        match self.text(what, NAME_LEN_MAX)? {
            "" => Err(WireError::BadValue { what, problem: "the name is empty" }),
            name => Ok(name.to_owned()),
        }
    }

    #[inline]
    pub(crate) fn slot(&mut self) -> Result<Slot, WireError> {
        let index = self.varint_u32("an export slot")?;
        let generation = self.varint_u32("the generation of an export slot")?;
        Ok(Slot { index, generation })
    }

    pub(crate) fn node(&mut self) -> Result<NodeId, WireError> {
        self.fixed("a node id").map(NodeId::from_bytes)
    }

    /// Endpoints, without those of a form that this version does not know.
    pub(crate) fn endpoints(&mut self) -> Result<Vec<Endpoint>, WireError> {
        let mut endpoints = Vec::new();
        for _ in 0..self.bounded("endpoints of a node", ENDPOINTS_MAX as u64)? {
            endpoints.extend(self.text("an endpoint", Endpoint::LEN_MAX)?.parse::<Endpoint>().ok());
        }
        Ok(endpoints)
    }

    /// The end of the message.
    pub(crate) fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.rest.len())) }
    }
}

/// Appends a length and the bytes.
pub(crate) fn put_block(out: &mut BytesMut, block: &[u8]) {
    varint::put(out, block.len() as u64);
    out.put_slice(block);
}

#[inline]
pub(crate) fn put_slot(out: &mut BytesMut, slot: Slot) {
    varint::put(out, slot.index.into());
    varint::put(out, slot.generation.into());
}

/// Appends as many endpoints as a peer accepts.
pub(crate) fn put_endpoints(out: &mut BytesMut, endpoints: &[Endpoint]) {
    varint::put(out, endpoints.len().min(ENDPOINTS_MAX) as u64);
    for endpoint in endpoints.iter().take(ENDPOINTS_MAX) {
        put_block(out, endpoint.to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoints_of_a_node_are_bounded_in_number_and_length() {
        let told = |count: u64, len: usize| {
            let mut out = BytesMut::new();
            varint::put(&mut out, count);
            (0..count).for_each(|_| put_block(&mut out, format!("mem://{}", "x".repeat(len - 6)).as_bytes()));
            Reader::new(&out.freeze()).endpoints().map(|endpoints| endpoints.len()).map_err(|error| error.to_string())
        };
        assert_eq!(told(16, 1024), Ok(16));
        assert_eq!(told(17, 10), Err("endpoints of a node: 17 exceeds the limit of 16".to_owned()));
        assert_eq!(told(1, 1025), Err("an endpoint: 1025 exceeds the limit of 1024".to_owned()));
        let mut out = BytesMut::new();
        put_endpoints(&mut out, &vec![Endpoint::Mem { name: "x".into() }; 17]);
        assert_eq!(Reader::new(&out.freeze()).endpoints().unwrap().len(), 16, "no more are told");
    }
}

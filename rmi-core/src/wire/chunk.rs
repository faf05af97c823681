//! Chunks: a message too long for a frame travels in parts, and others between them.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    error::WireError,
    field::Reader,
    frame::{self, Kind},
    varint,
};

/// A part of a message too long for a frame, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The message that it belongs to.
    pub lane: u32,
    /// The length of the whole message, in its first chunk.
    pub total: Option<u64>,
    /// What follows.
    pub part: Part,
    /// The bytes.
    pub data: Bytes,
}

/// All of a chunk but its data, as written by its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHead {
    /// The message that it belongs to.
    pub lane: u32,
    /// The length of the whole message, in its first chunk only.
    pub total: Option<u64>,
    /// What follows.
    pub part: Part,
}

/// What follows a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Another chunk.
    More,
    /// Nothing: the message is whole.
    Last,
    /// Nothing: the message is given up.
    Abort,
}

const CHUNK_PART: u8 = 0b11;
const CHUNK_TOTAL: u8 = 1 << 2;

/// A lane, flags and a total.
const CHUNK_HEAD_LEN_MAX: usize = 5 + 1 + 10;

impl ChunkHead {
    /// Appends everything of the body that precedes the data.
    pub fn encode(&self, out: &mut BytesMut) {
        varint::put(out, self.lane.into());
        out.put_u8(self.part as u8 | if self.total.is_some() { CHUNK_TOTAL } else { 0 });
        if let Some(total) = self.total {
            varint::put(out, total);
        }
    }

    /// The head of the chunk that is on its way at the front of what was read, the length of that head
    /// with all that precedes it, and the length of the data; `None` where the front is no chunk, or less
    /// than its head.
    ///
    /// # Errors
    /// If it is a chunk that cannot be.
    pub fn peek(read: &[u8]) -> Result<Option<(Self, usize, usize)>, WireError> {
        let Some((Kind::Chunk, len, body)) = frame::peek_frame(read) else { return Ok(None) };
        let front = Bytes::copy_from_slice(body.get(..CHUNK_HEAD_LEN_MAX).unwrap_or(body));
        let mut reader = Reader::new(&front);
        let head = match Self::decode(&mut reader) {
            Ok(head) => head,
            Err(WireError::Truncated(_)) if 1 + body.len() < len => return Ok(None),
            Err(error) => return Err(error),
        };
        let head_len = reader.position();
        // What is missing can only be data: a head is never longer than its frame.
        let Some(data_len) = (len - 1).checked_sub(head_len) else { return Ok(None) };
        Ok(Some((head, read.len() - body.len() + head_len, data_len)))
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let lane = reader.varint_u32("the lane of a chunk")?;
        let flags = reader.byte("the flags of a chunk")?;
        let part = match flags & CHUNK_PART {
            0 => Part::More,
            1 => Part::Last,
            2 => Part::Abort,
            _ => return Err(WireError::UnknownTag { what: "flags of a chunk", tag: flags.into() }),
        };
        if flags & !(CHUNK_PART | CHUNK_TOTAL) != 0 {
            return Err(WireError::UnknownTag { what: "flags of a chunk", tag: flags.into() });
        }
        let total = if flags & CHUNK_TOTAL == 0 { None } else { Some(reader.varint("the total of a lane")?) };
        Ok(Self { lane, total, part })
    }
}

impl Chunk {
    /// All of it but its data.
    pub fn head(&self) -> ChunkHead {
        ChunkHead { lane: self.lane, total: self.total, part: self.part }
    }

    pub(super) fn decode(mut body: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(&body);
        let ChunkHead { lane, total, part } = ChunkHead::decode(&mut reader)?;
        let head_len = reader.position();
        let data = body.split_off(head_len);
        Ok(Self { lane, total, part, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limits::Limits, wire::Message};

    #[test]
    fn the_longest_chunk_fits_a_frame() {
        let data = Bytes::from(vec![0; frame::CHUNK_LEN_MAX]);
        let chunk = Message::Chunk(Chunk { lane: u32::MAX, total: Some(u64::MAX), part: Part::More, data });
        let mut out = BytesMut::new();
        chunk.encode_frame(&mut out);
        assert_eq!(out.len(), 4 + frame::FRAME_LEN_MAX);
        let frame = frame::split_frame(&mut out).unwrap().unwrap();
        let decoded = Message::decode(frame.kind, frame.body, &Limits::default()).unwrap();
        assert!(matches!(decoded, Message::Chunk(chunk) if chunk.data.len() == frame::CHUNK_LEN_MAX));
    }

    #[test]
    fn flags_that_do_not_exist_are_refused() {
        for flags in [3, 8] {
            let error = Chunk::decode(Bytes::copy_from_slice(&[0, flags])).unwrap_err();
            assert_eq!(error.to_string(), format!("unknown flags of a chunk {flags:#x}"));
        }
    }
}

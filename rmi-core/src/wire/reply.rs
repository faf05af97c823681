//! Replies: what methods answer.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    call::{self, Codec, flag},
    error::WireError,
    field::Reader,
    message::CallId,
    payload::Payload,
    reference::{self, Descriptor},
    varint,
};
use crate::limits::Limits;

/// Whether a method returned its result or its own error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// `Ok`.
    Ok,
    /// `Err`.
    Err,
}

/// The answer of a method, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The call that it answers.
    pub id: CallId,
    /// Whether the method succeeded.
    pub outcome: Outcome,
    /// How the payload is encoded.
    pub codec: Codec,
    /// The references in the result or error.
    pub references: Vec<Descriptor>,
    /// The result or error.
    pub payload: Payload,
}

/// All of a reply but its payload, as written by its sender.
#[derive(Clone, Copy, Debug)]
pub struct ReplyHead<'a> {
    /// The call that it answers.
    pub id: CallId,
    /// Whether the method succeeded.
    pub outcome: Outcome,
    /// The references in the result or error.
    pub references: &'a [Descriptor],
}

const ERR: u8 = 1 << 0;
const REFERENCES: u8 = 1 << 1;
const CODEC: u8 = 1 << 2;

impl ReplyHead<'_> {
    /// Appends everything of the body that precedes the payload.
    #[inline]
    pub fn encode_head(&self, out: &mut BytesMut) {
        let outcome = flag(self.outcome == Outcome::Err, ERR);
        out.put_u8(outcome | flag(!self.references.is_empty(), REFERENCES));
        varint::put(out, self.id.0.into());
        if !self.references.is_empty() {
            reference::put_table(out, self.references);
        }
    }
}

impl Reply {
    /// The head, to be written by [`ReplyHead::encode_head`].
    #[must_use]
    pub fn head(&self) -> ReplyHead<'_> {
        ReplyHead { id: self.id, outcome: self.outcome, references: &self.references }
    }

    /// Reads the body of a reply; the payload shares its memory.
    ///
    /// # Errors
    /// If it is not one, or exceeds a limit.
    pub fn decode(mut body: Bytes, limits: &Limits) -> Result<Self, WireError> {
        let mut reader = Reader::new(&body);
        let flags = reader.byte("the flags of a reply")?;
        if flags & !(ERR | REFERENCES | CODEC) != 0 {
            return Err(WireError::UnknownTag { what: "flags of a reply", tag: flags.into() });
        }
        let outcome = if flags & ERR == 0 { Outcome::Ok } else { Outcome::Err };
        let id = CallId(reader.varint_u32("a call id")?);
        let references = if flags & REFERENCES == 0 { Vec::new() } else { reference::take_table(&mut reader, limits)? };
        let codec = call::take_codec(&mut reader, flags & CODEC != 0)?;
        let head_len = reader.position();
        body.advance(head_len);
        Ok(Self { id, outcome, codec, references, payload: body.into() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Kind, begin_frame, finish_frame};

    #[test]
    fn a_small_reply_costs_7_bytes() {
        let mut out = BytesMut::new();
        let start = begin_frame(&mut out, Kind::Reply);
        ReplyHead { id: CallId(127), outcome: Outcome::Ok, references: &[] }.encode_head(&mut out);
        finish_frame(&mut out, start);
        assert_eq!(out.len(), 7);
    }

    #[test]
    fn what_is_no_reply_is_named() {
        let limits = Limits { references: 3, ..Limits::default() };
        let error = |body: &'static [u8]| Reply::decode(Bytes::from_static(body), &limits).unwrap_err().to_string();
        assert_eq!(error(&[]), "a message ends within the flags of a reply");
        assert_eq!(error(&[0x08, 0]), "unknown flags of a reply 0x8");
        assert_eq!(error(&[REFERENCES, 0, 4]), "references in a message: 4 exceeds the limit of 3");
        assert_eq!(error(&[CODEC, 0, 1]), "a codec: JSON is reserved; this version speaks postcard");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_a_reply_or_an_error(body: Vec<u8>) {
            let Ok(reply) = Reply::decode(body.into(), &Limits::default()) else { return Ok(()) };
            let mut out = BytesMut::new();
            reply.head().encode_head(&mut out);
            reply.payload.parts().into_iter().for_each(|part| out.put_slice(part));
            prop_assert_eq!(Reply::decode(out.freeze(), &Limits::default()).unwrap(), reply);
        }
    }
}

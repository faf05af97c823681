//! Messages: what the bodies of frames say.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    call::Call,
    chunk::Chunk,
    codec::{Decoder, Encoder},
    error::WireError,
    field::{self, Reader},
    frame::{self, FEATURES, Frame, Kind},
    hello::Hello,
    payload,
    reply::Reply,
    resume::{self, LinkId, Resume, ResumeRefused},
    varint,
};
use crate::{
    RemoteError,
    id::{Fingerprint, MethodId, ObjectId},
    limits::Limits,
};

/// Most interfaces of one object.
pub const INTERFACES_LEN_MAX: usize = 256;

/// A call on a link, by its caller's number; reserved until the call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub u32);

/// The result of a call, by its caller's number, so that it can be called before it is there. Never used twice on
/// a link: calls of it may arrive when the number of its call is another call's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PromiseId(pub u64);

/// Where a node exports an object to the other over a link. A slot that is used again has another
/// generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Which slot.
    pub index: u32,
    /// Which use of it.
    pub generation: u32,
}

/// A method on a link, by the number that its sender defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodNumber(pub u32);

/// A list of interfaces on a link, by the number that its sender defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfacesNumber(pub u32);

/// The answer of the runtime to a call that has no other: its method did not return.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The call that it answers.
    pub id: CallId,
    /// Why.
    pub error: RemoteError,
}

/// The caller no longer waits; the call is answered nonetheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// The call.
    pub id: CallId,
}

/// References are given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// What they refer to.
    pub slot: Slot,
    /// How many messages had brought one.
    pub count: u64,
}

/// An object known by its id is asked for. The answer is a reply with one reference and an empty
/// payload, or a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquire {
    /// The number of the answer, from the same numbers as calls.
    pub id: CallId,
    /// The object.
    pub object: ObjectId,
}

/// More calls and bytes may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    /// How many more calls.
    pub calls: u32,
    /// How many more bytes of payload.
    pub bytes: u64,
}

/// A number for something that is named again and again. Numbers begin at 0 and leave none out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Definition {
    /// A method that the sender will call.
    Method {
        /// Its number.
        number: MethodNumber,
        /// Its id.
        id: MethodId,
        /// Its signature.
        fingerprint: Fingerprint,
        /// Its interface and name, such as `com.example.Bank.open`.
        name: String,
    },
    /// The interfaces of objects that the sender will give references to.
    Interfaces {
        /// Their number.
        number: InterfacesNumber,
        /// Their names, the most derived one first.
        names: Vec<String>,
    },
}

/// Messages arrived whole: their sender may forget what they did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// How many counted messages its sender has received since the link began.
    pub received: u64,
}

/// Both nodes have dialled each other. The sender, whose id is the lower, has dialled that other
/// link, which both go on with; this one comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The link to go on with, as its acceptor, the receiver, named it in its ticket.
    pub link: LinkId,
}

/// No more calls are taken over this link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// How many counted messages of the receiver the sender took since the link began; calls and
    /// acquires among later ones did not run.
    pub taken: u64,
}

/// The node goes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// Why, for people.
    pub reason: String,
}

/// A message of any kind that this version speaks.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Message {
    /// Who the peer is and what it speaks.
    Hello(Hello),
    /// A call of a method.
    Call(Call),
    /// The answer of a method.
    Reply(Reply),
    /// The answer of the runtime.
    Refusal(Refusal),
    /// The caller no longer waits.
    Cancel(Cancel),
    /// References are given back.
    Release(Release),
    /// An object is asked for by id.
    Acquire(Acquire),
    /// An export slot leads nowhere any more.
    Revoked(Slot),
    /// Messages arrived whole.
    Ack(Ack),
    /// A lost link is taken up again.
    Resume(Resume),
    /// A lost link cannot be taken up again.
    ResumeRefused(ResumeRefused),
    /// A part of a message.
    Chunk(Chunk),
    /// More may be sent.
    Credit(Credit),
    /// Are you there?
    Ping(u64),
    /// The answer to a ping, with its number.
    Pong(u64),
    /// No more calls are taken.
    Closing(Closing),
    /// The node goes away.
    Goodbye(Goodbye),
    /// A number is given.
    Define(Definition),
    /// Another link replaces this one.
    Merge(Merge),
}

impl Message {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// If the kind was not offered, or the body is not one of that kind, or exceeds a limit.
    pub fn decode(kind: Kind, body: Bytes, limits: &Limits) -> Result<Self, WireError> {
        if FEATURES & kind.bit() == 0 {
            return Err(WireError::NotOffered(kind));
        }
        let mut reader = Reader::new(&body);
        let message = match kind {
            Kind::Call => return Call::decode(body, limits).map(Self::Call),
            Kind::Reply => return Reply::decode(body, limits).map(Self::Reply),
            Kind::Refusal => return Refusal::decode(&body, limits).map(Self::Refusal),
            Kind::Chunk => return Chunk::decode(body).map(Self::Chunk),
            Kind::Hello => return Hello::decode(&body).map(Self::Hello),
            Kind::Cancel => Self::Cancel(Cancel { id: take_call_id(&mut reader)? }),
            Kind::Release => {
                Self::Release(Release { slot: reader.slot()?, count: reader.varint("the count of a release")? })
            }
            Kind::Acquire => Self::Acquire(Acquire {
                id: take_call_id(&mut reader)?,
                object: ObjectId::from_bytes(reader.fixed("an object id")?),
            }),
            Kind::Revoked => Self::Revoked(reader.slot()?),
            Kind::Credit => Self::Credit(Credit {
                calls: reader.varint_u32("a credit of calls")?,
                bytes: reader.varint("a credit of bytes")?,
            }),
            Kind::Ping => Self::Ping(reader.varint("the number of a ping")?),
            Kind::Pong => Self::Pong(reader.varint("the number of a pong")?),
            Kind::Closing => Self::Closing(Closing { taken: reader.varint("the calls taken")? }),
            Kind::Goodbye => Self::Goodbye(Goodbye {
                reason: reader.text("the reason of a goodbye", frame::FRAME_LEN_MAX)?.to_owned(),
            }),
            Kind::Define => Self::Define(Definition::decode(&mut reader, limits)?),
            Kind::Ack => Self::Ack(Ack { received: reader.varint("the messages received")? }),
            Kind::Resume => Self::Resume(Resume::decode(&mut reader)?),
            Kind::ResumeRefused => Self::ResumeRefused(ResumeRefused::decode(&mut reader)?),
            Kind::Merge => Self::Merge(Merge { link: resume::take_link(&mut reader)? }),
            Kind::Fence | Kind::StreamItem | Kind::StreamCredit | Kind::StreamEnd => {
                return Err(WireError::NotOffered(kind));
            }
        };
        reader.finish()?;
        Ok(message)
    }

    /// Reads a message that came in chunks: `front` is its first bytes, and `bulk` all others, which is
    /// left as it is where only the payload reaches into it.
    ///
    /// # Errors
    /// As those of [`Frame::from_chunks`] and [`decode`](Self::decode).
    pub fn from_chunks(front: Bytes, bulk: Bytes, limits: &Limits) -> Result<Self, WireError> {
        if front.is_empty() || bulk.is_empty() {
            let Frame { kind, body } = Frame::from_chunks(if bulk.is_empty() { front } else { bulk })?;
            return Self::decode(kind, body, limits);
        }
        let Frame { kind, body } = Frame::from_chunks(front.clone())?;
        match Self::decode(kind, body, limits) {
            // What stands before a payload says itself where it ends, and so is all in the front.
            Ok(Self::Call(mut call)) => {
                call.payload.append(bulk);
                Ok(Self::Call(call))
            }
            Ok(Self::Reply(mut reply)) => {
                reply.payload.append(bulk);
                Ok(Self::Reply(reply))
            }
            Ok(_) | Err(_) => {
                let Frame { kind, body } = Frame::from_chunks(payload::join(&front, &bulk))?;
                Self::decode(kind, body, limits)
            }
        }
    }

    /// The kind of its frame.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Call(_) => Kind::Call,
            Self::Reply(_) => Kind::Reply,
            Self::Refusal(_) => Kind::Refusal,
            Self::Cancel(_) => Kind::Cancel,
            Self::Release(_) => Kind::Release,
            Self::Acquire(_) => Kind::Acquire,
            Self::Revoked(_) => Kind::Revoked,
            Self::Ack(_) => Kind::Ack,
            Self::Resume(_) => Kind::Resume,
            Self::ResumeRefused(_) => Kind::ResumeRefused,
            Self::Merge(_) => Kind::Merge,
            Self::Chunk(_) => Kind::Chunk,
            Self::Credit(_) => Kind::Credit,
            Self::Ping(_) => Kind::Ping,
            Self::Pong(_) => Kind::Pong,
            Self::Closing(_) => Kind::Closing,
            Self::Goodbye(_) => Kind::Goodbye,
            Self::Define(_) => Kind::Define,
        }
    }

    /// Appends the body of its frame.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Hello(hello) => hello.encode(out),
            Self::Call(call) => {
                call.head().encode_head(out);
                call.payload.parts().into_iter().for_each(|part| out.put_slice(part));
            }
            Self::Reply(reply) => {
                reply.head().encode_head(out);
                reply.payload.parts().into_iter().for_each(|part| out.put_slice(part));
            }
            Self::Refusal(refusal) => refusal.encode(out),
            Self::Cancel(Cancel { id }) => varint::put(out, id.0.into()),
            Self::Release(Release { slot, count }) => {
                field::put_slot(out, *slot);
                varint::put(out, *count);
            }
            Self::Acquire(Acquire { id, object }) => {
                varint::put(out, id.0.into());
                out.put_slice(&object.to_bytes());
            }
            Self::Revoked(slot) => field::put_slot(out, *slot),
            Self::Ack(Ack { received }) => varint::put(out, *received),
            Self::Resume(resume) => resume.encode(out),
            Self::ResumeRefused(refused) => refused.encode(out),
            Self::Merge(Merge { link }) => out.put_slice(&link.to_bytes()),
            Self::Chunk(chunk) => {
                chunk.head().encode(out);
                out.put_slice(&chunk.data);
            }
            Self::Credit(Credit { calls, bytes }) => {
                varint::put(out, (*calls).into());
                varint::put(out, *bytes);
            }
            Self::Ping(number) | Self::Pong(number) => varint::put(out, *number),
            Self::Closing(Closing { taken }) => varint::put(out, *taken),
            Self::Goodbye(Goodbye { reason }) => field::put_block(out, reason.as_bytes()),
            Self::Define(definition) => definition.encode(out),
        }
    }

    /// Appends its whole frame, which must fit one.
    pub fn encode_frame(&self, out: &mut BytesMut) {
        let start = frame::begin_frame(out, self.kind());
        self.encode(out);
        frame::finish_frame(out, start);
    }
}

fn take_call_id(reader: &mut Reader<'_>) -> Result<CallId, WireError> {
    reader.varint_u32("a call id").map(CallId)
}

impl Refusal {
    fn encode(&self, out: &mut BytesMut) {
        varint::put(out, self.id.0.into());
        let mut encoder = Encoder::new(std::mem::take(out));
        let encoded = encoder.value(&self.error);
        debug_assert!(encoded.is_ok(), "an error is plain data");
        *out = encoder.into_inner();
    }

    fn decode(body: &Bytes, limits: &Limits) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let id = take_call_id(&mut reader)?;
        let rest = body.slice(reader.position()..);
        let mut decoder = Decoder::new(&rest, limits);
        let error = decoder.value()?;
        decoder.finish()?;
        Ok(Self { id, error })
    }
}

const DEFINE_METHOD: u8 = 0;
const DEFINE_INTERFACES: u8 = 1;

impl Definition {
    /// Appends the body of its frame.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Method { number, id, fingerprint, name } => {
                out.put_u8(DEFINE_METHOD);
                varint::put(out, number.0.into());
                out.put_u64_le(id.0);
                out.put_u64_le(fingerprint.0);
                field::put_block(out, name.as_bytes());
            }
            Self::Interfaces { number, names } => {
                out.put_u8(DEFINE_INTERFACES);
                varint::put(out, number.0.into());
                varint::put(out, names.len() as u64);
                for name in names {
                    field::put_block(out, name.as_bytes());
                }
            }
        }
    }

    fn decode(reader: &mut Reader<'_>, limits: &Limits) -> Result<Self, WireError> {
        let tag = reader.byte("a definition")?;
        let number = reader.varint_u32("the number of a definition")?;
        if number >= limits.definitions {
            let (size, limit) = (u64::from(number) + 1, limits.definitions.into());
            return Err(WireError::Limit { what: "definitions on a link", size, limit });
        }
        match tag {
            DEFINE_METHOD => Ok(Self::Method {
                number: MethodNumber(number),
                id: MethodId(reader.u64_le("a method id")?),
                fingerprint: Fingerprint(reader.u64_le("a fingerprint")?),
                name: reader.name("the name of a method")?,
            }),
            DEFINE_INTERFACES => {
                let mut names = Vec::new();
                for _ in 0..reader.bounded("interfaces of an object", INTERFACES_LEN_MAX as u64)? {
                    names.push(reader.name("the name of an interface")?);
                }
                Ok(Self::Interfaces { number: InterfacesNumber(number), names })
            }
            tag => Err(WireError::UnknownTag { what: "kind of definition", tag: tag.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(kind: Kind, body: &'static [u8]) -> Result<Message, WireError> {
        Message::decode(kind, Bytes::from_static(body), &Limits::default())
    }

    #[test]
    fn a_kind_that_was_not_offered_is_named() {
        let error = decode(Kind::StreamItem, &[]).unwrap_err();
        assert_eq!(error.to_string(), "a frame of kind StreamItem, which was not offered");
        for number in 1..=23 {
            let kind = Kind::from_number(number).unwrap();
            let not_offered = matches!(decode(kind, &[]), Err(WireError::NotOffered(_)));
            assert_eq!(not_offered, FEATURES & kind.bit() == 0, "{kind:?}");
        }
    }

    #[test]
    fn an_error_in_a_refusal_is_decoded_within_bounds() {
        let mut body = BytesMut::new();
        varint::put(&mut body, 1);
        body.put_slice(&[5, 1, 0, 0, 0, 0]);
        varint::put(&mut body, 1 << 40);
        let error = Message::decode(Kind::Refusal, body.freeze(), &Limits::default()).unwrap_err();
        assert!(matches!(&error, WireError::Value(error) if error.is_too_large()), "{error}");
    }

    #[test]
    fn definitions_are_checked() {
        let error = |kind, body: &'static [u8]| decode(kind, body).unwrap_err().to_string();
        assert_eq!(
            error(Kind::Define, &[1, 0x80, 0x80, 0x04]),
            "definitions on a link: 65537 exceeds the limit of 65536"
        );
        assert_eq!(error(Kind::Define, &[2, 0]), "unknown kind of definition 0x2");
        assert_eq!(error(Kind::Define, &[1, 0, 1, 0]), "the name of an interface: the name is empty");
    }
}

//! Messages that no session sent.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rmi_core::{
    Certainty, ErrorKind, Limits, NodeId, ObjectId, RemoteError,
    id::{Fingerprint, MethodId},
    wire::{
        Ack, Acquire, Call, CallId, Cancel, Chunk, Closing, Codec, Credit, Definition, Descriptor, Frame, Goodbye,
        Hello, InterfacesNumber, Kind, LinkId, Merge, Message, MethodNumber, Outcome, Part, PromiseId, Refusal,
        Release, Reply, ResumeRefused, Slot, Target,
    },
};

use crate::choices::Choices;

/// What pulls a stream.
const PULL: u64 = 2;

/// A frame of any kind, with bytes as they come.
pub(super) fn raw(choices: &mut Choices<'_>) -> Option<Frame> {
    let kind = Kind::from_number(1 + choices.byte() % 23)?;
    let len = usize::from(choices.byte());
    Some(Frame { kind, body: Bytes::copy_from_slice(choices.bytes(len)) })
}

/// A message that means something: its numbers are such as the link has, mostly. `objects` are known by id.
pub(super) fn message(choices: &mut Choices<'_>, objects: &[ObjectId]) -> Message {
    match choices.below(20) {
        0..4 => Message::Call(call(choices, objects)),
        4 => Message::Reply(reply(choices, objects)),
        5 => {
            let error = RemoteError::new(ErrorKind::Overloaded, "forged").with_certainty(Certainty::NotExecuted);
            Message::Refusal(Refusal { id: id(choices), error })
        }
        6 => Message::Cancel(Cancel { id: id(choices) }),
        7 => Message::Release(Release { slot: slot(choices), count: long(choices) }),
        8 => Message::Acquire(Acquire { id: id(choices), object: object(choices, objects) }),
        9 => Message::Revoked(slot(choices)),
        10 => Message::Ack(Ack { received: long(choices) }),
        11 => Message::Chunk(chunk(choices)),
        12 => Message::Credit(Credit { calls: number(choices), bytes: long(choices) }),
        13 => Message::Ping(long(choices)),
        14 => Message::Closing(Closing { taken: long(choices) }),
        15 => Message::Goodbye(Goodbye { reason: "forged".into() }),
        16 | 17 => Message::Define(definition(choices)),
        18 => Message::Merge(Merge { link: LinkId::from_bytes([choices.byte(); 16]) }),
        _ => match choices.below(3) {
            0 => Message::Pong(long(choices)),
            1 => Message::Hello(Hello::new(NodeId::from_bytes([1; 16]), &Limits::default(), Duration::ZERO)),
            _ => Message::ResumeRefused(ResumeRefused { reason: "forged".into() }),
        },
    }
}

/// The frame of a message.
pub(super) fn frame(message: &Message) -> Frame {
    let mut body = BytesMut::new();
    message.encode(&mut body);
    Frame { kind: message.kind(), body: body.freeze() }
}

/// Small, or as large as can be.
fn number(choices: &mut Choices<'_>) -> u32 {
    match choices.byte() {
        0xff => u32::MAX,
        byte => u32::from(byte) % 8,
    }
}

fn long(choices: &mut Choices<'_>) -> u64 {
    match choices.byte() {
        0xff => u64::MAX,
        0xfe => choices.word().into(),
        byte => u64::from(byte) % 16,
    }
}

fn id(choices: &mut Choices<'_>) -> CallId {
    CallId(number(choices))
}

fn slot(choices: &mut Choices<'_>) -> Slot {
    match choices.byte() {
        0xff => Slot { index: number(choices), generation: number(choices) },
        byte => Slot { index: u32::from(byte) % 4, generation: u32::from(byte >> 6) },
    }
}

fn object(choices: &mut Choices<'_>, objects: &[ObjectId]) -> ObjectId {
    let byte = choices.byte();
    objects.get(usize::from(byte)).copied().unwrap_or_else(|| ObjectId::from_bytes([byte; 16]))
}

fn references(choices: &mut Choices<'_>, objects: &[ObjectId]) -> Vec<Descriptor> {
    let count = choices.byte() >> 6;
    let reference = |choices: &mut Choices<'_>| {
        let byte = choices.byte();
        let slot = slot(choices);
        if byte & 3 == 0 {
            return Descriptor::Yours(slot);
        }
        let (object, interfaces) = (object(choices, objects), InterfacesNumber(u32::from(byte >> 2 & 3)));
        if byte & 1 == 1 {
            return Descriptor::Mine { slot, object, interfaces };
        }
        let (owner, route) =
            (NodeId::from_bytes([byte; 16]), vec![NodeId::from_bytes([7; 16]); usize::from(byte >> 4 & 1)]);
        Descriptor::Third { slot, object, interfaces, owner, endpoints: Vec::new(), route }
    };
    (0..count).map(|_| reference(choices)).collect()
}

fn call(choices: &mut Choices<'_>, objects: &[ObjectId]) -> Call {
    let target = match choices.below(4) {
        0 => Target::Slot(slot(choices)),
        1 => Target::Object(object(choices, objects)),
        2 => Target::Service("registry".into()),
        _ => Target::Promise { promise: PromiseId(long(choices)), reference: number(choices) },
    };
    let byte = choices.byte();
    Call {
        id: id(choices),
        target,
        method: MethodNumber(u32::from(byte & 3)),
        time_left: (byte & 4 != 0).then(|| Duration::from_millis(choices.byte().into())),
        depth: u32::from(byte >> 6),
        extras: None,
        codec: Codec::Postcard,
        promises: (byte & 8 != 0).then(|| PromiseId(long(choices))),
        references: references(choices, objects),
        payload: payload(choices),
    }
}

fn reply(choices: &mut Choices<'_>, objects: &[ObjectId]) -> Reply {
    let outcome = if choices.flag() { Outcome::Err } else { Outcome::Ok };
    let (id, references) = (id(choices), references(choices, objects));
    Reply { id, outcome, codec: Codec::Postcard, references, payload: payload(choices) }
}

fn payload(choices: &mut Choices<'_>) -> rmi_core::wire::Payload {
    let byte = choices.byte();
    let len = if byte < 0xc0 { usize::from(byte & 7) } else { 200 * usize::from(byte & 0x3f) };
    Bytes::from(vec![byte; len]).into()
}

/// A chunk whose data is a call of a service, or zeroes.
fn chunk(choices: &mut Choices<'_>) -> Chunk {
    let byte = choices.byte();
    let part =
        [Part::More, Part::Last, Part::Abort, Part::Last].into_iter().nth(usize::from(byte & 3)).unwrap_or(Part::More);
    let len = if byte & 4 != 0 { 40 * usize::from(choices.byte()) } else { usize::from(choices.byte() & 31) };
    let mut data = vec![0; len];
    if byte & 8 != 0 {
        data.splice(0..0, [Kind::Call as u8, 2, choices.byte(), 1, b's', 0]);
    }
    let total = (byte & 16 != 0).then(|| match choices.byte() {
        byte @ 0..0xf0 => data.len() as u64 + u64::from(byte >> 4) * 1000,
        _ => long(choices),
    });
    Chunk { lane: u32::from(byte >> 5), total, part, data: data.into() }
}

fn definition(choices: &mut Choices<'_>) -> Definition {
    let byte = choices.byte();
    let number = u32::from(byte & 3);
    if byte & 4 == 0 {
        let id = if byte & 8 == 0 { 7 } else { PULL };
        let name = "demo.Registry.lookup".into();
        return Definition::Method {
            number: MethodNumber(number),
            id: MethodId(id),
            fingerprint: Fingerprint(7),
            name,
        };
    }
    let names = (0..=byte >> 6).map(|name| format!("demo.{name}")).collect();
    Definition::Interfaces { number: InterfacesNumber(number), names }
}

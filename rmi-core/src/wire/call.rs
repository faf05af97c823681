//! Calls.
//!
//! The payload is the rest of the frame and is never copied here: a sender writes the head, then
//! appends the payload itself. Replies do the same.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    error::WireError,
    extras::Extras,
    field::{self, Reader},
    message::{CallId, MethodNumber, PromiseId, Slot},
    payload::Payload,
    reference::{self, Descriptor},
    varint::{self, Gathered},
};
use crate::{id::ObjectId, limits::Limits};

/// Most metadata entries of a call.
pub const METADATA_LEN_MAX: usize = 256;

/// Most bytes of all metadata of a call, names and values. It takes no credit.
pub const METADATA_BYTES_MAX: usize = 8192;

/// How many references of a result can be called before it has arrived: the first ones. Each is remembered for a while,
/// whoever asks for results of many.
pub const PROMISED_MAX: usize = 8;

/// Longest time that a call can be given; more is the same as this, a year.
pub const TIME_LEFT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a call is made on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An object that the receiver exported over this link.
    Slot(Slot),
    /// An object that the sender has asked for over this link, while the answer is under way.
    Object(ObjectId),
    /// A service by its name, such as the registry.
    Service(String),
    /// The result of a call whose answer has not arrived.
    Promise {
        /// What that call has promised its result by.
        promise: PromiseId,
        /// Which reference of the result.
        reference: u32,
    },
}

/// How a payload is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// postcard.
    #[default]
    Postcard = 0,
    /// JSON; reserved, and refused by this version.
    Json = 1,
}

/// A call of a method, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The caller's number for it.
    pub id: CallId,
    /// What it is made on.
    pub target: Target,
    /// The method, by the caller's number.
    pub method: MethodNumber,
    /// The time left for it, where it has a deadline.
    pub time_left: Option<Duration>,
    /// How many calls it is nested in.
    pub depth: u32,
    /// Its trace and its metadata, where there are any.
    pub extras: Option<Arc<Extras>>,
    /// How the payload is encoded.
    pub codec: Codec,
    /// What its result may be called by before it is there, where it may.
    pub promises: Option<PromiseId>,
    /// The references among the arguments.
    pub references: Vec<Descriptor>,
    /// The arguments.
    pub payload: Payload,
}

/// All of a call but its payload, as written by its sender.
#[derive(Clone, Copy, Debug)]
pub struct CallHead<'a> {
    /// The caller's number for it.
    pub id: CallId,
    /// What it is made on.
    pub target: &'a Target,
    /// The method, by the caller's number.
    pub method: MethodNumber,
    /// The time left for it, where it has a deadline.
    pub time_left: Option<Duration>,
    /// How many calls it is nested in.
    pub depth: u32,
    /// Its trace and its metadata, where there are any.
    pub extras: Option<&'a Extras>,
    /// What its result may be called by before it is there, where it may.
    pub promises: Option<PromiseId>,
    /// The references among the arguments.
    pub references: &'a [Descriptor],
}

const TARGET: u8 = 0b11;
const TARGET_SLOT: u8 = 0;
const TARGET_OBJECT: u8 = 1;
const TARGET_SERVICE: u8 = 2;
const TARGET_PROMISE: u8 = 3;
const TIME_LEFT: u8 = 1 << 2;
const DEPTH: u8 = 1 << 3;
const TRACE: u8 = 1 << 4;
const METADATA: u8 = 1 << 5;
const REFERENCES: u8 = 1 << 6;
const CODEC: u8 = 1 << 7;

/// In the codec of a call: the number of a promise follows.
const PROMISES: u8 = 1 << 7;

impl CallHead<'_> {
    /// Appends everything of the body that precedes the payload.
    pub fn encode_head(&self, out: &mut BytesMut) {
        // A byte of flags and no more than six integers.
        const { assert!(6 * Gathered::VARINT_LEN_MAX < Gathered::LEN_MAX) };
        let mut fields = Gathered::new();
        fields.byte(self.flags());
        fields.varint(self.id.0.into());
        if let Target::Slot(slot) = self.target {
            fields.varint(slot.index.into());
            fields.varint(slot.generation.into());
        } else {
            out.put_slice(fields.as_slice());
            fields = Gathered::new();
            self.put_target(out);
        }
        fields.varint(self.method.0.into());
        if let Some(time_left) = self.time_left {
            fields.varint(micros(time_left.min(TIME_LEFT_MAX)));
        }
        if self.depth != 0 {
            fields.varint(self.depth.into());
        }
        out.put_slice(fields.as_slice());
        if let Some(extras) = self.extras {
            put_extras(out, extras);
        }
        if !self.references.is_empty() {
            reference::put_table(out, self.references);
        }
        if let Some(promise) = self.promises {
            out.put_u8(Codec::Postcard as u8 | PROMISES);
            varint::put(out, promise.0);
        }
    }

    #[inline]
    fn flags(&self) -> u8 {
        let target = match self.target {
            Target::Slot(_) => TARGET_SLOT,
            Target::Object(_) => TARGET_OBJECT,
            Target::Service(_) => TARGET_SERVICE,
            Target::Promise { .. } => TARGET_PROMISE,
        };
        target
            | flag(self.time_left.is_some(), TIME_LEFT)
            | flag(self.depth != 0, DEPTH)
            | self.extras.map_or(0, extras_flags)
            | flag(!self.references.is_empty(), REFERENCES)
            | flag(self.promises.is_some(), CODEC)
    }

    #[inline]
    fn put_target(&self, out: &mut BytesMut) {
        match self.target {
            Target::Slot(slot) => field::put_slot(out, *slot),
            Target::Object(object) => out.put_slice(&object.to_bytes()),
            Target::Service(name) => field::put_block(out, name.as_bytes()),
            Target::Promise { promise, reference } => {
                varint::put(out, promise.0);
                varint::put(out, (*reference).into());
            }
        }
    }
}

/// Far below its bounds.
const fn micros(span: Duration) -> u64 {
    span.as_secs() * 1_000_000 + span.subsec_micros() as u64
}

impl Call {
    /// The head, to be written by [`CallHead::encode_head`].
    #[must_use]
    pub fn head(&self) -> CallHead<'_> {
        CallHead {
            id: self.id,
            target: &self.target,
            method: self.method,
            time_left: self.time_left,
            depth: self.depth,
            extras: self.extras.as_deref(),
            promises: self.promises,
            references: &self.references,
        }
    }

    /// Reads the body of a call; the payload shares its memory.
    ///
    /// # Errors
    /// If it is not one, or exceeds a limit.
    pub fn decode(mut body: Bytes, limits: &Limits) -> Result<Self, WireError> {
        let mut reader = Reader::new(&body);
        let flags = reader.byte("the flags of a call")?;
        let id = CallId(reader.varint_u32("a call id")?);
        let target = take_target(&mut reader, flags & TARGET)?;
        let method = MethodNumber(reader.varint_u32("a method number")?);
        let time_left = if flags & TIME_LEFT == 0 {
            None
        } else {
            Some(Duration::from_micros(reader.varint("the time left")?).min(TIME_LEFT_MAX))
        };
        let depth = if flags & DEPTH == 0 { 0 } else { reader.varint_u32("the depth of a call")? };
        let extras = if flags & (TRACE | METADATA) == 0 { None } else { take_extras(&mut reader, flags)? };
        let references = if flags & REFERENCES == 0 { Vec::new() } else { reference::take_table(&mut reader, limits)? };
        let (codec, promises) = if flags & CODEC == 0 { (Codec::Postcard, None) } else { take_promise(&mut reader)? };
        let head_len = reader.position();
        body.advance(head_len);
        Ok(Self { id, target, method, time_left, depth, extras, codec, promises, references, payload: body.into() })
    }
}

#[inline]
fn take_target(reader: &mut Reader<'_>, tag: u8) -> Result<Target, WireError> {
    match tag {
        TARGET_SLOT => Ok(Target::Slot(reader.slot()?)),
        TARGET_OBJECT => Ok(Target::Object(ObjectId::from_bytes(reader.fixed("an object id")?))),
        TARGET_SERVICE => Ok(Target::Service(reader.name("the name of a service")?)),
        _ => {
            let promise = PromiseId(reader.varint("the number of a promise")?);
            Ok(Target::Promise { promise, reference: reader.varint_u32("a reference of a promise")? })
        }
    }
}

fn extras_flags(extras: &Extras) -> u8 {
    flag(extras.trace.is_some(), TRACE) | flag(!extras.wire_entries().is_empty(), METADATA)
}

#[cold]
fn put_extras(out: &mut BytesMut, extras: &Extras) {
    if let Some(trace) = &extras.trace {
        out.put_slice(trace);
    }
    if extras.wire_entries().is_empty() {
        return;
    }
    varint::put(out, extras.wire_entries().len() as u64);
    for (name, value) in extras.wire_entries() {
        field::put_block(out, name.as_bytes());
        field::put_block(out, value);
    }
}

#[cold]
fn take_extras(reader: &mut Reader<'_>, flags: u8) -> Result<Option<Arc<Extras>>, WireError> {
    let trace = if flags & TRACE == 0 { None } else { Some(reader.fixed("a trace context")?) };
    let metadata = if flags & METADATA == 0 { Vec::new() } else { take_metadata(reader)? };
    Ok(Extras::received(trace, metadata).map(Arc::new))
}

fn take_metadata(reader: &mut Reader<'_>) -> Result<Vec<(String, Bytes)>, WireError> {
    let (mut metadata, mut left) = (Vec::new(), METADATA_BYTES_MAX);
    for _ in 0..reader.bounded("metadata entries of a call", METADATA_LEN_MAX as u64)? {
        let name = reader.name("the name of a metadata entry")?;
        left = left.saturating_sub(name.len());
        let value = reader.shared_block("a metadata entry", left)?;
        left -= value.len();
        metadata.push((name, value));
    }
    Ok(metadata)
}

#[inline]
pub(super) fn take_codec(reader: &mut Reader<'_>, present: bool) -> Result<Codec, WireError> {
    if !present {
        return Ok(Codec::Postcard);
    }
    codec(reader.byte("a codec")?)
}

/// The codec of a call, and what the call promises its result by.
#[cold]
fn take_promise(reader: &mut Reader<'_>) -> Result<(Codec, Option<PromiseId>), WireError> {
    let byte = reader.byte("a codec")?;
    let codec = codec(byte & !PROMISES)?;
    if byte & PROMISES == 0 {
        return Ok((codec, None));
    }
    Ok((codec, Some(PromiseId(reader.varint("the number of a promise")?))))
}

fn codec(byte: u8) -> Result<Codec, WireError> {
    match byte {
        0 => Ok(Codec::Postcard),
        1 => Err(WireError::BadValue { what: "a codec", problem: "JSON is reserved; this version speaks postcard" }),
        tag => Err(WireError::UnknownTag { what: "codec", tag: tag.into() }),
    }
}

#[inline]
pub(super) const fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        id::NodeId,
        wire::message::{InterfacesNumber, Message},
    };

    fn slot() -> impl Strategy<Value = Slot> {
        any::<(u32, u32)>().prop_map(|(index, generation)| Slot { index, generation })
    }

    fn target() -> impl Strategy<Value = Target> {
        prop_oneof![
            slot().prop_map(Target::Slot),
            any::<[u8; 16]>().prop_map(|id| Target::Object(ObjectId::from_bytes(id))),
            "[a-z.]{1,20}".prop_map(Target::Service),
            any::<(u64, u32)>()
                .prop_map(|(promise, reference)| Target::Promise { promise: PromiseId(promise), reference }),
        ]
    }

    fn descriptor() -> impl Strategy<Value = Descriptor> {
        (0..3, slot(), any::<([u8; 16], u32, [u8; 16])>(), prop::collection::vec(any::<[u8; 16]>(), 0..8)).prop_map(
            |(form, slot, (object, interfaces, owner), route)| {
                let (object, interfaces) = (ObjectId::from_bytes(object), InterfacesNumber(interfaces));
                match form {
                    0 => Descriptor::Yours(slot),
                    1 => Descriptor::Mine { slot, object, interfaces },
                    _ => Descriptor::Third {
                        slot,
                        object,
                        interfaces,
                        owner: NodeId::from_bytes(owner),
                        endpoints: vec!["tcp://[::1]:7".parse().unwrap(), "mem://a".parse().unwrap()],
                        route: route.into_iter().map(NodeId::from_bytes).collect(),
                    },
                }
            },
        )
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        any::<Vec<u8>>().prop_map(Bytes::from)
    }

    prop_compose! {
        fn call()(
            (id, method, depth, micros, trace) in any::<(u32, u32, u32, Option<u32>, Option<[u8; 25]>)>(),
            target in target(),
            metadata in prop::collection::vec(("[+a-z]{1,9}", bytes()), 0..4),
            references in prop::collection::vec(descriptor(), 0..4),
            promises in any::<Option<u64>>(),
            payload in bytes(),
        ) -> Call {
            let (id, method) = (CallId(id), MethodNumber(method));
            let time_left = micros.map(|micros| Duration::from_micros(micros.into()));
            let codec = Codec::Postcard;
            let extras = Extras::received(trace, metadata).map(Arc::new);
            let promises = promises.map(PromiseId);
            Call { id, target, method, time_left, depth, extras, codec, promises, references, payload: payload.into() }
        }
    }

    fn encode(call: &Call) -> Bytes {
        let mut out = BytesMut::new();
        call.head().encode_head(&mut out);
        call.payload.parts().into_iter().for_each(|part| out.put_slice(part));
        out.freeze()
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(call in call()) {
            prop_assert_eq!(Call::decode(encode(&call), &Limits::default()).unwrap(), call);
        }

        #[test]
        fn arbitrary_bytes_are_a_call_or_an_error(body: Vec<u8>) {
            if let Ok(call) = Call::decode(body.clone().into(), &Limits::default()) {
                prop_assert_eq!(Call::decode(encode(&call), &Limits::default()).unwrap(), call);
            }
        }
    }

    fn small_call() -> Call {
        Call {
            id: CallId(127),
            target: Target::Slot(Slot { index: 127, generation: 127 }),
            method: MethodNumber(127),
            time_left: Some(Duration::from_secs(30)),
            depth: 0,
            extras: None,
            codec: Codec::Postcard,
            promises: None,
            references: Vec::new(),
            payload: Bytes::from_static(b"payload").into(),
        }
    }

    #[test]
    fn a_small_call_costs_14_bytes() {
        let mut out = BytesMut::new();
        Message::Call(small_call()).encode_frame(&mut out);
        assert_eq!(out.len(), 14 + 7);
    }

    #[test]
    fn the_payload_is_not_copied() {
        let body = encode(&small_call());
        let payload = Call::decode(body.clone(), &Limits::default()).unwrap().payload;
        let payload = payload.into_bytes();
        assert_eq!(payload.as_ptr(), body[body.len() - payload.len()..].as_ptr());
    }

    #[test]
    fn time_without_end_is_a_year() {
        let call = Call { time_left: Some(Duration::MAX), ..small_call() };
        assert_eq!(Call::decode(encode(&call), &Limits::default()).unwrap().time_left, Some(TIME_LEFT_MAX));
        let body = Bytes::from_static(&[TIME_LEFT, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
        assert_eq!(Call::decode(body, &Limits::default()).unwrap().time_left, Some(TIME_LEFT_MAX));
    }

    #[test]
    fn counts_are_checked_before_anything_is_read() {
        let limits = Limits { references: 3, ..Limits::default() };
        let error = Call::decode(Bytes::from_static(&[REFERENCES, 0, 0, 0, 0, 4]), &limits).unwrap_err();
        assert_eq!(error.to_string(), "references in a message: 4 exceeds the limit of 3");
        let error = Call::decode(Bytes::from_static(&[METADATA, 0, 0, 0, 0, 0x81, 0x02]), &limits).unwrap_err();
        assert_eq!(error.to_string(), "metadata entries of a call: 257 exceeds the limit of 256");
    }

    #[test]
    fn what_is_no_call_is_named() {
        let error =
            |body: &'static [u8]| Call::decode(Bytes::from_static(body), &Limits::default()).unwrap_err().to_string();
        assert_eq!(error(&[]), "a message ends within the flags of a call");
        assert_eq!(error(&[0, 0x80, 0]), "a call id: the integer is not in its shortest form");
        assert_eq!(error(&[0, 0xff, 0xff, 0xff, 0xff, 0x7f]), "a call id: the integer is too wide");
        assert_eq!(error(&[CODEC, 0, 0, 0, 0, 1]), "a codec: JSON is reserved; this version speaks postcard");
        assert_eq!(error(&[CODEC, 0, 0, 0, 0, 2]), "unknown codec 0x2");
        assert_eq!(error(&[CODEC, 0, 0, 0, 0, PROMISES | 2, 9]), "unknown codec 0x2");
        assert_eq!(error(&[CODEC, 0, 0, 0, 0, PROMISES]), "a message ends within the number of a promise");
        assert_eq!(error(&[REFERENCES, 0, 0, 0, 0, 1, 3]), "unknown kind of reference 0x3");
        assert_eq!(error(&[TARGET_SERVICE, 0, 0]), "the name of a service: the name is empty");
        assert_eq!(error(&[TARGET_SERVICE, 0, 2, 0xc3, 0x28]), "the name of a service is not valid UTF-8");
    }
}

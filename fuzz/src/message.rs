//! What decodes as a message encodes to bytes that decode to the same, and takes memory in proportion.
//!
//! The first byte is the kind of the frame, the second where a message in chunks is cut.

use bytes::{Bytes, BytesMut};
use rmi_core::{
    Limits,
    wire::{FEATURES, Kind, Message},
};

use crate::{Seed, choices::Choices, memory::within};

/// A byte of a message stands for no more than this much of memory: a reference of three bytes is kept as
/// one of a hundred, in a list that doubles.
pub(crate) const MEMORY_PER_BYTE: usize = 160;
pub(crate) const MEMORY_LEAST: usize = 4 << 10;

/// Decodes a message of any kind.
pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (number, cut) = (choices.byte(), choices.byte());
    let Some(kind) = Kind::from_number(number) else { return };
    let body = Bytes::copy_from_slice(choices.rest());
    for limits in [Limits::default(), tight()] {
        let memory_max = MEMORY_LEAST + MEMORY_PER_BYTE * body.len();
        match within(memory_max, || Message::decode(kind, body.clone(), &limits)) {
            Ok(message) => check(kind, &message, &limits),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    if kind.may_be_chunked() {
        check_chunks(kind, &body, cut.into());
    }
}

/// Limits that few bytes exceed.
pub(crate) fn tight() -> Limits {
    Limits { references: 2, definitions: 3, nesting: 4, elements: 8, decoded_bytes: 1000, ..Limits::default() }
}

fn check(kind: Kind, message: &Message, limits: &Limits) {
    assert!(FEATURES & kind.bit() != 0, "a kind that is not offered");
    assert_eq!(message.kind(), kind);
    match message {
        Message::Call(call) => assert!(call.references.len() <= limits.references as usize),
        Message::Reply(reply) => assert!(reply.references.len() <= limits.references as usize),
        _ => {}
    }
    let first = encode(message);
    // What this version does not know was left out, so what is encoded may be less than what arrived.
    let again = Message::decode(kind, first.clone(), limits)
        .unwrap_or_else(|error| panic!("{message:?} encodes to what does not decode: {error}"));
    assert_eq!(format!("{again:?}"), format!("{message:?}"));
    assert_eq!(encode(&again), first);
}

/// A message is the same however much of it is in the first chunk.
fn check_chunks(kind: Kind, body: &Bytes, cut: usize) {
    let limits = Limits::default();
    let whole: Bytes = [&[kind as u8], &body[..]].concat().into();
    let cut = cut.min(whole.len());
    let in_two = Message::from_chunks(whole.slice(..cut), whole.slice(cut..), &limits);
    match (Message::decode(kind, body.clone(), &limits), in_two) {
        (Ok(at_once), Ok(in_two)) => assert_eq!(encode(&at_once), encode(&in_two)),
        (Err(at_once), Err(in_two)) => assert_eq!(at_once.to_string(), in_two.to_string()),
        (at_once, in_two) => panic!("{at_once:?} is {in_two:?} when it is cut at {cut}"),
    }
}

fn encode(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    out.freeze()
}

/// The messages of the golden file.
pub(crate) fn seeds() -> Vec<Seed> {
    golden().into_iter().map(|(name, kind, body)| (name, [&[kind, 3], body.as_slice()].concat())).collect()
}

/// Every message of the golden file: its name, its kind and its body.
pub(crate) fn golden() -> Vec<(&'static str, u8, Vec<u8>)> {
    const FILE: &str = include_str!("../../rmi-core/tests/golden/messages.txt");
    let section = |section: &'static str| {
        let (name, lines) = section.split_once("]\n")?;
        let digits = lines.lines().map(|line| line.split('#').next().unwrap_or_default());
        let digits: Vec<char> = digits.flat_map(str::chars).filter(char::is_ascii_hexdigit).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).ok();
        let frame: Vec<u8> = digits.chunks(2).filter_map(byte).collect();
        let (kind, body) = frame.get(4..)?.split_first()?;
        Some((name, *kind, body.to_vec()))
    };
    FILE.split("\n[").skip(1).filter_map(section).collect()
}

//! The bytes of every message, held against `tests/golden/messages.txt` in both directions.
//!
//! `RMI_BLESS=1` writes the file anew; what it changes is a change of the protocol.

mod cases;

use std::fmt::Write;

use bytes::BytesMut;

use super::*;
use crate::limits::Limits;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/messages.txt");

/// A message and what its frame is made of.
struct Case {
    name: &'static str,
    message: Message,
    /// The fields of the body in turn: how many bytes and what they are.
    fields: &'static [(usize, &'static str)],
}

impl Case {
    fn frame(&self) -> BytesMut {
        let mut out = BytesMut::new();
        self.message.encode_frame(&mut out);
        out
    }

    fn has_extension(&self) -> bool {
        matches!(&self.message, Message::Hello(hello) if hello.resumes || hello.ticket.is_some() || hello.refusal.is_some())
    }

    /// The section of the file: the name, then each field on lines of at most 16 bytes.
    fn section(&self) -> String {
        let frame = self.frame();
        let mut rest = &frame[..];
        let mut text = format!("[{}]\n", self.name);
        let kind = format!("kind: {:?}", self.message.kind());
        for (len, note) in [(4, "length"), (1, &*kind)].into_iter().chain(self.fields.iter().copied()) {
            let (field, after) = rest.split_at_checked(len).unwrap_or_else(|| panic!("{}: {note}", self.name));
            rest = after;
            for (line, bytes) in field.chunks(16).enumerate() {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let note = if line == 0 { note } else { ".." };
                writeln!(text, "{hex:<32}  # {note}").unwrap();
            }
        }
        assert!(rest.is_empty(), "{}: {} bytes are not described: {rest:02x?}", self.name, rest.len());
        text
    }
}

/// The bytes of a section, whatever its notes say.
fn bytes_of(section: &str) -> Vec<u8> {
    let digits = section.lines().skip(1).map(|line| line.split('#').next().unwrap());
    let digits: String = digits.collect::<String>().split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn file() -> String {
    if std::env::var_os("RMI_BLESS").is_none() {
        return std::fs::read_to_string(FILE).unwrap();
    }
    let head = "# One frame a section, one field a line: its bytes in hexadecimal, then what they are.\n\
                # PROTOCOL.md explains them. Written by RMI_BLESS=1; a change is a change of the protocol.\n";
    let sections: Vec<String> = cases::all().iter().map(Case::section).collect();
    let text = format!("{head}\n{}", sections.join("\n"));
    std::fs::write(FILE, &text).unwrap();
    text
}

/// The sections of the file, without what precedes the first.
fn sections(file: &str) -> Vec<String> {
    file.split("\n[").skip(1).map(|section| format!("[{}\n", section.trim_end())).collect()
}

#[test]
fn messages_are_encoded_as_the_file_says() {
    let file = file();
    let sections = sections(&file);
    let cases = cases::all();
    for (case, section) in cases.iter().zip(&sections) {
        assert_eq!(&case.section(), section);
    }
    assert_eq!(sections.len(), cases.len());
}

#[test]
fn messages_are_decoded_as_the_file_says() {
    let file = file();
    for (case, section) in cases::all().iter().zip(sections(&file)) {
        let mut read = BytesMut::from(&bytes_of(&section)[..]);
        let frame = split_frame(&mut read).unwrap().unwrap();
        assert!(read.is_empty());
        assert_eq!(frame.kind, case.message.kind());
        match Message::decode(frame.kind, frame.body, &Limits::default()) {
            Ok(message) => {
                assert_eq!(format!("{message:?}"), format!("{:?}", case.message));
                let mut out = BytesMut::new();
                message.encode_frame(&mut out);
                assert_eq!(out, case.frame(), "{}", case.name);
            }
            Err(WireError::NotOffered(kind)) => assert_eq!(FEATURES & kind.bit(), 0),
            Err(error) => panic!("{}: {error}", case.name),
        }
    }
}

#[test]
fn every_offered_kind_stands_in_the_file() {
    let shown = cases::all().iter().fold(0, |bits, case| bits | case.message.kind().bit());
    assert_eq!(shown & FEATURES, FEATURES);
}

#[test]
fn no_message_may_be_cut_or_go_on() {
    let limits = Limits::default();
    for case in cases::all() {
        let kind = case.message.kind();
        let ends_with_the_frame = !matches!(kind, Kind::Call | Kind::Reply | Kind::Chunk);
        let body = case.frame().freeze().slice(5..);
        for cut in 0..body.len() {
            let decoded = Message::decode(kind, body.slice(..cut), &limits);
            // A hello is whole without its extensions.
            let without_extension =
                matches!(&decoded, Ok(Message::Hello(hello)) if !hello.resumes && hello.ticket.is_none());
            let may_be = !ends_with_the_frame || (without_extension && case.has_extension());
            assert!(decoded.is_err() || may_be, "{} cut at {cut}: {decoded:?}", case.name);
        }
        let longer = [&body[..], &[0]].concat();
        let decoded = Message::decode(kind, longer.into(), &limits);
        assert!(decoded.is_err() || !ends_with_the_frame, "{} and a byte: {decoded:?}", case.name);
    }
}

#[test]
fn a_damaged_message_is_an_error_or_another_message() {
    let limits = Limits::default();
    for case in cases::all() {
        let body = case.frame().freeze().slice(5..);
        for at in 0..body.len() {
            for byte in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut damaged = body.to_vec();
                damaged[at] = byte;
                let Ok(message) = Message::decode(case.message.kind(), damaged.into(), &limits) else { continue };
                let mut out = BytesMut::new();
                message.encode(&mut out);
                let again = Message::decode(message.kind(), out.freeze(), &limits).unwrap();
                assert_eq!(format!("{again:?}"), format!("{message:?}"), "{} byte {at} as {byte}", case.name);
            }
        }
    }
}

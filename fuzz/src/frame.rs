//! Frames are the same however a network cuts them, and are what they are made of.
//!
//! The first byte tells how many bytes arrive at once.

use std::mem::{Discriminant, discriminant};

use bytes::BytesMut;
use rmi_core::{
    Limits,
    wire::{
        ChunkHead, FRAME_LEN_MAX, Frame, Kind, Message, WireError, begin_frame, finish_frame, split_frame,
        take_back_frame,
    },
};

use crate::{Seed, choices::Choices};

/// Splits these bytes into frames, and puts them together again.
pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let at_once = 1 + usize::from(choices.byte());
    let bytes = choices.rest();
    let whole = split([bytes]);
    let cut = split(bytes.chunks(at_once));
    assert_eq!(whole, cut, "frames depend on how they arrive");
    let mut rest = bytes;
    for frame in &whole.frames {
        assert!(frame.body.len() < FRAME_LEN_MAX);
        let made = encode(frame);
        let (taken, after) = rest.split_at(made.len());
        assert_eq!(made, taken, "a frame is not what it was made of");
        peek(taken, frame);
        rest = after;
    }
    assert_eq!(rest.len(), whole.left);
    // The rest is no whole frame, whatever it looks like.
    for len in 0..rest.len().min(40) {
        let _ = ChunkHead::peek(rest.get(..len).unwrap_or_default());
    }
}

/// What became of bytes that arrived.
#[derive(Debug, PartialEq, Eq)]
struct Split {
    frames: Vec<Frame>,
    /// Bytes that are no frame, or not yet.
    left: usize,
    /// What is wrong with them. What an error says of them depends on how many are there.
    error: Option<Discriminant<WireError>>,
}

fn split<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Split {
    let (mut read, mut frames, mut error) = (BytesMut::new(), Vec::new(), None);
    for piece in pieces {
        read.extend_from_slice(piece);
        while error.is_none() {
            match split_frame(&mut read) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(wrong) => {
                    assert!(!wrong.to_string().is_empty());
                    error = Some(discriminant(&wrong));
                }
            }
        }
    }
    Split { frames, left: read.len(), error }
}

fn encode(frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    let start = begin_frame(&mut out, frame.kind);
    out.extend_from_slice(&frame.body);
    assert_eq!(finish_frame(&mut out, start), frame.body.len() + 1);
    let mut again = out.clone();
    let start = begin_frame(&mut again, frame.kind);
    again.extend_from_slice(&frame.body);
    let message = take_back_frame(&mut again, start).freeze();
    assert_eq!(again, out, "more was taken back than the frame");
    match Frame::from_chunks(message) {
        Ok(taken) => assert!(taken == *frame && frame.kind.may_be_chunked()),
        Err(_) => assert!(!frame.kind.may_be_chunked()),
    }
    out
}

/// The head of a chunk is the same before its data has arrived.
fn peek(bytes: &[u8], frame: &Frame) {
    let whole = Message::decode(frame.kind, frame.body.clone(), &Limits::default());
    for len in 0..=bytes.len().min(40) {
        let front = bytes.get(..len).unwrap_or_default();
        match (ChunkHead::peek(front), &whole) {
            (Ok(None), _) => {}
            (Ok(Some((head, head_len, data_len))), Ok(Message::Chunk(chunk))) => {
                assert_eq!(head, chunk.head());
                assert_eq!((data_len, head_len + data_len), (chunk.data.len(), bytes.len()));
            }
            (Err(_), Err(_)) if frame.kind == Kind::Chunk => {}
            (peeked, whole) => panic!("{len} bytes of {whole:?} look like {peeked:?}"),
        }
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    let frames = |at_once: u8, frames: &[&[u8]]| [&[at_once], frames.concat().as_slice()].concat();
    let ping: &[u8] = &[2, 0, 0, 0, Kind::Ping as u8, 7];
    let goodbye: &[u8] = &[3, 0, 0, 0, Kind::Goodbye as u8, 1, b'x'];
    let call: &[u8] = &[7, 0, 0, 0, Kind::Call as u8, 0, 5, 1, 0, 0, 9];
    let chunk: &[u8] = &[9, 0, 0, 0, Kind::Chunk as u8, 3, 0b101, 0x80, 1, 1, 2, 3, 4];
    vec![
        ("three", frames(2, &[ping, goodbye, call])),
        ("chunk", frames(0, &[chunk, ping])),
        ("cut", frames(255, &[ping, call.get(..7).unwrap_or_default()])),
        ("too-long", frames(3, &[&[1, 0, 1, 0, 2]])),
        ("unknown-kind", frames(9, &[ping, &[1, 0, 0, 0, 99]])),
        ("http", frames(4, &[b"GET / HTTP/1.1\r\n\r\n"])),
        ("tls", frames(4, &[&[22, 3, 1, 2, 0, 1]])),
    ]
}

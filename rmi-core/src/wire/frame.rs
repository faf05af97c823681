//! Frames: what a connection carries.
//!
//! A frame is `len: u32` (little-endian, the bytes that follow it), `kind: u8`, body. A message that
//! does not fit one frame travels in [chunks](super::Chunk), whose data, put together, is the same
//! without the length.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::error::WireError;

/// Greatest length of a frame: of its kind and body together.
pub const FRAME_LEN_MAX: usize = 64 << 10;

/// Most data bytes of one chunk, so that its frame fits whatever its other fields hold: a kind, a
/// lane, a part and a total.
pub const CHUNK_LEN_MAX: usize = FRAME_LEN_MAX - (1 + 5 + 1 + 10);

/// A first chunk with no more data than this stays apart from what follows it: a sender may so let bytes
/// at the end of a message arrive in memory of their own.
pub const APART_LEN_MAX: usize = 4 << 10;

const PREFIX_LEN: usize = 4;

/// What a frame is.
#[repr(u8)]
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The first frame of each side: who it is and what it speaks.
    Hello = 1,
    /// A call of a method.
    Call = 2,
    /// The answer of a method: its result, or its own error.
    Reply = 3,
    /// The answer of the runtime to a call that has no other.
    Refusal = 4,
    /// The caller no longer waits.
    Cancel = 5,
    /// References are given back.
    Release = 6,
    /// An object known by its id is asked for.
    Acquire = 7,
    /// An export slot leads nowhere any more.
    Revoked = 8,
    /// Messages received whole, so that the sender may forget them.
    Ack = 9,
    /// A lost link is taken up again.
    Resume = 10,
    /// A lost link cannot be taken up again.
    ResumeRefused = 11,
    /// Calls to an object went another way before this.
    Fence = 12,
    /// A part of a message too long for a frame.
    Chunk = 13,
    /// More calls and bytes may be sent.
    Credit = 14,
    /// An item of a stream.
    StreamItem = 15,
    /// More items of a stream may be sent.
    StreamCredit = 16,
    /// The end of a stream.
    StreamEnd = 17,
    /// Are you there?
    Ping = 18,
    /// The answer to a ping.
    Pong = 19,
    /// No more calls are taken over this link.
    Closing = 20,
    /// The node goes away.
    Goodbye = 21,
    /// A number for a method or for a list of interfaces.
    Define = 22,
    /// The sender has dialled another link to the receiver, which replaces this one.
    Merge = 23,
}

impl Kind {
    const ALL: [Self; 23] = [
        Self::Hello,
        Self::Call,
        Self::Reply,
        Self::Refusal,
        Self::Cancel,
        Self::Release,
        Self::Acquire,
        Self::Revoked,
        Self::Ack,
        Self::Resume,
        Self::ResumeRefused,
        Self::Fence,
        Self::Chunk,
        Self::Credit,
        Self::StreamItem,
        Self::StreamCredit,
        Self::StreamEnd,
        Self::Ping,
        Self::Pong,
        Self::Closing,
        Self::Goodbye,
        Self::Define,
        Self::Merge,
    ];

    /// The bit that offers this kind in a hello.
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// The kind of a number on the wire.
    #[inline]
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Whether messages of this kind are counted by both sides, so that a resumption can tell which
    /// of them arrived: those that make, answer or keep something.
    #[inline]
    #[must_use]
    pub const fn is_counted(self) -> bool {
        matches!(self, Self::Call | Self::Reply | Self::Refusal | Self::Release | Self::Acquire | Self::Revoked)
    }

    /// Whether a message of this kind may travel in chunks.
    #[must_use]
    pub const fn may_be_chunked(self) -> bool {
        matches!(self, Self::Call | Self::Reply | Self::Refusal)
    }
}

/// The kinds that this version offers.
pub const FEATURES: u64 = Kind::Hello.bit()
    | Kind::Call.bit()
    | Kind::Reply.bit()
    | Kind::Refusal.bit()
    | Kind::Cancel.bit()
    | Kind::Release.bit()
    | Kind::Acquire.bit()
    | Kind::Revoked.bit()
    | Kind::Ack.bit()
    | Kind::Resume.bit()
    | Kind::ResumeRefused.bit()
    | Kind::Chunk.bit()
    | Kind::Credit.bit()
    | Kind::Ping.bit()
    | Kind::Pong.bit()
    | Kind::Closing.bit()
    | Kind::Goodbye.bit()
    | Kind::Define.bit()
    | Kind::Merge.bit();

/// A frame, or a message put together from chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// All that follows the kind.
    pub body: Bytes,
}

impl Frame {
    /// The message that the data of its chunks makes: a kind and a body.
    ///
    /// # Errors
    /// If it is empty, or its kind is unknown or one that never travels in chunks.
    pub fn from_chunks(mut message: Bytes) -> Result<Self, WireError> {
        let number = *message.first().ok_or(WireError::Truncated("a message in chunks"))?;
        let kind = Kind::from_number(number).ok_or(WireError::UnknownKind(number))?;
        if !kind.may_be_chunked() {
            return Err(WireError::BadValue {
                what: "a message in chunks",
                problem: "its kind never travels in chunks",
            });
        }
        message.advance(1);
        Ok(Self { kind, body: message })
    }
}

/// Takes the next whole frame off the front of what was read; `None` if more bytes are needed.
///
/// Allocates nothing and copies nothing.
///
/// # Errors
/// If what was read is not the beginning of a frame.
#[inline]
pub fn split_frame(read: &mut BytesMut) -> Result<Option<Frame>, WireError> {
    let Some((prefix, rest)) = read.split_first_chunk::<PREFIX_LEN>() else { return Ok(None) };
    let len = u32::from_le_bytes(*prefix) as usize;
    if len == 0 || len > FRAME_LEN_MAX {
        return Err(not_a_frame(*prefix, rest));
    }
    let Some(&number) = rest.first() else { return Ok(None) };
    let kind = Kind::from_number(number).ok_or(WireError::UnknownKind(number))?;
    if rest.len() < len {
        return Ok(None);
    }
    let mut body = read.split_to(PREFIX_LEN + len).freeze();
    body.advance(PREFIX_LEN + 1);
    Ok(Some(Frame { kind, body }))
}

/// The kind and the length of the frame at the front of what was read, and as much of its body as is
/// there; `None` where that is less than its kind, or no frame.
pub(super) fn peek_frame(read: &[u8]) -> Option<(Kind, usize, &[u8])> {
    let (prefix, rest) = read.split_first_chunk::<PREFIX_LEN>()?;
    let len = u32::from_le_bytes(*prefix) as usize;
    let (&number, body) = rest.split_first()?;
    let kind = Kind::from_number(number).filter(|_| (1..=FRAME_LEN_MAX).contains(&len))?;
    Some((kind, len, body.get(..len - 1).unwrap_or(body)))
}

/// What to say of a length that cannot be.
#[cold]
fn not_a_frame(prefix: [u8; PREFIX_LEN], rest: &[u8]) -> WireError {
    const SHOWN_MAX: usize = 40;
    let is_text = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    if prefix.iter().all(is_text) {
        let text = prefix.iter().chain(rest).take_while(|byte| is_text(byte)).take(SHOWN_MAX);
        let text: String = text.map(|byte| char::from(*byte)).collect();
        return WireError::NotRmi(format!("{text:?}"));
    }
    // Records of type handshake and alert, version 3.x.
    match prefix {
        [22, 3, ..] => WireError::NotRmi("a TLS handshake".to_owned()),
        [21, 3, ..] => WireError::NotRmi("an alert of TLS: is it tls:// there?".to_owned()),
        _ => WireError::BadLength(u32::from_le_bytes(prefix)),
    }
}

/// Where a frame begins that is not finished.
#[derive(Debug)]
#[must_use = "a frame must be finished or taken back"]
pub struct FrameStart(usize);

/// Begins a frame at the end of `out`; the body is appended next.
#[inline]
pub fn begin_frame(out: &mut BytesMut, kind: Kind) -> FrameStart {
    let start = out.len();
    out.put_slice(&[0, 0, 0, 0, kind as u8]);
    FrameStart(start)
}

/// Finishes a frame: writes its length, and returns it. One above [`FRAME_LEN_MAX`] must not be
/// sent: take it back with [`take_back_frame`] and send it in chunks.
#[inline]
pub fn finish_frame(out: &mut BytesMut, start: FrameStart) -> usize {
    let len = out.len().saturating_sub(start.0 + PREFIX_LEN);
    if let Some(prefix) = out.get_mut(start.0..start.0 + PREFIX_LEN) {
        prefix.copy_from_slice(&(len as u32).to_le_bytes());
    }
    len
}

/// Finishes a frame whose last `tail` bytes are written from a buffer of their own, right behind
/// `out`.
pub fn finish_frame_with_tail(out: &mut BytesMut, start: FrameStart, tail: usize) {
    let len = out.len().saturating_sub(start.0 + PREFIX_LEN) + tail;
    if let Some(prefix) = out.get_mut(start.0..start.0 + PREFIX_LEN) {
        prefix.copy_from_slice(&(len as u32).to_le_bytes());
    }
}

/// Takes an unfinished frame off the end of `out`: its kind and body, as chunks carry them.
pub fn take_back_frame(out: &mut BytesMut, start: FrameStart) -> BytesMut {
    let mut message = out.split_off(start.0.min(out.len()));
    message.advance(PREFIX_LEN.min(message.len()));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(bytes: &[u8]) -> Result<Option<Frame>, WireError> {
        split_frame(&mut BytesMut::from(bytes))
    }

    #[test]
    fn frames_come_off_one_by_one_and_only_whole() {
        let mut out = BytesMut::new();
        let start = begin_frame(&mut out, Kind::Ping);
        out.put_slice(&[7; 8]);
        assert_eq!(finish_frame(&mut out, start), 9);
        let start = begin_frame(&mut out, Kind::Goodbye);
        assert_eq!(finish_frame(&mut out, start), 1);
        for cut in 0..13 {
            assert!(split(&out[..cut]).unwrap().is_none(), "{cut}");
        }
        let frame = split_frame(&mut out).unwrap().unwrap();
        assert_eq!(frame, Frame { kind: Kind::Ping, body: Bytes::from_static(&[7; 8]) });
        assert_eq!(split_frame(&mut out).unwrap().unwrap().kind, Kind::Goodbye);
        assert!(split_frame(&mut out).unwrap().is_none());
    }

    #[test]
    fn a_frame_taken_back_is_what_its_chunks_carry() {
        let mut out = BytesMut::from(&b"before"[..]);
        let start = begin_frame(&mut out, Kind::Call);
        out.put_slice(b"body");
        let message = take_back_frame(&mut out, start).freeze();
        assert_eq!(&out[..], b"before");
        let frame = Frame::from_chunks(message).unwrap();
        assert_eq!(frame, Frame { kind: Kind::Call, body: Bytes::from_static(b"body") });
    }

    #[test]
    fn only_calls_and_their_answers_travel_in_chunks() {
        assert!(Frame::from_chunks(Bytes::new()).is_err());
        assert!(Frame::from_chunks(Bytes::from_static(&[99])).is_err());
        assert!(Frame::from_chunks(Bytes::from_static(&[Kind::Chunk as u8])).is_err());
    }

    #[test]
    fn a_length_that_cannot_be_is_refused_at_once() {
        let error = split(&u32::MAX.to_le_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("a frame claims 4294967295 bytes"), "{error}");
        assert!(matches!(split(&[0, 0, 0, 0]), Err(WireError::BadLength(0))));
        assert!(matches!(split(&[1, 0, 1, 0]), Err(WireError::BadLength(0x1_0001))));
        assert!(split(&[0, 0, 1, 0]).unwrap().is_none());
    }

    #[test]
    fn another_protocol_is_named() {
        let error = split(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n").unwrap_err();
        assert_eq!(error.to_string(), "peer does not speak rmi: it sent \"HTTP/1.1 400 Bad Request\"");
        let error = split(&[22, 3, 1, 2, 0, 1]).unwrap_err();
        assert_eq!(error.to_string(), "peer does not speak rmi: it sent a TLS handshake");
        let error = split(&[21, 3, 3, 0, 2, 2, 50]).unwrap_err();
        assert_eq!(error.to_string(), "peer does not speak rmi: it sent an alert of TLS: is it tls:// there?");
    }

    #[test]
    fn an_unknown_kind_is_refused_before_its_body_arrives() {
        assert!(matches!(split(&[9, 0, 0, 0, 24]), Err(WireError::UnknownKind(24))));
        assert!(matches!(split(&[9, 0, 0, 0, 0]), Err(WireError::UnknownKind(0))));
    }

    #[test]
    fn kinds_and_numbers_agree() {
        for number in 1..=23 {
            let kind = Kind::from_number(number).unwrap();
            assert_eq!(kind as u8, number);
            assert_eq!(kind.bit(), 1 << number);
        }
    }
}

//! Frames in both directions.

use std::{collections::VecDeque, io, io::IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// From this length on a body has memory of its own.
pub(super) const LARGE: usize = 32 << 10;
/// No head is longer: a large frame is looked at once so much of it is there.
const HEAD_LEN_MAX: usize = 64;
const BUFFER_LEN: usize = 64 << 10;

/// What has been read from a socket and not yet been taken.
pub(super) struct Incoming {
    buffer: BytesMut,
}

/// The frame at the front, without its length.
pub(super) enum Next<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// The start of a large one of this length: at least its head.
    Large { start: &'a [u8], len: usize },
    /// Too little to tell.
    Incomplete,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self { buffer: BytesMut::with_capacity(BUFFER_LEN) }
    }

    /// Reads once; `false` at the end of the stream.
    pub(super) async fn fill(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<bool> {
        if self.buffer.capacity() - self.buffer.len() < BUFFER_LEN / 8 {
            self.buffer.reserve(BUFFER_LEN);
        }
        Ok(from.read_buf(&mut self.buffer).await? > 0)
    }

    pub(super) fn peek(&self) -> Next<'_> {
        let Some((len, rest)) = self.buffer.split_first_chunk() else { return Next::Incomplete };
        let len = u32::from_le_bytes(*len) as usize;
        match rest.get(..len) {
            Some(frame) => Next::Whole(frame),
            None if len >= LARGE && rest.len() >= HEAD_LEN_MAX => Next::Large { start: rest, len },
            None => Next::Incomplete,
        }
    }

    /// Drops the frame at the front, which is whole and of this length.
    pub(super) fn consume(&mut self, len: usize) {
        self.buffer.advance(size_of::<u32>() + len);
    }

    /// Reads the large frame at the front to its end: straight into memory of its own but for what
    /// is here already.
    pub(super) async fn read_body(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        head_len: usize,
        len: usize,
    ) -> io::Result<Vec<u8>> {
        self.buffer.advance(size_of::<u32>() + head_len);
        let body_len = len - head_len;
        let mut body = Vec::with_capacity(body_len);
        body.put((&mut self.buffer).take(body_len));
        while body.len() < body_len {
            let missing = body_len - body.len();
            if from.read_buf(&mut (&mut body).limit(missing)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(body)
    }
}

/// What is to be written to a socket: large bodies where they are, everything else in one piece
/// between them.
#[derive(Default)]
pub(super) struct Outgoing {
    full: VecDeque<Bytes>,
    tail: BytesMut,
}

impl Outgoing {
    pub(super) const fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    pub(super) fn push(&mut self, body: Bytes) {
        if body.len() < LARGE {
            self.tail.put_slice(&body);
        } else {
            self.full.push_back(self.tail.split().freeze());
            self.full.push_back(body);
        }
    }

    /// Writes all of it.
    pub(super) async fn write_to(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if !self.full.is_empty() {
            return to.write_all_buf(self).await;
        }
        to.write_all(&self.tail).await?;
        self.tail.clear();
        Ok(())
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.full.iter().map(Bytes::len).sum::<usize>() + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        self.full.iter().find(|chunk| !chunk.is_empty()).map_or(&self.tail, |chunk| chunk)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let chunks = self.full.iter().map(|chunk| &chunk[..]).chain([&self.tail[..]]);
        slices.iter_mut().zip(chunks).map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }

    fn advance(&mut self, mut len: usize) {
        while let Some(chunk) = self.full.front_mut() {
            let taken = len.min(chunk.len());
            chunk.advance(taken);
            len -= taken;
            if chunk.has_remaining() {
                return;
            }
            self.full.pop_front();
        }
        self.tail.advance(len);
    }
}

/// An error for bytes that are no frame of ours.
pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a frame that the floor does not write")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outgoing_keeps_the_order_of_small_and_large() {
        let mut out = Outgoing::default();
        out.tail().put_slice(b"head");
        out.push(vec![1; LARGE].into());
        out.tail().put_slice(b"next");
        out.push(Bytes::from_static(b"small"));
        assert_eq!(out.remaining(), 4 + LARGE + 9);
        out.advance(3);
        assert_eq!(out.chunk(), b"d");
        out.advance(1 + LARGE - 1);
        assert_eq!(out.chunk(), [1]);
        out.advance(1);
        assert_eq!(out.chunk(), b"nextsmall");
        out.advance(9);
        assert!(!out.has_remaining());
    }

    #[tokio::test]
    async fn large_bodies_are_read_to_their_end_and_no_further() {
        let body: Vec<u8> = (0..3 * LARGE).map(|at| at as u8).collect();
        let mut stream = Vec::new();
        stream.put_u32_le(8 + body.len() as u32);
        stream.put_u64_le(5);
        stream.put_slice(&body);
        stream.put_u32_le(1);
        stream.put_u8(9);
        let (first, second) = stream.split_at(1000);
        let mut incoming = Incoming::new();
        assert!(incoming.fill(&mut &first[..]).await.unwrap());
        let Next::Large { start, len } = incoming.peek() else { panic!("not seen as large") };
        assert_eq!((start.len(), len), (996, 8 + body.len()));
        let mut rest = second;
        assert_eq!(incoming.read_body(&mut rest, 8, len).await.unwrap(), body);
        assert!(incoming.fill(&mut rest).await.unwrap());
        assert!(matches!(incoming.peek(), Next::Whole([9])));
        incoming.consume(1);
        assert!(matches!(incoming.peek(), Next::Incomplete));
    }
}

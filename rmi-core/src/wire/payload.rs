//! Encoded arguments and results, on their way out and in.

use bytes::{Bytes, BytesMut};

use super::frame::FRAME_LEN_MAX;

/// From this length on, bytes at the end of a payload are worth memory of their own.
pub const BULK_LEN_MIN: usize = 16 << 10;

/// Values as they are sent: encoded in a buffer, and at their end bytes that are not copied there.
#[derive(Debug, Default)]
pub struct Encoded {
    front: BytesMut,
    /// Boxed: most have none.
    bulk: Option<Box<Bytes>>,
}

impl Encoded {
    /// Values that are encoded in `front`, and the content of the last one, where that is bytes.
    #[must_use]
    pub fn new(front: BytesMut, bulk: Option<Box<Bytes>>) -> Self {
        Self { front, bulk }
    }

    /// Its length.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.front.len() + self.bulk.as_ref().map_or(0, |bulk| bulk.len())
    }

    /// Whether no value takes a byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it fits a frame beside `head_len` other bytes.
    #[inline]
    pub(crate) fn fits(&self, head_len: usize) -> bool {
        head_len + self.len() <= FRAME_LEN_MAX
    }

    /// Moves it to the end of `out`.
    #[inline]
    pub(crate) fn append_to(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(&self.front);
        self.front.clear();
        if self.bulk.is_some() {
            self.append_bulk_to(out);
        }
    }

    #[cold]
    fn append_bulk_to(&mut self, out: &mut BytesMut) {
        if let Some(bulk) = self.bulk.take() {
            out.extend_from_slice(&bulk);
        }
    }

    /// Takes it apart: what goes with the head of the message, to which it is added, and what goes behind.
    /// Whether the latter is bytes that the receiver may take as they are.
    pub(crate) fn split_behind(&mut self, head: &mut BytesMut) -> (Bytes, bool) {
        match self.bulk.take() {
            Some(bulk) => {
                head.extend_from_slice(&self.front);
                self.front.clear();
                (*bulk, true)
            }
            None => (self.front.split().freeze(), false),
        }
    }

    /// Takes it, to be sent later. The buffer stays.
    pub(crate) fn take(&mut self) -> Payload {
        let payload = Payload { front: Bytes::copy_from_slice(&self.front), bulk: self.bulk.take() };
        self.front.clear();
        payload
    }

    /// Drops the values. The buffer stays.
    pub fn clear(&mut self) {
        self.front.clear();
        self.bulk = None;
    }

    /// The buffer.
    pub(crate) fn into_buffer(self) -> BytesMut {
        self.front
    }
}

impl From<BytesMut> for Encoded {
    fn from(front: BytesMut) -> Self {
        Self { front, bulk: None }
    }
}

impl From<&[u8]> for Encoded {
    fn from(bytes: &[u8]) -> Self {
        BytesMut::from(bytes).into()
    }
}

impl From<Payload> for Encoded {
    fn from(payload: Payload) -> Self {
        Self { front: payload.front.into(), bulk: payload.bulk }
    }
}

/// Values as they were received. Of a message that came in chunks, what came behind the first one may be
/// in memory of its own.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    front: Bytes,
    /// Boxed: most have none.
    bulk: Option<Box<Bytes>>,
}

impl Payload {
    /// Its length.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.front.len() + self.bulk.as_ref().map_or(0, |bulk| bulk.len())
    }

    /// Whether it has no bytes.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In one piece, which may have to be made.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self.bulk {
            None => self.front,
            Some(bulk) => join(&self.front, &bulk),
        }
    }

    /// More of it, behind what is there.
    pub(super) fn append(&mut self, bulk: Bytes) {
        self.bulk = Some(Box::new(bulk));
    }

    /// Both parts, in order.
    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        [&self.front, self.bulk.as_ref().map_or(&[][..], |bulk| bulk)]
    }

    /// Both parts, where the second may be taken or replaced.
    #[inline]
    pub(crate) fn parts_mut(&mut self) -> (&Bytes, Option<&mut Bytes>) {
        (&self.front, self.bulk.as_deref_mut())
    }
}

/// Both in one piece.
pub(crate) fn join(front: &[u8], bulk: &[u8]) -> Bytes {
    let mut joined = BytesMut::with_capacity(front.len() + bulk.len());
    joined.extend_from_slice(front);
    joined.extend_from_slice(bulk);
    joined.freeze()
}

impl From<Bytes> for Payload {
    #[inline]
    fn from(front: Bytes) -> Self {
        Self { front, bulk: None }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.clone().into_bytes() == other.clone().into_bytes()
    }
}

impl Eq for Payload {}

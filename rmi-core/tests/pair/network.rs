//! One direction of the network: bytes that were written and have not arrived.

use bytes::{Buf, BytesMut};

#[derive(Debug, Default)]
pub(crate) struct Network {
    bytes: BytesMut,
    cut: bool,
}

impl Network {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if !self.cut {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The next bytes that arrive, wherever that cuts frames.
    pub(crate) fn deliver(&mut self, max: usize, read: &mut BytesMut) -> usize {
        let count = max.min(self.bytes.len());
        read.extend_from_slice(&self.bytes[..count]);
        self.bytes.advance(count);
        count
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing arrives any more.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
        self.bytes.clear();
    }
}

//! Arguments and results on their way in and out, with the references in them.
//!
//! A `Remote` inside a value is written as an index into the message's reference table. While a
//! value is encoded or decoded, its `Remote`s find that table in a scope of the thread, which a
//! guard restores.

use std::cell::{Cell, RefCell};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Certainty, RemoteError},
    limits::Limits,
    referent::Referent,
    wire::{DecodeError, Decoder, Encoder},
};

thread_local! {
    static GIVEN: RefCell<Option<Vec<Referent>>> = const { RefCell::new(None) };
    static TAKEN: RefCell<Option<Vec<Referent>>> = const { RefCell::new(None) };
    static SCRATCH: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// A scope of this thread that holds the references of one message, put back when dropped.
struct Scope<'a> {
    key: &'static std::thread::LocalKey<RefCell<Option<Vec<Referent>>>>,
    outer: Option<Vec<Referent>>,
    references: &'a mut Vec<Referent>,
}

impl<'a> Scope<'a> {
    fn enter(
        key: &'static std::thread::LocalKey<RefCell<Option<Vec<Referent>>>>,
        references: &'a mut Vec<Referent>,
    ) -> Self {
        let outer = key.replace(Some(std::mem::take(references)));
        Self { key, outer, references }
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        let inner = self.key.replace(self.outer.take());
        *self.references = inner.unwrap_or_default();
    }
}

/// Adds a reference to the message that this thread encodes, and returns its index; `None` outside
/// of an encoding.
pub(crate) fn give(referent: &Referent) -> Option<u32> {
    GIVEN.with_borrow_mut(|given| {
        let given = given.as_mut()?;
        let index = u32::try_from(given.len()).ok()?;
        given.push(referent.clone());
        Some(index)
    })
}

/// The reference of this index in the message that this thread decodes: the outer `None` outside
/// of a decoding, the inner where the message has no such index.
pub(crate) fn take(index: u32) -> Option<Option<Referent>> {
    TAKEN.with_borrow(|taken| taken.as_ref().map(|taken| taken.get(index as usize).cloned()))
}

/// Encodes the values of one message, one after another. The first error stays and comes out at
/// the end.
pub struct ArgumentEncoder {
    encoder: Encoder,
    references: Vec<Referent>,
    failed: Option<RemoteError>,
}

impl std::fmt::Debug for ArgumentEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArgumentEncoder").field("len", &self.encoder.len()).finish_non_exhaustive()
    }
}

impl ArgumentEncoder {
    /// An encoder that writes into the thread's scratch buffer.
    pub(crate) fn new() -> Self {
        let buffer = SCRATCH.take().unwrap_or_default();
        Self { encoder: Encoder::new(buffer), references: Vec::new(), failed: None }
    }

    /// Appends a value.
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        if self.failed.is_some() {
            return;
        }
        let encoded = {
            let _scope = Scope::enter(&GIVEN, &mut self.references);
            self.encoder.value(value)
        };
        self.failed = encoded.err().map(RemoteError::from);
    }

    /// Appends bytes in one copy.
    pub fn bytes(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.encoder.bytes(bytes);
        }
    }

    /// The payload and the references in it. Give the buffer back by [`recycle`].
    pub(crate) fn finish(self) -> (BytesMut, Result<Vec<Referent>, RemoteError>) {
        let mut buffer = self.encoder.into_inner();
        match self.failed {
            None => (buffer, Ok(self.references)),
            Some(error) => {
                buffer.clear();
                (buffer, Err(error))
            }
        }
    }
}

/// Buffers above this length are not kept for the next message.
const SCRATCH_LEN_MAX: usize = 64 << 10;

/// Gives a buffer back, for the next message of this thread.
pub(crate) fn recycle(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.capacity() <= SCRATCH_LEN_MAX {
        SCRATCH.set(Some(buffer));
    }
}

/// Decodes the values of one message, one after another, within the node's limits.
pub struct ArgumentDecoder<'m> {
    decoder: Decoder<'m>,
    references: Vec<Referent>,
}

impl std::fmt::Debug for ArgumentDecoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArgumentDecoder").finish_non_exhaustive()
    }
}

impl<'m> ArgumentDecoder<'m> {
    pub(crate) fn new(payload: &'m Bytes, references: Vec<Referent>, limits: &Limits) -> Self {
        Self { decoder: Decoder::new(payload, limits), references }
    }

    /// Takes the next value.
    ///
    /// # Errors
    ///
    /// Where the payload holds no such value, or one beyond the limits.
    pub fn value<T: Deserialize<'m>>(&mut self) -> Result<T, RemoteError> {
        let _scope = Scope::enter(&TAKEN, &mut self.references);
        self.decoder.value().map_err(undecodable)
    }

    /// Takes the next value, which is bytes.
    ///
    /// # Errors
    ///
    /// Where the payload ends before they do.
    pub fn bytes(&mut self) -> Result<&'m [u8], RemoteError> {
        self.decoder.bytes().map_err(undecodable)
    }

    /// Takes the next value, which is bytes, sharing the memory of the message.
    ///
    /// # Errors
    ///
    /// Where the payload ends before they do.
    pub fn shared_bytes(&mut self) -> Result<Bytes, RemoteError> {
        self.decoder.shared_bytes().map_err(undecodable)
    }

    /// Ends the message.
    ///
    /// # Errors
    ///
    /// Where something is left: the sides disagree on the signature, or on the fields of a type
    /// that travels by copy.
    pub fn finish(self) -> Result<(), RemoteError> {
        self.decoder.finish().map_err(undecodable)
    }
}

/// Arguments that cannot be decoded do not run. Who decodes a result knows better.
fn undecodable(error: DecodeError) -> RemoteError {
    RemoteError::from(error).with_certainty(Certainty::NotExecuted)
}

/// A `Remote` that is met outside of a call.
pub(crate) const OUTSIDE: &str =
    "a Remote can be encoded and decoded only inside an argument or a result of a remote call";

/// An index that the message does not have.
pub(crate) fn no_such_reference(index: u32) -> String {
    format!("the message has no reference {index}")
}

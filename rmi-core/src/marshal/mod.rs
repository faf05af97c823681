//! Arguments and results on their way in and out, with the references in them.

mod scope;

use std::cell::Cell;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use self::scope::{Giving, Scope, Taking};
pub(crate) use self::scope::{OUTSIDE, give, is_encoding, no_such_reference, take};
use crate::{
    error::{Certainty, RemoteError},
    limits::Limits,
    referent::Referent,
    wire::{
        DecodeError, Decoder, Encoded, Encoder, Payload,
        payload::{BULK_LEN_MIN, join},
    },
};

thread_local! {
    static SCRATCH: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// Encodes the values of one message, one after another. The first error stays and comes out at
/// the end.
pub struct ArgumentEncoder {
    encoder: Encoder,
    /// The content of the last value, where that is many bytes.
    bulk: Option<Box<Bytes>>,
    scope: Scope<Giving>,
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
        let scope = Scope::enter(Vec::new());
        Self { encoder: Encoder::new(buffer), bulk: None, scope, failed: None }
    }

    /// Bytes so far, but for many of them that stand at the end.
    pub(crate) fn len(&self) -> usize {
        self.encoder.len()
    }

    /// Whether many bytes stand at the end, which are moved as long as nothing follows.
    pub(crate) fn has_bulk(&self) -> bool {
        self.bulk.is_some()
    }

    /// Whether a value could not be encoded.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Appends a value.
    #[inline]
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        if self.failed.is_some() {
            return;
        }
        self.take_in_bulk();
        if let Err(error) = self.encoder.value(value) {
            self.failed = Some(error.into());
        }
    }

    /// Appends bytes in one copy.
    pub fn bytes(&mut self, bytes: &[u8]) {
        if bytes.len() >= BULK_LEN_MIN {
            self.put_bulk(Bytes::copy_from_slice(bytes));
        } else if self.failed.is_none() {
            self.take_in_bulk();
            self.encoder.bytes(bytes);
        }
    }

    /// Appends bytes, and many of them where they are.
    pub fn shared_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() >= BULK_LEN_MIN { self.put_bulk(bytes.clone()) } else { self.bytes(bytes) }
    }

    /// Appends bytes, and many of them where they are.
    pub fn owned_bytes(&mut self, bytes: Vec<u8>) {
        if bytes.len() >= BULK_LEN_MIN { self.put_bulk(bytes.into()) } else { self.bytes(&bytes) }
    }

    fn put_bulk(&mut self, bulk: Bytes) {
        if self.failed.is_none() {
            self.take_in_bulk();
            self.encoder.len_of_bytes(bulk.len());
            self.bulk = Some(Box::new(bulk));
        }
    }

    /// What was the last value is not: its content goes to the others.
    #[inline]
    fn take_in_bulk(&mut self) {
        if self.bulk.is_some() {
            self.append_bulk();
        }
    }

    #[cold]
    fn append_bulk(&mut self) {
        if let Some(bulk) = self.bulk.take() {
            self.encoder.raw(&bulk);
        }
    }

    /// Appends what was encoded before, as the whole message.
    pub(crate) fn replay(&mut self, payload: &Payload, references: &[Referent]) {
        for referent in references {
            give(referent);
        }
        let mut payload = payload.clone();
        let (front, bulk) = payload.parts_mut();
        self.encoder.raw(front);
        self.bulk = bulk.map(|bulk| Box::new(std::mem::take(bulk)));
    }

    /// The message cannot be encoded.
    pub(crate) fn fail(&mut self, error: RemoteError) {
        self.failed.get_or_insert(error);
    }

    /// The payload and the references in it. Give the buffer back by [`recycle`].
    pub(crate) fn finish(self) -> (Encoded, Result<Vec<Referent>, RemoteError>) {
        let mut encoded = Encoded::new(self.encoder.into_inner(), self.bulk);
        match self.failed {
            None => (encoded, Ok(self.scope.take())),
            Some(error) => {
                encoded.clear();
                (encoded, Err(error))
            }
        }
    }
}

/// Buffers above this length are not kept for the next message.
const SCRATCH_LEN_MAX: usize = 64 << 10;

/// Gives a buffer back, for the next message of this thread.
pub(crate) fn recycle(encoded: Encoded) {
    let mut buffer = encoded.into_buffer();
    buffer.clear();
    if buffer.capacity() <= SCRATCH_LEN_MAX {
        SCRATCH.set(Some(buffer));
    }
}

/// Decodes the values of one message, one after another, within the node's limits.
pub struct ArgumentDecoder<'m> {
    decoder: Decoder<'m>,
    /// What follows the bytes that the decoder reads, in memory of its own.
    bulk: Option<&'m mut Bytes>,
    _scope: Scope<Taking>,
}

impl std::fmt::Debug for ArgumentDecoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArgumentDecoder").finish_non_exhaustive()
    }
}

impl<'m> ArgumentDecoder<'m> {
    pub(crate) fn new(payload: &'m mut Payload, references: Vec<Referent>, limits: &'m Limits) -> Self {
        let (front, bulk) = payload.parts_mut();
        Self { decoder: Decoder::new(front, limits), bulk, _scope: Scope::enter(references) }
    }

    /// Takes the next value.
    ///
    /// # Errors
    ///
    /// Where the payload holds no such value, or one beyond the limits.
    #[inline]
    pub fn value<T: Deserialize<'m>>(&mut self) -> Result<T, RemoteError> {
        let decoded = if self.bulk.is_none() { self.decoder.value() } else { self.value_before_bulk() };
        decoded.map_err(undecodable)
    }

    #[cold]
    fn value_before_bulk<T: Deserialize<'m>>(&mut self) -> Result<T, DecodeError> {
        let before = self.decoder.clone();
        self.decoder.value().or_else(|_| {
            // It may go on in the bulk.
            self.decoder = before;
            join_bulk(&mut self.decoder, &mut self.bulk);
            self.decoder.value()
        })
    }

    /// The bulk, where it is just the content of the next value, which is bytes.
    fn next_bulk(&mut self) -> Option<&'m mut Bytes> {
        let bulk = self.bulk.take()?;
        if self.decoder.ends_before_bytes(bulk.len()) {
            return Some(bulk);
        }
        self.bulk = Some(bulk);
        let before = self.decoder.clone();
        let ends_in_front = self.decoder.bytes().is_ok();
        self.decoder = before;
        if !ends_in_front {
            join_bulk(&mut self.decoder, &mut self.bulk);
        }
        None
    }

    /// Takes the next value, which is bytes.
    ///
    /// # Errors
    ///
    /// Where the payload ends before they do.
    pub fn bytes(&mut self) -> Result<&'m [u8], RemoteError> {
        match self.next_bulk() {
            Some(bulk) => Ok(bulk),
            None => self.decoder.bytes().map_err(undecodable),
        }
    }

    /// Takes the next value, which is bytes, in memory of their own: that of the message where it can be.
    ///
    /// # Errors
    ///
    /// Where the payload ends before they do.
    pub fn owned_bytes(&mut self) -> Result<Vec<u8>, RemoteError> {
        match self.next_bulk() {
            Some(bulk) => Ok(std::mem::take(bulk).into()),
            None => self.decoder.bytes().map(<[u8]>::to_vec).map_err(undecodable),
        }
    }

    /// Takes the next value, which is bytes, sharing the memory of the message.
    ///
    /// # Errors
    ///
    /// Where the payload ends before they do.
    pub fn shared_bytes(&mut self) -> Result<Bytes, RemoteError> {
        match self.next_bulk() {
            Some(bulk) => Ok(std::mem::take(bulk)),
            None => self.decoder.shared_bytes().map_err(undecodable),
        }
    }

    /// Whether nothing is left.
    pub(crate) fn is_at_end(&self) -> bool {
        self.bulk.is_none() && self.decoder.rest().is_empty()
    }

    /// Ends the message.
    ///
    /// # Errors
    ///
    /// Where something is left: the sides disagree on the signature, or on the fields of a type
    /// that travels by copy.
    #[inline]
    pub fn finish(&mut self) -> Result<(), RemoteError> {
        if self.bulk.is_some() {
            join_bulk(&mut self.decoder, &mut self.bulk);
        }
        self.decoder.finish().map_err(undecodable)
    }
}

/// Makes one piece of what is left to be decoded.
#[cold]
fn join_bulk<'m>(decoder: &mut Decoder<'m>, bulk: &mut Option<&'m mut Bytes>) {
    if let Some(bulk) = bulk.take() {
        *bulk = join(decoder.rest(), bulk);
        decoder.go_on_in(bulk);
    }
}

/// Arguments that cannot be decoded do not run. Who decodes a result knows better.
#[cold]
fn undecodable(error: DecodeError) -> RemoteError {
    RemoteError::from(error).with_certainty(Certainty::NotExecuted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = BULK_LEN_MIN;

    fn encode(encode: impl FnOnce(&mut ArgumentEncoder)) -> Encoded {
        let mut out = ArgumentEncoder::new();
        encode(&mut out);
        let (encoded, references) = out.finish();
        assert!(references.unwrap().is_empty());
        encoded
    }

    fn decode<T>(payload: &mut Payload, values: impl FnOnce(&mut ArgumentDecoder<'_>) -> Result<T, RemoteError>) -> T {
        let limits = Limits::default();
        let mut from = ArgumentDecoder::new(payload, Vec::new(), &limits);
        let decoded = values(&mut from).unwrap();
        from.finish().unwrap();
        decoded
    }

    /// The error of a message that goes on with this.
    fn left(rest: &Bytes) -> DecodeError {
        Decoder::new(rest, &Limits::default()).finish().unwrap_err()
    }

    #[test]
    fn many_bytes_at_the_end_are_never_copied() {
        let sent = vec![7; LARGE];
        let place = sent.as_ptr();
        let mut payload = encode(|out| {
            out.value(&5_u8);
            out.bytes(b"few");
            out.owned_bytes(sent);
        })
        .take();
        let (number, few, many) =
            decode(&mut payload, |from| Ok((from.value::<u8>()?, from.owned_bytes()?, from.owned_bytes()?)));
        assert_eq!((number, &few[..], many.len()), (5, &b"few"[..], LARGE));
        assert_eq!(many.as_ptr(), place);
        let shared = Bytes::from(many);
        let mut payload = encode(|out| out.shared_bytes(&shared)).take();
        assert_eq!(decode(&mut payload, |from| from.bytes().map(<[u8]>::as_ptr)), place);
        let mut payload = encode(|out| out.shared_bytes(&shared)).take();
        assert_eq!(decode(&mut payload, |from| from.shared_bytes()).as_ptr(), place);
        let many = decode(&mut encode(|out| out.shared_bytes(&shared)).take(), |from| from.owned_bytes());
        assert_eq!(many, shared, "somebody else holds them: copied");
    }

    #[test]
    fn bytes_are_the_same_wherever_they_stand() {
        let many = Bytes::from(vec![7; LARGE]);
        let values = (many.to_vec(), 5_u8, many.to_vec());
        let mut payload = encode(|out| {
            out.shared_bytes(&many);
            out.value(&values.1);
            out.shared_bytes(&many);
        })
        .take();
        let whole = encode(|out| out.value(&values)).take().into_bytes();
        assert_eq!(payload.clone().into_bytes(), whole);
        let decoded = decode(&mut payload, |from| Ok((from.owned_bytes()?, from.value()?, from.owned_bytes()?)));
        assert_eq!(decoded, values);
    }

    #[test]
    fn values_are_the_same_wherever_a_peer_cuts_them() {
        let values = (300_u32, "text".to_owned(), vec![1_u64, 1 << 40], b"bytes".to_vec(), 9_u16);
        let whole = encode(|out| out.value(&values)).take().into_bytes();
        // What follows the first value, two bytes long.
        let left = RemoteError::from(left(&whole.slice(2..))).message().to_owned();
        for cut in 1..whole.len() {
            let cut = || Encoded::new(whole[..cut].into(), Some(Box::new(whole.slice(cut..)))).take();
            let decoded = decode(&mut cut(), |from| {
                Ok((from.value()?, from.value()?, from.value()?, from.owned_bytes()?, from.value()?))
            });
            assert_eq!(decoded, values);
            let (mut payload, limits) = (cut(), Limits::default());
            let mut from = ArgumentDecoder::new(&mut payload, Vec::new(), &limits);
            from.value::<u32>().unwrap();
            let error = from.finish().unwrap_err();
            assert_eq!(error.message(), left);
        }
    }
}

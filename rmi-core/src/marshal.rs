//! Arguments and results on their way in and out, with the references in them.
//!
//! A `Remote` inside a value is written as an index into the message's reference table. While a
//! value is encoded or decoded, its `Remote`s find that table in a scope of the thread, which a
//! guard restores.

use std::{
    cell::{Cell, RefCell},
    thread::LocalKey,
};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Certainty, RemoteError},
    limits::Limits,
    referent::Referent,
    wire::{DecodeError, Decoder, Encoder},
};

thread_local! {
    static GIVING: Cell<State> = const { Cell::new(State::Outside) };
    static GIVEN: RefCell<Vec<Referent>> = const { RefCell::new(Vec::new()) };
    static TAKING: Cell<State> = const { Cell::new(State::Outside) };
    static TAKEN: RefCell<Vec<Referent>> = const { RefCell::new(Vec::new()) };
    static SCRATCH: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// What a thread knows of the references of the message that it encodes, or decodes. Most messages
/// have none, and their list is not touched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is no message.
    Outside,
    /// It has no references.
    Empty,
    /// They stand in the list.
    Listed,
}

/// The places of a thread for the references of one message.
#[derive(Clone, Copy)]
struct Table {
    state: &'static LocalKey<Cell<State>>,
    list: &'static LocalKey<RefCell<Vec<Referent>>>,
}

const GIVE: Table = Table { state: &GIVING, list: &GIVEN };
const TAKE: Table = Table { state: &TAKING, list: &TAKEN };

/// A scope of this thread that holds the references of one message, from its first value to its last.
struct Scope {
    table: Table,
    outer: State,
    /// Those of the message around it, if it has any.
    outer_list: Vec<Referent>,
}

impl Scope {
    #[inline]
    fn enter(table: Table, references: Vec<Referent>) -> Self {
        let state = if references.is_empty() { State::Empty } else { State::Listed };
        let outer = table.state.replace(state);
        let plain = outer != State::Listed && state == State::Empty;
        let outer_list = if plain { Vec::new() } else { table.list.replace(references) };
        Self { table, outer, outer_list }
    }

    /// The references that the message holds by now.
    #[inline]
    fn take(&self) -> Vec<Referent> {
        match self.table.state.replace(State::Empty) {
            State::Listed => self.table.list.take(),
            State::Empty | State::Outside => Vec::new(),
        }
    }
}

impl Drop for Scope {
    #[inline]
    fn drop(&mut self) {
        let inner = self.table.state.replace(self.outer);
        if inner == State::Listed || self.outer == State::Listed {
            let outer = std::mem::take(&mut self.outer_list);
            // Dropped outside of the borrow: an object may be among them.
            drop(self.table.list.replace(outer));
        }
    }
}

/// Adds a reference to the message that this thread encodes, and returns its index; `None` outside
/// of an encoding.
pub(crate) fn give(referent: &Referent) -> Option<u32> {
    if GIVING.get() == State::Outside {
        return None;
    }
    GIVING.set(State::Listed);
    GIVEN.with_borrow_mut(|given| {
        let index = u32::try_from(given.len()).ok()?;
        given.push(referent.clone());
        Some(index)
    })
}

/// The reference of this index in the message that this thread decodes: the outer `None` outside
/// of a decoding, the inner where the message has no such index.
pub(crate) fn take(index: u32) -> Option<Option<Referent>> {
    match TAKING.get() {
        State::Outside => None,
        State::Empty => Some(None),
        State::Listed => Some(TAKEN.with_borrow(|taken| taken.get(index as usize).cloned())),
    }
}

/// Encodes the values of one message, one after another. The first error stays and comes out at
/// the end.
pub struct ArgumentEncoder {
    encoder: Encoder,
    scope: Scope,
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
        Self { encoder: Encoder::new(buffer), scope: Scope::enter(GIVE, Vec::new()), failed: None }
    }

    /// Appends a value.
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = self.encoder.value(value) {
            self.failed = Some(error.into());
        }
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
            None => (buffer, Ok(self.scope.take())),
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
    _scope: Scope,
}

impl std::fmt::Debug for ArgumentDecoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArgumentDecoder").finish_non_exhaustive()
    }
}

impl<'m> ArgumentDecoder<'m> {
    pub(crate) fn new(payload: &'m Bytes, references: Vec<Referent>, limits: &Limits) -> Self {
        Self { decoder: Decoder::new(payload, limits), _scope: Scope::enter(TAKE, references) }
    }

    /// Takes the next value.
    ///
    /// # Errors
    ///
    /// Where the payload holds no such value, or one beyond the limits.
    pub fn value<T: Deserialize<'m>>(&mut self) -> Result<T, RemoteError> {
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

//! What a method has returned, still encoded.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{
    callee::Callee,
    connection::Link,
    error::RemoteError,
    referent::Referent,
    wire::{Outcome, Payload},
};

/// What a method has returned, its result or its own error, still encoded.
pub struct Reply {
    pub(crate) outcome: Outcome,
    pub(crate) payload: Payload,
    pub(crate) references: Vec<Referent>,
    /// Where it came from, at the caller.
    pub(super) origin: Option<(Arc<Link<Referent>>, Option<Callee>)>,
}

/// How a call ended at the callee.
pub(crate) type Answered = Result<Reply, RemoteError>;

impl Reply {
    /// A reply of a method that has run here.
    pub(crate) fn here(outcome: Outcome, payload: Payload, references: Vec<Referent>) -> Self {
        Self { outcome, payload, references, origin: None }
    }

    /// Whether the method has returned an error, which is of its own type.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.outcome == Outcome::Err
    }

    /// Bytes of the encoded result.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether the result takes no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// The encoded result, in the postcard format.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.payload.clone().into_bytes()
    }

    /// The same reply with another result, encoded in the postcard format. References in it keep their numbers.
    #[must_use]
    pub fn with_bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        self.payload = bytes.into().into();
        self
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("outcome", &self.outcome).field("len", &self.len()).finish_non_exhaustive()
    }
}

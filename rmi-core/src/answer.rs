//! The answer of a method, still encoded.

use std::{fmt, sync::Arc};

use crate::{
    callee::Callee,
    connection::Link,
    error::RemoteError,
    interface::Method,
    limits::UNBOUNDED,
    marshal::ArgumentDecoder,
    referent::Referent,
    session::Received,
    stub::Stub,
    wire::{Outcome, Payload},
};

/// The answer of a method, still encoded.
pub struct Answer<'a> {
    pub(crate) verdict: Outcome,
    pub(crate) payload: Payload,
    pub(crate) references: Vec<Referent>,
    /// That it came over; `None` within this process.
    pub(crate) link: Option<Arc<Link<Referent>>>,
    pub(crate) method: &'static Method,
    /// Of an object of another node.
    pub(crate) stub: Option<&'a Stub>,
    /// Who gave it, where the stub alone does not tell.
    pub(crate) callee: Option<Callee>,
}

impl Answer<'_> {
    /// With the references that came with it, as this node sees them.
    pub(crate) fn with(mut self, references: Vec<Received<Referent>>) -> Self {
        if !references.is_empty()
            && let (Some(stub), Some(link)) = (self.stub, &self.link)
        {
            let callee = stub.callee_of(self.callee.clone());
            let node = callee.node();
            self.references = references.into_iter().map(|reference| node.receive(link, reference)).collect();
        }
        self
    }

    pub(crate) fn verdict(&self) -> Outcome {
        self.verdict
    }

    pub(crate) fn take_references(&mut self) -> Vec<Referent> {
        std::mem::take(&mut self.references)
    }

    pub(crate) fn decoder(&mut self, references: Vec<Referent>) -> ArgumentDecoder<'_> {
        let limits = self.link.as_ref().map_or(&*UNBOUNDED, |link| link.limits());
        ArgumentDecoder::new(&mut self.payload, references, limits)
    }

    /// Names what the call was about in an error.
    pub(crate) fn name(&self, error: RemoteError) -> RemoteError {
        match self.stub {
            Some(stub) => stub.callee_of(self.callee.clone()).name(error, self.method),
            None => error.with_method(self.method.to_string()),
        }
    }
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("verdict", &self.verdict).finish_non_exhaustive()
    }
}

//! The answer of a method, still encoded.

use std::{fmt, sync::Arc};

use crate::{
    callee::Callee,
    connection::Link,
    error::RemoteError,
    interface::Method,
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
    /// That it came over.
    pub(crate) link: Arc<Link<Referent>>,
    pub(crate) method: &'static Method,
    pub(crate) stub: &'a Stub,
    /// Who gave it, where the stub alone does not tell.
    pub(crate) callee: Option<Callee>,
}

impl Answer<'_> {
    /// With the references that came with it, as this node sees them.
    pub(crate) fn with(mut self, references: Vec<Received<Referent>>) -> Self {
        if !references.is_empty() {
            let callee = self.stub.callee_of(self.callee.clone());
            let (node, link) = (callee.node(), &self.link);
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
        ArgumentDecoder::new(&mut self.payload, references, self.link.limits())
    }

    /// Names what the call was about in an error.
    pub(crate) fn name(&self, error: RemoteError) -> RemoteError {
        self.stub.callee_of(self.callee.clone()).name(error, self.method)
    }
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("verdict", &self.verdict).finish_non_exhaustive()
    }
}

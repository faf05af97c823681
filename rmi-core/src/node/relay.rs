//! Calls that pass through this node to an object of another, whose types this node does not know.

use std::sync::Arc;

use super::Node;
use crate::{
    connection::Link,
    error::{Certainty, ErrorKind, RemoteError},
    import::{Import, Start},
    interceptor::Served,
    pending::PendingCall,
    referent::Referent,
    session::{Answer, MethodRef, StartCall},
    skeleton::{Responder, Running},
};

impl Node {
    /// Whether this node passes calls of this link's peer on to the object.
    pub(super) fn may_relay(&self, link: &Link<Referent>, import: &Import) -> Result<(), RemoteError> {
        let message = if import.is_too_far() {
            "the object lives on a third node, and calls to it would pass through more nodes than a route has"
        } else if import.relays_to(link) {
            return Ok(());
        } else {
            "the object lives on a third node, and this node's RelayPolicy does not relay calls to it: dial its own node"
        };
        Err(RemoteError::new(ErrorKind::Unreachable, message).with_certainty(Certainty::NotExecuted))
    }

    /// Passes a call on, and its answer back. Dropped, it cancels the call. The arguments are held, with the credit
    /// that they take, until it is answered: who calls through this node feels how fast the owner is.
    pub(crate) fn relay(&self, import: Arc<Import>, call: Served, responder: Responder) -> Running {
        let node = self.clone();
        Box::pin(async move {
            match node.pass_on(&import, &call).await {
                Ok((link, Answer::Reply { outcome, payload, references })) => {
                    let references =
                        references.into_iter().map(|reference| node.receive(&link, reference)).collect::<Vec<_>>();
                    responder.pass_on(outcome, payload, references);
                }
                Ok((_, Answer::Failed(error))) | Err(error) => responder.refuse(as_seen_by_the_caller(error)),
            }
        })
    }

    async fn pass_on(
        &self,
        import: &Arc<Import>,
        call: &Served,
    ) -> Result<(Arc<Link<Referent>>, Answer<Referent>), RemoteError> {
        let Served { method, fingerprint, name, request, deadline, depth, extras } = call;
        let references = &request.references;
        let start = |Start { link, target }: Start| {
            let passed = references.iter().map(|referent| referent.pass(self, &link)).collect::<Result<Vec<_>, _>>()?;
            let start = StartCall {
                target,
                order: import.id(),
                method: MethodRef { id: *method, fingerprint: *fingerprint, name },
                references: passed,
                payload: &mut request.payload.clone().into(),
                deadline: *deadline,
                depth: *depth,
                relayed: true,
                extras: extras.clone(),
                promises: None,
            };
            let key = link.start_call(self.now(), start)?;
            Ok::<_, RemoteError>(PendingCall::new(link, key))
        };
        let started = tokio::time::timeout(self.limits().connect_timeout, import.start(start)).await;
        let pending = started.map_err(|_| {
            let message = "the object's node cannot be reached by the node that relays calls to it";
            RemoteError::new(ErrorKind::Unreachable, message).with_certainty(Certainty::NotExecuted)
        })???;
        let (answer, link) = pending.answer().await;
        Ok((link, answer))
    }
}

/// A call that this node could not send did not run, although its caller has sent it.
fn as_seen_by_the_caller(error: RemoteError) -> RemoteError {
    match error.certainty() {
        Certainty::NotSent => error.with_certainty(Certainty::NotExecuted),
        _ => error,
    }
}

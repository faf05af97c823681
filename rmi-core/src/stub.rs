//! The caller's side: a method call becomes a message, and its answer a result.

use std::{fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};

use crate::{
    connection::Link,
    context::Current,
    error::{Certainty, ErrorKind, RemoteError},
    id::{ObjectId, fnv1a64},
    import::{Import, Start},
    interface::Method,
    marshal::{ArgumentDecoder, ArgumentEncoder, recycle},
    node::Node,
    options::CallOptions,
    pending::PendingCall,
    referent::{Referent, Service},
    session::{self, MethodRef, StartCall},
    time::Time,
    wire::{Outcome, Target},
};

/// The caller's object: implements every remote interface by sending each call to the object
/// behind it.
pub struct Stub {
    destination: Destination,
    options: CallOptions,
}

#[derive(Clone)]
enum Destination {
    Object(Arc<Import>),
    Service(Arc<Service>),
}

impl Destination {
    fn node(&self) -> &Node {
        match self {
            Self::Object(import) => import.node(),
            Self::Service(service) => &service.node,
        }
    }

    fn describe_object(&self) -> String {
        match self {
            Self::Object(import) => import.id().to_string(),
            Self::Service(service) => format!("service {:?}", service.name),
        }
    }

    fn describe_peer(&self) -> String {
        match self {
            Self::Object(import) => import.describe_peer(),
            Self::Service(service) => service.endpoint.to_string(),
        }
    }

    /// Names what a call was about in its error.
    fn name(&self, error: RemoteError, method: &Method) -> RemoteError {
        error.with_method(method.to_string()).with_object(self.describe_object()).with_peer(self.describe_peer())
    }
}

impl Stub {
    /// A stub for an object of another node, or for a service; `None` for a local object.
    pub(crate) fn new(referent: &Referent, options: CallOptions) -> Option<Arc<Self>> {
        let destination = match referent {
            Referent::Own(_) => return None,
            Referent::Foreign(import) => Destination::Object(import.clone()),
            Referent::Service(service) => Destination::Service(service.clone()),
        };
        Some(Arc::new(Self { destination, options }))
    }

    /// Begins a call of this method: its arguments are encoded next, one at a time.
    pub fn call(&self, method: &'static Method) -> OutgoingCall<'_> {
        OutgoingCall { stub: self, method, encoder: ArgumentEncoder::new() }
    }
}

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stub({} at {})", self.destination.describe_object(), self.destination.describe_peer())
    }
}

/// A call whose arguments are being encoded.
pub struct OutgoingCall<'a> {
    stub: &'a Stub,
    method: &'static Method,
    encoder: ArgumentEncoder,
}

impl fmt::Debug for OutgoingCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutgoingCall({} of {:?})", self.method, self.stub)
    }
}

/// Between the starts of dials to several endpoints, and for the handshake's way back.
const CONNECT_SLACK: Duration = Duration::from_millis(250);

/// An encoded call on its way to a link.
struct Ready<'a> {
    method: &'static Method,
    node: &'a Node,
    order: ObjectId,
    payload: &'a mut BytesMut,
    references: Vec<Referent>,
    /// When it was made.
    now: Time,
    deadline: Time,
    depth: u32,
}

impl<'a> OutgoingCall<'a> {
    /// Where the arguments go.
    pub fn encoder(&mut self) -> &mut ArgumentEncoder {
        &mut self.encoder
    }

    /// Sends the call and waits for its answer.
    ///
    /// # Errors
    ///
    /// Where the runtime ended the call, here or at the callee.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call: its handler is dropped at its next await.
    pub async fn send(self) -> Result<Answer, RemoteError> {
        let Self { stub, method, encoder } = self;
        let name = |error| stub.destination.name(error, method);
        let node = stub.destination.node();
        let (mut payload, references) = encoder.finish();
        let references = match references {
            Ok(references) => references,
            Err(error) => {
                recycle(payload);
                return Err(name(error.with_certainty(Certainty::NotSent)));
            }
        };
        let now = node.now();
        let (deadline, depth) = time_and_depth(node, now, &stub.options);
        let order = match &stub.destination {
            Destination::Object(import) => import.id(),
            Destination::Service(service) => service_order(&service.name),
        };
        let ready = Ready { method, node, order, payload: &mut payload, references, now, deadline, depth };
        let started = stub.start(ready).await;
        recycle(payload);
        let call = started.map_err(name)?;
        let link = call.link().clone();
        match call.answer().await {
            session::Answer::Failed(error) => Err(name(error)),
            session::Answer::Reply { outcome, payload, references } => {
                let references = references.into_iter().map(|reference| node.receive(&link, reference)).collect();
                let destination = stub.destination.clone();
                Ok(Answer { verdict: outcome, payload, references, method, destination })
            }
        }
    }
}

impl Stub {
    async fn start(&self, call: Ready<'_>) -> Result<PendingCall, RemoteError> {
        let (node, now, deadline) = (call.node, call.now, call.deadline);
        // A dial ends by itself; what waits behind others that dial ends a little later.
        let connected = now + node.limits().connect_timeout + CONNECT_SLACK;
        let limit = || node.instant(deadline.min(connected));
        let late = || {
            let error = if deadline <= connected {
                let message = "no connection to the object's node within the time for the call";
                RemoteError::new(ErrorKind::DeadlineExceeded, message)
            } else {
                RemoteError::new(ErrorKind::Unreachable, "no connection to the object's node in time")
            };
            error.with_certainty(Certainty::NotSent)
        };
        match &self.destination {
            Destination::Object(import) => {
                let start = |Start { link, target }| start(&link, target, call);
                let mut started = std::pin::pin!(import.start(start));
                // A way that is there needs no timer.
                match futures_util::poll!(started.as_mut()) {
                    std::task::Poll::Ready(started) => started?,
                    std::task::Poll::Pending => {
                        tokio::time::timeout_at(limit(), started).await.map_err(|_| late())??
                    }
                }
            }
            Destination::Service(service) => {
                let open = service.node.open_link_at(&service.endpoint).filter(|_| service.gate.is_free());
                let target = Target::Service(service.name.clone());
                match open {
                    Some(link) => start(&link, target, call),
                    None => {
                        let started = async {
                            let _turn = service.gate.enter().await;
                            start(&service.node.link_at(&service.endpoint).await?, target, call)
                        };
                        tokio::time::timeout_at(limit(), started).await.map_err(|_| late())?
                    }
                }
            }
        }
    }
}

fn start(link: &Arc<Link<Referent>>, target: Target, call: Ready<'_>) -> Result<PendingCall, RemoteError> {
    let Ready { method, node, order, payload, references, deadline, depth, .. } = call;
    let passed = references.iter().map(|referent| referent.pass(node, link)).collect::<Result<Vec<_>, _>>()?;
    let call = StartCall {
        target,
        order,
        method: MethodRef { id: method.id, fingerprint: method.fingerprint, name: method },
        references: passed,
        payload,
        deadline: Some(deadline),
        depth,
    };
    // Later than `now` of the call, where it waited for its way: the time left must be true.
    let key = link.start_call(node.now(), call)?;
    Ok(PendingCall::new(link.clone(), key))
}

/// When a call has to end and how deep it is nested: a call made by a handler never takes longer
/// than the handler's own call has left.
fn time_and_depth(node: &Node, now: Time, options: &CallOptions) -> (Time, u32) {
    let own = options.timeout.unwrap_or_else(|| node.limits().call_timeout);
    match Current::inherited() {
        None => (now + own, 0),
        Some((left, depth)) => (now + left.map_or(own, |left: Duration| left.min(own)), depth.saturating_add(1)),
    }
}

/// Calls to a service by name are in order among themselves.
fn service_order(name: &str) -> ObjectId {
    ObjectId::from_bytes(u128::from(fnv1a64(&[name])).to_be_bytes())
}

/// The answer of a method, still encoded.
pub struct Answer {
    verdict: Outcome,
    payload: Bytes,
    references: Vec<Referent>,
    method: &'static Method,
    destination: Destination,
}

impl Answer {
    pub(crate) fn verdict(&self) -> Outcome {
        self.verdict
    }

    pub(crate) fn take_references(&mut self) -> Vec<Referent> {
        std::mem::take(&mut self.references)
    }

    pub(crate) fn decoder(&self, references: Vec<Referent>) -> ArgumentDecoder<'_> {
        ArgumentDecoder::new(&self.payload, references, self.destination.node().limits())
    }

    /// Names what the call was about in an error.
    pub(crate) fn name(&self, error: RemoteError) -> RemoteError {
        self.destination.name(error, self.method)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("verdict", &self.verdict).finish_non_exhaustive()
    }
}

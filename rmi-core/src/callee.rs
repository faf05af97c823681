//! Whom a call is for, and how it gets there.

use std::{sync::Arc, task::Poll, time::Duration};

use crate::{
    balance::{Balanced, Turn},
    connection::Link,
    error::{Certainty, ErrorKind, RemoteError},
    id::{NodeId, ObjectId, fnv1a64},
    import::{Import, Start},
    interface::Method,
    node::Node,
    pending::PendingCall,
    pipeline::{Flight, Flights},
    referent::{Referent, Service},
    session::{MethodRef, StartCall},
    time::Time,
    transport::PeerAddr,
    wire::{Encoded, Extras, Target},
};

/// Between the starts of dials to several endpoints, and for the handshake's way back.
const CONNECT_SLACK: Duration = Duration::from_millis(250);

/// Whom one attempt of a call is for.
#[derive(Clone)]
pub(crate) enum Callee {
    Object(Arc<Import>),
    Service(Arc<Service>),
    Member(Turn),
    /// A group has no member.
    Nobody(Arc<Balanced>),
    /// The result of a call that is not answered.
    Promised(Arc<Flight>),
}

/// An encoded call on its way to a link.
pub(crate) struct Ready<'a> {
    pub(crate) method: &'static Method,
    pub(crate) node: &'a Node,
    pub(crate) order: ObjectId,
    pub(crate) payload: &'a mut Encoded,
    pub(crate) references: Vec<Referent>,
    /// When it was made.
    pub(crate) now: Time,
    pub(crate) terms: &'a Terms,
}

/// What a call is given on its way.
#[derive(Clone)]
pub(crate) struct Terms {
    /// When it has to end.
    pub(crate) deadline: Time,
    /// How many calls it is nested in.
    pub(crate) depth: u32,
    /// Its trace and its metadata.
    pub(crate) extras: Option<Arc<Extras>>,
    /// Who is told of its way, where its result may be called before it is there.
    pub(crate) flights: Option<Arc<Flights>>,
}

impl Callee {
    pub(crate) fn node(&self) -> &Node {
        match self {
            Self::Object(import) => import.node(),
            Self::Service(service) => &service.node,
            Self::Member(turn) => turn.import().node(),
            Self::Nobody(balanced) => balanced.group().node(),
            Self::Promised(flight) => &flight.node,
        }
    }

    /// Calls to one object begin in the order in which they were made.
    pub(crate) fn order(&self) -> ObjectId {
        match self {
            Self::Object(import) => import.id(),
            Self::Service(service) => service_order(&service.name),
            Self::Member(turn) => turn.import().id(),
            Self::Nobody(balanced) => balanced.group().id(),
            // Behind the call that promised it.
            Self::Promised(flight) => flight.order,
        }
    }

    /// The object, where it is one.
    fn import(&self) -> Option<&Arc<Import>> {
        match self {
            Self::Object(import) => Some(import),
            Self::Member(turn) => Some(turn.import()),
            Self::Service(_) | Self::Nobody(_) | Self::Promised(_) => None,
        }
    }

    /// The node of the object.
    pub(crate) fn owner(&self) -> Option<NodeId> {
        self.import().map(|import| import.owner())
    }

    pub(crate) fn object(&self) -> Option<ObjectId> {
        self.import().map(|import| import.id())
    }

    /// Where the peer was seen that calls go to, if there is a connection.
    pub(crate) fn peer_addr(&self) -> Option<PeerAddr> {
        match self {
            Self::Service(service) => service.node.open_link_at(&service.endpoint).map(|link| link.peer_addr()),
            Self::Promised(flight) => Some(flight.link.peer_addr()),
            callee => callee.import().and_then(|import| import.peer_addr()),
        }
    }

    pub(crate) fn describe_object(&self) -> String {
        match self {
            Self::Object(import) => import.id().to_string(),
            Self::Service(service) => format!("service {:?}", service.name),
            Self::Member(turn) => turn.describe_object(),
            Self::Nobody(balanced) => balanced.group().name().to_owned(),
            Self::Promised(flight) => format!("result of {}", flight.method),
        }
    }

    pub(crate) fn describe_peer(&self) -> Option<String> {
        match self {
            Self::Object(import) => Some(import.describe_peer()),
            Self::Service(service) => Some(service.endpoint.to_string()),
            Self::Member(turn) => Some(turn.import().describe_peer()),
            Self::Promised(flight) => Some(flight.link.describe_peer()),
            Self::Nobody(_) => None,
        }
    }

    /// Names what a call was about in its error.
    pub(crate) fn name(&self, error: RemoteError, method: &Method) -> RemoteError {
        let error = error.with_method(method.to_string()).with_object(self.describe_object());
        self.describe_peer().into_iter().fold(error, RemoteError::with_peer)
    }

    /// Starts a call as soon as there is a way.
    pub(crate) async fn start(&self, call: Ready<'_>) -> Result<PendingCall, RemoteError> {
        let (node, now, deadline) = (call.node, call.now, call.terms.deadline);
        // A dial ends by itself; what waits behind others that dial ends a little later.
        let mut connected = now + node.limits().connect_timeout + CONNECT_SLACK;
        if matches!(self, Self::Member(_)) {
            // Half of the time is another member's.
            connected = connected.min(now + deadline.since(now) / 2);
        }
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
        let import = match self {
            Self::Object(import) => import,
            Self::Member(turn) => turn.import(),
            Self::Nobody(balanced) => return Err(balanced.nobody()),
            Self::Promised(flight) => return start(&flight.link, flight.target(), call),
            Self::Service(service) => {
                let open = service.node.open_link_at(&service.endpoint).filter(|_| service.gate.is_free());
                let target = Target::Service(service.name.clone());
                return match open {
                    Some(link) => start(&link, target, call),
                    None => {
                        let started = async {
                            let _turn = service.gate.enter().await;
                            start(&service.node.link_at(&service.endpoint).await?, target, call)
                        };
                        tokio::time::timeout_at(limit(), started).await.map_err(|_| late())?
                    }
                };
            }
        };
        let start = |Start { link, target }| start(&link, target, call);
        let mut started = std::pin::pin!(import.start(start));
        // A way that is there needs no timer.
        match futures_util::poll!(started.as_mut()) {
            Poll::Ready(started) => started?,
            Poll::Pending => tokio::time::timeout_at(limit(), started).await.map_err(|_| late())??,
        }
    }
}

fn start(link: &Arc<Link<Referent>>, target: Target, call: Ready<'_>) -> Result<PendingCall, RemoteError> {
    let Ready { method, node, order, payload, references, terms, .. } = call;
    let promises = terms.flights.as_ref().map(|_| link.next_promise());
    let passed = references.iter().map(|referent| referent.pass(node, link)).collect::<Result<Vec<_>, _>>()?;
    let call = StartCall {
        target,
        order,
        method: MethodRef { id: method.id, fingerprint: method.fingerprint, name: method },
        references: passed,
        payload,
        deadline: Some(terms.deadline),
        depth: terms.depth,
        relayed: false,
        extras: terms.extras.clone(),
        promises,
    };
    // Later than `now` of the call, where it waited for its way: the time left must be true.
    let key = link.start_call(node.now(), call)?;
    if let (Some(flights), Some(promise)) = (&terms.flights, promises) {
        flights.begin(Flight { node: node.clone(), link: link.clone(), promise, order, method });
    }
    Ok(PendingCall::new(link.clone(), key))
}

/// Calls to a service by name are in order among themselves.
fn service_order(name: &str) -> ObjectId {
    ObjectId::from_bytes(u128::from(fnv1a64(&[name])).to_be_bytes())
}

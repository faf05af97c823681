//! The caller's side: a method call becomes a message, and its answer a result.

mod attempt;
mod call;

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;

pub(crate) use self::attempt::Attempt;
use self::call::Call;
use crate::{
    answer::Answer,
    balance::Balanced,
    callee::{Callee, Terms},
    context::Current,
    error::RemoteError,
    interface::Method,
    marshal::ArgumentEncoder,
    named::Named,
    node::Node,
    options::CallOptions,
    pipeline::{Flight, Flights},
    referent::Referent,
    streaming::is_stream,
    time::Time,
    wire::{Encoded, TIME_LEFT_MAX},
};

/// The caller's object: implements every remote interface by sending each call to the object
/// behind it.
pub struct Stub {
    destination: Destination,
    /// Apart, since most have none.
    options: Option<Box<CallOptions>>,
}

/// Where the calls of a stub go.
enum Destination {
    Callee(Callee),
    /// To what a name leads to.
    Named(Arc<Named>),
    /// To one of the members of a group.
    Balanced(Arc<Balanced>),
}

impl Destination {
    /// Where a call goes now.
    fn callee(&self) -> Callee {
        match self {
            Self::Callee(callee) => callee.clone(),
            Self::Named(named) => Callee::Object(named.current()),
            Self::Balanced(balanced) => match balanced.choose() {
                Some(turn) => Callee::Member(turn),
                None => Callee::Nobody(balanced.clone()),
            },
        }
    }

    /// How many others may take a call that one has no room for.
    fn others(&self) -> u32 {
        match self {
            Self::Callee(_) | Self::Named(_) => 0,
            Self::Balanced(balanced) => balanced.others(),
        }
    }
}

impl Stub {
    /// The node that it belongs to.
    #[inline]
    pub(crate) fn node(&self) -> &Node {
        match &self.destination {
            Destination::Callee(callee) => callee.node(),
            Destination::Named(named) => named.node(),
            Destination::Balanced(balanced) => balanced.group().node(),
        }
    }

    /// Whether a call may run more than once.
    pub(crate) fn is_idempotent(&self, method: &Method) -> bool {
        self.options.as_ref().and_then(|options| options.idempotent).unwrap_or(method.idempotent)
    }

    /// A stub for an object of another node, or for a service; `None` for a local object.
    pub(crate) fn new(referent: &Referent, options: CallOptions) -> Option<Arc<Self>> {
        let destination = match referent {
            Referent::Own(_) => return None,
            Referent::Foreign(import) => Destination::Callee(Callee::Object(import.clone())),
            Referent::Named(named) => Destination::Named(named.clone()),
            Referent::Balanced(balanced) => Destination::Balanced(balanced.clone()),
            Referent::Service(service) => Destination::Callee(Callee::Service(service.clone())),
        };
        let options = (options != CallOptions::new()).then(|| Box::new(options));
        Some(Arc::new(Self { destination, options }))
    }

    /// A stub for the result of a call that is not answered.
    pub(crate) fn of_promise(flight: Arc<Flight>) -> Self {
        // Where it fails, who has the answer knows better than to ask again.
        let options = CallOptions::new().attempts(1);
        Self { destination: Destination::Callee(Callee::Promised(flight)), options: Some(Box::new(options)) }
    }

    /// Calls this method, once it is polled. `encode` appends the arguments, each time that the call goes: once,
    /// unless it certainly did not run, or may run again. `decode` makes of the answer, or of the error with which
    /// the runtime ended the call, what the method returns.
    ///
    /// The box is made here so that rustc proves here, and for all methods at once, what it holds to be `Send`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call: its handler is dropped at its next await.
    pub fn call<'a, R: 'a>(
        &'a self,
        method: &'static Method,
        mut encode: impl FnMut(&mut ArgumentEncoder) + Send + 'a,
        decode: impl FnOnce(Result<Answer<'_>, RemoteError>) -> R + Send + 'a,
    ) -> BoxFuture<'a, R> {
        Box::pin(async move { decode(self.begin(method, &mut encode).await) })
    }

    /// The same of a oneway method, whose answer nobody waits for: comes back once the call is on its way, having
    /// waited for that, and for the peer's credit, where it has to. `decode` is told where it certainly did not run.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes the call back. Once it has come back nothing does.
    pub fn send<'a, R: 'a>(
        &'a self,
        method: &'static Method,
        mut encode: impl FnMut(&mut ArgumentEncoder) + Send + 'a,
        decode: impl FnOnce(Result<(), RemoteError>) -> R + Send + 'a,
    ) -> BoxFuture<'a, R> {
        Box::pin(async move { decode(self.send_off(method, &mut encode).await) })
    }

    /// Calls this method and waits for its answer.
    pub(crate) fn begin<'a>(&'a self, method: &'static Method, encode: &'a mut Encode<'a>) -> Call<'a> {
        Call::new(self, method, encode)
    }

    /// The same, with the way of each attempt told as soon as it has one, so that its result can be called.
    pub(crate) async fn call_promising<'a>(
        &'a self,
        method: &'static Method,
        encode: &mut Encode<'_>,
        flights: &Arc<Flights>,
    ) -> Result<Answer<'a>, RemoteError> {
        if self.is_intercepted(method) {
            return self.call_intercepted(method, encode, Some(flights)).await;
        }
        let encoded = marshal(encode);
        let mut attempt = self.attempt(method, None, &encoded);
        attempt.terms.flights = Some(flights.clone());
        self.call_on(attempt, encoded, encode).await
    }

    /// Sends a oneway call.
    pub(crate) async fn send_off(&self, method: &'static Method, encode: &mut Encode<'_>) -> Result<(), RemoteError> {
        if self.is_intercepted(method) {
            return Box::pin(self.send_intercepted(method, encode)).await;
        }
        let encoded = marshal(encode);
        self.send_on(self.attempt(method, None, &encoded), encoded, encode).await
    }

    /// The same, for as long as it may go.
    pub(crate) async fn send_on(
        &self,
        mut attempt: Attempt<'_>,
        mut encoded: Marshalled,
        encode: &mut Encode<'_>,
    ) -> Result<(), RemoteError> {
        let mut retries = None;
        loop {
            let Err(error) = attempt.send(encoded).await else { return Ok(()) };
            let retries = retries.get_or_insert_with(|| self.retries(&attempt));
            encoded = self.prepare_again(&mut attempt, retries, error, encode).await?;
        }
    }

    /// Whom a call was for that was started at once.
    pub(crate) fn callee_of(&self, callee: Option<Callee>) -> Callee {
        callee.unwrap_or_else(|| self.destination.callee())
    }

    /// What a call is given: one made by a handler never takes longer than the handler's own call has left.
    /// One that passes a stream has no time of its own but what was asked for.
    pub(crate) fn terms(&self, node: &Node, now: Time, method: &Method, passes_stream: bool) -> Terms {
        let set = self.options.as_ref().and_then(|options| options.timeout).or(method.timeout);
        let time = set.unwrap_or_else(|| if passes_stream { TIME_LEFT_MAX } else { node.limits().call_timeout });
        let own = self.options.as_ref().and_then(|options| options.extras.as_ref());
        match Current::inherited() {
            None => Terms { deadline: now + time, depth: 0, extras: own.cloned(), flights: None },
            Some(inherited) => {
                let time = inherited.left.map_or(time, |left| left.min(time));
                Terms { deadline: now + time, depth: inherited.depth, extras: inherited.join(own), flights: None }
            }
        }
    }
}

/// Appends the arguments of a call.
pub(crate) type Encode<'a> = dyn FnMut(&mut ArgumentEncoder) + Send + 'a;

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.destination {
            Destination::Callee(callee) => write!(f, "Stub({})", callee.describe_object()),
            Destination::Named(named) => write!(f, "Stub({named:?})"),
            Destination::Balanced(balanced) => write!(f, "Stub({balanced:?})"),
        }
    }
}

/// Encoded arguments, and the references in them.
pub(crate) type Marshalled = (Encoded, Result<Vec<Referent>, RemoteError>);

pub(crate) fn marshal(encode: &mut Encode<'_>) -> Marshalled {
    let mut encoder = ArgumentEncoder::new();
    encode(&mut encoder);
    encoder.finish()
}

/// Whether a stream is among the arguments.
pub(crate) fn passes_stream((_, references): &Marshalled) -> bool {
    references.as_ref().is_ok_and(|references| references.iter().any(is_stream))
}

//! Around the calls that a node makes.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{End, Invocation, Reply, Side, invocation::Party};
use crate::{
    answer::Answer,
    callee::{Callee, Terms},
    error::{Certainty, ErrorKind, RemoteError},
    interface::Method,
    marshal::recycle,
    pipeline::Flights,
    stub::{Attempt, Encode, Marshalled, Stub, marshal, passes_stream},
    wire::{Outcome, Payload},
};

/// After the time for a call, so that interceptors see that it was over.
const GRACE: Duration = Duration::from_millis(100);

impl Stub {
    /// Whether anything stands around a call of this method.
    #[inline]
    pub(crate) fn is_intercepted(&self, method: &Method) -> bool {
        self.node().interceptors().see(Side::Client, method.id)
    }

    /// A call inside of the node's interceptors.
    pub(crate) async fn call_intercepted<'a>(
        &'a self,
        method: &'static Method,
        encode: &mut Encode<'_>,
        flights: Option<&Arc<Flights>>,
    ) -> Result<Answer<'a>, RemoteError> {
        let callee = self.callee_of(None);
        let result = self.intercept(method, &callee, encode, Awaits::Answer(flights)).await;
        result.and_then(|reply| self.answer_of(method, reply)).map_err(|error| callee.name(error, method))
    }

    /// The same, for a call whose answer nobody waits for.
    pub(crate) async fn send_intercepted(
        &self,
        method: &'static Method,
        encode: &mut Encode<'_>,
    ) -> Result<(), RemoteError> {
        let callee = self.callee_of(None);
        let result = self.intercept(method, &callee, encode, Awaits::Departure).await;
        result.map(drop).map_err(|error| callee.name(error, method))
    }

    async fn intercept(
        &self,
        method: &'static Method,
        callee: &Callee,
        encode: &mut Encode<'_>,
        awaits: Awaits<'_>,
    ) -> Result<Reply, RemoteError> {
        let node = callee.node().clone();
        let encoded = marshal(encode);
        let mut terms = self.terms(&node, node.now(), method, passes_stream(&encoded));
        if let Awaits::Answer(flights) = awaits {
            terms.flights = flights.cloned();
        }
        let mut call = Invocation {
            side: Side::Client,
            name: method.to_string(),
            split: method.interface.pieces().iter().map(|piece| piece.len()).sum(),
            is_known: true,
            is_relayed: false,
            object: callee.object(),
            party: Party::Callee(callee.clone()),
            deadline: Some(terms.deadline),
            depth: terms.depth,
            extras: terms.extras.as_deref().cloned().unwrap_or_default(),
            request_len: encoded.0.len(),
            idempotent: self.is_idempotent(method),
            progress: None,
        };
        let over = node.instant(terms.deadline + GRACE);
        let first = Some(callee.clone());
        let mut end = Made { stub: self, method, terms, first, encoded: Some(encoded), encode, awaits };
        let ran = tokio::time::timeout_at(over, node.interceptors().run(&mut call, &mut end)).await;
        if let Some((payload, _)) = end.encoded {
            recycle(payload);
        }
        ran.unwrap_or_else(|_| {
            let message = "an interceptor did not let the call end within its time";
            Err(RemoteError::new(ErrorKind::DeadlineExceeded, message).with_certainty(call.certainty()))
        })
    }

    fn answer_of<'a>(&'a self, method: &'static Method, reply: Reply) -> Result<Answer<'a>, RemoteError> {
        let Reply { outcome, payload, references, origin } = reply;
        let (link, callee) = origin.ok_or_else(|| {
            RemoteError::new(ErrorKind::Other, "an interceptor answered with the reply of a call that was served here")
        })?;
        Ok(Answer { verdict: outcome, payload, references, link: Some(link), method, stub: Some(self), callee })
    }
}

/// The call itself, which may go more than once.
struct Made<'a, 'e, 'c> {
    stub: &'a Stub,
    method: &'static Method,
    terms: Terms,
    /// Whom it is for, the first time that it goes.
    first: Option<Callee>,
    /// For the first time that it goes.
    encoded: Option<Marshalled>,
    encode: &'e mut Encode<'c>,
    awaits: Awaits<'e>,
}

/// What ends a call.
#[derive(Clone, Copy)]
enum Awaits<'a> {
    /// Told of the way of each attempt, where its result may be called.
    Answer(Option<&'a Arc<Flights>>),
    /// It is on its way: a oneway call.
    Departure,
}

#[async_trait]
impl End for Made<'_, '_, '_> {
    async fn run(&mut self, call: &mut Invocation) -> Result<Reply, RemoteError> {
        if !call.may_go() {
            let message = "an interceptor lets a call go again that may have run, and is not idempotent";
            return Err(RemoteError::new(ErrorKind::Other, message).with_certainty(call.certainty()));
        }
        let before = call.begin();
        let encoded = self.encoded.take().unwrap_or_else(|| marshal(self.encode));
        let stub = self.stub;
        let callee = stub.callee_of(self.first.take());
        let mut terms = self.terms.clone();
        terms.extras = (!call.extras.is_empty()).then(|| Arc::new(call.extras.clone()));
        let now = callee.node().now();
        let attempt = Attempt { stub, method: self.method, callee, now, terms };
        let ended = match self.awaits {
            Awaits::Answer(_) => Certainty::Executed,
            Awaits::Departure => Certainty::Unknown,
        };
        let result = match self.awaits {
            Awaits::Answer(_) => stub.call_on(attempt, encoded, self.encode).await.map(|answer| {
                let Answer { verdict: outcome, payload, references, link, callee, .. } = answer;
                Reply { outcome, payload, references, origin: link.map(|link| (link, callee)) }
            }),
            Awaits::Departure => {
                let sent = stub.send_on(attempt, encoded, self.encode).await;
                sent.map(|()| Reply::here(Outcome::Ok, Payload::default(), Vec::new()))
            }
        };
        call.end(before, result.as_ref().map_or_else(RemoteError::certainty, |_| ended));
        result
    }
}

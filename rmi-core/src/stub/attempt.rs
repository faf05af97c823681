//! A call that may have to wait for its way, or has to go again.

use super::{Destination, Encode, Marshalled, Stub, call::Recourse, marshal, passes_stream};
use crate::{
    answer::Answer,
    callee::{Callee, Ready, Terms},
    error::{Certainty, ErrorKind, RemoteError},
    interface::Method,
    marshal::recycle,
    pending::PendingCall,
    retry::Retries,
    session,
    time::Time,
};

/// One way of a call to its callee and back.
pub(crate) struct Attempt<'a> {
    pub(crate) stub: &'a Stub,
    pub(crate) method: &'static Method,
    pub(crate) callee: Callee,
    /// When it begins.
    pub(crate) now: Time,
    pub(crate) terms: Terms,
}

impl<'a> Attempt<'a> {
    pub(super) async fn go(&self, encoded: Marshalled) -> Result<Answer<'a>, RemoteError> {
        let (answer, link) = self.start(encoded).await?.answer().await;
        match answer {
            session::Answer::Failed(error) => Err(error),
            session::Answer::Reply { outcome: verdict, payload, references } => {
                if let Callee::Member(turn) = &self.callee {
                    turn.handle_answer();
                }
                let Self { stub, method, callee, .. } = self;
                let (link, stub, callee) = (Some(link), Some(*stub), Some(callee.clone()));
                Ok(Answer { verdict, payload, references: Vec::new(), link, method, stub, callee }.with(references))
            }
        }
    }

    /// The same, for a call whose answer nobody waits for.
    pub(super) async fn send(&self, encoded: Marshalled) -> Result<(), RemoteError> {
        self.start(encoded).await?.departure().await
    }

    async fn start(&self, (mut payload, references): Marshalled) -> Result<PendingCall, RemoteError> {
        let Self { method, callee, now, terms, .. } = self;
        let started = match references {
            Ok(references) => {
                let (node, order) = (callee.node(), callee.order());
                let call = Ready { method, node, order, payload: &mut payload, references, now: *now, terms };
                callee.start(call).await
            }
            Err(error) => Err(error.with_certainty(Certainty::NotSent)),
        };
        recycle(payload);
        started
    }

    /// It is over without an answer.
    fn handle_failure(&mut self, error: &RemoteError) {
        if let Callee::Member(turn) = &mut self.callee {
            turn.handle_failure(error, turn.import().node().now());
        }
    }

    /// Names what the call was about in its error.
    fn name(&self, error: RemoteError) -> RemoteError {
        self.callee.name(error, self.method)
    }
}

impl Stub {
    /// The first attempt of a call that may have to wait for its way.
    pub(super) fn attempt(&self, method: &'static Method, callee: Option<Callee>, encoded: &Marshalled) -> Attempt<'_> {
        let callee = self.callee_of(callee);
        let now = callee.node().now();
        let terms = self.terms(callee.node(), now, method, passes_stream(encoded));
        Attempt { stub: self, method, callee, now, terms }
    }

    /// A call that may have to wait for its way.
    pub(super) async fn call_with_care<'a>(
        &'a self,
        method: &'static Method,
        (encoded, callee): (Marshalled, Option<Callee>),
        encode: &mut Encode<'_>,
    ) -> Result<Answer<'a>, RemoteError> {
        let attempt = self.attempt(method, callee, &encoded);
        self.call_on(attempt, encoded, encode).await
    }

    /// A call that goes for as long as it may.
    pub(crate) async fn call_on<'a>(
        &'a self,
        attempt: Attempt<'a>,
        encoded: Marshalled,
        encode: &mut Encode<'_>,
    ) -> Result<Answer<'a>, RemoteError> {
        match attempt.go(encoded).await {
            Ok(answer) => Ok(answer),
            Err(error) => self.call_again(attempt, error, encode).await,
        }
    }

    /// A call that was started at once has failed.
    pub(super) async fn call_after<'a>(
        &'a self,
        method: &'static Method,
        recourse: Recourse,
        error: RemoteError,
        encode: &mut Encode<'_>,
    ) -> Result<Answer<'a>, RemoteError> {
        let callee = self.callee_of(recourse.callee);
        let now = callee.node().now();
        let mut terms = self.terms(callee.node(), now, method, false);
        terms.deadline = recourse.deadline;
        let attempt = Attempt { stub: self, method, callee, now, terms };
        self.call_again(attempt, error, encode).await
    }

    /// A call has failed once: goes again for as long as it may.
    async fn call_again<'a>(
        &'a self,
        mut attempt: Attempt<'a>,
        mut error: RemoteError,
        encode: &mut Encode<'_>,
    ) -> Result<Answer<'a>, RemoteError> {
        let mut retries = self.retries(&attempt);
        loop {
            let encoded = self.prepare_again(&mut attempt, &mut retries, error, encode).await?;
            error = match attempt.go(encoded).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
        }
    }

    /// Those of a call whose first attempt has failed.
    pub(super) fn retries(&self, first: &Attempt<'_>) -> Retries {
        let node = first.callee.node();
        let options = self.options.as_deref();
        let idempotent = self.is_idempotent(first.method);
        let attempts = options.and_then(|options| options.attempts).unwrap_or(u32::MAX);
        let until = first.terms.deadline.min(node.now() + node.limits().connect_timeout);
        let named = matches!(self.destination, Destination::Named(_) | Destination::Balanced(_));
        Retries::new(idempotent, named, attempts, until).with_others(self.destination.others())
    }

    /// What a call ends with that does not go again.
    fn give_up(&self, attempt: &Attempt<'_>, retries: &mut Retries, error: RemoteError) -> RemoteError {
        let error = attempt.name(retries.give_up(error));
        match &self.destination {
            Destination::Balanced(balanced) => balanced.give_up(error),
            Destination::Callee(_) | Destination::Named(_) => error,
        }
    }

    /// Waits until the call may go again, and encodes its arguments anew; a name is looked up meanwhile.
    ///
    /// # Errors
    ///
    /// What the call failed with, where it does not.
    pub(super) async fn prepare_again(
        &self,
        attempt: &mut Attempt<'_>,
        retries: &mut Retries,
        error: RemoteError,
        encode: &mut Encode<'_>,
    ) -> Result<Marshalled, RemoteError> {
        let node = attempt.callee.node().clone();
        attempt.handle_failure(&error);
        let again = retries.again(&error, node.now(), &mut node.budget());
        let Some(pause) = again else { return Err(self.give_up(attempt, retries, error)) };
        match &self.destination {
            Destination::Balanced(balanced) => balanced.wait(pause).await,
            Destination::Callee(_) | Destination::Named(_) if pause.is_zero() => {}
            Destination::Callee(_) | Destination::Named(_) => tokio::time::sleep(pause).await,
        }
        if let Err(end) = self.look_up_again(attempt, &error).await {
            return Err(self.give_up(attempt, retries, end));
        }
        (attempt.now, attempt.callee) = (node.now(), self.destination.callee());
        let encoded = marshal(encode);
        if encoded.1.is_err() {
            // A stream among the arguments has been read from: the call does not go again.
            return Err(self.give_up(attempt, retries, error));
        }
        Ok(encoded)
    }

    /// Looks the name up anew that an attempt went by, if it did.
    async fn look_up_again(&self, failed: &Attempt<'_>, error: &RemoteError) -> Result<(), RemoteError> {
        let (Destination::Named(named), Callee::Object(import)) = (&self.destination, &failed.callee) else {
            return Ok(());
        };
        let resolving = tokio::time::timeout_at(import.node().instant(failed.terms.deadline), named.resolve(import));
        match resolving.await {
            // The owner itself says so, and its name leads nowhere else.
            Ok(Ok(false)) if error.kind() == ErrorKind::NoSuchObject && error.certainty() == Certainty::NotExecuted => {
                Err(error.clone())
            }
            // The registry may be back, or the name be bound again, until the call is given up.
            Ok(Ok(_) | Err(_)) => Ok(()),
            Err(_) => Err(error.clone()),
        }
    }
}

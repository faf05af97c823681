//! The caller's side: a method call becomes a message, and its answer a result.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::future::BoxFuture;

use crate::{
    answer::Answer,
    balance::Balanced,
    callee::{Callee, Ready, Terms},
    connection::AtOnce,
    context::Current,
    error::{Certainty, ErrorKind, RemoteError},
    interface::Method,
    marshal::{ArgumentEncoder, recycle},
    named::Named,
    node::Node,
    options::CallOptions,
    pending::PendingCall,
    referent::Referent,
    retry::Retries,
    session::{self, MethodRef},
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
        Call { stub: self, method, encode: Some(encode), stage: Stage::New }
    }

    async fn send_off(&self, method: &'static Method, encode: &mut Encode<'_>) -> Result<(), RemoteError> {
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

    /// Starts a call that needs nothing but its link: its way is there, and it passes no references.
    /// Otherwise gives back what was encoded.
    fn start_at_once(&self, waker: &Waker, method: &'static Method, encode: &mut Encode<'_>) -> Quick {
        let mut encoder = ArgumentEncoder::new();
        encode(&mut encoder);
        let (mut payload, references) = encoder.finish();
        let (callee, started) = match &self.destination {
            Destination::Callee(Callee::Object(import)) if is_plain(&references) => {
                (None, import.start_at_once(self.at_once(waker, method, &mut payload)))
            }
            Destination::Named(named) if is_plain(&references) => {
                let import = named.current();
                let started = import.start_at_once(self.at_once(waker, method, &mut payload));
                (Some(Callee::Object(import)), started)
            }
            Destination::Balanced(balanced) if is_plain(&references) => match balanced.choose() {
                Some(turn) => {
                    let started = turn.import().start_at_once(self.at_once(waker, method, &mut payload));
                    (Some(Callee::Member(turn)), started)
                }
                None => (Some(Callee::Nobody(balanced.clone())), None),
            },
            Destination::Callee(_) | Destination::Named(_) | Destination::Balanced(_) => (None, None),
        };
        match started {
            Some((started, deadline)) => {
                recycle(payload);
                Quick::Started { started, recourse: Recourse { callee, deadline } }
            }
            None => Quick::Later((payload, references), callee),
        }
    }

    fn at_once<'a>(&self, waker: &'a Waker, method: &'static Method, payload: &'a mut Encoded) -> AtOnce<'a> {
        let timeout = self.options.as_ref().and_then(|options| options.timeout).or(method.timeout);
        let own = self.options.as_ref().and_then(|options| options.extras.as_ref());
        let (left, depth, extras) = match Current::inherited() {
            None => (None, 0, own.cloned()),
            Some(inherited) => (inherited.left, inherited.depth, inherited.join(own)),
        };
        let method = MethodRef { id: method.id, fingerprint: method.fingerprint, name: method };
        AtOnce { method, payload, timeout, left, depth, extras, waker }
    }

    /// Whom a call was for that was started at once.
    pub(crate) fn callee_of(&self, callee: Option<Callee>) -> Callee {
        callee.unwrap_or_else(|| self.destination.callee())
    }

    /// The first attempt of a call that may have to wait for its way.
    fn attempt(&self, method: &'static Method, callee: Option<Callee>, encoded: &Marshalled) -> Attempt<'_> {
        let callee = self.callee_of(callee);
        let now = callee.node().now();
        let terms = self.terms(callee.node(), now, method, passes_stream(encoded));
        Attempt { stub: self, method, callee, now, terms }
    }

    /// A call that may have to wait for its way.
    async fn call_with_care<'a>(
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
    async fn call_after<'a>(
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
    fn retries(&self, first: &Attempt<'_>) -> Retries {
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
    async fn prepare_again(
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

    /// What a call is given: one made by a handler never takes longer than the handler's own call has left.
    /// One that passes a stream has no time of its own but what was asked for.
    pub(crate) fn terms(&self, node: &Node, now: Time, method: &Method, passes_stream: bool) -> Terms {
        let set = self.options.as_ref().and_then(|options| options.timeout).or(method.timeout);
        let time = set.unwrap_or_else(|| if passes_stream { TIME_LEFT_MAX } else { node.limits().call_timeout });
        let own = self.options.as_ref().and_then(|options| options.extras.as_ref());
        match Current::inherited() {
            None => Terms { deadline: now + time, depth: 0, extras: own.cloned() },
            Some(inherited) => {
                let time = inherited.left.map_or(time, |left| left.min(time));
                Terms { deadline: now + time, depth: inherited.depth, extras: inherited.join(own) }
            }
        }
    }
}

/// A call under way. It does without anything that most calls do not need: one that waits for its way,
/// or goes again, does so in a box.
pub(crate) struct Call<'a> {
    stub: &'a Stub,
    method: &'static Method,
    /// `None` once the call goes on in a box.
    encode: Option<&'a mut Encode<'a>>,
    stage: Stage<'a>,
}

enum Stage<'a> {
    New,
    /// It was started at once.
    Started(PendingCall, Recourse),
    Careful(Careful<'a>),
}

/// What came of the attempt to start a call at once.
enum Quick {
    Started {
        started: Result<PendingCall, RemoteError>,
        recourse: Recourse,
    },
    /// With whom it is for, where that was found out.
    Later(Marshalled, Option<Callee>),
}

/// What has to be known of a call that was started at once, should it fail.
struct Recourse {
    /// What the name led to, for a stub that has a name.
    callee: Option<Callee>,
    /// When it has to end.
    deadline: Time,
}

/// Encoded arguments, and the references in them.
pub(crate) type Marshalled = (Encoded, Result<Vec<Referent>, RemoteError>);

pub(crate) fn marshal(encode: &mut Encode<'_>) -> Marshalled {
    let mut encoder = ArgumentEncoder::new();
    encode(&mut encoder);
    encoder.finish()
}

/// Whether arguments were encoded and pass no references.
fn is_plain(references: &Result<Vec<Referent>, RemoteError>) -> bool {
    references.as_ref().is_ok_and(Vec::is_empty)
}

/// Whether a stream is among the arguments.
pub(crate) fn passes_stream((_, references): &Marshalled) -> bool {
    references.as_ref().is_ok_and(|references| references.iter().any(is_stream))
}

type Careful<'a> = Pin<Box<dyn Future<Output = Result<Answer<'a>, RemoteError>> + Send + 'a>>;

impl<'a> Call<'a> {
    /// Goes on in a box, which may encode the arguments again.
    fn go_on(
        &mut self,
        careful: impl FnOnce(&'a Stub, &'a mut Encode<'a>) -> Careful<'a>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answer<'a>, RemoteError>> {
        // It is taken once: a call goes on once.
        let Some(encode) = self.encode.take() else { return Poll::Pending };
        let mut careful = careful(self.stub, encode);
        let polled = careful.as_mut().poll(cx);
        self.stage = Stage::Careful(careful);
        polled
    }
}

impl<'a> Future for Call<'a> {
    type Output = Result<Answer<'a>, RemoteError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let method = this.method;
        let (error, recourse) = match &mut this.stage {
            Stage::Careful(careful) => return careful.as_mut().poll(cx),
            Stage::New if this.stub.is_intercepted(method) => {
                return this.go_on(|stub, encode| Box::pin(stub.call_intercepted(method, encode)), cx);
            }
            Stage::New => {
                let Some(encode) = this.encode.as_mut() else { return Poll::Pending };
                match this.stub.start_at_once(cx.waker(), method, encode) {
                    Quick::Started { started: Ok(call), recourse } => {
                        // Its waker is known by now.
                        this.stage = Stage::Started(call, recourse);
                        return Poll::Pending;
                    }
                    Quick::Started { started: Err(error), recourse } => (error, recourse),
                    Quick::Later(encoded, callee) => {
                        let call = (encoded, callee);
                        return this.go_on(|stub, encode| Box::pin(stub.call_with_care(method, call, encode)), cx);
                    }
                }
            }
            Stage::Started(call, recourse) => match call.poll_answer(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(session::Answer::Reply { outcome, payload, references }) => {
                    if let Some(Callee::Member(turn)) = &recourse.callee {
                        turn.handle_answer();
                    }
                    let answer = Answer {
                        verdict: outcome,
                        payload,
                        references: Vec::new(),
                        link: call.link().clone(),
                        method,
                        stub: this.stub,
                        callee: recourse.callee.take(),
                    };
                    return Poll::Ready(Ok(answer.with(references)));
                }
                Poll::Ready(session::Answer::Failed(error)) => {
                    (error, Recourse { callee: recourse.callee.take(), deadline: recourse.deadline })
                }
            },
        };
        this.go_on(|stub, encode| Box::pin(stub.call_after(method, recourse, error, encode)), cx)
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
    async fn go(&self, encoded: Marshalled) -> Result<Answer<'a>, RemoteError> {
        let (answer, link) = self.start(encoded).await?.answer().await;
        match answer {
            session::Answer::Failed(error) => Err(error),
            session::Answer::Reply { outcome: verdict, payload, references } => {
                if let Callee::Member(turn) = &self.callee {
                    turn.handle_answer();
                }
                let Self { stub, method, callee, .. } = self;
                let callee = Some(callee.clone());
                Ok(Answer { verdict, payload, references: Vec::new(), link, method, stub, callee }.with(references))
            }
        }
    }

    /// The same, for a call whose answer nobody waits for.
    async fn send(&self, encoded: Marshalled) -> Result<(), RemoteError> {
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

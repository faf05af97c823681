//! The caller's side: a method call becomes a message, and its answer a result.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    balance::{Balanced, Turn},
    connection::{AtOnce, Link},
    context::Current,
    error::{Certainty, ErrorKind, RemoteError},
    id::{ObjectId, fnv1a64},
    import::{Import, Start},
    interface::Method,
    marshal::{ArgumentDecoder, ArgumentEncoder, recycle},
    named::Named,
    node::Node,
    options::CallOptions,
    pending::PendingCall,
    referent::{Referent, Service},
    retry::Retries,
    session::{self, MethodRef, Received, StartCall},
    streaming::is_stream,
    time::Time,
    wire::{Encoded, Outcome, Payload, TIME_LEFT_MAX, Target},
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

    fn retries(&self, idempotent: bool) -> Retries {
        match self {
            Self::Callee(_) => Retries::new(idempotent, false),
            Self::Named(_) => Retries::new(idempotent, true),
            Self::Balanced(balanced) => Retries::new(idempotent, true).with_others(balanced.others()),
        }
    }
}

/// Whom one attempt of a call is for.
#[derive(Clone)]
enum Callee {
    Object(Arc<Import>),
    Service(Arc<Service>),
    Member(Turn),
    /// A group has no member.
    Nobody(Arc<Balanced>),
}

impl Callee {
    fn node(&self) -> &Node {
        match self {
            Self::Object(import) => import.node(),
            Self::Service(service) => &service.node,
            Self::Member(turn) => turn.import().node(),
            Self::Nobody(balanced) => balanced.group().node(),
        }
    }

    /// Calls to one object begin in the order in which they were made.
    fn order(&self) -> ObjectId {
        match self {
            Self::Object(import) => import.id(),
            Self::Service(service) => service_order(&service.name),
            Self::Member(turn) => turn.import().id(),
            Self::Nobody(balanced) => balanced.group().id(),
        }
    }

    fn describe_object(&self) -> String {
        match self {
            Self::Object(import) => import.id().to_string(),
            Self::Service(service) => format!("service {:?}", service.name),
            Self::Member(turn) => turn.describe_object(),
            Self::Nobody(balanced) => balanced.group().name().to_owned(),
        }
    }

    fn describe_peer(&self) -> Option<String> {
        match self {
            Self::Object(import) => Some(import.describe_peer()),
            Self::Service(service) => Some(service.endpoint.to_string()),
            Self::Member(turn) => Some(turn.import().describe_peer()),
            Self::Nobody(_) => None,
        }
    }

    /// Names what a call was about in its error.
    fn name(&self, error: RemoteError, method: &Method) -> RemoteError {
        let error = error.with_method(method.to_string()).with_object(self.describe_object());
        self.describe_peer().into_iter().fold(error, RemoteError::with_peer)
    }
}

impl Stub {
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

    /// Calls this method and waits for its answer. `encode` appends the arguments, each time that the
    /// call goes: once, unless it certainly did not run, or may run again.
    ///
    /// # Errors
    ///
    /// Where the runtime ended the call, here or at the callee.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call: its handler is dropped at its next await.
    pub fn call<'a>(&'a self, method: &'static Method, encode: &'a mut Encode<'a>) -> Call<'a> {
        Call { stub: self, method, encode: Some(encode), stage: Stage::New }
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
        let timeout = self.options.as_ref().and_then(|options| options.timeout);
        let (left, depth) = Current::inherited().map_or((None, 0), |(left, depth)| (left, depth.saturating_add(1)));
        let method = MethodRef { id: method.id, fingerprint: method.fingerprint, name: method };
        AtOnce { method, payload, timeout, left, depth, waker }
    }

    /// Whom a call was for that was started at once.
    fn callee_of(&self, callee: Option<Callee>) -> Callee {
        callee.unwrap_or_else(|| self.destination.callee())
    }

    /// A call that may have to wait for its way.
    async fn call_with_care<'a>(
        &'a self,
        method: &'static Method,
        (encoded, callee): (Marshalled, Option<Callee>),
        encode: &mut Encode<'_>,
    ) -> Result<Answer<'a>, RemoteError> {
        let callee = self.callee_of(callee);
        let now = callee.node().now();
        let passes_stream = encoded.1.as_ref().is_ok_and(|references| references.iter().any(is_stream));
        let (deadline, depth) = time_and_depth(callee.node(), now, self.options.as_deref(), passes_stream);
        let attempt = Attempt { stub: self, method, callee, now, deadline, depth };
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
        let (_, depth) = time_and_depth(callee.node(), now, self.options.as_deref(), false);
        let attempt = Attempt { stub: self, method, callee, now, deadline: recourse.deadline, depth };
        self.call_again(attempt, error, encode).await
    }

    /// A call has failed once: goes again for as long as it may.
    async fn call_again<'a>(
        &'a self,
        mut attempt: Attempt<'a>,
        first: RemoteError,
        encode: &mut Encode<'_>,
    ) -> Result<Answer<'a>, RemoteError> {
        let node = attempt.callee.node().clone();
        let patience = node.limits().connect_timeout.min(attempt.deadline.since(node.now()));
        let option = self.options.as_ref().and_then(|options| options.idempotent);
        let idempotent = option.unwrap_or(attempt.method.idempotent);
        let mut retries = self.destination.retries(idempotent);
        let mut error = first.clone();
        attempt.handle_failure(&error);
        while let Some(pause) = retries.again(&error, node.now(), patience) {
            if let Err(end) = self.prepare_again(&attempt, &error, pause).await {
                return Err(attempt.name(retries.give_up(end)));
            }
            (attempt.now, attempt.callee) = (node.now(), self.destination.callee());
            let encoded = marshal(encode);
            if encoded.1.is_err() {
                // A stream among the arguments has been read from: the call does not go again.
                break;
            }
            error = match attempt.go(encoded).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            attempt.handle_failure(&error);
        }
        // That nobody is there any more says less than why the call was not taken.
        let told = if error.kind() == ErrorKind::Unreachable { first } else { error };
        match &self.destination {
            Destination::Balanced(balanced) => Err(retries.give_up(balanced.give_up(attempt.name(told)))),
            Destination::Callee(_) | Destination::Named(_) => Err(attempt.name(retries.give_up(told))),
        }
    }

    /// Waits before a call goes again; a name is looked up anew meanwhile.
    async fn prepare_again(
        &self,
        failed: &Attempt<'_>,
        error: &RemoteError,
        pause: Duration,
    ) -> Result<(), RemoteError> {
        if let Destination::Balanced(balanced) = &self.destination {
            balanced.wait(pause).await;
            return Ok(());
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let (Destination::Named(named), Callee::Object(import)) = (&self.destination, &failed.callee) else {
            return Ok(());
        };
        let resolving = tokio::time::timeout_at(import.node().instant(failed.deadline), named.resolve(import));
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

/// A call under way. It does without anything that most calls do not need: one that waits for its way,
/// or goes again, does so in a box.
pub struct Call<'a> {
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
type Marshalled = (Encoded, Result<Vec<Referent>, RemoteError>);

fn marshal(encode: &mut Encode<'_>) -> Marshalled {
    let mut encoder = ArgumentEncoder::new();
    encode(&mut encoder);
    encoder.finish()
}

/// Whether arguments were encoded and pass no references.
fn is_plain(references: &Result<Vec<Referent>, RemoteError>) -> bool {
    references.as_ref().is_ok_and(Vec::is_empty)
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

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("method", &self.method.to_string()).finish_non_exhaustive()
    }
}

/// Appends the arguments of a call.
pub type Encode<'a> = dyn FnMut(&mut ArgumentEncoder) + Send + 'a;

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.destination {
            Destination::Callee(callee) => write!(f, "Stub({})", callee.describe_object()),
            Destination::Named(named) => write!(f, "Stub({named:?})"),
            Destination::Balanced(balanced) => write!(f, "Stub({balanced:?})"),
        }
    }
}

/// Between the starts of dials to several endpoints, and for the handshake's way back.
const CONNECT_SLACK: Duration = Duration::from_millis(250);

/// An encoded call on its way to a link.
struct Ready<'a> {
    method: &'static Method,
    node: &'a Node,
    order: ObjectId,
    payload: &'a mut Encoded,
    references: Vec<Referent>,
    /// When it was made.
    now: Time,
    deadline: Time,
    depth: u32,
}

/// One way of a call to its callee and back.
struct Attempt<'a> {
    stub: &'a Stub,
    method: &'static Method,
    callee: Callee,
    /// When it begins.
    now: Time,
    deadline: Time,
    depth: u32,
}

impl<'a> Attempt<'a> {
    async fn go(&self, (mut payload, references): Marshalled) -> Result<Answer<'a>, RemoteError> {
        let Self { stub, method, callee, now, deadline, depth } = self;
        let node = callee.node();
        let started = match references {
            Ok(references) => {
                let order = callee.order();
                let (now, deadline, depth) = (*now, *deadline, *depth);
                let call = Ready { method, node, order, payload: &mut payload, references, now, deadline, depth };
                callee.start(call).await
            }
            Err(error) => Err(error.with_certainty(Certainty::NotSent)),
        };
        recycle(payload);
        let call = started?;
        let (answer, link) = call.answer().await;
        match answer {
            session::Answer::Failed(error) => Err(error),
            session::Answer::Reply { outcome, payload, references } => {
                if let Callee::Member(turn) = callee {
                    turn.handle_answer();
                }
                let callee = Some(callee.clone());
                let verdict = outcome;
                Ok(Answer { verdict, payload, references: Vec::new(), link, method, stub, callee }.with(references))
            }
        }
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

impl Callee {
    async fn start(&self, call: Ready<'_>) -> Result<PendingCall, RemoteError> {
        let (node, now, deadline) = (call.node, call.now, call.deadline);
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
        relayed: false,
    };
    // Later than `now` of the call, where it waited for its way: the time left must be true.
    let key = link.start_call(node.now(), call)?;
    Ok(PendingCall::new(link.clone(), key))
}

/// When a call has to end and how deep it is nested: a call made by a handler never takes longer
/// than the handler's own call has left. One that passes a stream has no time of its own but what was
/// asked for.
fn time_and_depth(node: &Node, now: Time, options: Option<&CallOptions>, passes_stream: bool) -> (Time, u32) {
    let default = || if passes_stream { TIME_LEFT_MAX } else { node.limits().call_timeout };
    let own = options.and_then(|options| options.timeout).unwrap_or_else(default);
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
pub struct Answer<'a> {
    verdict: Outcome,
    payload: Payload,
    references: Vec<Referent>,
    /// That it came over.
    link: Arc<Link<Referent>>,
    method: &'static Method,
    stub: &'a Stub,
    /// Who gave it, where the stub alone does not tell.
    callee: Option<Callee>,
}

impl Answer<'_> {
    /// With the references that came with it, as this node sees them.
    fn with(mut self, references: Vec<Received<Referent>>) -> Self {
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

//! The callee's side: an incoming call becomes a method call, and its result an answer.

use std::{fmt, pin::Pin, sync::Arc};

use tokio::sync::oneshot;

use crate::{
    connection::Link,
    error::{Certainty, ErrorKind, RemoteError},
    id::{Fingerprint, MethodId},
    interceptor::{Answered, Reply},
    interface::{Manner, Method},
    limits::UNBOUNDED,
    marshal::{ArgumentDecoder, ArgumentEncoder, recycle},
    node::Node,
    referent::Referent,
    session::{Cost, ServedId},
    wire::{Encoded, Outcome, Payload},
};

/// A method that runs, and answers its call.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// What runs a method and answers its call, and how that is to be run.
pub struct Handler {
    pub(crate) running: Running,
    pub(crate) manner: Manner,
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("manner", &self.manner).finish_non_exhaustive()
    }
}

impl From<Running> for Handler {
    /// Run as usual.
    fn from(running: Running) -> Self {
        Self { running, manner: Manner::default() }
    }
}

/// Where calls come from and whom they reach: one for all calls of a link.
pub(crate) struct Line {
    pub(crate) link: Arc<Link<Referent>>,
    pub(crate) node: Node,
}

/// A call that arrived for an object.
pub struct IncomingCall {
    pub(crate) method: MethodId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) request: Request,
    pub(crate) responder: Responder,
}

impl IncomingCall {
    /// The method that is called.
    #[must_use]
    pub fn method(&self) -> MethodId {
        self.method
    }

    /// Runs the method, unless the caller knows it by another signature.
    pub fn serve(self, method: &'static Method, run: impl FnOnce(Request, Responder) -> Running) -> Handler {
        if self.fingerprint == method.fingerprint {
            return Handler { running: run(self.request, self.responder), manner: method.manner };
        }
        let message = format!(
            "caller and callee were built with different signatures of {method}; here it is `{}`: build both from one version of the interface",
            method.signature
        );
        let error = RemoteError::new(ErrorKind::SignatureMismatch, message);
        self.responder.refuse(error.with_certainty(Certainty::NotExecuted));
        Handler::from(Box::pin(std::future::ready(())) as Running)
    }
}

impl fmt::Debug for IncomingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingCall").field("method", &self.method).finish_non_exhaustive()
    }
}

/// The arguments of a call. Dropping it gives the caller the credit for their bytes back.
pub struct Request {
    pub(crate) payload: Payload,
    pub(crate) references: Vec<Referent>,
    /// Where it came from, with the byte credit that it takes of the caller; `None` within this process.
    pub(crate) from: Option<(Arc<Line>, Cost)>,
}

impl Request {
    /// Decodes the arguments, once.
    #[must_use]
    pub fn arguments(&mut self) -> ArgumentDecoder<'_> {
        let references = std::mem::take(&mut self.references);
        let limits = self.from.as_ref().map_or(&*UNBOUNDED, |(line, _)| line.link.limits());
        ArgumentDecoder::new(&mut self.payload, references, limits)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.payload = Payload::default();
        if let Some((line, cost)) = self.from.take()
            && !cost.is_nothing()
        {
            line.link.act(|session| session.let_go(cost));
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("len", &self.payload.len()).finish_non_exhaustive()
    }
}

/// Answers one call, once. Dropped without an answer it says that the method was cancelled.
pub struct Responder(To);

/// Who gets an answer.
enum To {
    /// The caller, by the id of its call.
    Caller(Arc<Line>, ServedId),
    /// The interceptors around the method, or a caller in this process.
    Here(oneshot::Sender<Answered>),
    /// It has it.
    Nobody,
}

impl Responder {
    pub(crate) fn new(line: Arc<Line>, id: ServedId) -> Self {
        Self(To::Caller(line, id))
    }

    pub(crate) fn into_sink(sink: oneshot::Sender<Answered>) -> Self {
        Self(To::Here(sink))
    }

    /// Answers with an error of the runtime.
    pub fn refuse(mut self, error: RemoteError) {
        match self.take() {
            To::Caller(line, id) => line.link.act(|session| session.refuse(id, error)),
            // They may have gone meanwhile.
            To::Here(sink) => drop(sink.send(Err(error))),
            To::Nobody => {}
        }
    }

    fn take(&mut self) -> To {
        std::mem::replace(&mut self.0, To::Nobody)
    }

    /// Answers with what the method returned. A result that cannot be encoded becomes a refusal.
    pub(crate) fn answer(mut self, encode: impl FnOnce(&mut ArgumentEncoder) -> Outcome) {
        let mut out = ArgumentEncoder::new();
        let outcome = encode(&mut out);
        let (mut payload, references) = out.finish();
        match references {
            Ok(references) => match self.take() {
                To::Caller(line, id) => reply(&line, id, outcome, &mut payload, &references),
                To::Here(sink) => tell(sink, Reply::here(outcome, payload.take(), references)),
                To::Nobody => {}
            },
            Err(error) => self.refuse(error.with_certainty(Certainty::Executed)),
        }
        recycle(payload);
    }

    /// Answers with what another node has answered.
    pub(crate) fn pass_on(mut self, outcome: Outcome, payload: Payload, references: Vec<Referent>) {
        match self.take() {
            To::Caller(line, id) => reply(&line, id, outcome, &mut payload.into(), &references),
            To::Here(sink) => tell(sink, Reply::here(outcome, payload, references)),
            To::Nobody => {}
        }
    }
}

/// The interceptors around the method, or its caller, which may have gone meanwhile, are told what it returned.
#[cold]
fn tell(sink: oneshot::Sender<Answered>, reply: Reply) {
    let _ = sink.send(Ok(reply));
}

impl Drop for Responder {
    fn drop(&mut self) {
        // A panic unwinds through here first, and is told by who catches it.
        if let To::Caller(line, id) = &self.0
            && !std::thread::panicking()
        {
            let message = "the method was dropped before it ended";
            let error = RemoteError::new(ErrorKind::Cancelled, message).with_certainty(Certainty::Executed);
            line.link.act(|session| session.refuse(*id, error));
        }
    }
}

#[inline]
fn reply(line: &Line, id: ServedId, outcome: Outcome, payload: &mut Encoded, references: &[Referent]) {
    let passed = references.iter().map(|referent| referent.pass(&line.node, &line.link));
    match passed.collect::<Result<Vec<_>, _>>() {
        Ok(references) => line.link.act(|session| session.reply(id, outcome, references, payload)),
        Err(error) => {
            let error = error.with_certainty(Certainty::Executed);
            line.link.act(|session| session.refuse(id, error));
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").finish_non_exhaustive()
    }
}

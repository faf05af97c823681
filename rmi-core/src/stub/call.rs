//! A call under way: most start at once.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::{Destination, Encode, Marshalled, Stub};
use crate::{
    answer::Answer,
    callee::Callee,
    connection::AtOnce,
    context::Current,
    error::RemoteError,
    interface::Method,
    marshal::{ArgumentEncoder, recycle},
    pending::PendingCall,
    referent::Referent,
    session::{self, MethodRef},
    time::Time,
    wire::Encoded,
};

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
pub(super) struct Recourse {
    /// What the name led to, for a stub that has a name.
    pub(super) callee: Option<Callee>,
    /// When it has to end.
    pub(super) deadline: Time,
}

type Careful<'a> = Pin<Box<dyn Future<Output = Result<Answer<'a>, RemoteError>> + Send + 'a>>;

impl Stub {
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
}

impl<'a> Call<'a> {
    pub(super) fn new(stub: &'a Stub, method: &'static Method, encode: &'a mut Encode<'a>) -> Self {
        Self { stub, method, encode: Some(encode), stage: Stage::New }
    }

    /// These stand apart, with all that they put on the stack, for the calls that do without them.
    #[cold]
    #[inline(never)]
    fn go_intercepted(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer<'a>, RemoteError>> {
        let method = self.method;
        self.go_on(|stub, encode| Box::pin(stub.call_intercepted(method, encode, None)), cx)
    }

    #[cold]
    #[inline(never)]
    fn go_with_care(
        &mut self,
        call: (Marshalled, Option<Callee>),
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answer<'a>, RemoteError>> {
        let method = self.method;
        self.go_on(|stub, encode| Box::pin(stub.call_with_care(method, call, encode)), cx)
    }

    #[cold]
    #[inline(never)]
    fn go_after(
        &mut self,
        recourse: Recourse,
        error: RemoteError,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answer<'a>, RemoteError>> {
        let method = self.method;
        self.go_on(|stub, encode| Box::pin(stub.call_after(method, recourse, error, encode)), cx)
    }

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
                return this.go_intercepted(cx);
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
                    Quick::Later(encoded, callee) => return this.go_with_care((encoded, callee), cx),
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
                        link: Some(call.link().clone()),
                        method,
                        stub: Some(this.stub),
                        callee: recourse.callee.take(),
                    };
                    return Poll::Ready(Ok(answer.with(references)));
                }
                Poll::Ready(session::Answer::Failed(error)) => {
                    (error, Recourse { callee: recourse.callee.take(), deadline: recourse.deadline })
                }
            },
        };
        this.go_after(recourse, error, cx)
    }
}

/// Whether arguments were encoded and pass no references.
fn is_plain(references: &Result<Vec<Referent>, RemoteError>) -> bool {
    references.as_ref().is_ok_and(Vec::is_empty)
}

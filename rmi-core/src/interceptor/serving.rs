//! Around the calls that a node serves.

use std::{panic::AssertUnwindSafe, sync::Arc};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use super::{Answered, End, Invocation, Reply, Side, invocation::Party};
use crate::{
    connection::panic_text,
    context::Current,
    error::{Certainty, ErrorKind, RemoteError},
    id::{Fingerprint, MethodId, ObjectId},
    import::Import,
    interface::{self, Manner},
    node::{Node, no_such_method},
    referent::{Erased, Object},
    skeleton::{Handler, IncomingCall, Line, Request, Responder, Running},
    time::Time,
    wire::Extras,
};

/// A call that arrived.
pub(crate) struct Served {
    pub(crate) method: MethodId,
    pub(crate) fingerprint: Fingerprint,
    /// What the peer calls the method.
    pub(crate) name: Arc<str>,
    pub(crate) request: Request,
    pub(crate) deadline: Option<Time>,
    pub(crate) depth: u32,
    pub(crate) extras: Option<Arc<Extras>>,
}

/// Whom a call is for.
pub(crate) enum Aim {
    Own(Arc<Object<dyn Erased>>),
    /// An object of another node, which this one passes the call on to.
    Elsewhere(Arc<Import>),
}

impl Aim {
    /// Calls to one object begin in the order in which they arrived.
    pub(crate) fn order(&self) -> ObjectId {
        match self {
            Self::Own(object) => object.id,
            Self::Elsewhere(import) => import.id(),
        }
    }
}

impl Served {
    /// Runs the call inside of the node's interceptors, and answers it.
    pub(crate) fn intercept(self, aim: Aim, line: Arc<Line>, responder: Responder) -> Handler {
        let known = interface::method(self.method).filter(|_| matches!(aim, Aim::Own(_)));
        let manner = known.map_or_else(Manner::default, |method| method.manner);
        let running: Running = Box::pin(async move {
            let name = known.map_or_else(|| self.name.to_string(), ToString::to_string);
            let split = match known {
                Some(method) => method.interface.pieces().iter().map(|piece| piece.len()).sum(),
                None => name.rfind('.').unwrap_or(0),
            };
            let mut call = Invocation {
                side: Side::Server,
                name,
                split,
                is_known: known.is_some(),
                is_relayed: matches!(aim, Aim::Elsewhere(_)),
                object: Some(aim.order()),
                party: Party::Caller(line.clone()),
                deadline: self.deadline,
                depth: self.depth,
                extras: self.extras.as_deref().cloned().unwrap_or_default(),
                request_len: self.request.payload.len(),
                idempotent: known.is_some_and(|method| method.idempotent),
                progress: None,
            };
            let mut end = Method { aim, line: line.clone(), served: Some(self) };
            match line.node.interceptors().run(&mut call, &mut end).await {
                Ok(Reply { outcome, payload, references, .. }) => responder.pass_on(outcome, payload, references),
                Err(error) => responder.refuse(error),
            }
        });
        Handler { running, manner }
    }
}

/// The call itself, which runs once.
struct Method {
    aim: Aim,
    line: Arc<Line>,
    served: Option<Served>,
}

#[async_trait]
impl End for Method {
    async fn run(&mut self, call: &mut Invocation) -> Answered {
        let Some(mut served) = self.served.take() else {
            let message = "an interceptor lets a call run again that is served already";
            return Err(RemoteError::new(ErrorKind::Other, message).with_certainty(call.certainty()));
        };
        let before = call.begin();
        served.extras = (!call.extras.is_empty()).then(|| Arc::new(call.extras.clone()));
        Current::set_extras(served.extras.clone());
        let (sink, answer) = oneshot::channel();
        let result = match start(&self.aim, served, &self.line.node, Responder::into_sink(sink)) {
            Ok(running) => match AssertUnwindSafe(running).catch_unwind().await {
                Ok(()) => answer.await.unwrap_or_else(|_| {
                    let message = "the method was dropped before it ended";
                    Err(RemoteError::new(ErrorKind::Cancelled, message).with_certainty(Certainty::Executed))
                }),
                Err(panic) => {
                    let error = RemoteError::new(ErrorKind::Panicked, panic_text(&*panic));
                    Err(error.with_certainty(Certainty::Executed))
                }
            },
            Err(error) => Err(error),
        };
        call.end(before, result.as_ref().map_or_else(RemoteError::certainty, |_| Certainty::Executed));
        result
    }
}

/// Begins the method, or passes the call on.
fn start(aim: &Aim, served: Served, node: &Node, responder: Responder) -> Result<Running, RemoteError> {
    let Served { method, fingerprint, name, request, deadline, depth, extras } = served;
    match aim {
        Aim::Own(object) => {
            let incoming = IncomingCall { method, fingerprint, request, responder };
            object.erased.dispatch(incoming).map(|handler| handler.running).map_err(|_| no_such_method(object))
        }
        Aim::Elsewhere(import) => {
            let served = Served { method, fingerprint, name, request, deadline, depth, extras };
            Ok(node.relay(import.clone(), served, responder))
        }
    }
}

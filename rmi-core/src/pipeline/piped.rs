//! A call of a pipeline, and its arguments and answer.

use std::{
    collections::BTreeMap,
    error::Error as _,
    ops::Range,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, select},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    Head,
    flight::{Flight, Flights, Way},
};
use crate::{
    answer::Answer,
    callee::Callee,
    connection::Link,
    error::{Certainty, ErrorKind, RemoteError},
    interface::Method,
    marshal::{ArgumentEncoder, recycle},
    node::no_such_method,
    options::CallOptions,
    referent::{Erased, Object, Referent},
    skeleton::{IncomingCall, Request, Responder},
    streaming::is_stream,
    stub::{Stub, marshal},
    wire::{Outcome, Payload},
};

/// Arguments that were encoded, to be sent once or more often.
pub(super) struct Arguments {
    payload: Payload,
    references: Result<Vec<Referent>, RemoteError>,
    sent: bool,
}

impl Arguments {
    pub(super) fn of(encode: impl FnOnce(&mut ArgumentEncoder)) -> Self {
        let mut out = ArgumentEncoder::new();
        encode(&mut out);
        let (mut encoded, references) = out.finish();
        let payload = encoded.take();
        recycle(encoded);
        Self { payload, references, sent: false }
    }

    fn encode(&mut self, out: &mut ArgumentEncoder) {
        match &self.references {
            Ok(references) if self.sent && references.iter().any(is_stream) => {
                let message = "the stream among the arguments may have been read from: the call does not go again";
                out.fail(RemoteError::new(ErrorKind::Marshal, message));
            }
            Ok(references) => out.replay(&self.payload, references),
            Err(error) => out.fail(error.clone()),
        }
        self.sent = true;
    }
}

/// A call of a pipeline.
pub(super) struct Piped {
    pub(super) method: &'static Method,
    flights: Arc<Flights>,
    run: Shared<BoxFuture<'static, Ended>>,
    /// The call on whose result it is made, until it has ended; none for a call of a reference.
    before: Mutex<Option<Arc<Self>>>,
    /// Among the calls on that result, from when it was first awaited until it has ended.
    place: Mutex<Option<Place>>,
    behind: Mutex<Behind>,
    /// Whether any call on its result was sent before that was there.
    was_called: AtomicBool,
}

/// The calls on a result that have not ended, in the order in which they were first awaited.
#[derive(Default)]
struct Behind {
    calls: BTreeMap<u64, Weak<Piped>>,
    next: u64,
    /// All before this one have begun.
    begun: u64,
}

/// The place of a call among those on one result, until it has ended or is given up.
struct Place {
    before: Weak<Piped>,
    number: u64,
}

impl Behind {
    /// The first of these.
    fn first(&self, of: Range<u64>) -> Option<(u64, Weak<Piped>)> {
        self.calls.range(of).next().map(|(number, call)| (*number, call.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(before) = self.before.upgrade() {
            before.behind.lock().calls.remove(&self.number);
        }
    }
}

/// A chain is as long as one likes: the calls that nothing but the last one keeps go one by one, and not each inside of
/// the next.
impl Drop for Piped {
    fn drop(&mut self) {
        let mut next = self.before.get_mut().take();
        while let Some(mut call) = next.and_then(Arc::into_inner) {
            next = call.before.get_mut().take();
        }
    }
}

pub(super) type Ended = Result<Arc<Landed>, RemoteError>;

/// An answer that is there.
pub(super) struct Landed {
    verdict: Outcome,
    payload: Payload,
    references: Vec<Referent>,
    link: Option<Arc<Link<Referent>>>,
    stub: Option<Arc<Stub>>,
    callee: Option<Callee>,
}

impl Landed {
    pub(super) fn answer(&self, method: &'static Method) -> Answer<'_> {
        Answer {
            verdict: self.verdict,
            payload: self.payload.clone(),
            references: self.references.clone(),
            link: self.link.clone(),
            method,
            stub: self.stub.as_deref(),
            callee: self.callee.clone(),
        }
    }

    /// What calls on the result are made on.
    fn referent(&self) -> Option<&Referent> {
        self.references.first().filter(|_| self.verdict == Outcome::Ok)
    }
}

impl Piped {
    pub(super) fn new(head: Head, method: &'static Method, arguments: Arguments, oneway: bool) -> Arc<Self> {
        Arc::new_cyclic(|own| {
            let flights = Arc::<Flights>::default();
            let call = Making { own: own.clone(), method, arguments, oneway, flights: flights.clone() };
            let (before, head) = match head {
                Head::Promise(before) => (Some(before), None),
                head => (None, Some(head)),
            };
            let run = call.run(head).boxed().shared();
            let (before, place, behind) = (Mutex::new(before), Mutex::default(), Mutex::default());
            Self { method, flights, run, before, place, behind, was_called: AtomicBool::new(false) }
        })
    }

    /// Waits for the result. What is called on it then begins behind what was called on it before.
    pub(super) async fn resolve(self: Arc<Self>) -> Ended {
        self.begun(false).await;
        let ended = self.run.clone().await;
        if let Ok(landed) = &ended
            && let Some(referent) = landed.referent()
        {
            self.settle(referent, None).await;
        }
        ended
    }

    /// Takes its place among the calls on the result that it is made on, and returns that.
    fn take_place(self: &Arc<Self>) -> Option<u64> {
        let before = self.before()?;
        let mut place = self.place.lock();
        Some(place.get_or_insert_with(|| before.enter(Arc::downgrade(self))).number)
    }

    /// A place for a call on the result, behind all that have one.
    fn enter(self: &Arc<Self>, call: Weak<Self>) -> Place {
        let mut behind = self.behind.lock();
        let number = behind.next;
        behind.next += 1;
        behind.calls.insert(number, call);
        Place { before: Arc::downgrade(self), number }
    }

    /// Waits until all calls on the result that were awaited before this one, or all there are, have begun; `directly`:
    /// on what the promise has become.
    async fn begin_behind(&self, until: Option<u64>, directly: bool) {
        let (mut at, until) = {
            let behind = self.behind.lock();
            (if directly { 0 } else { behind.begun }, until.unwrap_or(behind.next))
        };
        while at < until {
            let Some((number, earlier)) = self.behind.lock().first(at..until) else { break };
            if let Some(earlier) = earlier.upgrade() {
                earlier.begun(directly).await;
            }
            at = number + 1;
        }
        if !directly {
            let mut behind = self.behind.lock();
            behind.begun = behind.begun.max(until);
        }
    }

    /// The call on whose result it is made, and that before it, and so on, as far as they are not `done`: the first
    /// one first.
    fn chain(&self, done: impl Fn(&Self) -> bool) -> Vec<Arc<Self>> {
        let mut chain = Vec::new();
        let mut next = self.before();
        while let Some(call) = next.filter(|call| !done(call)) {
            next = call.before();
            chain.push(call);
        }
        chain.reverse();
        chain
    }

    fn before(&self) -> Option<Arc<Self>> {
        self.before.lock().clone()
    }

    fn has_begun(&self, directly: bool) -> bool {
        let is_on_its_way = match self.flights.way() {
            Way::None => false,
            Way::Over(_) => !directly,
            Way::Direct => true,
        };
        is_on_its_way || self.run.peek().is_some()
    }

    /// Waits until it has begun, or ended, and drives it so far; those that it stands on first, so that none is driven
    /// inside of another.
    async fn begun(self: &Arc<Self>, directly: bool) {
        let chain = self.chain(|call| call.has_begun(false));
        // All in this poll, the first one: whatever they wait for, they come before what is awaited later.
        for call in chain.iter().chain([self]) {
            call.take_place();
        }
        for call in chain {
            call.begin(false).await;
        }
        self.begin(directly).await;
    }

    async fn begin(&self, directly: bool) {
        if self.has_begun(directly) {
            return;
        }
        let mut told = self.flights.subscribe();
        let begun = std::pin::pin!(told.wait_for(|way| match way {
            Way::None => false,
            Way::Over(_) => !directly,
            Way::Direct => true,
        }));
        // The call first: once it is sent, what is called on it goes in the same poll.
        select(self.run.clone(), begun).await;
    }

    /// How its result can be called before it is there: it waits until the call is on its way. `None` once the result
    /// is there, or where it comes from this process.
    async fn flight(self: &Arc<Self>) -> Option<Arc<Flight>> {
        self.begun(false).await;
        match self.flights.way() {
            Way::Over(flight) if self.run.peek().is_none() => Some(flight),
            _ => None,
        }
    }

    /// What calls on the result are made on, once it is there.
    async fn result(&self) -> Result<Referent, RemoteError> {
        for call in self.chain(|call| call.run.peek().is_some()) {
            // What it has ended with is told by those behind it.
            let _ = call.run.clone().await;
        }
        let method = self.method;
        let (message, source) = match self.run.clone().await {
            Ok(landed) => match landed.referent() {
                Some(referent) => return Ok(referent.clone()),
                None if landed.verdict == Outcome::Err => {
                    (format!("{method}, on whose result it was called, has returned an error"), None)
                }
                None => (format!("{method}, on whose result it was called, has returned no reference"), None),
            },
            Err(error) => (format!("{method}, on whose result it was called, has failed"), Some(error)),
        };
        let broken = RemoteError::new(ErrorKind::PromiseBroken, message).with_certainty(Certainty::NotExecuted);
        Err(match &source {
            // What broke first, however far from here.
            Some(error) if error.kind() == ErrorKind::PromiseBroken => {
                broken.with_source(error.source().unwrap_or(error))
            }
            Some(error) => broken.with_source(error),
            None => broken,
        })
    }

    /// Comes back when what is called on the result itself begins behind what was called by the promise before.
    async fn settle(&self, referent: &Referent, until: Option<u64>) {
        // What was called of an object of this process comes back to be called here.
        self.begin_behind(until, matches!(referent, Referent::Own(_))).await;
        let Way::Over(flight) = self.flights.way() else { return };
        let leads_elsewhere = match referent {
            Referent::Foreign(import) => import.owner() != flight.link.peer().node,
            _ => false,
        };
        if self.was_called.load(Ordering::Acquire) && (leads_elsewhere || flight.link.lags(flight.order)) {
            // Without an answer nothing of the link is in order any more.
            let _ = flight.fence().await;
        }
    }
}

/// A call of a pipeline that is made.
struct Making {
    own: Weak<Piped>,
    method: &'static Method,
    arguments: Arguments,
    oneway: bool,
    flights: Arc<Flights>,
}

impl Making {
    async fn run(mut self, head: Option<Head>) -> Ended {
        let ended = match head {
            Some(head) => self.go(&head).await,
            None => self.go_behind().await,
        };
        // What it was made on is kept no longer.
        if let Some(own) = self.own.upgrade() {
            let (place, before) = (own.place.lock().take(), own.before.lock().take());
            drop((place, before));
        }
        ended
    }

    /// On the result of another call: by its promise, or by what that has become.
    async fn go_behind(&mut self) -> Ended {
        let (flight, number) = {
            let (before, number) = self.before()?;
            before.begin_behind(Some(number), false).await;
            let flight = before.flight().await;
            if flight.is_some() {
                before.was_called.store(true, Ordering::Release);
            }
            (flight, number)
        };
        // Under way it does not keep what it was made on itself: see `Drop for Piped`.
        if let Some(flight) = flight {
            let node = flight.node.clone();
            let ended = self.go(&Head::Stub(Arc::new(Stub::of_promise(flight)))).await;
            if self.oneway
                && ended.is_ok()
                && let Ok((before, _)) = self.before()
            {
                // Nobody waits for that one any more, and it is called on what that returns.
                node.spawn(async move { before.run.clone().map(drop).await });
            }
            let Err(error) = ended else { return ended };
            if !self.may_go_directly(&error) {
                return Err(error);
            }
        }
        let referent = {
            let (before, _) = self.before()?;
            let referent = before.result().await.map_err(|error| error.with_method(self.method.to_string()))?;
            before.settle(&referent, Some(number)).await;
            referent
        };
        match Head::of(&referent, CallOptions::new()) {
            Some(head) => self.go(&head).await,
            None => unreachable!("all but an own object have a stub"),
        }
    }

    /// The call on whose result it is made, and its place among those.
    fn before(&self) -> Result<(Arc<Piped>, u64), RemoteError> {
        let before = self.own.upgrade().and_then(|own| Some((own.before()?, own.take_place()?)));
        before.ok_or_else(|| {
            let error = RemoteError::new(ErrorKind::Cancelled, "nobody waits for the call any more");
            error.with_certainty(Certainty::NotSent).with_method(self.method.to_string())
        })
    }

    /// Whether a call by a promise, which ended so, may be made on what that has become.
    fn may_go_directly(&self, error: &RemoteError) -> bool {
        let did_not_run = matches!(error.certainty(), Certainty::NotSent | Certainty::NotExecuted);
        matches!(error.kind(), ErrorKind::PromiseBroken | ErrorKind::ConnectionLost | ErrorKind::Shutdown)
            && (did_not_run || self.method.idempotent)
    }

    async fn go(&mut self, head: &Head) -> Ended {
        match head {
            Head::Stub(stub) => self.call(stub).await,
            Head::Local(object) => self
                .call_here(object)
                .await
                .map_err(|error| error.with_method(self.method.to_string()).with_object(object.id.to_string())),
            Head::Promise(_) => unreachable!("a result is called by a stub, or where it is"),
        }
    }

    async fn call(&mut self, stub: &Arc<Stub>) -> Ended {
        let Self { method, arguments, flights, oneway, .. } = self;
        let mut encode = |out: &mut ArgumentEncoder| arguments.encode(out);
        if *oneway {
            stub.send_off(method, &mut encode).await?;
            let (verdict, payload) = (Outcome::Ok, Payload::default());
            return Ok(Arc::new(Landed {
                verdict,
                payload,
                references: Vec::new(),
                link: None,
                stub: None,
                callee: None,
            }));
        }
        let answer = stub.call_promising(method, &mut encode, flights).await?;
        let Answer { verdict, payload, references, link, callee, .. } = answer;
        Ok(Arc::new(Landed { verdict, payload, references, link, stub: Some(stub.clone()), callee }))
    }

    /// Of an object of this process: its method runs within this future.
    async fn call_here(&mut self, object: &Arc<Object<dyn Erased>>) -> Ended {
        let (mut encoded, references) = marshal(&mut |out| self.arguments.encode(out));
        let payload = encoded.take();
        recycle(encoded);
        let references = references.map_err(|error| error.with_certainty(Certainty::NotSent))?;
        let request = Request { payload, references, from: None };
        let (sink, answer) = oneshot::channel();
        let (method, fingerprint) = (self.method.id, self.method.fingerprint);
        let call = IncomingCall { method, fingerprint, request, responder: Responder::into_sink(sink) };
        let handler = object.erased.dispatch(call).map_err(|_| no_such_method(object))?;
        self.flights.go_directly();
        handler.running.await;
        let reply = answer.await.unwrap_or_else(|_| {
            let message = "the method was dropped before it ended";
            Err(RemoteError::new(ErrorKind::Cancelled, message).with_certainty(Certainty::Executed))
        })?;
        let (verdict, payload, references) = (reply.outcome, reply.payload, reply.references);
        Ok(Arc::new(Landed { verdict, payload, references, link: None, stub: None, callee: None }))
    }
}

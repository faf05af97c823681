//! The callee's half of a session: calls arrive, and each is answered once.

use std::{collections::VecDeque, sync::Arc};

use bytes::BytesMut;

use super::{
    Event, Phase, Session, cut,
    definitions::KnownMethod,
    promises::Found,
    references::{HeldReference, Origin, Passed, Received, Third},
    sending::Kept,
    served::{GivesBack, ServedId},
};
use crate::{
    error::{Certainty, ErrorKind, RemoteError},
    id::{Fingerprint, MethodId, ObjectId, PULL},
    time::Time,
    wire::{
        Acquire, Call, CallId, Credit, Descriptor, Encoded, Extras, FRAME_LEN_MAX, Kind, Message, MethodNumber,
        Outcome, PROMISED_MAX, Payload, Refusal, ReplyHead, Slot, Target, WireError,
    },
};

const REUSED: WireError = WireError::Broken("used a call id again that is not answered");

/// A reply takes no more than this beside its payload and its references.
const REPLY_LEN_MAX: u64 = 16;

/// The arguments of a pull: how many items, and bytes.
const PULL_LEN_MAX: usize = 5 + 10;

/// A call that arrived.
#[derive(Debug)]
pub struct Arrived<O, T = ArrivedTarget<O>> {
    /// Its id, to answer it by.
    pub id: ServedId,
    /// Whom it is for.
    pub target: T,
    /// The method's number on this link.
    pub number: MethodNumber,
    /// The method.
    pub method: MethodId,
    /// Its signature at the caller.
    pub fingerprint: Fingerprint,
    /// The references in the arguments.
    pub references: Vec<Received<O>>,
    /// The encoded arguments.
    pub payload: Payload,
    /// The byte credit that the arguments take, given back by [`Session::let_go`]. That of a small call is
    /// given back with its answer.
    pub cost: Cost,
    /// When the caller stops waiting.
    pub deadline: Option<Time>,
    /// How deep it is nested.
    pub depth: u32,
    /// Its trace and its metadata, where there are any.
    pub extras: Option<Arc<Extras>>,
}

/// The byte credit that a call took of the connection that brought it. Small calls take none, and go without the box.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "credit that is not given back is lost to the peer"]
pub struct Cost(Option<Box<Taken>>);

#[derive(Debug, PartialEq, Eq)]
struct Taken {
    bytes: u64,
    connection: u32,
}

impl Cost {
    fn new(bytes: u64, connection: u32) -> Self {
        Self((bytes > 0).then(|| Box::new(Taken { bytes, connection })))
    }

    /// Whether nothing has to be given back.
    #[inline]
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.0.is_none()
    }
}

impl<O, T> Arrived<O, T> {
    /// The same call, for this target.
    fn aimed_at<U>(self, target: U) -> Arrived<O, U> {
        let Self { id, number, method, fingerprint, references, payload, cost, deadline, depth, extras, .. } = self;
        Arrived { id, target, number, method, fingerprint, references, payload, cost, deadline, depth, extras }
    }
}

/// Whom a call is for.
#[derive(Debug)]
pub enum ArrivedTarget<O> {
    /// An object.
    Object(O),
    /// An object that the peer has called before it had it.
    Promised(O),
    /// A service of this name.
    Service(String),
}

/// Where a session finds the objects of its node that are asked for by id.
pub trait Directory<O> {
    /// The exported object of this id.
    fn find(&self, id: &ObjectId) -> Option<Passed<O>>;
}

impl<O: Clone> Session<O> {
    pub(super) fn handle_call(
        &mut self,
        now: Time,
        call: Call,
        directory: &impl Directory<O>,
        events: &mut Vec<Event<O>>,
    ) -> Result<(), WireError> {
        let bytes = self.receive_credit.cost(call.payload.len(), call.references.len());
        let references = self.receive(call.references)?;
        self.note_received(&references);
        if self.phase != Phase::Open {
            // The close notice tells the caller that this call did not run.
            self.release_all(references);
            return Ok(());
        }
        let method = self.learnt.method(call.method)?;
        let (method, fingerprint) = (method.id, method.fingerprint);
        let (at_once, gives_back) = if method == PULL {
            if call.payload.len() > PULL_LEN_MAX || !references.is_empty() {
                return Err(WireError::Broken("pulled a stream with more than the arguments of a pull"));
            }
            if !self.receive_credit.handle_pull() {
                return Err(WireError::Broken("pulled more streams at once than it may"));
            }
            (0, GivesBack::Pull)
        } else {
            if !self.receive_credit.handle_call(bytes) {
                return Err(WireError::Broken("sent more calls than it has credit for"));
            }
            let is_small = bytes <= self.receive_credit.small();
            if is_small { (0, GivesBack::Call(bytes)) } else { (bytes, GivesBack::Call(0)) }
        };
        // Before the call is served: what ends the link here has no handler that would have to be dropped.
        if let Some(promise) = call.promises {
            if matches!(call.target, Target::Promise { promise: on, .. } if on == promise) {
                return Err(WireError::Broken("made a call on the result of that very call"));
            }
            if !self.promises.open(call.id, promise) {
                return Err(WireError::Broken("promised a result by a number that it has used before"));
            }
        }
        let id = self.served.start(call.id, gives_back).ok_or(REUSED)?;
        let cost = Cost::new(at_once, self.connection);
        let deadline = call.time_left.map(|left| now + left);
        let (number, payload, depth, extras) = (call.method, call.payload, call.depth, call.extras);
        let arrived =
            Arrived { id, target: (), number, method, fingerprint, references, payload, cost, deadline, depth, extras };
        if !arrived.references.is_empty()
            && let Err(error) = self.may_hold(&arrived.references)
        {
            self.refuse_arrived(arrived, error);
            return Ok(());
        }
        let target = match call.target {
            _ if depth > self.limits.depth => Err(too_deep(depth, self.limits.depth)),
            Target::Slot(slot) => self.exports.get(slot).cloned().map(ArrivedTarget::Object).ok_or_else(no_such_object),
            Target::Object(id) => {
                directory.find(&id).map(|passed| ArrivedTarget::Object(passed.object)).ok_or_else(no_such_object)
            }
            Target::Service(name) => Ok(ArrivedTarget::Service(name)),
            Target::Promise { promise, reference } => match self.promises.find(promise, reference) {
                Found::Open => {
                    self.promises.wait(promise, arrived.aimed_at(reference));
                    return Ok(());
                }
                Found::Given(slot) => {
                    self.exports.get(slot).cloned().map(ArrivedTarget::Promised).ok_or_else(no_such_object)
                }
                Found::Nothing => Err(promise_broken()),
            },
        };
        match target {
            Ok(target) => events.push(Event::Call(arrived.aimed_at(target))),
            Err(error) => self.refuse_arrived(arrived, error),
        }
        Ok(())
    }

    /// A call that arrived is not let in.
    fn refuse_arrived<T>(&mut self, call: Arrived<O, T>, error: RemoteError) {
        let id = self.let_go_of_call(call);
        self.refuse(id, error.with_certainty(Certainty::NotExecuted));
    }

    /// A call that arrived needs nothing any more but its answer.
    fn let_go_of_call<T>(&mut self, call: Arrived<O, T>) -> ServedId {
        self.release_all(call.references);
        self.let_go(call.cost);
        call.id
    }

    /// The caller of a call has gone. One that waits for a result is answered here.
    pub(super) fn handle_cancel(&mut self, id: CallId, events: &mut Vec<Event<O>>) {
        match self.promises.take_waiting(id) {
            Some(call) => {
                let message = "the call was cancelled before the result was there that it is made on";
                self.refuse_arrived(call, RemoteError::new(ErrorKind::Cancelled, message));
            }
            None => events.extend(self.served.find(id).map(Event::Cancel)),
        }
    }

    /// The calls that have waited for results which are there now, in order: to be dispatched before anything
    /// that arrives later.
    pub fn take_released(&mut self, events: &mut Vec<Event<O>>) {
        events.append(&mut self.released);
    }

    /// Whether there are any.
    #[must_use]
    pub fn has_released(&self) -> bool {
        !self.released.is_empty()
    }

    /// A call has been answered with these references, each where it was given out. What waits for others is
    /// refused, with all that waits for that.
    fn keep_promise(&mut self, call: CallId, given: Vec<Option<(Slot, O)>>) {
        let Some((promise, waiting)) = self.promises.answer(call) else { return };
        // A peer may chain as many calls as it has credit for: no recursion.
        let mut broken = VecDeque::new();
        for call in waiting {
            match given.get(call.target as usize) {
                Some(Some((_, object))) => {
                    let target = ArrivedTarget::Promised(object.clone());
                    self.released.push(Event::Call(call.aimed_at(target)));
                }
                Some(None) | None => broken.push_back(call),
            }
        }
        while let Some(call) = broken.pop_front() {
            let id = self.let_go_of_call(call);
            if self.finish(id) {
                self.push_refusal(id.id, promise_broken());
            }
            broken.extend(self.promises.answer(id.id).into_iter().flat_map(|(_, waiting)| waiting));
        }
        if given.iter().any(Option::is_some) {
            let slots = given.into_iter().map(|given| given.map(|(slot, _)| slot)).collect();
            self.promises.keep(promise, slots);
        }
    }

    /// The connection is lost, and with it what was called before it was there.
    pub(super) fn lose_promises(&mut self) {
        for call in self.promises.lose() {
            self.served.finish(call.id);
            self.release_all(call.references);
        }
        for event in std::mem::take(&mut self.released) {
            if let Event::Call(call) = event {
                self.served.finish(call.id);
                self.release_all(call.references);
            }
        }
    }

    /// A method by its number on the current connection, to call it elsewhere.
    #[must_use]
    pub fn known_method(&self, number: MethodNumber) -> Option<KnownMethod> {
        self.learnt.method(number).ok().cloned()
    }

    /// An object is asked for by its id: it is given out like one in a reply.
    pub(super) fn handle_acquire(&mut self, acquire: &Acquire, directory: &impl Directory<O>) -> Result<(), WireError> {
        if self.phase != Phase::Open {
            return Ok(());
        }
        let id = self.served.start(acquire.id, GivesBack::Call(0)).ok_or(REUSED)?;
        self.receive_credit.handle_acquire();
        match directory.find(&acquire.object).map(|passed| (self.may_give(std::slice::from_ref(&passed)), passed)) {
            Some((Ok(()), passed)) => self.reply(id, Outcome::Ok, vec![passed], &mut Encoded::default()),
            Some((Err(error), passed)) => {
                self.effects.garbage.push(passed.object);
                self.refuse(id, error.with_certainty(Certainty::NotExecuted));
            }
            None => self.refuse(id, no_such_object()),
        }
        Ok(())
    }

    /// Answers a call with what its method returned. A call that is answered already, or whose
    /// link is lost, is left alone. A result that the peer cannot take becomes a refusal.
    pub fn reply(&mut self, call: ServedId, outcome: Outcome, references: Vec<Passed<O>>, payload: &mut Encoded) {
        let id = call.id;
        let may_send = if self.finish(call) {
            self.may_send("result", REPLY_LEN_MAX, payload.len(), &references).map_err(Some)
        } else {
            Err(None)
        };
        if let Err(refused) = may_send {
            self.effects.garbage.extend(references.into_iter().map(|passed| passed.object));
            payload.clear();
            if let Some(error) = refused {
                self.push_refusal(id, error.with_certainty(Certainty::Executed));
                self.keep_promise(id, Vec::new());
            }
            return;
        }
        let (descriptors, kept) = self.describe(references);
        let is_called = !self.promises.is_empty() && outcome == Outcome::Ok;
        let given = if is_called { given_out(&descriptors, &kept) } else { Vec::new() };
        let head = ReplyHead { id, outcome, references: &descriptors };
        self.write(Kind::Reply, |out| head.encode_head(out), payload, None, kept);
        if !self.promises.is_empty() {
            self.keep_promise(id, given);
        }
    }

    /// Answers a call with an error of the runtime. Texts too long for the peer are cut.
    pub fn refuse(&mut self, call: ServedId, error: RemoteError) {
        if self.finish(call) {
            self.push_refusal(call.id, error);
            if !self.promises.is_empty() {
                self.keep_promise(call.id, Vec::new());
            }
        }
    }

    /// A refusal is never longer than a frame.
    fn push_refusal(&mut self, id: CallId, error: RemoteError) {
        let len_max = self.peer.message_len.min(FRAME_LEN_MAX as u64) as usize;
        let mut body = BytesMut::new();
        let mut refusal = Message::Refusal(Refusal { id, error });
        refusal.encode(&mut body);
        if let Message::Refusal(Refusal { error, .. }) = &mut refusal
            && 1 + body.len() > len_max
        {
            *error = cut_texts(error, len_max);
            body.clear();
            refusal.encode(&mut body);
        }
        self.write(Kind::Refusal, |_| (), &mut body.into(), None, Kept::default());
    }

    fn finish(&mut self, call: ServedId) -> bool {
        let Some(gives_back) = self.served.finish(call).filter(|_| self.phase != Phase::Over) else { return false };
        match gives_back {
            GivesBack::Call(bytes) => {
                self.receive_credit.handle_answer();
                self.give_back(bytes);
            }
            GivesBack::Pull => self.receive_credit.handle_pulled(),
        }
        true
    }

    /// The arguments of a call are not held any more: gives the peer its byte credit back. Credit of
    /// a connection that was lost went with it.
    pub fn let_go(&mut self, cost: Cost) {
        let Some(taken) = cost.0.filter(|taken| taken.connection == self.connection) else { return };
        if !self.is_suspended() {
            self.give_back(taken.bytes);
        }
    }

    fn give_back(&mut self, bytes: u64) {
        if let Some(bytes) = self.receive_credit.let_go(bytes) {
            self.push(&Message::Credit(Credit { calls: 0, bytes }));
        }
    }

    pub(super) fn receive_one(&mut self, descriptor: Descriptor) -> Result<Received<O>, WireError> {
        let (slot, id, interfaces, third) = match descriptor {
            Descriptor::Yours(slot) => {
                let returned = self.exports.get(slot).cloned();
                return Ok(returned.map_or(Received::Revoked, Received::Returned));
            }
            Descriptor::Mine { slot, object, interfaces } => (slot, object, interfaces, None),
            Descriptor::Third { slot, object, interfaces, owner, endpoints, route } => {
                (slot, object, interfaces, Some(Third { owner, endpoints, route }))
            }
        };
        let interfaces = self.learnt.interfaces(interfaces)?.clone();
        self.imports.receive(slot)?;
        Ok(Received::Held(HeldReference { slot, id, interfaces, third }))
    }
}

/// Where an answer gives its first references out, with the objects. Those of the peer's own are not given out.
fn given_out<O: Clone>(descriptors: &[Descriptor], kept: &Kept<O>) -> Vec<Option<(Slot, O)>> {
    let slot = |descriptor: &Descriptor| match descriptor {
        Descriptor::Mine { slot, .. } | Descriptor::Third { slot, .. } => Some(*slot),
        Descriptor::Yours(_) => None,
    };
    let given = descriptors.iter().zip(&kept.keep).take(PROMISED_MAX);
    given.map(|(descriptor, object)| Some((slot(descriptor)?, object.clone()))).collect()
}

fn promise_broken() -> RemoteError {
    let message = "the result that it is called on is no reference to an object of the callee's: its call failed, or the result came from the caller";
    RemoteError::new(ErrorKind::PromiseBroken, message).with_certainty(Certainty::NotExecuted)
}

fn no_such_object() -> RemoteError {
    let message =
        "the object does not exist here, or exists no more: its references were released, or its node restarted";
    RemoteError::new(ErrorKind::NoSuchObject, message).with_certainty(Certainty::NotExecuted)
}

fn too_deep(depth: u32, max: u32) -> RemoteError {
    RemoteError::new(ErrorKind::Overloaded, format!("calls nest {depth} deep, and may {max} deep"))
}

/// An error whose refusal is no longer than this: its texts share what there is, without sources.
fn cut_texts(error: &RemoteError, len_max: usize) -> RemoteError {
    // What is no text: kind and id of the refusal, kind and certainty of the error, lengths.
    let share = len_max.saturating_sub(40) / 4;
    let mut short = RemoteError::new(error.kind(), cut(error.message(), share)).with_certainty(error.certainty());
    if let Some(method) = error.method() {
        short = short.with_method(cut(method, share));
    }
    if let Some(object) = error.object() {
        short = short.with_object(cut(object, share));
    }
    if let Some(peer) = error.peer() {
        short = short.with_peer(cut(peer, share));
    }
    short
}

/// An own object as a reply passes it.
impl<O> Passed<O> {
    /// A reference to an object of this node.
    pub fn own(object: O, id: ObjectId, interfaces: crate::object::InterfaceSet) -> Self {
        Self { object, id, interfaces, origin: Origin::Own }
    }
}

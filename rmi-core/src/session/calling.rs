//! The caller's half of a session: calls start, wait, are cancelled, and end.

use std::{
    sync::Arc,
    task::{Poll, Waker},
};

use super::{
    Phase, Session,
    calls::{Answer, CallKey, CallsMade, Late, Left, Takes},
    definitions::{Given, MethodRef, check_name},
    parked::{Needs, Parked, ParkedCall, Waits},
    references::{Passed, Received},
    sending::{Begun, Kept},
};
use crate::{
    error::{Certainty, ErrorKind, RemoteError},
    id::{ObjectId, PULL},
    time::Time,
    wire::{
        Acquire, CallHead, CallId, Cancel, Descriptor, Encoded, Extras, Kind, Message, MethodNumber, PromiseId, Reply,
        Target, WireError,
    },
};

/// A call takes no more than this beside its payload, its references, its extras and the name of a service.
const CALL_LEN_MAX: u64 = 64;

/// A call to start.
#[derive(Debug)]
pub struct StartCall<'a, O> {
    /// The object, by its slot where it is held.
    pub target: Target,
    /// The object whose calls begin in the order in which they were made.
    pub order: ObjectId,
    /// The method.
    pub method: MethodRef<'a>,
    /// The references in the payload.
    pub references: Vec<Passed<O>>,
    /// The encoded arguments. Left empty.
    pub payload: &'a mut Encoded,
    /// When it has to end.
    pub deadline: Option<Time>,
    /// How deep it is nested: 0 outside of every handler.
    pub depth: u32,
    /// Whether it comes from a peer, through this node.
    pub relayed: bool,
    /// Its trace and its metadata, where there are any.
    pub extras: Option<Arc<Extras>>,
    /// What its result may be called by before it is there: a number of [`Session::next_promise`].
    pub promises: Option<PromiseId>,
}

impl<O: Clone> Session<O> {
    /// Starts a call: sends it, or lets it wait for the peer's credit.
    ///
    /// # Errors
    ///
    /// Where it cannot even wait; it was not sent then.
    pub fn start_call(&mut self, now: Time, call: StartCall<'_, O>) -> Result<CallKey, RemoteError> {
        let number = match self.may_call(&call) {
            Ok(number) => number,
            Err(error) => {
                self.effects.garbage.extend(call.references.into_iter().map(|passed| passed.object));
                call.payload.clear();
                return Err(error.with_certainty(Certainty::NotSent));
            }
        };
        let takes = if call.method.id == PULL { Takes::Pull } else { Takes::Credit };
        let (key, id) = self.made.start(call.deadline, takes);
        if let Some(method) = number {
            if takes == Takes::Pull {
                self.send_credit.take_pull();
            } else {
                self.send_credit.take(self.send_credit.cost(call.payload.len(), call.references.len()));
            }
            let time_left = call.deadline.map(|deadline| deadline.since(now));
            let (descriptors, kept) = self.describe(call.references);
            let head = CallHead {
                id,
                target: &call.target,
                method,
                time_left,
                depth: call.depth,
                extras: call.extras.as_deref(),
                promises: call.promises,
                references: &descriptors,
            };
            send_call(self, call.order, &head, call.payload, kept);
        } else {
            let payload = call.payload.take();
            let parked = ParkedCall {
                target: call.target,
                order: call.order,
                method: call.method.id,
                fingerprint: call.method.fingerprint,
                method_name: call.method.name.to_string(),
                references: call.references,
                payload,
                depth: call.depth,
                relayed: call.relayed,
                extras: call.extras,
                promises: call.promises,
            };
            self.park(now, key, Waits::Call(parked));
        }
        Ok(key)
    }

    /// A number for a promise that this link has not used.
    pub fn next_promise(&mut self) -> PromiseId {
        let promise = PromiseId(self.promised);
        self.promised += 1;
        promise
    }

    /// Whether messages of this order wait behind a large one: what is called by another order may overtake them.
    #[must_use]
    pub fn lags(&self, order: ObjectId) -> bool {
        !self.outbox.has_no_lanes() && self.outbox.is_blocked(order)
    }

    /// Whether a call may start now. Gives the number of its method, or none where it has to wait.
    fn may_call(&mut self, call: &StartCall<'_, O>) -> Result<Option<MethodNumber>, RemoteError> {
        if self.phase == Phase::Over {
            return Err(RemoteError::new(ErrorKind::ConnectionLost, "the connection is closed"));
        }
        if self.peer_closing {
            return Err(RemoteError::new(ErrorKind::Shutdown, "the peer is shutting down"));
        }
        if call.depth > self.limits.depth {
            let message = format!("calls nest {} deep, and may {} deep", call.depth, self.limits.depth);
            return Err(RemoteError::new(ErrorKind::Overloaded, message));
        }
        let waits = if call.method.id == PULL {
            if !self.send_credit.has_pull() {
                let message = "the peer waits for as many streams as it may";
                return Err(RemoteError::new(ErrorKind::Overloaded, message));
            }
            self.is_suspended()
        } else {
            let cost = self.send_credit.cost(call.payload.len(), call.references.len());
            self.is_suspended() || self.made.parked_len() > 0 || !self.send_credit.has(cost)
        };
        if waits {
            self.may_wait(call.depth, call.payload.len() as u64)?;
        }
        if let Target::Service(name) = &call.target {
            check_name("the name of a service", name)?;
        }
        if let Some(extras) = &call.extras {
            extras.check()?;
        }
        let head_len = head_len_max(&call.target, call.extras.as_deref());
        self.may_send("arguments", head_len, call.payload.len(), &call.references)?;
        let number = |given: &mut Given, frames| match call.relayed {
            true => given.relayed_method(call.method, frames),
            false => given.method(call.method, frames),
        };
        if waits { Ok(None) } else { number(&mut self.given, self.outbox.frames()).map(Some) }
    }

    /// Whether the peer accepts a message with this payload and these references, beside which it
    /// takes `head_len` at most. Their interfaces are defined from now on.
    pub(super) fn may_send(
        &mut self,
        what: &'static str,
        head_len: u64,
        payload_len: usize,
        references: &[Passed<O>],
    ) -> Result<(), RemoteError> {
        let too_large = |message| Err(RemoteError::new(ErrorKind::TooLarge, message));
        if references.len() > self.limits.references as usize {
            let (count, limit) = (references.len(), self.limits.references);
            return too_large(format!("the {what} hold {count} references, and a message may hold {limit}"));
        }
        if references.is_empty() && (payload_len as u64).saturating_add(head_len) <= self.peer.message_len {
            return Ok(());
        }
        let references_len: u64 = references.iter().map(Passed::len_max).sum();
        let length = (payload_len as u64).saturating_add(references_len);
        let limit = self.peer.message_len;
        if length.saturating_add(head_len) > limit {
            return too_large(format!("the {what} take {length} bytes, and the peer takes messages of {limit}"));
        }
        self.may_give(references)?;
        // While there is no connection there is nobody to define them to: they are looked at again.
        for passed in references.iter().filter(|_| self.suspended.is_none()) {
            self.given.define_interfaces(&passed.interfaces, self.outbox.frames())?;
        }
        Ok(())
    }

    /// A nested call never waits for credit: its caller's caller might wait for this very node. It
    /// does wait for a connection, which has a bound.
    fn may_wait(&self, depth: u32, bytes: u64) -> Result<(), RemoteError> {
        if depth > 0 && !self.is_suspended() {
            let message = "the peer has no credit for a nested call; let it serve more calls at once";
            return Err(RemoteError::new(ErrorKind::Overloaded, message));
        }
        let (waiting, limits) = (self.made.waiting(), &self.limits);
        let why = if waiting.calls >= limits.waiting_calls as usize {
            format!("{} calls wait for the peer already, as many as Limits::waiting_calls allows", waiting.calls)
        } else if waiting.bytes > 0 && waiting.bytes.saturating_add(bytes) > limits.waiting_bytes {
            let (held, max) = (waiting.bytes, limits.waiting_bytes);
            format!("calls of {held} bytes wait for the peer already, and Limits::waiting_bytes allows {max}")
        } else {
            return Ok(());
        };
        Err(RemoteError::new(ErrorKind::Overloaded, why))
    }

    /// A call waits behind all others. Keys of ended calls are never more than half of the queue.
    fn enqueue(&mut self, key: CallKey) {
        if self.waiting.len() >= 2 * self.made.parked_len() {
            let made = &mut self.made;
            self.waiting.retain(|key| made.parked(*key).is_some());
        }
        self.waiting.push_back(key);
    }

    /// A call or an acquire begins to wait, behind all others.
    fn park(&mut self, now: Time, key: CallKey, what: Waits<O>) {
        let until = self.is_suspended().then(|| now + self.limits.connect_timeout);
        self.made.park(key, Parked { since: now, departs: None, what }, until);
        self.enqueue(key);
    }

    /// Credit or a connection came back, or a call that waited has ended: sends what waits, in order.
    pub(super) fn send_waiting(&mut self, now: Time) {
        while let Some(&key) = self.waiting.front() {
            let may_not = self.phase == Phase::Over || self.is_suspended();
            if let Some(parked) = self.made.parked(key) {
                if may_not {
                    return;
                }
                let taken = match parked.needs(&self.send_credit) {
                    Needs::Call(cost) => self.send_credit.take(cost),
                    Needs::Pull => self.send_credit.take_pull(),
                    Needs::Nothing => true,
                };
                if !taken {
                    return;
                }
                if let Some(Parked { departs, what, .. }) = self.made.unpark(key).map(|parked| *parked) {
                    self.effects.wakers.extend(departs);
                    match what {
                        Waits::Call(call) => self.send_parked(now, key, call),
                        Waits::Acquire(object) => self.send_acquire(CallsMade::<O>::id_of(key), object),
                    }
                }
            }
            self.waiting.pop_front();
        }
    }

    /// The number of a call's method on this connection, if the peer takes the call.
    fn number_parked(&mut self, call: &ParkedCall<O>) -> Result<MethodNumber, RemoteError> {
        let head_len = head_len_max(&call.target, call.extras.as_deref());
        self.may_send("arguments", head_len, call.payload.len(), &call.references)?;
        let method = MethodRef { id: call.method, fingerprint: call.fingerprint, name: &call.method_name };
        match call.relayed {
            true => self.given.relayed_method(method, self.outbox.frames()),
            false => self.given.method(method, self.outbox.frames()),
        }
    }

    fn send_parked(&mut self, now: Time, key: CallKey, call: ParkedCall<O>) {
        let method = match self.number_parked(&call) {
            Ok(method) => method,
            Err(error) => {
                if call.method == PULL {
                    self.send_credit.give_back_pull();
                } else {
                    self.send_credit.give_back_call();
                    let cost = self.send_credit.cost(call.payload.len(), call.references.len());
                    self.send_credit.give_back_bytes(cost);
                }
                self.effects.garbage.extend(call.references.into_iter().map(|passed| passed.object));
                self.made.fail(key, error.with_certainty(Certainty::NotSent), &mut self.effects);
                return;
            }
        };
        let time_left = self.made.time_left(key, now);
        let (descriptors, kept) = self.describe(call.references);
        let head = CallHead {
            id: CallsMade::<O>::id_of(key),
            target: &call.target,
            method,
            time_left,
            depth: call.depth,
            extras: call.extras.as_deref(),
            promises: call.promises,
            references: &descriptors,
        };
        let mut payload = Encoded::from(call.payload);
        send_call(self, call.order, &head, &mut payload, kept);
    }

    /// Asks for an object by its id, at its owner. Answered by one reference, or a failure. Until
    /// then the object may be called by its id.
    ///
    /// # Errors
    ///
    /// Where the link takes no calls any more; nothing was sent then.
    pub fn start_acquire(
        &mut self,
        now: Time,
        object: ObjectId,
        deadline: Option<Time>,
    ) -> Result<CallKey, RemoteError> {
        if !self.is_open() {
            let error = RemoteError::new(ErrorKind::ConnectionLost, "the connection is closing");
            return Err(error.with_certainty(Certainty::NotSent));
        }
        let (key, id) = self.made.start(deadline, Takes::Nothing);
        if self.is_suspended() {
            self.park(now, key, Waits::Acquire(object));
        } else {
            self.send_acquire(id, object);
        }
        Ok(key)
    }

    fn send_acquire(&mut self, id: CallId, object: ObjectId) {
        self.push(&Message::Acquire(Acquire { id, object }));
        self.made.handle_sent(id, self.log.note(Vec::new()));
    }

    /// The caller asks for its answer.
    ///
    /// # Cancel safety
    ///
    /// A caller that goes away must say so by [`cancel_call`](Self::cancel_call).
    pub fn poll_answer(&mut self, key: CallKey, waker: &Waker) -> Poll<Answer<O>> {
        self.made.poll(key, waker)
    }

    /// The caller of a oneway call asks whether it waits no longer for credit or for a connection. It is
    /// nobody's from then on: its answer, still due, is dropped when it comes.
    ///
    /// # Errors
    ///
    /// Where the call certainly did not run.
    ///
    /// # Cancel safety
    ///
    /// A caller that goes away before must say so by [`cancel_call`](Self::cancel_call).
    pub fn poll_departure(&mut self, key: CallKey, waker: &Waker) -> Poll<Result<(), RemoteError>> {
        self.made.poll_departure(key, waker).map_ok(|references| self.release_all(references))
    }

    /// The caller has gone: the call is taken back or cancelled, and what it may have received is
    /// released.
    pub fn cancel_call(&mut self, now: Time, key: CallKey) {
        match self.made.abandon(key, &mut self.effects) {
            Left::Unsent(id) => {
                self.take_back(&[id]);
                self.send_waiting(now);
            }
            Left::Unanswered(id) if self.is_suspended() => self.made.forget(id),
            Left::Unanswered(id) => self.push(&Message::Cancel(Cancel { id })),
            Left::Answered(references) => self.release_all(references),
        }
    }

    pub(super) fn expire_calls(&mut self, now: Time) {
        let patience = self.is_suspended().then_some(self.limits.connect_timeout);
        let late = |why| {
            let (kind, certainty, message) = match why {
                Late::Call { sent: true } => {
                    (ErrorKind::DeadlineExceeded, Certainty::Unknown, "no answer within the time for the call")
                }
                Late::Call { sent: false } => {
                    (ErrorKind::DeadlineExceeded, Certainty::NotSent, "the peer took no call in time")
                }
                // It has waited as long as a dial may take, and goes again only where a failed dial would.
                Late::Connection => (
                    ErrorKind::Unreachable,
                    Certainty::NotSent,
                    "the connection is lost, and was not there again within the time to connect",
                ),
            };
            RemoteError::new(kind, message).with_certainty(certainty)
        };
        let (sent, unsent) = self.made.handle_timeout(now, patience, late, &mut self.effects);
        for id in sent {
            self.push(&Message::Cancel(Cancel { id }));
        }
        if !unsent.is_empty() {
            self.take_back(&unsent);
            self.send_waiting(now);
        }
    }

    pub(super) fn handle_reply(&mut self, now: Time, reply: Reply) -> Result<(), WireError> {
        let Reply { id, outcome, references, payload, .. } = reply;
        let references = self.receive(references)?;
        self.note_received(&references);
        let answer = match self.may_hold(&references) {
            Ok(()) => Answer::Reply { outcome, payload, references },
            Err(error) => {
                self.release_all(references);
                Answer::Failed(error.with_certainty(Certainty::Executed))
            }
        };
        self.handle_answer(now, id, answer)
    }

    pub(super) fn handle_answer(&mut self, now: Time, id: CallId, answer: Answer<O>) -> Result<(), WireError> {
        let takes = self.made.takes(id);
        if takes == Some(Takes::Nothing) && !answer.is_one_reference() {
            return Err(WireError::Broken("answered an acquire with something else than a reference"));
        }
        match self.made.handle_answer(id, answer, &mut self.effects) {
            Err(_) => return Err(WireError::Broken("answered a call that was never made")),
            Ok(Some(Answer::Reply { references, .. })) => self.release_all(references),
            Ok(_) => {}
        }
        match takes {
            Some(Takes::Credit) => {
                self.send_credit.give_back_call();
                self.send_waiting(now);
            }
            Some(Takes::Pull) => self.send_credit.give_back_pull(),
            Some(Takes::Nothing) | None => {}
        }
        Ok(())
    }

    /// Descriptors that arrived become references, and count from now on, whatever becomes of
    /// their message.
    pub(super) fn receive(&mut self, descriptors: Vec<Descriptor>) -> Result<Vec<Received<O>>, WireError> {
        if descriptors.is_empty() {
            return Ok(Vec::new());
        }
        descriptors.into_iter().map(|descriptor| self.receive_one(descriptor)).collect()
    }
}

/// The most bytes that a call takes beside its payload and its references.
fn head_len_max(target: &Target, extras: Option<&Extras>) -> u64 {
    let extras_len = extras.map_or(0, |extras| extras.len_max() as u64);
    match target {
        Target::Service(name) => CALL_LEN_MAX + name.len() as u64 + extras_len,
        Target::Slot(_) | Target::Object(_) | Target::Promise { .. } => CALL_LEN_MAX + extras_len,
    }
}

fn send_call<O: Clone>(
    session: &mut Session<O>,
    order: ObjectId,
    head: &CallHead<'_>,
    payload: &mut Encoded,
    kept: Kept<O>,
) {
    let target = if let Target::Slot(slot) = head.target { Some(*slot) } else { None };
    let extras_len = head.extras.map_or(0, Extras::len_max);
    let begun = Begun { id: head.id, order, target, extras_len };
    session.write(Kind::Call, |out| head.encode_head(out), payload, Some(begun), kept);
}

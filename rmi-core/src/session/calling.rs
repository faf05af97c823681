//! The caller's half of a session: calls start, wait, are cancelled, and end.

use std::task::{Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::{
    Phase, Session,
    calls::{Answer, CallKey, CallsMade, Left, Parked, Takes},
    credit::byte_cost,
    definitions::{MethodRef, check_name},
    outbox::{Done, Outgoing},
    references::{Origin, Passed, Received},
};
use crate::{
    error::{Certainty, ErrorKind, RemoteError},
    id::ObjectId,
    time::Time,
    wire::{
        Acquire, CallHead, CallId, Cancel, Descriptor, FRAME_LEN_MAX, Kind, Message, MethodNumber, Reply, Slot, Target,
        WireError, begin_frame, finish_frame,
    },
};

/// A head without references is never longer than this, so that its frame can be written in place.
const HEAD_LEN_MAX: usize = 2 << 10;

/// A call takes no more than this beside its payload, its references and the name of a service.
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
    pub payload: &'a mut BytesMut,
    /// When it has to end.
    pub deadline: Option<Time>,
    /// How deep it is nested: 0 outside of every handler.
    pub depth: u32,
}

/// What a message's references need until it has left.
#[derive(Debug)]
pub(super) struct Kept<O> {
    pub(super) counted: Vec<Slot>,
    pub(super) held: Vec<Slot>,
    pub(super) keep: Vec<O>,
}

impl<O> Default for Kept<O> {
    fn default() -> Self {
        Self { counted: Vec::new(), held: Vec::new(), keep: Vec::new() }
    }
}

impl<O: Clone> Session<O> {
    /// Starts a call: sends it, or lets it wait for the peer's credit.
    ///
    /// # Errors
    ///
    /// Where it cannot even wait; it was not sent then.
    pub fn start_call(&mut self, now: Time, call: StartCall<'_, O>) -> Result<CallKey, RemoteError> {
        let method = match self.may_call(&call) {
            Ok(method) => method,
            Err(error) => {
                self.effects.garbage.extend(call.references.into_iter().map(|passed| passed.object));
                call.payload.clear();
                return Err(error.with_certainty(Certainty::NotSent));
            }
        };
        let (key, id) = self.made.start(call.deadline, Takes::Credit);
        let cost = byte_cost(call.payload.len(), call.references.len());
        let has_credit = self.made.parked_len() == 0 && self.send_credit.take(cost);
        if has_credit {
            let time_left = call.deadline.map(|deadline| deadline.since(now));
            let (descriptors, kept) = self.describe(call.references);
            let head = CallHead {
                id,
                target: &call.target,
                method,
                time_left,
                depth: call.depth,
                trace: None,
                metadata: &[],
                references: &descriptors,
            };
            send_call(self, call.order, &head, call.payload, kept);
        } else {
            let payload = Bytes::copy_from_slice(call.payload);
            call.payload.clear();
            let parked = Parked {
                target: call.target,
                order: call.order,
                method,
                references: call.references,
                payload,
                depth: call.depth,
            };
            self.made.park(key, Box::new(parked));
            self.enqueue(key);
        }
        Ok(key)
    }

    /// Whether a call may start now, and the number of its method.
    fn may_call(&mut self, call: &StartCall<'_, O>) -> Result<MethodNumber, RemoteError> {
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
        if self.made.parked_len() > 0 || !self.send_credit.has(byte_cost(call.payload.len(), call.references.len())) {
            self.may_wait(call.depth)?;
        }
        let mut head_len = CALL_LEN_MAX;
        if let Target::Service(name) = &call.target {
            check_name("the name of a service", name)?;
            head_len += name.len() as u64;
        }
        self.may_send("arguments", head_len, call.payload, &call.references)?;
        self.given.method(call.method, self.outbox.frames())
    }

    /// Whether the peer accepts a message with this payload and these references, beside which it
    /// takes `head_len` at most. Their interfaces are defined from now on.
    pub(super) fn may_send(
        &mut self,
        what: &'static str,
        head_len: u64,
        payload: &BytesMut,
        references: &[Passed<O>],
    ) -> Result<(), RemoteError> {
        let too_large = |message| Err(RemoteError::new(ErrorKind::TooLarge, message));
        if references.len() > self.limits.references as usize {
            let (count, limit) = (references.len(), self.limits.references);
            return too_large(format!("the {what} hold {count} references, and a message may hold {limit}"));
        }
        let references_len: u64 = references.iter().map(Passed::len_max).sum();
        let length = (payload.len() as u64).saturating_add(references_len);
        let limit = self.peer.message_len;
        if length.saturating_add(head_len) > limit {
            return too_large(format!("the {what} take {length} bytes, and the peer takes messages of {limit}"));
        }
        for passed in references {
            self.given.define_interfaces(&passed.interfaces, self.outbox.frames())?;
        }
        Ok(())
    }

    /// A nested call never waits: its caller's caller might wait for this very node.
    fn may_wait(&self, depth: u32) -> Result<(), RemoteError> {
        if depth > 0 {
            let message = "the peer has no credit for a nested call; let it serve more calls at once";
            return Err(RemoteError::new(ErrorKind::Overloaded, message));
        }
        let waiting = self.made.parked_len();
        if waiting >= self.limits.waiting_calls as usize {
            return Err(RemoteError::new(ErrorKind::Overloaded, format!("{waiting} calls wait for the peer already")));
        }
        Ok(())
    }

    /// A call waits behind all others. Keys of ended calls are never more than half of the queue.
    fn enqueue(&mut self, key: CallKey) {
        if self.waiting.len() >= 2 * self.made.parked_len() {
            let made = &mut self.made;
            self.waiting.retain(|key| made.parked(*key).is_some());
        }
        self.waiting.push_back(key);
    }

    /// Credit came back, or a call that waited has ended: sends what waits, in order.
    pub(super) fn send_waiting(&mut self, now: Time) {
        while let Some(&key) = self.waiting.front() {
            if let Some(parked) = self.made.parked(key) {
                if self.phase == Phase::Over
                    || !self.send_credit.take(byte_cost(parked.payload.len(), parked.references.len()))
                {
                    return;
                }
                if let Some(parked) = self.made.unpark(key) {
                    self.send_parked(now, key, *parked);
                }
            }
            self.waiting.pop_front();
        }
    }

    fn send_parked(&mut self, now: Time, key: CallKey, call: Parked<O>) {
        let time_left = self.made.time_left(key, now);
        let (descriptors, kept) = self.describe(call.references);
        let head = CallHead {
            id: CallsMade::<O>::id_of(key),
            target: &call.target,
            method: call.method,
            time_left,
            depth: call.depth,
            trace: None,
            metadata: &[],
            references: &descriptors,
        };
        let mut payload = BytesMut::from(call.payload);
        send_call(self, call.order, &head, &mut payload, kept);
    }

    /// Asks for an object by its id, at its owner. Answered by one reference, or a failure. Until
    /// then the object may be called by its id.
    ///
    /// # Errors
    ///
    /// Where the link takes no calls any more; nothing was sent then.
    pub fn start_acquire(&mut self, object: ObjectId, deadline: Option<Time>) -> Result<CallKey, RemoteError> {
        if !self.is_open() {
            let error = RemoteError::new(ErrorKind::ConnectionLost, "the connection is closing");
            return Err(error.with_certainty(Certainty::NotSent));
        }
        let (key, id) = self.made.start(deadline, Takes::Nothing);
        self.push(&Message::Acquire(Acquire { id, object }));
        self.made.handle_sent(id, self.sent);
        self.sent += 1;
        Ok(key)
    }

    /// The caller asks for its answer.
    ///
    /// # Cancel safety
    ///
    /// A caller that goes away must say so by [`cancel_call`](Self::cancel_call).
    pub fn poll_answer(&mut self, key: CallKey, waker: &Waker) -> Poll<Answer<O>> {
        self.made.poll(key, waker)
    }

    /// The caller has gone: the call is taken back or cancelled, and what it may have received is
    /// released.
    pub fn cancel_call(&mut self, now: Time, key: CallKey) {
        match self.made.abandon(key, &mut self.effects) {
            Left::Unsent(id) => {
                self.take_back(&[id]);
                self.send_waiting(now);
            }
            Left::Unanswered(id) => self.push(&Message::Cancel(Cancel { id })),
            Left::Answered(references) => self.release_all(references),
        }
    }

    /// Takes calls out of the outbox that have not left wholly, and undoes what they did.
    pub(super) fn take_back(&mut self, ids: &[CallId]) {
        for message in self.outbox.take_back(ids) {
            self.undo(message);
        }
        // What stood behind them may have left.
        self.settle_done();
    }

    /// Nothing that has not left wholly ever does.
    pub(super) fn drop_unsent(&mut self) {
        for message in self.outbox.take_unsent() {
            self.undo(message);
        }
    }

    fn undo(&mut self, message: Outgoing<O>) {
        if message.call.is_some() {
            self.send_credit.give_back_call();
            self.send_credit.give_back_bytes(byte_cost(message.payload_len, message.keep.len()));
        }
        for slot in message.counted {
            // What never arrives was never counted by the peer.
            self.effects.garbage.extend(self.exports.take_back(slot, 1).ok().flatten());
        }
        self.settle(Done { call: None, keep: message.keep, held: message.held });
    }

    pub(super) fn expire_calls(&mut self, now: Time) {
        let late = |sent| {
            let certainty = if sent { Certainty::Unknown } else { Certainty::NotSent };
            let message = if sent { "no answer within the time for the call" } else { "the peer took no call in time" };
            RemoteError::new(ErrorKind::DeadlineExceeded, message).with_certainty(certainty)
        };
        let (sent, unsent) = self.made.handle_timeout(now, late, &mut self.effects);
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
        self.handle_answer(now, id, Answer::Reply { outcome, payload, references })
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
        if takes == Some(Takes::Credit) {
            self.send_credit.give_back_call();
            self.send_waiting(now);
        }
        Ok(())
    }

    /// References on their way out become descriptors, and count from now on.
    pub(super) fn describe(&mut self, references: Vec<Passed<O>>) -> (Vec<Descriptor>, Kept<O>) {
        let (mut descriptors, mut kept) = (Vec::new(), Kept::default());
        for passed in references {
            descriptors.push(self.describe_one(&passed, &mut kept));
            kept.keep.push(passed.object);
        }
        (descriptors, kept)
    }

    fn describe_one(&mut self, passed: &Passed<O>, kept: &mut Kept<O>) -> Descriptor {
        if let Origin::Foreign { held: Some(slot), .. } = passed.origin
            && self.imports.hold(slot)
        {
            kept.held.push(slot);
            return Descriptor::Yours(slot);
        }
        let interfaces = self.given.interfaces(&passed.interfaces);
        let slot = interfaces.and_then(|_| self.exports.give(passed, self.limits.exports));
        let (Some(interfaces), Some(slot)) = (interfaces, slot) else {
            // Beyond the limit the peer gets a reference that leads nowhere, and says so when called.
            return Descriptor::Yours(Slot { index: u32::MAX, generation: u32::MAX });
        };
        kept.counted.push(slot);
        match &passed.origin {
            Origin::Own => Descriptor::Mine { slot, object: passed.id, interfaces },
            Origin::Foreign { owner, endpoints, .. } => Descriptor::Third {
                slot,
                object: passed.id,
                interfaces,
                owner: *owner,
                endpoints: endpoints.clone(),
                route: Vec::new(),
            },
        }
    }

    /// Writes a message whose head is encoded by `head`, or lets it travel in chunks. Returns
    /// whether it was written as one frame, in order with all others.
    pub(super) fn write(
        &mut self,
        kind: Kind,
        head: impl FnOnce(&mut BytesMut),
        payload: &mut BytesMut,
        call: Option<Begun>,
        mut kept: Kept<O>,
    ) -> bool {
        let blocked =
            !self.outbox.has_no_lanes() && call.as_ref().is_some_and(|call| self.outbox.is_blocked(call.order));
        if !blocked && kept.keep.is_empty() && payload.len() + HEAD_LEN_MAX <= FRAME_LEN_MAX {
            let frames = self.outbox.frames();
            let start = begin_frame(frames, kind);
            head(frames);
            frames.extend_from_slice(payload);
            finish_frame(frames, start);
            payload.clear();
            return true;
        }
        let mut encoded = BytesMut::new();
        head(&mut encoded);
        if !blocked && 1 + encoded.len() + payload.len() <= FRAME_LEN_MAX {
            let frames = self.outbox.frames();
            let start = begin_frame(frames, kind);
            frames.extend_from_slice(&encoded);
            frames.extend_from_slice(payload);
            finish_frame(frames, start);
            payload.clear();
            // The frame is in the outbox: a release behind it cannot overtake it.
            self.settle(Done { call: None, keep: kept.keep, held: kept.held });
            return true;
        }
        // A release would overtake the message, and its target be gone.
        kept.held.extend(call.as_ref().and_then(|call| call.target).filter(|slot| self.imports.hold(*slot)));
        let Kept { counted, held, keep } = kept;
        let (order, call) = call.map(|call| (call.order, call.id)).unzip();
        let payload = payload.split().freeze();
        let payload_len = payload.len();
        let head = encoded.freeze();
        self.outbox.push(Outgoing { kind, head, payload, payload_len, order, call, counted, keep, held });
        false
    }

    /// Notes what has left by way of a lane.
    pub(super) fn settle_done(&mut self) {
        for done in self.outbox.take_done() {
            self.settle(done);
        }
    }

    /// A message has left, or never will: what lived for it may go.
    pub(super) fn settle(&mut self, done: Done<O>) {
        if let Some(id) = done.call {
            self.made.handle_sent(id, self.sent);
            self.sent += 1;
        }
        for slot in done.held {
            self.release(slot);
        }
        self.effects.garbage.extend(done.keep);
    }

    /// Descriptors that arrived become references, and count from now on, whatever becomes of
    /// their message.
    pub(super) fn receive(&mut self, descriptors: Vec<Descriptor>) -> Result<Vec<Received<O>>, WireError> {
        descriptors.into_iter().map(|descriptor| self.receive_one(descriptor)).collect()
    }
}

/// A call as the outbox has to know it.
pub(super) struct Begun {
    id: CallId,
    order: ObjectId,
    /// The held object that it is for.
    target: Option<Slot>,
}

fn send_call<O: Clone>(
    session: &mut Session<O>,
    order: ObjectId,
    head: &CallHead<'_>,
    payload: &mut BytesMut,
    kept: Kept<O>,
) {
    let target = if let Target::Slot(slot) = head.target { Some(*slot) } else { None };
    let begun = Begun { id: head.id, order, target };
    if session.write(Kind::Call, |out| head.encode_head(out), payload, Some(begun), kept) {
        session.made.handle_sent(head.id, session.sent);
        session.sent += 1;
    }
}

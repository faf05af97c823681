//! The caller's half of a session: calls start, wait, are cancelled, and end.

use std::task::{Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::{
    Phase, Session,
    calls::{Answer, CallKey, CallsMade, Left, Parked, Takes},
    definitions::MethodRef,
    outbox::{Done, Outgoing},
    references::{Origin, Passed, Received},
};
use crate::{
    error::{Certainty, ErrorKind, RemoteError},
    id::ObjectId,
    time::Time,
    wire::{
        Acquire, CallHead, CallId, Cancel, Descriptor, FRAME_LEN_MAX, Kind, Message, Reply, Slot, Target, WireError,
        begin_frame, finish_frame,
    },
};

/// A head without references is never longer than this, so that its frame can be written in place.
const HEAD_LEN_MAX: usize = 2 << 10;

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
        if let Err(error) = self.may_call(&call) {
            self.effects.garbage.extend(call.references.into_iter().map(|passed| passed.object));
            call.payload.clear();
            return Err(error.with_certainty(Certainty::NotSent));
        }
        let method = self.given.method(call.method, self.outbox.frames());
        let (key, id) = self.made.start(call.deadline, Takes::Credit);
        let has_credit = self.waiting.is_empty() && self.send_credit.take(call.payload.len() as u64);
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
            self.waiting.push_back(key);
        }
        Ok(key)
    }

    fn may_call(&mut self, call: &StartCall<'_, O>) -> Result<(), RemoteError> {
        if self.phase == Phase::Over {
            return Err(RemoteError::new(ErrorKind::ConnectionLost, "the connection is closed"));
        }
        if self.peer_closing {
            return Err(RemoteError::new(ErrorKind::Shutdown, "the peer is shutting down"));
        }
        let length = call.payload.len() as u64;
        if length.saturating_add(HEAD_LEN_MAX as u64) > self.peer.message_len {
            let limit = self.peer.message_len;
            let message = format!("the arguments take {length} bytes, and the peer takes messages of {limit}");
            return Err(RemoteError::new(ErrorKind::TooLarge, message));
        }
        if call.references.len() > self.limits.references as usize {
            let (count, limit) = (call.references.len(), self.limits.references);
            let message = format!("the arguments hold {count} references, and a message may hold {limit}");
            return Err(RemoteError::new(ErrorKind::TooLarge, message));
        }
        if call.depth > self.limits.depth {
            let message = format!("calls nest {} deep, and may {} deep", call.depth, self.limits.depth);
            return Err(RemoteError::new(ErrorKind::Overloaded, message));
        }
        if !self.waiting.is_empty() || !self.send_credit.has(length) {
            self.may_wait(call.depth)?;
        }
        Ok(())
    }

    /// A nested call never waits: its caller's caller might wait for this very node.
    fn may_wait(&mut self, depth: u32) -> Result<(), RemoteError> {
        if depth > 0 {
            let message = "the peer has no credit for a nested call; let it serve more calls at once";
            return Err(RemoteError::new(ErrorKind::Overloaded, message));
        }
        if self.waiting.len() >= self.limits.waiting_calls as usize {
            let made = &mut self.made;
            self.waiting.retain(|key| made.parked(*key).is_some());
        }
        if self.waiting.len() >= self.limits.waiting_calls as usize {
            let message = format!("{} calls wait for the peer already", self.waiting.len());
            return Err(RemoteError::new(ErrorKind::Overloaded, message));
        }
        Ok(())
    }

    /// Credit came back: sends what waited, in order.
    pub(super) fn send_waiting(&mut self, now: Time) {
        while let Some(&key) = self.waiting.front() {
            if let Some(place) = self.made.parked(key) {
                let length = place.as_ref().map_or(0, |parked| parked.payload.len() as u64);
                if !self.send_credit.take(length) {
                    return;
                }
                if let Some(parked) = place.take() {
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
                self.take_back(id);
                let _ = now;
            }
            Left::Unanswered(id) => self.push_cancel(id),
            Left::Answered(references) => self.release_all(references),
        }
    }

    fn push_cancel(&mut self, id: CallId) {
        if self.phase != Phase::Over {
            self.push(&Message::Cancel(Cancel { id }));
        }
    }

    /// Takes a call out of the outbox that has not left wholly, and undoes what it did.
    pub(super) fn take_back(&mut self, id: CallId) {
        let Some(message) = self.outbox.take_back(id) else { return };
        self.send_credit.give_back_call();
        self.send_credit.give_back_bytes(message.payload_len);
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
            self.push_cancel(id);
        }
        for id in unsent {
            self.take_back(id);
        }
    }

    pub(super) fn handle_reply(&mut self, now: Time, reply: Reply) -> Result<(), WireError> {
        let Reply { id, outcome, references, payload, .. } = reply;
        let references = self.receive(references)?;
        self.handle_answer(now, id, Answer::Reply { outcome, payload, references })
    }

    pub(super) fn handle_answer(&mut self, now: Time, id: CallId, answer: Answer<O>) -> Result<(), WireError> {
        let takes = self.made.takes(id);
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
        let Some(slot) = self.exports.give(passed, self.limits.exports) else {
            // Beyond the limit the peer gets a reference that leads nowhere, and says so when called.
            return Descriptor::Yours(Slot { index: u32::MAX, generation: u32::MAX });
        };
        kept.counted.push(slot);
        let interfaces = self.given.interfaces(&passed.interfaces, self.outbox.frames());
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
        order: Option<ObjectId>,
        call: Option<CallId>,
        kept: Kept<O>,
    ) -> bool {
        let blocked = !self.outbox.has_no_lanes() && order.is_some_and(|order| self.outbox.is_blocked(order));
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
        let Kept { counted, held, keep } = kept;
        let payload = payload.split().freeze();
        let payload_len = payload.len() as u64;
        let head = encoded.freeze();
        self.outbox.push(Outgoing { kind, head, payload, payload_len, order, call, counted, keep, held });
        false
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

fn send_call<O: Clone>(
    session: &mut Session<O>,
    order: ObjectId,
    head: &CallHead<'_>,
    payload: &mut BytesMut,
    kept: Kept<O>,
) {
    let id = head.id;
    if session.write(Kind::Call, |out| head.encode_head(out), payload, Some(order), Some(id), kept) {
        session.made.handle_sent(id, session.sent);
        session.sent += 1;
    }
}

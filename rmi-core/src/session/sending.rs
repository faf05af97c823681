//! Messages with references on their way out: written as frames or in chunks, counted, and taken back.

use bytes::BytesMut;

use super::{
    Session,
    lanes::Outgoing,
    outbox::Done,
    references::{Origin, Passed},
};
use crate::{
    id::ObjectId,
    wire::{CallId, Descriptor, Encoded, Kind, Slot, begin_frame, finish_frame},
};

/// A head without references and extras is never longer than this, so that its frame can be written in place.
const HEAD_LEN_MAX: usize = 2 << 10;

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

/// A call as the outbox has to know it.
pub(super) struct Begun {
    pub(super) id: CallId,
    pub(super) order: ObjectId,
    /// The held object that it is for.
    pub(super) target: Option<Slot>,
    /// The most bytes that its extras take.
    pub(super) extras_len: usize,
}

impl<O: Clone> Session<O> {
    /// References on their way out become descriptors, and count from now on.
    pub(super) fn describe(&mut self, references: Vec<Passed<O>>) -> (Vec<Descriptor>, Kept<O>) {
        let (mut descriptors, mut kept) = (Vec::new(), Kept::default());
        if references.is_empty() {
            return (descriptors, kept);
        }
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
        let slot = interfaces.and_then(|_| self.exports.give(passed, self.limits.exports, &mut self.effects.garbage));
        let (Some(interfaces), Some(slot)) = (interfaces, slot) else {
            // Beyond the limit the peer gets a reference that leads nowhere, and says so when called.
            return Descriptor::Yours(Slot { index: u32::MAX, generation: u32::MAX });
        };
        kept.counted.push(slot);
        match &passed.origin {
            Origin::Own => Descriptor::Mine { slot, object: passed.id, interfaces },
            Origin::Foreign { owner, endpoints, route, .. } => Descriptor::Third {
                slot,
                object: passed.id,
                interfaces,
                owner: *owner,
                endpoints: endpoints.clone(),
                route: route.clone(),
            },
        }
    }

    /// Writes a counted message whose head is encoded by `head`, or lets it travel in chunks.
    pub(super) fn write(
        &mut self,
        kind: Kind,
        head: impl FnOnce(&mut BytesMut),
        payload: &mut Encoded,
        call: Option<Begun>,
        mut kept: Kept<O>,
    ) {
        let blocked =
            !self.outbox.has_no_lanes() && call.as_ref().is_some_and(|call| self.outbox.is_blocked(call.order));
        let head_len_max = HEAD_LEN_MAX + call.as_ref().map_or(0, |call| call.extras_len);
        if !blocked && kept.keep.is_empty() && payload.fits(head_len_max) {
            let frames = self.outbox.frames();
            let start = begin_frame(frames, kind);
            head(frames);
            payload.append_to(frames);
            finish_frame(frames, start);
            let number = self.log.note(Vec::new());
            if let Some(call) = call {
                self.made.handle_sent(call.id, number);
            }
            return;
        }
        let mut encoded = BytesMut::from(&[kind as u8][..]);
        head(&mut encoded);
        if !blocked && payload.fits(encoded.len()) {
            let frames = self.outbox.frames();
            let start = begin_frame(frames, kind);
            frames.extend_from_slice(encoded.get(1..).unwrap_or_default());
            payload.append_to(frames);
            finish_frame(frames, start);
            // The frame is in the outbox: a release behind it cannot overtake it.
            let Kept { counted, held, keep } = kept;
            self.settle(Done { call: call.map(|call| call.id), counted, keep, held });
            return;
        }
        // A release would overtake the message, and its target be gone.
        kept.held.extend(call.as_ref().and_then(|call| call.target).filter(|slot| self.imports.hold(*slot)));
        let Kept { counted, held, keep } = kept;
        let (order, call) = call.map(|call| (call.order, call.id)).unzip();
        let payload_len = payload.len();
        let (tail, apart) = payload.split_behind(&mut encoded);
        let head = encoded.freeze();
        self.outbox.push(Outgoing { head, tail, apart, kind, payload_len, order, call, counted, keep, held });
    }

    /// Notes what has left by way of a lane: all of it before anything else is encoded, since it is
    /// counted in the order in which it leaves.
    pub(super) fn settle_done(&mut self) {
        let left: Vec<_> = self.outbox.take_done().into_iter().map(|done| self.note_sent(done)).collect();
        for (held, keep) in left {
            self.let_go_of(held, keep);
        }
    }

    /// A counted message has left: what lived for it may go.
    fn settle(&mut self, done: Done<O>) {
        let (held, keep) = self.note_sent(done);
        self.let_go_of(held, keep);
    }

    fn note_sent(&mut self, done: Done<O>) -> (Vec<Slot>, Vec<O>) {
        let number = self.log.note(done.counted);
        if let Some(id) = done.call {
            self.made.handle_sent(id, number);
        }
        (done.held, done.keep)
    }

    fn let_go_of(&mut self, held: Vec<Slot>, keep: Vec<O>) {
        for slot in held {
            self.release(slot);
        }
        self.effects.garbage.extend(keep);
    }

    /// Takes calls out of the outbox that have not left wholly, and undoes what they did.
    pub(super) fn take_back(&mut self, ids: &[CallId]) {
        let taken = self.outbox.take_back(ids);
        // What stood behind them may have left.
        self.settle_done();
        for message in taken {
            self.undo(message);
        }
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
            let cost = self.send_credit.cost(message.payload_len, message.keep.len());
            self.send_credit.give_back_bytes(cost);
        }
        for slot in message.counted {
            // What never arrives was never counted by the peer.
            self.effects.garbage.extend(self.exports.take_back(slot, 1).ok().flatten());
        }
        self.let_go_of(message.held, message.keep);
    }
}

//! What a session holds for its peer and of its peer: given back, revoked, acknowledged.

use super::{
    Phase, ReferenceCounts, Session,
    references::{Origin, Passed, Received},
    sent::Trace,
};
use crate::{
    error::{ErrorKind, RemoteError},
    id::{NodeId, ObjectId},
    wire::{Ack, Kind, Message, Release, Slot},
};

impl<O: Clone> Session<O> {
    /// Whether the peer may be given these too.
    pub(super) fn may_give(&self, references: &[Passed<O>]) -> Result<(), RemoteError> {
        let given = self.exports.counts();
        let (objects_max, streams_max) = (self.limits.exports as usize, self.limits.streams as usize);
        let streams = references.iter().filter(|passed| passed.interfaces.is_stream()).count();
        // Mostly there is room for all of them, whatever the peer holds of them already.
        if given.objects + references.len() <= objects_max && (streams == 0 || given.streams + streams <= streams_max) {
            return Ok(());
        }
        let is_held = |passed: &&Passed<O>| match passed.origin {
            Origin::Foreign { held: Some(slot), .. } => self.imports.holds(slot),
            Origin::Foreign { .. } | Origin::Own => false,
        };
        let new = self.exports.count_new(references.iter().filter(|passed| !is_held(passed)));
        let overloaded = |why| Err(RemoteError::new(ErrorKind::Overloaded, why));
        if given.objects + new.objects > objects_max {
            let (held, more) = (given.objects, new.objects);
            return overloaded(format!(
                "{held} objects are given to the peer, {more} more are passed, and Limits::exports allows {objects_max}"
            ));
        }
        if new.streams > 0 && given.streams + new.streams > streams_max {
            let (held, more) = (given.streams, new.streams);
            return overloaded(format!(
                "{held} streams are given to the peer, {more} more are passed, and Limits::streams allows {streams_max}"
            ));
        }
        Ok(())
    }

    /// Whether what a message brought may be kept. It counts already.
    pub(super) fn may_hold(&self, brought: &[Received<O>]) -> Result<(), RemoteError> {
        let (held, max) = (self.imports.len(), self.limits.imports as usize);
        if held <= max || !brought.iter().any(|reference| matches!(reference, Received::Held(_))) {
            return Ok(());
        }
        let message = format!(
            "with those that the message brings {held} objects of the peer are held, and Limits::imports allows {max}"
        );
        Err(RemoteError::new(ErrorKind::Overloaded, message))
    }

    /// Gives a held reference back: one handle less, and a release for the peer with the last.
    pub fn release(&mut self, slot: Slot) {
        if let Some(count) = self.imports.release(slot) {
            self.send_release(slot, count);
        }
    }

    pub(super) fn send_release(&mut self, slot: Slot, count: u64) {
        self.say(&Message::Release(Release { slot, count }), Trace::Released(slot, count));
    }

    /// Lets go of an object of this node however often the peer holds it. `dead` stands in its place
    /// until the peer has released it.
    pub fn unexport(&mut self, id: &ObjectId, dead: O) {
        if let Some((slot, object)) = self.exports.replace(id, dead) {
            self.effects.garbage.push(object);
            self.send_revoked(slot);
        }
    }

    /// Tells the peer that what it holds in this slot is gone for good, though it goes on holding it.
    pub fn revoke(&mut self, slot: Slot) {
        if self.exports.revoke(slot) {
            self.send_revoked(slot);
        }
    }

    pub(super) fn send_revoked(&mut self, slot: Slot) {
        if self.peer.speaks(Kind::Revoked) {
            self.say(&Message::Revoked(slot), Trace::Revoked(slot));
        }
    }

    /// Sends something that a resumption repeats, now or once there is a connection.
    fn say(&mut self, message: &Message, trace: Trace) {
        if self.phase == Phase::Over {
            return;
        }
        if self.is_suspended() {
            self.log.put_off(trace);
        } else {
            self.push(message);
            self.log.note_trace(trace);
        }
    }

    /// Whether the peer has unexported what is held in this slot.
    #[must_use]
    pub fn is_revoked(&self, slot: Slot) -> bool {
        self.imports.is_revoked(slot)
    }

    /// A message brought references, which its sender remembers until it hears of their arrival.
    pub(super) fn note_received(&mut self, references: &[Received<O>]) {
        if references.iter().any(|reference| matches!(reference, Received::Held(_))) {
            self.note_trace();
        }
    }

    pub(super) fn note_trace(&mut self) {
        if self.receipts.note_trace() {
            self.push_ack();
        }
    }

    /// Tells the peer what arrived, if it waits to hear of anything.
    pub(super) fn push_ack(&mut self) {
        if self.lineage.is_some()
            && let Some(received) = self.receipts.take_ack()
        {
            self.push(&Message::Ack(Ack { received }));
        }
    }

    pub(super) fn release_all(&mut self, references: Vec<Received<O>>) {
        for reference in references {
            match reference {
                Received::Held(held) => self.release(held.slot),
                Received::Returned(object) => self.effects.garbage.push(object),
                Received::Revoked => {}
            }
        }
    }

    /// An object of a third node that the peer holds through this one.
    #[must_use]
    pub fn given_of(&self, owner: NodeId, id: ObjectId) -> Option<&O> {
        self.exports.foreign(owner, id)
    }

    /// The objects of third nodes that the peer holds through this one, and was not told to be gone, each
    /// with its slot.
    #[must_use]
    pub fn foreign_given(&self) -> Vec<(Slot, O)> {
        self.exports.all_foreign().map(|(slot, object)| (slot, object.clone())).collect()
    }

    /// How many messages that touched references the peer has not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.log.len()
    }

    /// How often references count, for tests: at rest, what one side gave is what the other holds.
    #[doc(hidden)]
    #[must_use]
    pub fn reference_counts(&self) -> ReferenceCounts {
        ReferenceCounts { given: self.exports.total(), held: self.imports.total() }
    }
}

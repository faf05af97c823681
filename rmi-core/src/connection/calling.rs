//! Calls that start over a link, and their answers.

use std::{
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use super::{Kept, Link, Locked, batch};
use crate::{
    error::RemoteError,
    id::ObjectId,
    session::{Answer, CallKey, Effects, MethodRef, StartCall},
    time::Time,
    wire::{Encoded, Extras, PromiseId, Slot, Target},
};

/// An encoded call without references, on its way to a link that may be there: most calls are such.
pub(crate) struct AtOnce<'a> {
    pub(crate) method: MethodRef<'a>,
    pub(crate) payload: &'a mut Encoded,
    /// The caller's own, where it is not the node's.
    pub(crate) timeout: Option<Duration>,
    /// What the call that it is nested in has left.
    pub(crate) left: Option<Duration>,
    pub(crate) depth: u32,
    pub(crate) extras: Option<Arc<Extras>>,
    /// Woken by its answer.
    pub(crate) waker: &'a Waker,
}

/// A call that started, or why it did not, and when it has to end.
pub(crate) type Started<C> = (Result<C, RemoteError>, Time);

/// What a step left to do, once no lock is held.
#[must_use = "callers wait to be woken"]
pub(crate) struct Left<O>(pub(super) Option<Effects<O>>);

impl<O: Kept> Link<O> {
    /// Starts a call. Its answer is awaited by [`poll_answer`](Self::poll_answer).
    pub(crate) fn start_call(&self, now: Time, call: StartCall<'_, O>) -> Result<CallKey, RemoteError> {
        self.step(|locked| {
            let started = locked.session.start_call(now, call);
            self.flush_soon(locked);
            started
        })
    }

    /// Asks the owner for an object by its id.
    pub(crate) fn start_acquire(&self, now: Time, object: ObjectId, deadline: Time) -> Result<CallKey, RemoteError> {
        self.step(|locked| {
            let started = locked.session.start_acquire(now, object, Some(deadline));
            self.flush_soon(locked);
            started
        })
    }

    pub(crate) fn poll_answer(&self, key: CallKey, waker: &Waker) -> Poll<Answer<O>> {
        self.step(|locked| locked.session.poll_answer(key, waker))
    }

    /// A number for a promise over this link.
    pub(crate) fn next_promise(&self) -> PromiseId {
        self.locked.lock().session.next_promise()
    }

    /// Whether calls of this order wait behind a large one.
    pub(crate) fn lags(&self, order: ObjectId) -> bool {
        self.locked.lock().session.lags(order)
    }

    /// Asks whether a oneway call waits no longer to be sent.
    pub(crate) fn poll_departure(&self, key: CallKey, waker: &Waker) -> Poll<Result<(), RemoteError>> {
        self.act(|session| session.poll_departure(key, waker))
    }

    pub(crate) fn cancel_call(&self, key: CallKey) {
        self.act(|session| session.cancel_call(self.clock.now(), key));
    }

    /// Starts a call of an object held over this link, if the link is open, for a task that waits for it
    /// from now on; with when it has to end.
    pub(crate) fn start_at_once(
        &self,
        slot: Slot,
        order: ObjectId,
        call: AtOnce<'_>,
    ) -> (Option<Started<CallKey>>, Left<O>) {
        if self.ended.get().is_some() {
            return (None, Left(None));
        }
        let AtOnce { method, payload, timeout, left, depth, extras, waker } = call;
        let own = timeout.unwrap_or(self.limits.call_timeout);
        let time = left.map_or(own, |left| left.min(own));
        self.step_and_leave(|locked| {
            if !locked.session.is_open() {
                return None;
            }
            let now = self.batch_time(locked);
            let ends = now + time;
            let (target, references, deadline) = (Target::Slot(slot), Vec::new(), Some(ends));
            let (relayed, promises) = (false, None);
            let call =
                StartCall { target, order, method, references, payload, deadline, depth, relayed, extras, promises };
            let started = locked.session.start_call(now, call);
            if let Ok(key) = started {
                // Nothing can have come back yet.
                let _pending = locked.session.poll_answer(key, waker);
            }
            self.flush_soon(locked);
            Some((started, ends))
        })
    }

    /// The time, as the first call of those that leave together has read it.
    fn batch_time(&self, locked: &mut Locked<O>) -> Time {
        if locked.is_full || !locked.session.has_output() {
            locked.batch = None;
        }
        *locked.batch.get_or_insert_with(|| self.clock.now())
    }

    /// A lone caller writes to the socket itself. From the second call in flight on, frames gather
    /// while other tasks run, and the driver writes them together; so does the first one after such calls.
    /// In a batch they wait for its poll to end.
    fn flush_soon(&self, locked: &mut Locked<O>) {
        if batch::gathers()
            && let Some(link) = self.own.upgrade()
        {
            // They may be long in the making, so each reads the clock.
            locked.batch = None;
            return batch::gather(link);
        }
        let is_alone = locked.session.counts().made <= 1;
        // Where calls come together, the first of the next ones is not alone for long.
        let came_together = std::mem::replace(&mut locked.come_together, !is_alone);
        self.flush(locked, is_alone && !came_together);
    }

    /// Writes what waits, at once if nobody is about to, or lets the driver do so.
    pub(super) fn flush(&self, locked: &mut Locked<O>, at_once: bool) {
        if !locked.flushing && at_once && self.write(locked).is_ok() {
            // An error of the socket is the driver's to find.
        }
        if locked.session.has_output() {
            self.wake_to_flush(locked);
        }
        // Without a connection, a call that waits hastens the next dial.
        if locked.session.next_timeout() < locked.armed || locked.session.is_suspended() {
            self.driver.wake();
        }
    }
}

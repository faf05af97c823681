//! Calls that need nothing but their link: most of all calls.

use std::{task::Waker, time::Duration};

use bytes::BytesMut;

use super::{Kept, Link, Locked};
use crate::{
    error::RemoteError,
    id::ObjectId,
    session::{CallKey, MethodRef, StartCall},
    time::Time,
    wire::{Slot, Target},
};

/// An encoded call without references, on its way to a link that may be there.
pub(crate) struct AtOnce<'a> {
    pub(crate) method: MethodRef<'a>,
    pub(crate) payload: &'a mut BytesMut,
    /// The caller's own, where it is not the node's.
    pub(crate) timeout: Option<Duration>,
    /// What the call that it is nested in has left.
    pub(crate) left: Option<Duration>,
    pub(crate) depth: u32,
    /// Woken by its answer.
    pub(crate) waker: &'a Waker,
}

impl<O: Kept> Link<O> {
    /// Starts a call of an object held over this link, if the link is open, for a task that waits for it
    /// from now on. With when it has to end.
    pub(crate) fn start_at_once(
        &self,
        slot: Slot,
        order: ObjectId,
        call: AtOnce<'_>,
    ) -> Option<(Result<CallKey, RemoteError>, Time)> {
        if self.ended.get().is_some() {
            return None;
        }
        let AtOnce { method, payload, timeout, left, depth, waker } = call;
        let own = timeout.unwrap_or(self.limits.call_timeout);
        let time = left.map_or(own, |left| left.min(own));
        self.step(|locked| {
            if !locked.session.is_open() {
                return None;
            }
            let now = self.batch_time(locked);
            let deadline = now + time;
            let target = Target::Slot(slot);
            let (references, deadline_of_call) = (Vec::new(), Some(deadline));
            let call = StartCall {
                target,
                order,
                method,
                references,
                payload,
                deadline: deadline_of_call,
                depth,
                relayed: false,
            };
            let started = locked.session.start_call(now, call);
            if let Ok(key) = started {
                // Nothing can have come back yet.
                let _pending = locked.session.poll_answer(key, waker);
            }
            self.flush_soon(locked);
            Some((started, deadline))
        })
    }

    /// The time, as the first call of those that leave together has read it.
    fn batch_time(&self, locked: &mut Locked<O>) -> Time {
        if !locked.session.has_output() {
            locked.batch = None;
        }
        *locked.batch.get_or_insert_with(|| self.clock.now())
    }
}

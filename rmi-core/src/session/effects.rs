//! What a step of the session asks its driver to do once the session is unlocked.

use std::task::Waker;

use bytes::Bytes;

use super::parked::{Parked, Waits};

/// Wakers to wake, objects and memory to drop, outside every lock.
#[derive(Debug)]
pub struct Effects<O> {
    /// Callers whose calls have ended.
    pub wakers: Vec<Waker>,
    /// Objects that nothing on this link keeps any more.
    pub garbage: Vec<O>,
    /// Memory of large messages that have left, which others may hold too.
    pub spent: Vec<Bytes>,
}

impl<O> Default for Effects<O> {
    fn default() -> Self {
        Self { wakers: Vec::new(), garbage: Vec::new(), spent: Vec::new() }
    }
}

impl<O> Effects<O> {
    /// A call that will not be sent lets go of what it would have passed.
    pub(crate) fn discard(&mut self, parked: Option<Box<Parked<O>>>) {
        let Some(Parked { departs, what, .. }) = parked.map(|parked| *parked) else { return };
        self.wakers.extend(departs);
        if let Waits::Call(call) = what {
            self.garbage.extend(call.references.into_iter().map(|passed| passed.object));
        }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.garbage.is_empty() && self.spent.is_empty()
    }
}

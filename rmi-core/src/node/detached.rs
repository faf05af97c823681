//! Calls that run to their end, whatever becomes of their callers and of the links that brought them.

use futures_util::future::{AbortHandle, Abortable};

use super::Node;
use crate::skeleton::Handler;

impl Node {
    /// Remembers the handler of a detached method until it ends, so that a shutdown waits for it.
    pub(super) fn note_detached(&self, handler: Handler) -> Handler {
        if handler.manner.detached { self.detach(handler) } else { handler }
    }

    fn detach(&self, Handler { running, manner }: Handler) -> Handler {
        let (abort, registration) = AbortHandle::new_pair();
        let place = Place { node: self.clone(), key: self.0.detached.lock().insert(abort) };
        let running = Box::pin(async move {
            let _place = place;
            let _ = Abortable::new(running, registration).await;
        });
        Handler { running, manner }
    }

    /// Drops those that have taken longer than a shutdown waits, at their next await.
    pub(super) fn end_detached(&self) {
        self.0.detached.lock().iter().for_each(|(_, abort)| abort.abort());
    }
}

/// A detached call in the table of its node.
struct Place {
    node: Node,
    key: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.node.0.detached.lock().remove(self.key);
        self.node.0.quiet.notify_waiters();
    }
}

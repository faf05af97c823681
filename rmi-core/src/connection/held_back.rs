//! Calls that begin, and those that are held back meanwhile: too much waits to be written to their caller.

use super::{Driver, Host, Kept, dispatch::Served};
use crate::{
    id::ObjectId,
    session::{Arrived, ServedId},
    wire::MethodNumber,
};

/// A call that is held back.
pub(super) enum HeldBack<O, F> {
    Arrived(Arrived<O>),
    /// It was cancelled, and begins in its turn all the same.
    Detached {
        id: ServedId,
        object: ObjectId,
        method: MethodNumber,
        handler: F,
    },
}

impl<O: Kept, H: Host<O>> Driver<O, H> {
    pub(super) fn handle_call(&mut self, call: Arrived<O>) {
        if !self.held_back.is_empty() || !self.link.has_room() {
            self.held_back.push_back(HeldBack::Arrived(call));
        } else {
            self.start(call);
        }
    }

    fn start(&mut self, call: Arrived<O>) {
        let (id, method) = (call.id, call.number);
        if let Some((object, handler)) = self.host.serve(&self.line, call) {
            self.dispatch.start(id, object, method, handler);
        }
    }

    pub(super) fn handle_cancel(&mut self, id: ServedId) {
        let is_cancelled = |held: &HeldBack<_, _>| matches!(held, HeldBack::Arrived(call) if call.id == id);
        let Some(at) = self.held_back.iter().position(is_cancelled) else { return self.dispatch.cancel(id) };
        let Some(HeldBack::Arrived(call)) = self.held_back.remove(at) else { return };
        let method = call.number;
        match self.host.serve(&self.line, call) {
            Some((object, handler)) if handler.is_detached() => {
                self.held_back.insert(at, HeldBack::Detached { id, object, method, handler });
            }
            // Dropping the handler releases what it holds, and answers the call.
            served => drop(served),
        }
    }

    /// Enough was written: calls held back begin. Whether any did.
    pub(super) fn release_held_back(&mut self) -> bool {
        if self.held_back.is_empty() {
            return false;
        }
        self.dispatch.begin_batch();
        let mut released = false;
        while !self.held_back.is_empty() && self.link.has_room() {
            match self.held_back.pop_front() {
                Some(HeldBack::Arrived(call)) => self.start(call),
                Some(HeldBack::Detached { id, object, method, handler }) => {
                    self.dispatch.start(id, object, method, handler);
                }
                None => {}
            }
            released = true;
        }
        self.dispatch.end_batch();
        released
    }

    /// Drops the handlers of all calls that arrived, but for detached ones that were to begin by now: nobody
    /// hears of their results.
    pub(super) fn drop_handlers(&mut self) {
        self.dispatch.cancel_all();
        for held in self.held_back.drain(..) {
            if let HeldBack::Arrived(call) = held {
                drop(self.host.serve(&self.line, call));
            }
        }
    }
}

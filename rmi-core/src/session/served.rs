//! The calls served for the peer of one link.

use foldhash::fast::RandomState;
use hashbrown::{HashMap, hash_map::Entry};

use crate::wire::CallId;

/// A call served, as its callee knows it. Once it is answered the caller may use its id again, for
/// another call: the serial tells the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServedId {
    /// The caller's id for it.
    pub id: CallId,
    serial: u64,
}

/// The calls served for the peer: each is answered exactly once.
#[derive(Debug, Default)]
pub(crate) struct CallsServed {
    open: HashMap<CallId, Open, RandomState>,
    /// How many calls were taken, over all connections of the link.
    taken: u64,
}

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Open {
    serial: u64,
    gives_back: GivesBack,
}

/// What an answer gives back of the caller's credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GivesBack {
    /// One call, and so many bytes.
    Call(u64),
    /// One pull.
    Pull,
}

impl CallsServed {
    /// A call arrived; `None` where its id is still reserved.
    pub(crate) fn start(&mut self, id: CallId, gives_back: GivesBack) -> Option<ServedId> {
        let Entry::Vacant(place) = self.open.entry(id) else { return None };
        let serial = self.taken;
        place.insert(Open { serial, gives_back });
        self.taken += 1;
        Some(ServedId { id, serial })
    }

    /// A call that still waits for its answer does so no more. Returns the credit to give back.
    pub(crate) fn finish(&mut self, call: ServedId) -> Option<GivesBack> {
        match self.open.entry(call.id) {
            Entry::Occupied(place) if place.get().serial == call.serial => Some(place.remove().gives_back),
            _ => None,
        }
    }

    /// The call of this id, if it waits for its answer.
    pub(crate) fn find(&self, id: CallId) -> Option<ServedId> {
        self.open.get(&id).map(|open| ServedId { id, serial: open.serial })
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// The link is lost: nobody waits for the answers any more.
    pub(crate) fn lose(&mut self) -> Vec<ServedId> {
        self.open.drain().map(|(id, open)| ServedId { id, serial: open.serial }).collect()
    }
}

//! Results that the peer calls before it has them: the calls that wait for them, and where they are.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, hash_map::Entry};

use super::serving::Arrived;
use crate::wire::{CallId, PromiseId, Slot};

/// A call of a promise, of this reference of the result.
pub(super) type Waiting<O> = Arrived<O, u32>;

/// What the calls served have promised.
#[derive(Debug)]
pub(super) struct Promises<O> {
    /// By the calls that are not answered.
    calls: HashMap<CallId, PromiseId, RandomState>,
    open: HashMap<PromiseId, Vec<Waiting<O>>, RandomState>,
    /// What each waits for.
    waiting: HashMap<CallId, PromiseId, RandomState>,
    /// Of the calls that are answered: where the references of the result were given out.
    kept: HashMap<PromiseId, Vec<Option<Slot>>, RandomState>,
    /// Those kept, the oldest first.
    oldest: VecDeque<PromiseId>,
    kept_max: usize,
}

/// What a call of a promise finds.
pub(super) enum Found {
    /// The result is not there yet.
    Open,
    /// The reference was given out there.
    Given(Slot),
    /// There is no such reference, or none any more.
    Nothing,
}

impl<O> Promises<O> {
    /// Of a link on which the peer may make so many calls at once: as many results are remembered.
    pub(super) fn new(calls: u32) -> Self {
        Self {
            calls: HashMap::default(),
            open: HashMap::default(),
            waiting: HashMap::default(),
            kept: HashMap::default(),
            oldest: VecDeque::new(),
            kept_max: calls as usize,
        }
    }

    /// Whether no call that is not answered has promised anything.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// A call promises its result. False where the promise was used before, as far as is known.
    #[must_use]
    pub(super) fn open(&mut self, call: CallId, promise: PromiseId) -> bool {
        if self.kept.contains_key(&promise) {
            return false;
        }
        // What waits for the first of that number is left to whoever ends the link.
        let Entry::Vacant(place) = self.open.entry(promise) else { return false };
        place.insert(Vec::new());
        self.calls.insert(call, promise);
        true
    }

    pub(super) fn find(&self, promise: PromiseId, reference: u32) -> Found {
        if self.open.contains_key(&promise) {
            return Found::Open;
        }
        let given = self.kept.get(&promise).and_then(|given| given.get(reference as usize)).copied().flatten();
        given.map_or(Found::Nothing, Found::Given)
    }

    /// A call waits for a result that is not there yet.
    pub(super) fn wait(&mut self, promise: PromiseId, call: Waiting<O>) {
        if let Some(waiting) = self.open.get_mut(&promise) {
            self.waiting.insert(call.id.id, promise);
            waiting.push(call);
        }
    }

    /// Takes a call out that waits: its caller has gone.
    pub(super) fn take_waiting(&mut self, id: CallId) -> Option<Waiting<O>> {
        let waiting = self.open.get_mut(&self.waiting.remove(&id)?)?;
        let at = waiting.iter().position(|call| call.id.id == id)?;
        Some(waiting.remove(at))
    }

    /// A call is answered. What it promised, and the calls that have waited for it, in order.
    pub(super) fn answer(&mut self, call: CallId) -> Option<(PromiseId, Vec<Waiting<O>>)> {
        let promise = self.calls.remove(&call)?;
        let waiting = self.open.remove(&promise).unwrap_or_default();
        for call in &waiting {
            self.waiting.remove(&call.id.id);
        }
        Some((promise, waiting))
    }

    /// Remembers where a result was given out.
    pub(super) fn keep(&mut self, promise: PromiseId, given: Vec<Option<Slot>>) {
        if self.oldest.len() >= self.kept_max
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.kept.remove(&oldest);
        }
        self.kept.insert(promise, given);
        self.oldest.push_back(promise);
    }

    /// The connection is lost: nobody waits any more. Returns the calls that did.
    pub(super) fn lose(&mut self) -> Vec<Waiting<O>> {
        self.calls.clear();
        self.waiting.clear();
        self.kept.clear();
        self.oldest.clear();
        self.open.drain().flat_map(|(_, waiting)| waiting).collect()
    }
}

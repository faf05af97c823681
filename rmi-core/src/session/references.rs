//! References on their way over one link, and the objects given out.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet, HashTable};

use crate::{
    endpoint::Endpoint,
    id::{NodeId, ObjectId},
    object::InterfaceSet,
    wire::{ENDPOINTS_MAX, Slot, WireError},
};

/// A reference on its way out. `object` keeps it alive until the message has left.
#[derive(Clone, Debug)]
pub struct Passed<O> {
    /// What the peer will call through this node.
    pub object: O,
    /// The object's id.
    pub id: ObjectId,
    /// All its interfaces.
    pub interfaces: InterfaceSet,
    /// Whose object it is.
    pub origin: Origin,
}

impl<O> Passed<O> {
    /// The node whose object it is, where that is not this one.
    const fn owner(&self) -> Option<NodeId> {
        match &self.origin {
            Origin::Own => None,
            Origin::Foreign { owner, .. } => Some(*owner),
        }
    }

    /// The most bytes that it takes in a message.
    pub(super) fn len_max(&self) -> u64 {
        const OWN_LEN_MAX: u64 = 1 + 5 + 5 + 16 + 5;
        match &self.origin {
            Origin::Own => OWN_LEN_MAX,
            Origin::Foreign { endpoints, route, .. } => {
                let route = 16 * route.len() as u64;
                let endpoints = endpoints.iter().take(ENDPOINTS_MAX).map(|endpoint| 2 + endpoint.to_string().len());
                OWN_LEN_MAX + 16 + 1 + 1 + route + endpoints.sum::<usize>() as u64
            }
        }
    }
}

/// Whose object a passed reference leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This node's.
    Own,
    /// Another node's.
    Foreign {
        /// The owner.
        owner: NodeId,
        /// Where the owner listens, as far as known.
        endpoints: Vec<Endpoint>,
        /// The nodes that relay to it, this one first; empty where it does not.
        route: Vec<NodeId>,
        /// The slot in which this node holds it over this very link, if it does.
        held: Option<Slot>,
        /// Whether this node holds it of its owner, and not through others.
        direct: bool,
    },
}

/// A reference that arrived. Whoever takes a [`Held`](Self::Held) one gives it back by
/// [`Session::release`](super::Session::release), once.
#[derive(Debug)]
pub enum Received<O> {
    /// What this node itself had given out over this link.
    Returned(O),
    /// An object held over this link from now on.
    Held(HeldReference),
    /// What this node had given out and has revoked since.
    Revoked,
}

/// An object held over a link.
#[derive(Debug)]
pub struct HeldReference {
    /// The slot it is called by, at the peer.
    pub slot: Slot,
    /// Its id.
    pub id: ObjectId,
    /// All its interfaces.
    pub interfaces: InterfaceSet,
    /// The owner, where it is not the peer itself.
    pub third: Option<Third>,
}

/// The owner of an object that is held through another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Third {
    /// The node.
    pub owner: NodeId,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// The nodes that relay to it, the peer first; empty where the peer does not.
    pub route: Vec<NodeId>,
}

/// The objects given out over one link, by slot. A slot's generation grows each time that it is
/// used again, so that no stale reference meets a later object.
#[derive(Debug)]
pub(crate) struct Exports<O> {
    slots: Vec<ExportSlot<O>>,
    free: Vec<u32>,
    /// The slots of own objects, found by the ids that stand there: an entry is its number and no more.
    own: HashTable<u32>,
    hasher: RandomState,
    foreign: HashMap<(NodeId, ObjectId), u32, RandomState>,
    /// What few slots have.
    marks: HashMap<u32, Mark, RandomState>,
    /// How many of them are streams.
    streams: usize,
}

/// How many objects there are, and how many streams among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GivenCounts {
    pub(crate) objects: usize,
    pub(crate) streams: usize,
}

#[derive(Debug)]
struct ExportSlot<O> {
    generation: u32,
    /// How often it was given out.
    count: u32,
    given: Option<Given<O>>,
}

#[derive(Debug)]
struct Given<O> {
    object: O,
    id: ObjectId,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// Whose object it is, where it is not this node's.
    owner: Option<NodeId>,
    /// The peer was told that it is gone.
    revoked: bool,
    is_stream: bool,
}

impl<O> Default for Exports<O> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            own: HashTable::new(),
            hasher: RandomState::default(),
            foreign: HashMap::default(),
            marks: HashMap::default(),
            streams: 0,
        }
    }
}

impl<O: Clone> Exports<O> {
    /// Gives an object out once more and returns its slot; `None` where there are `max` already. What it
    /// takes the place of goes to `replaced`, to be dropped outside every lock.
    pub(crate) fn give(&mut self, passed: &Passed<O>, max: u32, replaced: &mut Vec<O>) -> Option<Slot> {
        let owner = passed.owner();
        if let Some(index) = self.find(owner, &passed.id) {
            let slot = self.slots.get_mut(index as usize)?;
            let given = slot.given.as_mut()?;
            slot.count = slot.count.checked_add(1)?;
            // The same object may have come by several ways: the one that nobody else can break serves.
            if matches!(passed.origin, Origin::Foreign { direct: true, .. }) {
                replaced.extend(Some(std::mem::replace(&mut given.object, passed.object.clone())));
            }
            return Some(Slot { index, generation: slot.generation });
        }
        let index = self.vacant(max)?;
        let slot = self.slots.get_mut(index as usize)?;
        let (object, generation) = (passed.object.clone(), slot.generation);
        (slot.given, slot.count) = (Some(Given { object, id: passed.id }), 1);
        match owner {
            None => {
                let Self { slots, own, hasher, .. } = self;
                let hash = |index: &u32| {
                    let given = slots.get(*index as usize).and_then(|slot| slot.given.as_ref());
                    hasher.hash_one(given.map(|given| given.id))
                };
                own.insert_unique(hash(&index), index, hash);
            }
            Some(owner) => drop(self.foreign.insert((owner, passed.id), index)),
        }
        let is_stream = passed.interfaces.is_stream();
        self.streams += usize::from(is_stream);
        if owner.is_some() || is_stream {
            self.marks.insert(index, Mark { owner, revoked: false, is_stream });
        }
        Some(Slot { index, generation })
    }

    fn find(&self, owner: Option<NodeId>, id: &ObjectId) -> Option<u32> {
        match owner {
            None => self.find_own(id),
            Some(owner) => self.foreign.get(&(owner, *id)).copied(),
        }
    }

    /// The slot of an own object.
    fn find_own(&self, id: &ObjectId) -> Option<u32> {
        self.own.find(self.hasher.hash_one(Some(*id)), |index| self.stands_in(*index, id)).copied()
    }

    fn stands_in(&self, index: u32, id: &ObjectId) -> bool {
        self.slots.get(index as usize).and_then(|slot| slot.given.as_ref()).is_some_and(|given| given.id == *id)
    }

    fn vacant(&mut self, max: u32) -> Option<u32> {
        if let Some(index) = self.free.pop() {
            return Some(index);
        }
        let index = u32::try_from(self.slots.len()).ok().filter(|index| *index < max)?;
        self.slots.push(ExportSlot { generation: 0, count: 0, given: None });
        Some(index)
    }

    /// What stands in a slot.
    pub(crate) fn get(&self, slot: Slot) -> Option<&O> {
        let place = self.slots.get(slot.index as usize)?;
        let given = place.given.as_ref().filter(|_| place.generation == slot.generation)?;
        Some(&given.object)
    }

    /// Takes counts back. Returns the object when nothing is left of them, to be dropped outside
    /// every lock. A slot that was freed already is left alone.
    ///
    /// # Errors
    ///
    /// Where more is given back than was given.
    pub(crate) fn take_back(&mut self, slot: Slot, count: u64) -> Result<Option<O>, WireError> {
        let Some(place) = self.slots.get_mut(slot.index as usize) else {
            return Err(WireError::Broken("released a slot that was never given"));
        };
        if place.generation != slot.generation {
            return Ok(None);
        }
        if place.given.is_none() {
            return Ok(None);
        }
        match u32::try_from(count).ok().and_then(|count| place.count.checked_sub(count)) {
            None => Err(WireError::Broken("released a reference more often than it was given")),
            Some(0) => Ok(self.free(slot.index)),
            Some(left) => {
                place.count = left;
                Ok(None)
            }
        }
    }

    /// Puts something else in the place of an own object that is given out, and returns the object
    /// and its slot.
    /// The slot is neither freed nor counted anew: the peer still holds it, and would take another
    /// object in it for a broken rule.
    pub(crate) fn replace(&mut self, id: &ObjectId, by: O) -> Option<(Slot, O)> {
        let index = self.find_own(id)?;
        let place = self.slots.get_mut(index as usize)?;
        let object = std::mem::replace(&mut place.given.as_mut()?.object, by);
        Some((Slot { index, generation: place.generation }, object))
    }

    fn free(&mut self, index: u32) -> Option<O> {
        let given = self.slots.get(index as usize)?.given.as_ref()?;
        let mark = self.marks.remove(&index).unwrap_or_default();
        self.streams -= usize::from(mark.is_stream);
        match mark.owner {
            None => {
                let hash = self.hasher.hash_one(Some(given.id));
                if let Ok(entry) = self.own.find_entry(hash, |known| *known == index) {
                    entry.remove();
                }
            }
            Some(owner) => drop(self.foreign.remove(&(owner, given.id))),
        }
        let place = self.slots.get_mut(index as usize)?;
        let given = place.given.take()?;
        // A slot whose generations are used up is never used again.
        if let Some(next) = place.generation.checked_add(1) {
            place.generation = next;
            self.free.push(index);
        }
        Some(given.object)
    }

    /// Everything that was given out, to be kept for a lease or dropped outside every lock.
    pub(crate) fn take_all(&mut self) -> Vec<O> {
        let all = std::mem::take(self);
        all.slots.into_iter().filter_map(|slot| slot.given).map(|given| given.object).collect()
    }

    /// The objects of other nodes that are given out and not revoked, each with its slot.
    pub(crate) fn all_foreign(&self) -> impl Iterator<Item = (Slot, &O)> {
        self.foreign.values().filter_map(|&index| {
            let place = self.slots.get(index as usize)?;
            let is_revoked = self.marks.get(&index).is_some_and(|mark| mark.revoked);
            let given = place.given.as_ref().filter(|_| !is_revoked)?;
            Some((Slot { index, generation: place.generation }, &given.object))
        })
    }

    /// The peer is told that what is given in a slot is gone. Whether that is news.
    pub(crate) fn revoke(&mut self, slot: Slot) -> bool {
        if self.get(slot).is_none() {
            return false;
        }
        let mark = self.marks.entry(slot.index).or_default();
        !std::mem::replace(&mut mark.revoked, true)
    }

    /// An object of another node that is given out.
    pub(crate) fn foreign(&self, owner: NodeId, id: ObjectId) -> Option<&O> {
        let slot = self.slots.get(*self.foreign.get(&(owner, id))? as usize)?;
        Some(&slot.given.as_ref()?.object)
    }

    /// How many of these would take a slot, each counted once.
    pub(crate) fn count_new<'a>(&self, passed: impl Iterator<Item = &'a Passed<O>>) -> GivenCounts
    where
        O: 'a,
    {
        let (mut new, mut counts) = (HashSet::<_, RandomState>::default(), GivenCounts::default());
        for passed in passed {
            let owner = passed.owner();
            if self.find(owner, &passed.id).is_none() && new.insert((owner, passed.id)) {
                counts.objects += 1;
                counts.streams += usize::from(passed.interfaces.is_stream());
            }
        }
        counts
    }

    /// How much is given out.
    pub(crate) fn counts(&self) -> GivenCounts {
        GivenCounts { objects: self.len(), streams: self.streams }
    }

    /// How many objects are given out.
    pub(crate) fn len(&self) -> usize {
        self.own.len() + self.foreign.len()
    }

    /// How often they count in all.
    pub(crate) fn total(&self) -> u64 {
        self.slots.iter().filter(|slot| slot.given.is_some()).map(|slot| u64::from(slot.count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(id: ObjectId, object: &'static str) -> Passed<&'static str> {
        Passed { object, id, interfaces: InterfaceSet::new(vec!["demo.Account".into()]), origin: Origin::Own }
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn slots_are_small() {
        // A node may give millions.
        assert_eq!(size_of::<ExportSlot<(Box<u8>, [usize; 2])>>(), 48);
    }

    #[test]
    fn an_object_given_twice_has_one_slot_and_goes_with_its_last_count() {
        let mut exports = Exports::default();
        let id = ObjectId::random();
        let slot = exports.give(&own(id, "a"), 10, &mut Vec::new()).unwrap();
        assert_eq!(exports.give(&own(id, "a"), 10, &mut Vec::new()), Some(slot));
        assert_eq!(exports.take_back(slot, 1).unwrap(), None);
        assert_eq!(exports.get(slot), Some(&"a"));
        assert_eq!(exports.take_back(slot, 1).unwrap(), Some("a"));
        assert_eq!(exports.get(slot), None);
        assert_eq!(exports.len(), 0);
    }

    #[test]
    fn a_slot_used_again_has_another_generation() {
        let mut exports = Exports::default();
        let first = exports.give(&own(ObjectId::random(), "a"), 10, &mut Vec::new()).unwrap();
        exports.take_back(first, 1).unwrap();
        let second = exports.give(&own(ObjectId::random(), "b"), 10, &mut Vec::new()).unwrap();
        assert_eq!(second.index, first.index);
        assert_ne!(second.generation, first.generation);
        assert_eq!(exports.get(first), None);
        assert_eq!(exports.take_back(first, 1).unwrap(), None, "a late release frees nobody else's object");
        assert_eq!(exports.get(second), Some(&"b"));
    }

    #[test]
    fn more_than_was_given_cannot_be_given_back() {
        let mut exports = Exports::default();
        let slot = exports.give(&own(ObjectId::random(), "a"), 10, &mut Vec::new()).unwrap();
        assert!(exports.take_back(slot, 2).is_err());
        assert!(exports.take_back(Slot { index: 7, generation: 0 }, 1).is_err());
        assert_eq!(exports.get(slot), Some(&"a"));
    }

    #[test]
    fn a_slot_whose_object_was_replaced_is_held_and_given_back_as_before() {
        let mut exports = Exports::default();
        let id = ObjectId::random();
        assert_eq!(exports.replace(&id, "dead"), None);
        let slot = exports.give(&own(id, "a"), 2, &mut Vec::new()).unwrap();
        assert_eq!(exports.replace(&id, "dead"), Some((slot, "a")));
        assert_eq!(exports.get(slot), Some(&"dead"));
        let other = exports.give(&own(ObjectId::random(), "b"), 2, &mut Vec::new()).unwrap();
        assert_ne!(other.index, slot.index, "the peer still holds the slot");
        assert_eq!(
            exports.give(&own(id, "a"), 2, &mut Vec::new()),
            Some(slot),
            "passed on, it is the same dead reference"
        );
        assert_eq!(exports.get(slot), Some(&"dead"));
        assert_eq!(exports.take_back(slot, 2).unwrap(), Some("dead"));
        assert_eq!((exports.len(), exports.total()), (1, 1));
    }

    #[test]
    fn of_two_ways_to_one_object_the_direct_one_serves() {
        let (mut exports, mut replaced) = (Exports::default(), Vec::new());
        let owner = NodeId::random();
        let foreign = |object, direct| {
            let origin = Origin::Foreign { owner, endpoints: Vec::new(), route: Vec::new(), held: None, direct };
            Passed { origin, ..own(ObjectId::from_bytes([7; 16]), object) }
        };
        let slot = exports.give(&foreign("through another", false), 2, &mut replaced).unwrap();
        assert_eq!(exports.give(&foreign("direct", true), 2, &mut replaced), Some(slot));
        assert_eq!(exports.give(&foreign("through a third", false), 2, &mut replaced), Some(slot));
        assert_eq!((exports.get(slot), replaced), (Some(&"direct"), vec!["through another"]));
        assert_eq!(exports.take_back(slot, 3).unwrap(), Some("direct"));
    }

    #[test]
    fn objects_beyond_the_limit_are_not_given() {
        let mut exports = Exports::default();
        assert!(exports.give(&own(ObjectId::random(), "a"), 1, &mut Vec::new()).is_some());
        assert!(exports.give(&own(ObjectId::random(), "b"), 1, &mut Vec::new()).is_none());
    }
}

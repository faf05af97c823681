//! The objects held over one link.

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet, hash_map::Entry};

use crate::wire::{Slot, WireError};

/// The objects held over one link, by the peer's slot: how often each arrived, and how many
/// handles of this node share what arrived.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    held: HashMap<u32, Held, RandomState>,
    /// Held slots of which the peer says that they lead nowhere any more: few.
    revoked: HashSet<u32, RandomState>,
}

#[derive(Debug)]
struct Held {
    generation: u32,
    count: u32,
    handles: u32,
}

impl Imports {
    /// A reference arrived: one more count, one more handle.
    ///
    /// # Errors
    ///
    /// Where the peer used a slot again that this node still holds.
    pub(crate) fn receive(&mut self, slot: Slot) -> Result<(), WireError> {
        match self.held.entry(slot.index) {
            Entry::Vacant(place) => {
                place.insert(Held { generation: slot.generation, count: 1, handles: 1 });
                Ok(())
            }
            Entry::Occupied(mut place) if place.get().generation == slot.generation => {
                let held = place.get_mut();
                let more = held.count.checked_add(1).zip(held.handles.checked_add(1));
                (held.count, held.handles) = more.ok_or(WireError::Broken("gave one reference too often"))?;
                Ok(())
            }
            Entry::Occupied(_) => Err(WireError::Broken("used a slot again that is still held")),
        }
    }

    /// Adds a handle to a held slot, so that it stays while a message that names it waits. False
    /// where the slot is not held any more.
    pub(crate) fn hold(&mut self, slot: Slot) -> bool {
        match self.held.get_mut(&slot.index) {
            Some(held) if held.generation == slot.generation && held.handles < u32::MAX => {
                held.handles += 1;
                true
            }
            _ => false,
        }
    }

    /// The peer has revoked a slot. False where it is not held any more, or was revoked before.
    pub(crate) fn revoke(&mut self, slot: Slot) -> bool {
        self.holds(slot) && self.revoked.insert(slot.index)
    }

    /// Whether a held slot was revoked.
    pub(crate) fn is_revoked(&self, slot: Slot) -> bool {
        self.holds(slot) && self.revoked.contains(&slot.index)
    }

    /// Whether a slot is held.
    pub(crate) fn holds(&self, slot: Slot) -> bool {
        self.held.get(&slot.index).is_some_and(|held| held.generation == slot.generation)
    }

    /// A handle is gone. With the last one the slot is, and the count to give back is returned.
    pub(crate) fn release(&mut self, slot: Slot) -> Option<u64> {
        let Entry::Occupied(mut place) = self.held.entry(slot.index) else { return None };
        if place.get().generation != slot.generation {
            return None;
        }
        place.get_mut().handles -= 1;
        if place.get().handles > 0 {
            return None;
        }
        self.revoked.remove(&slot.index);
        Some(place.remove().count.into())
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// How often they arrived in all.
    pub(crate) fn total(&self) -> u64 {
        self.held.values().map(|held| u64::from(held.count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_small() {
        // A node may hold millions.
        assert_eq!(size_of::<Held>(), 12);
    }

    #[test]
    fn the_last_handle_gives_all_counts_back() {
        let mut imports = Imports::default();
        let slot = Slot { index: 3, generation: 1 };
        imports.receive(slot).unwrap();
        imports.receive(slot).unwrap();
        assert!(imports.hold(slot));
        assert_eq!(imports.release(slot), None);
        assert_eq!(imports.release(slot), None);
        assert_eq!(imports.release(slot), Some(2));
        assert!(!imports.hold(slot));
        assert_eq!(imports.release(slot), None);
        imports.receive(Slot { index: 3, generation: 2 }).unwrap();
        assert!(imports.receive(slot).is_err());
    }
}

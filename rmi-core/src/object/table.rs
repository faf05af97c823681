//! The object table: object id → exported object, one per node.

use hashbrown::{HashTable, hash_table::Entry};

use crate::{
    id::ObjectId,
    sync::{Arc, Weak},
};

/// The exported objects of a node by id. It keeps none of them alive: links, names and local code
/// do. An object that its owner still holds is found here whoever else let go of it.
#[derive(Debug)]
pub struct ObjectTable<T: ?Sized> {
    objects: HashTable<(Key, Weak<T>)>,
}

/// So many entries a table has room for, however few objects there are: some 400 KiB.
const ROOM_KEPT: usize = 16 << 10;

/// Both halves of an id in one. The ids in the table are random, and drawn by the node: it is as good as a hash
/// of them, and the same for no two of them. One half alone would not do: each has bits that are the same in
/// all ids (RFC 9562, version 4), and the table goes by the lowest and the highest.
type Key = u64;

fn key(id: &ObjectId) -> Key {
    let id = u128::from_be_bytes(id.to_bytes());
    (id >> 64) as Key ^ id as Key
}

impl<T: ?Sized> Default for ObjectTable<T> {
    fn default() -> Self {
        Self { objects: HashTable::new() }
    }
}

impl<T: ?Sized> ObjectTable<T> {
    /// Enters an object; an id that stands here already keeps its object.
    pub fn insert(&mut self, id: ObjectId, object: &Arc<T>) {
        let key = key(&id);
        match self.objects.entry(key, |(known, _)| *known == key, |(known, _)| *known) {
            Entry::Vacant(place) => {
                place.insert((key, Arc::downgrade(object)));
            }
            Entry::Occupied(mut place) => {
                if place.get().1.strong_count() == 0 {
                    place.get_mut().1 = Arc::downgrade(object);
                }
            }
        }
    }

    /// The object of this id while it lives, or one whose id begins alike: who asked by an id that is
    /// not the node's own compares the whole of it, once no lock is held.
    #[must_use]
    pub fn get(&self, id: &ObjectId) -> Option<Arc<T>> {
        let key = key(id);
        self.objects.find(key, |(known, _)| *known == key).and_then(|(_, object)| object.upgrade())
    }

    /// Takes the entry of a dropped object out. Called by the object's own `Drop`, so that an
    /// entry never outlives its object for long.
    pub fn remove(&mut self, id: &ObjectId) {
        let key = key(id);
        if let Ok(entry) = self.objects.find_entry(key, |(known, _)| *known == key) {
            entry.remove();
        }
        // The room of a million objects is not kept for a few. Most of it has been emptied since it last moved.
        let (len, room) = (self.objects.len(), self.objects.capacity());
        if room > ROOM_KEPT && len < room / 8 {
            self.objects.shrink_to(room / 4, |(known, _)| *known);
        }
    }

    /// How many objects are exported.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether no object is exported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

#[cfg(all(test, not(rmi_loom)))]
mod tests {
    use super::*;

    #[test]
    fn finds_an_object_while_somebody_holds_it() {
        let mut table = ObjectTable::default();
        let id = ObjectId::random();
        let object = Arc::new("account");
        table.insert(id, &object);
        assert_eq!(table.get(&id).as_deref(), Some(&"account"));
        drop(object);
        assert!(table.get(&id).is_none());
        table.remove(&id);
        assert!(table.is_empty());
    }

    #[test]
    fn a_table_that_was_large_is_small_again() {
        let mut table = ObjectTable::default();
        let object = Arc::new(());
        let ids: Vec<_> = (0..8 * ROOM_KEPT).map(|_| ObjectId::random()).collect();
        ids.iter().for_each(|id| table.insert(*id, &object));
        let most = table.objects.capacity();
        let (left, gone) = ids.split_at(10);
        gone.iter().for_each(|id| table.remove(id));
        assert!(table.objects.capacity() <= 2 * ROOM_KEPT, "{} of {most}", table.objects.capacity());
        assert!(left.iter().all(|id| table.get(id).is_some()));
        assert_eq!(table.len(), 10);
    }

    #[test]
    fn no_bit_of_a_key_is_the_same_for_all_ids() {
        let keys: Vec<_> = (0..200).map(|_| key(&ObjectId::random())).collect();
        let (set, unset) = keys.iter().fold((0, 0), |(set, unset), key| (set | key, unset | !key));
        assert_eq!((set, unset), (u64::MAX, u64::MAX), "two of 64 coins that fall alike 200 times");
    }

    #[test]
    fn an_id_keeps_its_living_object() {
        let mut table = ObjectTable::default();
        let id = ObjectId::random();
        let (first, second) = (Arc::new(1), Arc::new(2));
        table.insert(id, &first);
        table.insert(id, &second);
        assert_eq!(table.get(&id).as_deref(), Some(&1));
        drop(first);
        table.insert(id, &second);
        assert_eq!(table.get(&id).as_deref(), Some(&2));
    }
}

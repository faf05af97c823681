//! The object table: object id → exported object, one per node.

use foldhash::fast::RandomState;
use hashbrown::{HashMap, hash_map::Entry};

use crate::{
    id::ObjectId,
    sync::{Arc, Weak},
};

/// The exported objects of a node by id. It keeps none of them alive: links, names and local code
/// do. An object that its owner still holds is found here whoever else let go of it.
#[derive(Debug)]
pub struct ObjectTable<T: ?Sized> {
    objects: HashMap<ObjectId, Weak<T>, RandomState>,
}

impl<T: ?Sized> Default for ObjectTable<T> {
    fn default() -> Self {
        Self { objects: HashMap::default() }
    }
}

impl<T: ?Sized> ObjectTable<T> {
    /// Enters an object; an id that stands here already keeps its object.
    pub fn insert(&mut self, id: ObjectId, object: &Arc<T>) {
        match self.objects.entry(id) {
            Entry::Vacant(place) => {
                place.insert(Arc::downgrade(object));
            }
            Entry::Occupied(mut place) => {
                if place.get().strong_count() == 0 {
                    place.insert(Arc::downgrade(object));
                }
            }
        }
    }

    /// The object of this id, while it lives.
    #[must_use]
    pub fn get(&self, id: &ObjectId) -> Option<Arc<T>> {
        self.objects.get(id).and_then(Weak::upgrade)
    }

    /// Takes the entry of a dropped object out. Called by the object's own `Drop`, so that an
    /// entry never outlives its object for long.
    pub fn remove(&mut self, id: &ObjectId) {
        self.objects.remove(id);
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

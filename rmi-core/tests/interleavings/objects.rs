//! The object table: objects are entered, found for calls that come in, unexported and dropped, each on
//! a thread of its own.

use std::{
    fmt,
    sync::{
        Weak,
        atomic::{AtomicUsize as Count, Ordering::Relaxed},
    },
};

use loom::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use rmi_core::ObjectId;

use crate::{sync::Arc, table::ObjectTable};

/// A node, as far as its objects know it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) objects: Mutex<ObjectTable<Object>>,
    /// How many objects were dropped.
    dropped: Count,
}

/// An exported object.
pub(crate) struct Object {
    pub(crate) id: ObjectId,
    home: Weak<Node>,
    unexported: AtomicBool,
    /// What the user's own `Drop` does.
    last_act: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.id)
    }
}

/// The node's pointers are not what is looked at: std's do.
pub(crate) type Home = std::sync::Arc<Node>;

impl Node {
    pub(crate) fn new() -> Home {
        Home::new(Self { objects: Mutex::new(ObjectTable::default()), dropped: Count::new(0) })
    }

    pub(crate) fn object(self: &Home) -> Arc<Object> {
        self.object_that(|| {})
    }

    pub(crate) fn object_that(self: &Home, last_act: impl Fn() + Send + Sync + 'static) -> Arc<Object> {
        let (id, home, last_act) = (ObjectId::from_bytes([7; 16]), Home::downgrade(self), Box::new(last_act));
        Arc::new(Object { id, home, unexported: AtomicBool::new(false), last_act })
    }

    /// As when the object travels over the node.
    pub(crate) fn enter(&self, object: &Arc<Object>) {
        let mut objects = self.objects.lock().unwrap();
        if !object.unexported.load(Ordering::Acquire) {
            objects.insert(object.id, object);
        }
    }

    /// As when a call for it arrives.
    pub(crate) fn find(&self, id: &ObjectId) -> Option<Arc<Object>> {
        let found = self.objects.lock().unwrap().get(id);
        if let Some(object) = &found {
            assert_eq!((object.id, self.dropped()), (*id, 0), "a dropped object was found");
        }
        found
    }

    fn leave(&self, id: &ObjectId) {
        self.objects.lock().unwrap().remove(id);
    }

    fn unexport(&self, object: &Arc<Object>) {
        if !object.unexported.swap(true, Ordering::AcqRel) {
            self.leave(&object.id);
        }
    }

    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Relaxed)
    }

    /// The object is gone, and its entry with it.
    pub(crate) fn is_bare(&self) {
        assert_eq!(self.dropped(), 1, "the object is dropped once");
        assert!(self.objects.lock().unwrap().is_empty(), "an entry is left of a dropped object");
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else { return };
        home.dropped.fetch_add(1, Relaxed);
        home.leave(&self.id);
        (self.last_act)();
    }
}

#[test]
fn a_call_that_comes_in_while_the_last_reference_goes_finds_a_living_object_or_none() {
    loom::model(|| {
        let node = Node::new();
        let object = node.object();
        node.enter(&object);
        let (id, calling) = (object.id, node.clone());
        let call = thread::spawn(move || drop(calling.find(&id)));
        drop(object);
        call.join().unwrap();
        node.is_bare();
    });
}

#[test]
fn an_object_that_travels_again_while_others_let_go_of_it_stays_in_the_table() {
    loom::model(|| {
        let node = Node::new();
        let object = node.object();
        node.enter(&object);
        let (entering, again) = (node.clone(), object.clone());
        let enter = thread::spawn(move || {
            entering.enter(&again);
            let found = entering.find(&again.id);
            assert!(found.is_some(), "an entry was lost while its object lives");
        });
        let (id, calling) = (object.id, node.clone());
        let call = thread::spawn(move || drop(calling.find(&id)));
        drop(object);
        enter.join().unwrap();
        call.join().unwrap();
        node.is_bare();
    });
}

#[test]
fn an_object_that_is_unexported_while_it_travels_is_not_found_any_more() {
    loom::model(|| {
        let node = Node::new();
        let object = node.object();
        let (entering, again) = (node.clone(), object.clone());
        let enter = thread::spawn(move || entering.enter(&again));
        node.unexport(&object);
        enter.join().unwrap();
        assert!(node.find(&object.id).is_none(), "an unexported object is found");
        drop(object);
        node.is_bare();
    });
}

/// What was found is dropped under the lock of the table, which the object's own drop takes too.
#[test]
#[should_panic(expected = "deadlock")]
fn loom_finds_an_object_that_is_dropped_under_the_lock() {
    loom::model(|| {
        let node = Node::new();
        let object = node.object();
        node.enter(&object);
        let (id, calling) = (object.id, node.clone());
        let call = thread::spawn(move || {
            let objects = calling.objects.lock().unwrap();
            drop(objects.get(&id));
        });
        drop(object);
        call.join().unwrap();
    });
}

/// Whether it is unexported is looked at before the table is locked.
#[test]
#[should_panic(expected = "an unexported object is found")]
fn loom_finds_a_mark_that_is_looked_at_too_early() {
    loom::model(|| {
        let node = Node::new();
        let object = node.object();
        let (entering, again) = (node.clone(), object.clone());
        let enter = thread::spawn(move || {
            if !again.unexported.load(Ordering::Acquire) {
                entering.objects.lock().unwrap().insert(again.id, &again);
            }
        });
        node.unexport(&object);
        enter.join().unwrap();
        assert!(node.find(&object.id).is_none(), "an unexported object is found");
    });
}

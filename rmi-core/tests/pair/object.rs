//! Objects as a node of these tests knows them: cheap to clone, and seen when dropped.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::{Rc, Weak},
};

use rmi_core::{
    NodeId, ObjectId,
    object::InterfaceSet,
    session::{Directory, HeldReference, Origin, Passed, Received},
    wire::Slot,
};

/// An object, as its owner or as a holder has it.
#[derive(Clone, Debug)]
pub(crate) enum Obj {
    Own(Rc<Servant>),
    Held(Rc<Handle>),
}

/// The object itself. One whose owner is a third node stands for a reference held elsewhere.
#[derive(Debug)]
pub(crate) struct Servant {
    pub(crate) id: ObjectId,
    pub(crate) third: Option<NodeId>,
}

/// What a holder has of an object of the other side. Its drop gives the reference back.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) slot: Slot,
    pub(crate) id: ObjectId,
    pub(crate) third: Option<NodeId>,
    dropped: Dropped,
}

/// The slots of dropped handles, to be released once the session is at hand.
pub(crate) type Dropped = Rc<RefCell<Vec<Slot>>>;

impl Drop for Handle {
    fn drop(&mut self) {
        self.dropped.borrow_mut().push(self.slot);
    }
}

impl Obj {
    pub(crate) fn new() -> (Self, Weak<Servant>) {
        Self::servant(None)
    }

    /// A reference that this side holds of a third node.
    pub(crate) fn of_third(owner: NodeId) -> (Self, Weak<Servant>) {
        Self::servant(Some(owner))
    }

    fn servant(third: Option<NodeId>) -> (Self, Weak<Servant>) {
        let servant = Rc::new(Servant { id: ObjectId::random(), third });
        let weak = Rc::downgrade(&servant);
        (Self::Own(servant), weak)
    }

    pub(crate) fn id(&self) -> ObjectId {
        match self {
            Self::Own(servant) => servant.id,
            Self::Held(handle) => handle.id,
        }
    }

    /// The slot by which a held object is called.
    pub(crate) fn slot(&self) -> Slot {
        match self {
            Self::Own(_) => panic!("an own object has no slot"),
            Self::Held(handle) => handle.slot,
        }
    }

    /// As it travels to the node that a held object came from.
    pub(crate) fn pass(&self, peer: NodeId) -> Passed<Self> {
        let (third, held) = match self {
            Self::Own(servant) => (servant.third, None),
            Self::Held(handle) => (Some(handle.third.unwrap_or(peer)), Some(handle.slot)),
        };
        let origin = match third {
            None => Origin::Own,
            Some(owner) => {
                let endpoints = vec!["mem://third".parse().unwrap()];
                Origin::Foreign { owner, endpoints, route: vec![NodeId::from_bytes([7; 16])], held, direct: false }
            }
        };
        Passed { object: self.clone(), id: self.id(), interfaces: interfaces(), origin }
    }

    pub(crate) fn received(reference: Received<Self>, dropped: &Dropped) -> Option<Self> {
        match reference {
            Received::Returned(object) => Some(object),
            Received::Held(HeldReference { slot, id, third, .. }) => {
                let (third, dropped) = (third.map(|third| third.owner), dropped.clone());
                Some(Self::Held(Rc::new(Handle { slot, id, third, dropped })))
            }
            Received::Revoked => None,
        }
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own(a), Self::Own(b)) => Rc::ptr_eq(a, b),
            (Self::Held(a), Self::Held(b)) => Rc::ptr_eq(a, b),
            _ => false,
        }
    }
}

pub(crate) fn interfaces() -> InterfaceSet {
    InterfaceSet::new(vec!["demo.Account".into()])
}

/// The exported objects of a side, kept by others.
#[derive(Debug, Default)]
pub(crate) struct Exported(HashMap<ObjectId, Weak<Servant>>);

impl Exported {
    pub(crate) fn insert(&mut self, object: &Obj) {
        if let Obj::Own(servant) = object {
            self.0.insert(servant.id, Rc::downgrade(servant));
        }
    }
}

impl Directory<Obj> for Exported {
    fn find(&self, id: &ObjectId) -> Option<Passed<Obj>> {
        let servant = self.0.get(id)?.upgrade()?;
        Some(Passed::own(Obj::Own(servant), *id, interfaces()))
    }
}

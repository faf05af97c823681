//! What a reference leads to, as this node sees it.

use std::{
    any::{Any, TypeId},
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    balance::Balanced,
    connection::{Kept, Link},
    endpoint::Endpoint,
    error::{Certainty, ErrorKind, RemoteError},
    gate::Gate,
    id::{NodeId, ObjectId},
    import::Import,
    interface::Interface,
    named::Named,
    node::{Node, WeakNode},
    object::InterfaceSet,
    session::{Origin, Passed},
    skeleton::{Handler, IncomingCall},
};

/// An object of this process, an object held of another node, by itself or by the name that it was
/// found by, one of the many of a name, or a service by name.
#[derive(Clone)]
pub(crate) enum Referent {
    Own(Arc<Object<dyn Erased>>),
    Foreign(Arc<Import>),
    Named(Arc<Named>),
    Balanced(Arc<Balanced>),
    Service(Arc<Service>),
}

/// A service of some node, found by name at each call.
pub(crate) struct Service {
    pub(crate) node: Node,
    pub(crate) endpoint: Endpoint,
    pub(crate) name: String,
    pub(crate) gate: Gate,
}

/// A local object that is wrapped in a `Remote`.
pub(crate) struct Object<E: ?Sized> {
    pub(crate) id: ObjectId,
    /// The node that exports it: the first that it travelled over.
    home: OnceLock<WeakNode>,
    /// Set once, when it is unexported: no call from elsewhere reaches it any more.
    unexported: AtomicBool,
    pub(crate) erased: E,
}

/// An object whose interface was forgotten.
pub(crate) trait Erased: Send + Sync {
    /// The names of all its interfaces.
    fn interfaces(&self) -> &InterfaceSet;
    #[expect(clippy::result_large_err, reason = "the call is given back to be tried elsewhere: no error")]
    fn dispatch(&self, call: IncomingCall) -> Result<Handler, IncomingCall>;
    fn cast(&self, wanted: TypeId) -> Option<Box<dyn Any + Send>>;
}

/// An object that remembers the interface it was wrapped as.
struct Typed<I: ?Sized>(Arc<I>);

impl<I: ?Sized + Interface> Erased for Typed<I> {
    fn interfaces(&self) -> &InterfaceSet {
        I::descriptor().names()
    }

    fn dispatch(&self, call: IncomingCall) -> Result<Handler, IncomingCall> {
        I::dispatch(self.0.clone(), call)
    }

    fn cast(&self, wanted: TypeId) -> Option<Box<dyn Any + Send>> {
        I::cast(self.0.clone(), wanted)
    }
}

impl Object<dyn Erased> {
    pub(crate) fn new<I: ?Sized + Interface>(target: Arc<I>) -> Arc<Self> {
        Self::with(Typed(target))
    }

    /// An object of the runtime's own.
    pub(crate) fn with(erased: impl Erased + 'static) -> Arc<Self> {
        Arc::new(Object { id: ObjectId::random(), home: OnceLock::new(), unexported: AtomicBool::new(false), erased })
    }

    pub(crate) fn interfaces(&self) -> &InterfaceSet {
        self.erased.interfaces()
    }

    /// The object as another of its interfaces.
    pub(crate) fn cast<I: ?Sized + Interface>(&self) -> Option<Arc<I>> {
        self.erased.cast(TypeId::of::<I>()).and_then(|found| found.downcast::<Arc<I>>().ok()).map(|found| *found)
    }

    /// The node that exports it; `node` from now on, if none does yet.
    pub(crate) fn export(self: &Arc<Self>, node: &Node) -> WeakNode {
        let home = self.home.get_or_init(|| node.downgrade());
        if home.is(node) {
            node.enter_object(self);
        }
        home.clone()
    }

    /// Marks it as unexported for good, if this node exports it or none does. False where it is
    /// another node's, or marked already.
    pub(crate) fn unexport(&self, node: &Node) -> bool {
        self.home.get_or_init(|| node.downgrade()).is(node) && !self.unexported.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_unexported(&self) -> bool {
        self.unexported.load(Ordering::Acquire)
    }

    /// The reference to it that leads nowhere, and keeps nothing.
    pub(crate) fn dead(&self, node: &Node) -> Referent {
        Referent::Foreign(Import::dead(
            node,
            node.id(),
            self.id,
            self.interfaces().clone(),
            "the object was unexported",
        ))
    }

    pub(crate) fn home(&self) -> Option<&WeakNode> {
        self.home.get()
    }
}

impl<E: ?Sized> Drop for Object<E> {
    fn drop(&mut self) {
        if let Some(node) = self.home.get().and_then(WeakNode::upgrade) {
            node.leave_object(&self.id);
        }
    }
}

impl Referent {
    /// The owner, where the object has one yet, and the object's id.
    pub(crate) fn identity(&self) -> (Option<NodeId>, Option<ObjectId>) {
        match self {
            Self::Own(object) => (object.home().map(WeakNode::id), Some(object.id)),
            Self::Foreign(import) => (Some(import.owner()), Some(import.id())),
            Self::Named(named) => {
                let (owner, id) = named.identity();
                (Some(owner), Some(id))
            }
            Self::Balanced(balanced) => (None, Some(balanced.group().id())),
            Self::Service(_) => (None, None),
        }
    }

    pub(crate) fn interfaces(&self) -> InterfaceSet {
        match self {
            Self::Own(object) => object.interfaces().clone(),
            Self::Foreign(import) => import.interfaces().clone(),
            Self::Named(named) => named.interfaces().clone(),
            Self::Balanced(balanced) => balanced.group().interfaces().clone(),
            Self::Service(_) => InterfaceSet::new(Vec::new()),
        }
    }

    /// The reference as it travels over this link of this node.
    pub(crate) fn pass(&self, node: &Node, link: &Link<Self>) -> Result<Passed<Self>, RemoteError> {
        match self {
            Self::Own(object) => {
                let home = object.export(node);
                if home.is(node) {
                    let passed = if object.is_unexported() { object.dead(node) } else { self.clone() };
                    return Ok(Passed::own(passed, object.id, object.interfaces().clone()));
                }
                // Exported by another node of this process: this one only shows the way.
                let endpoints = home.upgrade().map(|home| home.endpoints()).unwrap_or_default();
                node.note_relaying(link);
                let origin =
                    Origin::Foreign { owner: home.id(), endpoints, route: Vec::new(), held: None, direct: true };
                Ok(Passed { object: self.clone(), id: object.id, interfaces: object.interfaces().clone(), origin })
            }
            Self::Foreign(import) => Ok(import.pass(link)),
            Self::Named(named) => Ok(named.current().pass(link)),
            Self::Balanced(balanced) => Ok(balanced.current()?.pass(link)),
            Self::Service(service) => {
                let message = format!(
                    "the service {:?} at {} is found by its name; it cannot be passed as a reference",
                    service.name, service.endpoint
                );
                Err(RemoteError::new(ErrorKind::Marshal, message).with_certainty(Certainty::NotSent))
            }
        }
    }
}

impl PartialEq for Referent {
    /// By identity, never by route.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Service(one), Self::Service(other)) => one.endpoint == other.endpoint && one.name == other.name,
            (Self::Balanced(one), Self::Balanced(other)) => one == other,
            (Self::Service(_) | Self::Balanced(_), _) | (_, Self::Service(_) | Self::Balanced(_)) => false,
            (Self::Own(one), Self::Own(other)) => one.id == other.id,
            _ => self.identity() == other.identity(),
        }
    }
}

impl Eq for Referent {}

impl Hash for Referent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            // The owner of an own object may be known only later, so it is left out for all.
            Self::Own(_) | Self::Foreign(_) | Self::Named(_) | Self::Balanced(_) => self.identity().1.hash(state),
            Self::Service(service) => (&service.endpoint, &service.name).hash(state),
        }
    }
}

impl fmt::Debug for Referent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(object) => write!(f, "local object {}", object.id),
            Self::Foreign(import) => write!(f, "object {} of node {}", import.id(), import.owner()),
            Self::Named(named) => named.fmt(f),
            Self::Balanced(balanced) => balanced.fmt(f),
            Self::Service(service) => write!(f, "service {:?} at {}", service.name, service.endpoint),
        }
    }
}

impl Kept for Referent {
    fn is_last_of(&self, many: usize) -> bool {
        match self {
            Self::Own(object) => Arc::strong_count(object) <= many,
            Self::Foreign(import) => Arc::strong_count(import) <= many,
            Self::Named(_) | Self::Balanced(_) | Self::Service(_) => false,
        }
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;

    #[test]
    fn what_makes_an_object_remote_is_small() {
        // With the counts of its `Arc` and what malloc adds: 80 bytes, for each of perhaps a million.
        assert_eq!(size_of::<Object<Typed<dyn Send>>>() + 16, 72);
    }
}

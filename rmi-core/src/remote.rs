//! References as they are held in Rust.

use std::{
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    ops::Deref,
    sync::{Arc, Weak},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::{
    any::AnyRemote,
    balance::Balanced,
    endpoint::Endpoint,
    error::RemoteError,
    gate::Gate,
    id::{NodeId, ObjectId},
    import::Import,
    interface::{ImplementedBy, Interface},
    marshal,
    named::Named,
    node::Node,
    options::CallOptions,
    pipeline::{Pipe, Pipelined},
    referent::{Erased, Object, Referent, Service},
    stub::Stub,
};

/// A reference to a remote object: the object itself where it is local, a stub elsewhere; the same
/// type and the same calls.
///
/// It dereferences to the interface. Inside an argument or a result it travels by reference.
/// All functions are associated ones, as those of [`Arc`], so that they hide no method of an
/// interface. It may be dropped anywhere, outside of a runtime too; dropping the last one on a
/// node tells the owner at once.
pub struct Remote<I: ?Sized> {
    target: Arc<I>,
    referent: Referent,
}

impl<I: ?Sized> Remote<I> {
    /// Wraps a local object and draws its id. Wrap an object once, then clone the `Remote`.
    ///
    /// It is exported by the first node that it travels over, and belongs to it.
    #[must_use]
    pub fn new<T>(object: T) -> Self
    where
        I: ImplementedBy<T>,
    {
        Self::from_arc(I::wrap(object))
    }
}

impl<I: ?Sized + Interface> Remote<I> {
    /// Wraps a local object that is shared already. Wrapping one object twice makes two remote
    /// objects.
    #[must_use]
    pub fn from_arc(target: Arc<I>) -> Self {
        let referent = Referent::Own(Object::new(target.clone()));
        Self { target, referent }
    }

    /// A reference to the service of this name at an endpoint. Each call finds the service anew,
    /// so it outlives restarts of the service's node. It cannot be passed on.
    #[must_use]
    pub fn service(node: &Node, endpoint: Endpoint, name: &str) -> Self {
        let service = Service { node: node.clone(), endpoint, name: name.to_owned(), gate: Gate::default() };
        Self::stub(Referent::Service(Arc::new(service)), CallOptions::new())
    }

    fn stub(referent: Referent, options: CallOptions) -> Self {
        let target = match Stub::new(&referent, options) {
            Some(stub) => I::from_stub(stub),
            None => unreachable!("a local object has no stub"),
        };
        Self { target, referent }
    }

    /// The reference as one of this interface.
    pub(crate) fn from_referent(referent: Referent) -> Result<Self, CastError> {
        let wanted = I::descriptor().name.to_string();
        match &referent {
            Referent::Own(object) => match object.cast::<I>() {
                Some(target) => Ok(Self { target, referent }),
                None => Err(CastError { wanted, found: object.interfaces().names().to_vec() }),
            },
            Referent::Foreign(_) | Referent::Named(_) | Referent::Balanced(_)
                if !referent.interfaces().contains(&wanted) =>
            {
                Err(CastError { wanted, found: referent.interfaces().names().to_vec() })
            }
            Referent::Foreign(_) | Referent::Named(_) | Referent::Balanced(_) | Referent::Service(_) => {
                Ok(Self::stub(referent, CallOptions::new()))
            }
        }
    }

    /// The same object as a base of its interface, at any depth. Takes no rights away: the result
    /// can be cast back.
    #[must_use]
    pub fn upcast<B: ?Sized + ImplementedBy<I>>(this: &Self) -> Remote<B> {
        let referent = this.referent.clone();
        match &referent {
            Referent::Own(object) => match object.cast::<B>() {
                Some(target) => Remote { target, referent },
                // An interface that the object was not wrapped as: it was cast to by a stub of this
                // process, which is impossible for a local object.
                None => unreachable!("an interface and its base are both interfaces of a local object"),
            },
            _ => Remote::stub(referent, CallOptions::new()),
        }
    }

    /// The same object as another of its interfaces, checked against all that it was wrapped with.
    ///
    /// # Errors
    ///
    /// Where it has no such interface.
    pub fn cast<J: ?Sized + Interface>(this: &Self) -> Result<Remote<J>, CastError> {
        Remote::from_referent(this.referent.clone())
    }
}

impl<I: ?Sized> Remote<I> {
    pub(crate) fn own_object(this: &Self) -> Option<Arc<Object<dyn Erased>>> {
        match &this.referent {
            Referent::Own(object) => Some(object.clone()),
            _ => None,
        }
    }

    /// Whether the object lives in this process.
    #[must_use]
    pub fn is_local(this: &Self) -> bool {
        matches!(this.referent, Referent::Own(_))
    }

    /// The object itself, where it lives in this process.
    #[must_use]
    pub fn as_local(this: &Self) -> Option<&Arc<I>> {
        Self::is_local(this).then_some(&this.target)
    }

    /// The object's id. A service that is found by name has none until then: it shows as zeros. That of a
    /// reference to a group is made of the group's name and of where that is known.
    #[must_use]
    pub fn id(this: &Self) -> ObjectId {
        this.referent.identity().1.unwrap_or(ObjectId::from_bytes([0; 16]))
    }

    /// The node that owns the object; `None` for a local one that has not travelled yet, and for a group.
    #[must_use]
    pub fn node_id(this: &Self) -> Option<NodeId> {
        this.referent.identity().0
    }

    /// The members of a group that are known now, without those of this very node. Any other reference has
    /// one, itself.
    #[must_use]
    pub fn members(this: &Self) -> Vec<AnyRemote> {
        match &this.referent {
            Referent::Balanced(balanced) => balanced.group().references(),
            referent => vec![AnyRemote::new(referent.clone())],
        }
    }

    /// The reference without its type.
    #[must_use]
    pub fn erase(this: &Self) -> AnyRemote {
        AnyRemote::new(this.referent.clone())
    }

    /// A reference that does not keep the object.
    #[must_use]
    pub fn downgrade(this: &Self) -> WeakRemote<I> {
        let referent = match &this.referent {
            Referent::Own(object) => WeakReferent::Own(Arc::downgrade(object)),
            Referent::Foreign(import) => WeakReferent::Foreign(Arc::downgrade(import)),
            Referent::Named(named) => WeakReferent::Named(Arc::downgrade(named)),
            Referent::Balanced(balanced) => WeakReferent::Balanced(Arc::downgrade(balanced)),
            Referent::Service(service) => WeakReferent::Service(service.clone()),
        };
        WeakRemote { referent, interface: PhantomData }
    }

    /// Waits until the object is gone for good: its node went away or unexported it, or the link to it
    /// was lost, not resumed within the lease, and the node does not answer either when it is dialled
    /// once more. Of a looked-up reference it is the object that the name leads to now; of one to a group,
    /// the last member that it is known to have. Never ends for a local object.
    pub fn broken(this: &Self) -> impl Future<Output = RemoteError> + Send + use<I> {
        broken(&this.referent)
    }
}

impl<I: ?Sized + Interface> Remote<I> {
    /// The methods of the object, each of which gives a [`Promise`](crate::Promise): a result that can be called
    /// before it has arrived, where it is a reference. A chain of calls takes one round trip, to any depth.
    ///
    /// Calls go once they are awaited, or what was called on their results. They begin in the order in which they were first
    /// awaited, with those through the references that promises have become. A call on the result of one that failed fails as
    /// [`ErrorKind::PromiseBroken`](crate::ErrorKind::PromiseBroken), which names that one; it did not run. Dropping a
    /// promise, and all that was called on it, cancels its call.
    ///
    /// `Remote::pipelined(&counters).open("visitors").add(1).await` is one round trip. The documentation of the crate `rmi`
    /// has an example.
    #[must_use]
    pub fn pipelined(this: &Self) -> I::Pipelined<()> {
        Self::pipelined_with(this, CallOptions::new())
    }

    /// The same, where calls of this object are made with these options; those on their results are not.
    #[must_use]
    pub fn pipelined_with(this: &Self, options: CallOptions) -> I::Pipelined<()> {
        match Pipe::of(&this.referent, options) {
            Some(pipe) => Pipelined::on(&pipe),
            None => unreachable!("all but an own object have a stub"),
        }
    }

    /// The same reference, whose calls are made with other options. A call of a local object
    /// knows none.
    #[must_use]
    pub fn with(this: &Self, options: CallOptions) -> Self {
        match &this.referent {
            Referent::Own(_) => this.clone(),
            referent => Self::stub(referent.clone(), options),
        }
    }
}

/// Waits until the referent is gone for good, without keeping it.
pub(crate) fn broken(referent: &Referent) -> impl Future<Output = RemoteError> + Send + use<> {
    let (import, emptied) = match referent {
        Referent::Foreign(import) => (Some(Arc::downgrade(import)), None),
        Referent::Named(named) => (Some(Arc::downgrade(&named.current())), None),
        Referent::Balanced(balanced) => (None, Some(balanced.broken())),
        Referent::Own(_) | Referent::Service(_) => (None, None),
    };
    async move {
        match (import, emptied) {
            (Some(import), _) => Import::broken(import).await,
            (None, Some(emptied)) => emptied.await,
            (None, None) => std::future::pending().await,
        }
    }
}

impl<I: ?Sized> Deref for Remote<I> {
    type Target = I;

    fn deref(&self) -> &I {
        &self.target
    }
}

impl<I: ?Sized> Clone for Remote<I> {
    fn clone(&self) -> Self {
        Self { target: self.target.clone(), referent: self.referent.clone() }
    }
}

/// By owner and object, never by route or options.
impl<I: ?Sized> PartialEq for Remote<I> {
    fn eq(&self, other: &Self) -> bool {
        self.referent == other.referent
    }
}

impl<I: ?Sized> Eq for Remote<I> {}

impl<I: ?Sized> Hash for Remote<I> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.referent.hash(state);
    }
}

impl<I: ?Sized> fmt::Debug for Remote<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({:?})", self.referent)
    }
}

impl<I: ?Sized> Serialize for Remote<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.referent, serializer)
    }
}

impl<'de, I: ?Sized + Interface> Deserialize<'de> for Remote<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_referent(deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Writes a reference as its index in the message's table.
pub(crate) fn serialize<S: Serializer>(referent: &Referent, serializer: S) -> Result<S::Ok, S::Error> {
    match marshal::give(referent) {
        Some(index) => serializer.serialize_u32(index),
        None => Err(ser::Error::custom(marshal::OUTSIDE)),
    }
}

/// Reads a reference by its index in the message's table.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Referent, D::Error> {
    let index = u32::deserialize(deserializer)?;
    match marshal::take(index) {
        Some(Some(referent)) => Ok(referent),
        Some(None) => Err(de::Error::custom(marshal::no_such_reference(index))),
        None => Err(de::Error::custom(marshal::OUTSIDE)),
    }
}

/// A reference that does not keep its object alive, neither here nor at its owner.
pub struct WeakRemote<I: ?Sized> {
    referent: WeakReferent,
    interface: PhantomData<fn() -> Arc<I>>,
}

#[derive(Clone)]
enum WeakReferent {
    Own(Weak<Object<dyn Erased>>),
    Foreign(Weak<Import>),
    Named(Weak<Named>),
    Balanced(Weak<Balanced>),
    Service(Arc<Service>),
}

impl<I: ?Sized + Interface> WeakRemote<I> {
    /// The reference, if something on this node still keeps it. Asks nobody.
    #[must_use]
    pub fn upgrade(&self) -> Option<Remote<I>> {
        let referent = match &self.referent {
            WeakReferent::Own(object) => Referent::Own(object.upgrade()?),
            WeakReferent::Foreign(import) => Referent::Foreign(import.upgrade()?),
            WeakReferent::Named(named) => Referent::Named(named.upgrade()?),
            WeakReferent::Balanced(balanced) => Referent::Balanced(balanced.upgrade()?),
            WeakReferent::Service(service) => Referent::Service(service.clone()),
        };
        Remote::from_referent(referent).ok()
    }
}

impl<I: ?Sized> Clone for WeakRemote<I> {
    fn clone(&self) -> Self {
        Self { referent: self.referent.clone(), interface: PhantomData }
    }
}

impl<I: ?Sized> fmt::Debug for WeakRemote<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakRemote")
    }
}

/// A reference was cast to an interface that its object does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the object has no interface {wanted}; it has {}", found.join(", "))]
pub struct CastError {
    wanted: String,
    found: Vec<String>,
}

impl CastError {
    /// The name of the interface that was wanted.
    #[must_use]
    pub fn wanted(&self) -> &str {
        &self.wanted
    }

    /// The names of the interfaces that the object has, most derived first.
    #[must_use]
    pub fn found(&self) -> &[String] {
        &self.found
    }
}

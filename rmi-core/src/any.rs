//! References without a type.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    balance::{Balance, Balanced, Group},
    error::RemoteError,
    id::{NodeId, ObjectId},
    interface::Interface,
    named::{Named, Resolve},
    referent::Referent,
    remote::{self, CastError, Remote},
};

/// A reference to an object of any interface: what a registry holds. It travels, compares and
/// keeps its object as a [`Remote`] does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AnyRemote {
    referent: Referent,
}

impl AnyRemote {
    pub(crate) fn new(referent: Referent) -> Self {
        Self { referent }
    }

    pub(crate) fn into_referent(self) -> Referent {
        self.referent
    }

    /// The reference with the name that it was found by: where the object cannot be called any more,
    /// a call that certainly did not run goes to what the name stands for then. Identity, equality and
    /// hash stay those of this object; passed on, the reference is that of the current one. A local
    /// object needs no name.
    #[must_use]
    pub fn named(self, resolver: Arc<dyn Resolve>) -> Self {
        match self.referent {
            Referent::Foreign(import) => Self::new(Referent::Named(Named::new(import, resolver))),
            referent => Self { referent },
        }
    }

    /// The reference to all members of a group, whose calls are spread over them in this way. It is equal
    /// to every other reference to the group; passed on, it is that of one member.
    #[must_use]
    pub fn balanced(group: Arc<Group>, balance: Balance) -> Self {
        Self::new(Referent::Balanced(Balanced::new(group, balance)))
    }

    /// The names of all interfaces of the object, most derived first.
    #[must_use]
    pub fn interfaces(&self) -> Vec<String> {
        self.referent.interfaces().names().to_vec()
    }

    /// The object as one of its interfaces.
    ///
    /// # Errors
    ///
    /// Where it has no such interface.
    pub fn cast<I: ?Sized + Interface>(&self) -> Result<Remote<I>, CastError> {
        Remote::from_referent(self.referent.clone())
    }

    /// Whether the object lives in this process.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.referent, Referent::Own(_))
    }

    /// The object's id.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        self.referent.identity().1.unwrap_or(ObjectId::from_bytes([0; 16]))
    }

    /// The node that owns the object; `None` for a local one that has not travelled yet.
    #[must_use]
    pub fn node_id(&self) -> Option<NodeId> {
        self.referent.identity().0
    }

    /// Whether the object lives in this process, or the link over which it is held is there. Where
    /// that is lost, the object may be reachable again later, until [`broken`](Self::broken) tells
    /// otherwise.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        match &self.referent {
            Referent::Foreign(import) => import.is_connected(),
            Referent::Named(named) => named.current().is_connected(),
            Referent::Balanced(balanced) => balanced.is_connected(),
            Referent::Own(_) | Referent::Service(_) => true,
        }
    }

    /// Whether it is an object of this process that was unexported: passed on, it leads nowhere.
    #[must_use]
    pub fn is_unexported(&self) -> bool {
        matches!(&self.referent, Referent::Own(object) if object.is_unexported())
    }

    /// Waits until the object is gone for good; see [`Remote::broken`].
    pub fn broken(&self) -> impl Future<Output = RemoteError> + Send + use<> {
        remote::broken(&self.referent)
    }
}

impl fmt::Debug for AnyRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyRemote({:?})", self.referent)
    }
}

impl Serialize for AnyRemote {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        remote::serialize(&self.referent, serializer)
    }
}

impl<'de> Deserialize<'de> for AnyRemote {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        remote::deserialize(deserializer).map(Self::new)
    }
}

//! The interface of a registry, as clients call it and servers implement it.

use std::time::Duration;

use rmi_core::{AnyRemote, Remote};
use rmi_macros::remote;
use serde::{Deserialize, Serialize};

use crate::{error::RegistryError, stamp::Stamp};

/// The name of the service that a registry is at its node.
pub(crate) const SERVICE: &str = "registry";

/// The interfaces of a registry's own objects.
pub(crate) const INTERFACE: &str = "rmi.Registry";
pub(crate) const SUBSCRIPTION: &str = "rmi.RegistrySubscription";

/// How many entries a page holds at most.
pub(crate) const PAGE_LEN_MAX: u32 = 1000;

/// Names and what they are bound to.
#[remote(name = "rmi.Registry")]
pub(crate) trait NameService {
    /// Binds a free name, or one whose owner is lost. Binding again with the same stamp is no error.
    async fn bind(&self, name: String, object: AnyRemote, stamp: Stamp) -> Result<Mark, RegistryError>;

    /// Binds a name, free or not.
    async fn rebind(&self, name: String, object: AnyRemote, stamp: Stamp) -> Result<Mark, RegistryError>;

    /// Frees a name. Bindings that are not newer than the stamp do not come back.
    async fn unbind(&self, name: String, stamp: Stamp) -> Result<(), RegistryError>;

    /// Joins an object under a name that is free, or that others of the same interfaces are joined under.
    /// Joining again is no error.
    async fn join(&self, name: String, object: AnyRemote, stamp: Stamp) -> Result<Mark, RegistryError>;

    /// Takes an object out of those that are joined under a name. What is not among them has left.
    async fn leave(&self, name: String, object: AnyRemote, stamp: Stamp) -> Result<(), RegistryError>;

    /// What the name is bound to, or one of those that are joined under it.
    #[remote(idempotent)]
    async fn lookup(&self, name: String) -> Result<AnyRemote, RegistryError>;

    /// All that the name stands for.
    #[remote(idempotent)]
    async fn find(&self, name: String) -> Result<Found, RegistryError>;

    /// The first names that begin with `prefix` and come after `after`: at most `limit`, which is
    /// taken for a number from 1 to [`PAGE_LEN_MAX`].
    #[remote(idempotent)]
    async fn list(&self, prefix: String, after: Option<String>, limit: u32) -> Result<Page, RegistryError>;

    /// Whether anything has changed for those who bound names here.
    #[remote(idempotent)]
    async fn attend(&self) -> Result<Attendance, RegistryError>;

    /// Makes bindings and removals that were made before; of two of a name the newest wins. The
    /// answer holds one fate for each claim.
    async fn reconcile(&self, claims: Vec<Claim>) -> Result<Reconciled, RegistryError>;

    /// Tells the watcher all names that begin with `prefix`, then every change, until the
    /// subscription is dropped.
    async fn watch(&self, prefix: String, watcher: Remote<dyn Watcher>) -> Result<Subscribed, RegistryError>;

    /// Tells the watcher whether this name is bound, then every change, until the subscription is dropped.
    async fn watch_name(&self, name: String, watcher: Remote<dyn Watcher>) -> Result<Subscribed, RegistryError>;
}

/// What a name stands for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Found {
    /// The object that is bound to it.
    One(AnyRemote),
    /// The objects that are joined under it, in the order in which they joined.
    Group(Vec<AnyRemote>),
}

/// A part of the names, in order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    /// Whether more names follow.
    pub(crate) more: bool,
}

/// A name of a registry.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name, as it is looked up.
    pub name: String,
    /// The names of the interfaces that the object bound to it implements, or each that is joined under it.
    pub interfaces: Vec<String>,
    /// How many objects are joined under the name; `None` where one is bound to it.
    pub members: Option<u32>,
}

/// A state of the registry, as the bindings of one node see it: while it stays the same, they are
/// in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Drawn at random by each start of a registry.
    pub(crate) instance: u64,
    /// Another one after each binding of the node that was taken away by others.
    pub(crate) losses: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Attendance {
    pub(crate) mark: Mark,
    /// When to ask again, in milliseconds.
    ask_again: u32,
}

/// Something that was done to a name before.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) name: String,
    pub(crate) deed: Deed,
    pub(crate) stamp: Stamp,
}

/// What was done to a name.
// It travels by the order of its variants: new ones go to the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Deed {
    Unbind,
    Bind(AnyRemote),
    Join(AnyRemote),
    Leave(AnyRemote),
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    /// The name is bound to the object, or the object joined under it.
    Bound,
    /// A newer binding has the name.
    Superseded,
    /// The name was unbound since, or the object taken out; also the fate of a removal.
    Removed,
    /// The registry is full.
    Refused,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reconciled {
    pub(crate) fates: Vec<Fate>,
    pub(crate) mark: Mark,
}

/// Who is told about names.
#[remote(name = "rmi.RegistryWatcher")]
pub(crate) trait Watcher {
    /// The next changes, in order.
    async fn changed(&self, changes: Vec<Change>) -> rmi_core::Result<()>;
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// The name is bound, by the binding of this stamp.
    Bound(Entry, Stamp),
    /// The name was unbound.
    Unbound(String),
    /// The name went with its server.
    Expired(String),
    /// All names that are bound were told.
    Current,
    /// Changes were left out, and no more come: the watcher did not keep up.
    Lagged,
}

/// A watch at the registry, which ends when this is dropped.
#[remote(name = "rmi.RegistrySubscription")]
pub(crate) trait Subscription {
    /// Whether changes are still told.
    #[remote(idempotent)]
    async fn is_live(&self) -> rmi_core::Result<bool>;
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Subscribed {
    pub(crate) subscription: Remote<dyn Subscription>,
    /// When to ask whether it is live, in milliseconds.
    ask_again: u32,
}

impl Attendance {
    pub(crate) fn new(mark: Mark, ask_again: Duration) -> Self {
        Self { mark, ask_again: millis(ask_again) }
    }

    pub(crate) fn ask_again(&self) -> Duration {
        bounded(self.ask_again)
    }
}

impl Subscribed {
    pub(crate) fn new(subscription: Remote<dyn Subscription>, ask_again: Duration) -> Self {
        Self { subscription, ask_again: millis(ask_again) }
    }

    pub(crate) fn ask_again(&self) -> Duration {
        bounded(self.ask_again)
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// No registry makes its clients ask without pause, or next to never.
fn bounded(millis: u32) -> Duration {
    Duration::from_millis(u64::from(millis)).clamp(Duration::from_millis(10), Duration::from_mins(1))
}

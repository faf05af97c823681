//! The objects that are joined under one name, as this node knows them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use super::member::Member;
use crate::{
    any::AnyRemote,
    error::{Certainty, ErrorKind, RemoteError},
    id::{ObjectId, fnv1a64},
    import::Import,
    node::Node,
    object::InterfaceSet,
    referent::Referent,
};

/// The members of a name, as somebody who watches them tells: what the references to the name share.
/// Dropped with the last of them.
pub struct Group {
    node: Node,
    name: Arc<str>,
    id: ObjectId,
    interfaces: InterfaceSet,
    /// Those that other nodes have, in the order in which they joined.
    members: watch::Sender<Members>,
    /// How many members there ever were.
    numbers: AtomicU64,
}

pub(super) type Members = Arc<[Arc<Member>]>;

impl Group {
    /// The group of this name, which tells it from all others and says where it is known, as in
    /// `rmi://host:1099/bank`. `None` where no other node has a member: objects of this very node are
    /// called as they are.
    #[must_use]
    pub fn new(node: &Node, name: &str, members: Vec<AnyRemote>) -> Option<Arc<Self>> {
        let interfaces = imports(members.clone()).next()?.interfaces().clone();
        let halves = [fnv1a64(&["group ", name]), fnv1a64(&[name])].map(u64::to_be_bytes);
        let mut id = [0; 16];
        id.iter_mut().zip(halves.iter().flatten()).for_each(|(to, from)| *to = *from);
        let group = Self {
            node: node.clone(),
            name: name.into(),
            id: ObjectId::from_bytes(id),
            interfaces,
            members: watch::Sender::new(Arc::default()),
            numbers: AtomicU64::new(0),
        };
        group.set_members(members);
        Some(Arc::new(group))
    }

    /// These are its members now. Those that it had already stay as they are, with the calls they
    /// have in flight.
    pub fn set_members(&self, members: Vec<AnyRemote>) {
        let before = self.members();
        let known = |found: &Arc<Import>| {
            let same = |member: &&Arc<Member>| {
                let known = member.import();
                (known.owner(), known.id()) == (found.owner(), found.id()) && !known.is_gone()
            };
            before.iter().find(same).cloned()
        };
        let member = |found| {
            known(&found)
                .unwrap_or_else(|| Member::new(&self.name, self.numbers.fetch_add(1, Ordering::Relaxed), found))
        };
        let members = members.into_iter().filter(|member| self.may_have(member)).collect();
        let now: Members = imports(members).map(member).collect();
        tracing::debug!(group = %self.name, before = before.len(), now = now.len(), "members");
        let replaced = self.members.send_replace(now);
        drop(replaced);
    }

    /// Whether an object has the interfaces of the group.
    #[must_use]
    pub fn may_have(&self, object: &AnyRemote) -> bool {
        let interfaces = object.interfaces();
        self.interfaces.names().iter().all(|wanted| interfaces.contains(wanted))
    }

    /// The members that other nodes have.
    #[must_use]
    pub fn references(&self) -> Vec<AnyRemote> {
        self.members().iter().map(|member| AnyRemote::new(Referent::Foreign(member.import().clone()))).collect()
    }

    /// Ends when no reference to the name is left on this node. Keeps nothing meanwhile.
    pub fn dropped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut members = self.members.subscribe();
        async move { while members.changed().await.is_ok() {} }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }

    pub(crate) fn interfaces(&self) -> &InterfaceSet {
        &self.interfaces
    }

    pub(super) fn members(&self) -> Members {
        self.members.borrow().clone()
    }

    /// Waits for this time, or until somebody has joined a group of nobody.
    pub(super) async fn wait_for_somebody(&self, pause: Duration) {
        let mut members = self.members.subscribe();
        // Whether it is in vain shows when the next call is made.
        let _ = tokio::time::timeout(pause, members.wait_for(|members| !members.is_empty())).await;
    }

    /// Ends when nobody is left in the group. Keeps nothing meanwhile.
    pub(super) fn emptied(&self) -> impl Future<Output = RemoteError> + Send + use<> {
        let (mut members, name) = (self.members.subscribe(), self.name.clone());
        async move {
            while !members.borrow_and_update().is_empty() {
                if members.changed().await.is_err() {
                    return RemoteError::new(ErrorKind::Cancelled, "this node has dropped the reference");
                }
            }
            nobody(&name)
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever waits for its end keeps the place where they stand.
        self.members.send_if_modified(|members| {
            *members = Arc::default();
            false
        });
    }
}

/// The objects of other nodes among these.
fn imports(members: Vec<AnyRemote>) -> impl Iterator<Item = Arc<Import>> {
    members.into_iter().filter_map(|member| match member.into_referent() {
        Referent::Foreign(import) => Some(import),
        Referent::Named(named) => Some(named.current()),
        Referent::Own(_) | Referent::Service(_) | Referent::Balanced(_) => None,
    })
}

/// That a group has no member to call.
pub(super) fn nobody(group: &str) -> RemoteError {
    let message = "no other node has joined an object under the name, or all of them have left";
    RemoteError::new(ErrorKind::NoSuchObject, message).with_object(group).with_certainty(Certainty::NotSent)
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} members)", self.name, self.members.borrow().len())
    }
}

//! What a node has bound at a registry, and binds there again where the registry has restarted,
//! was out of reach, or has lost it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    convert::Infallible,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use rmi_core::{AnyRemote, Node, NodeId, ObjectId};
use tokio::{sync::oneshot, time::sleep};
use tracing::{debug, info, warn};

use crate::{
    backoff::Backoff,
    error::RegistryError,
    kept::KeptKey,
    name::Name,
    places::Place,
    service::{Claim, Deed, Fate, Mark},
    stamp::Stamp,
};

/// How many claims are sent at once.
const CLAIMS_MAX: usize = 256;

/// The binders of all nodes of this process, by node and registry.
static BINDERS: Mutex<BTreeMap<(NodeId, String), Weak<Binder>>> = Mutex::new(BTreeMap::new());

/// What one node has bound at one registry. The node keeps it for as long as there is anything, and
/// lets go of it when it is shut down.
#[derive(Debug)]
pub(crate) struct Binder {
    key: KeptKey,
    claims: Mutex<BTreeMap<ClaimKey, Held>>,
    /// Ends the task that looks after the claims.
    _alive: oneshot::Sender<Infallible>,
}

/// What a claim is about: a name, or one member of it.
type ClaimKey = (Name, Option<ObjectId>);

/// A binding, or a removal that the registry has not heard of yet.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) deed: Deed,
    pub(crate) stamp: Stamp,
    /// The state of the registry in which it was in place.
    pub(crate) seen: Option<Mark>,
}

impl Held {
    const fn object(&self) -> Option<&AnyRemote> {
        match &self.deed {
            Deed::Unbind => None,
            Deed::Bind(object) | Deed::Join(object) | Deed::Leave(object) => Some(object),
        }
    }

    /// The member that it is about.
    fn member(&self) -> Option<ObjectId> {
        match &self.deed {
            Deed::Unbind | Deed::Bind(_) => None,
            Deed::Join(object) | Deed::Leave(object) => Some(object.id()),
        }
    }
}

impl Binder {
    /// The node has bound a name at this registry, or joined an object under it, or is to do or undo that
    /// there.
    pub(crate) fn hold(node: &Node, place: &Place, name: Name, mut held: Held) {
        let mut binders = BINDERS.lock();
        // Nodes and runtimes that ended without shutdown leave nothing but their keys.
        binders.retain(|_, binder| binder.strong_count() > 0);
        let binder = match binders.entry((node.id(), place.url.clone())) {
            Entry::Occupied(known) => known.get().upgrade(),
            Entry::Vacant(_) => None,
        };
        let binder = binder.unwrap_or_else(|| {
            let binder = Self::start(node, place);
            binders.insert((node.id(), place.url.clone()), Arc::downgrade(&binder));
            binder
        });
        let mut claims = binder.claims.lock();
        let key = (name, held.member());
        // The name is another's than its members' from now on.
        let replaced = if key.1.is_none() { take(&mut claims, |(name, _), _| *name == key.0) } else { Vec::new() };
        if let (Deed::Join(_), Some(Held { deed: Deed::Join(_), stamp, .. })) = (&held.deed, claims.get(&key)) {
            // Of one object the first joining counts.
            held.stamp = *stamp;
        }
        let again = claims.insert(key, held);
        drop((claims, binders));
        drop((replaced, again));
    }

    /// Whether the node has joined the object under the name at this registry.
    pub(crate) fn has_joined(node: &Node, place: &Place, name: &Name, member: ObjectId) -> bool {
        let key = (name.clone(), Some(member));
        Self::of(node, place)
            .is_some_and(|binder| binder.claims.lock().get(&key).is_some_and(|held| matches!(held.deed, Deed::Join(_))))
    }

    /// The node holds the name at this registry no more, or this member of it.
    pub(crate) fn release(node: &Node, place: &Place, name: &Name, member: Option<ObjectId>) {
        if let Some(binder) = Self::of(node, place) {
            let released =
                take(&mut binder.claims.lock(), |(known, of), _| known == name && (member.is_none() || *of == member));
            drop(released);
            binder.end_if_empty(node, place);
        }
    }

    fn of(node: &Node, place: &Place) -> Option<Arc<Self>> {
        BINDERS.lock().get(&(node.id(), place.url.clone())).and_then(Weak::upgrade)
    }

    /// A binder that the node keeps, and the task that looks after it.
    fn start(node: &Node, place: &Place) -> Arc<Self> {
        let (alive, ended) = oneshot::channel();
        let binder =
            Arc::new(Self { key: KeptKey::new(&place.url), claims: Mutex::new(BTreeMap::new()), _alive: alive });
        binder.key.keep(node, binder.clone());
        let (weak, node, place) = (Arc::downgrade(&binder), node.clone(), place.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = attend(weak, &node, &place) => {}
                _ = ended => {}
            }
        });
        binder
    }

    /// Ends the binder that holds nothing. One that is needed later is another.
    fn end_if_empty(&self, node: &Node, place: &Place) {
        let mut binders = BINDERS.lock();
        if !self.claims.lock().is_empty() {
            return;
        }
        let key = (node.id(), place.url.clone());
        if binders.get(&key).is_some_and(|known| std::ptr::eq(known.as_ptr(), self)) {
            binders.remove(&key);
        }
        drop(binders);
        self.key.let_go(node);
    }

    /// The claims that were not seen in place in this state of the registry.
    fn due(&self, mark: Mark) -> Vec<(ClaimKey, Held)> {
        let claims = self.claims.lock();
        let due = claims.iter().filter(|(_, held)| held.seen != Some(mark));
        due.take(CLAIMS_MAX).map(|(key, held)| (key.clone(), held.clone())).collect()
    }

    /// Lets go of objects that nobody can call any more.
    fn forget_unexported(&self, place: &Place) {
        let is_gone = |held: &Held| held.object().is_some_and(AnyRemote::is_unexported);
        let gone = take(&mut self.claims.lock(), |_, held| is_gone(held));
        for ((name, _), _) in &gone {
            debug!(%name, url = %place.url, "an object was unexported that this node had bound");
        }
    }

    /// What became of a claim. Whether it is settled for this state of the registry.
    fn settle(&self, place: &Place, key: ClaimKey, sent: &Held, fate: Fate, mark: Mark) -> bool {
        let mut claims = self.claims.lock();
        let Entry::Occupied(mut current) = claims.entry(key) else { return true };
        if current.get().stamp != sent.stamp {
            // Bound anew meanwhile.
            return true;
        }
        if fate == Fate::Bound {
            current.get_mut().seen = Some(mark);
            return true;
        }
        if fate == Fate::Refused {
            return false;
        }
        let ((name, _), gone) = current.remove_entry();
        drop(claims);
        let url = &place.url;
        match (&gone.deed, fate) {
            (Deed::Unbind | Deed::Leave(_), _) => info!(%name, %url, "a registry that was away has heard of a removal"),
            (_, Fate::Superseded) => warn!(%name, %url, "another server has bound a name of this node anew"),
            (Deed::Join(_), _) => warn!(%name, %url, "a member of this node was taken out by another"),
            (Deed::Bind(_), _) => warn!(%name, %url, "a name of this node was unbound by another"),
        }
        drop(gone);
        true
    }
}

/// Looks after the claims of a binder until it ends.
async fn attend(binder: Weak<Binder>, node: &Node, place: &Place) {
    let mut backoff = Backoff::new();
    loop {
        let wait = match attend_once(&binder, node, place).await {
            Ok(Some(ask_again)) => {
                backoff = Backoff::new();
                ask_again
            }
            Ok(None) => return,
            Err(error) => {
                debug!(url = %place.url, %error, "a registry cannot be asked for the names bound there");
                backoff.delay()
            }
        };
        sleep(wait).await;
    }
}

/// Puts everything in its place. When to look again, or `None` where nothing is left to look after.
async fn attend_once(binder: &Weak<Binder>, node: &Node, place: &Place) -> Result<Option<Duration>, RegistryError> {
    let attendance = place.service.attend().await?;
    loop {
        let due = binder.upgrade().map(|binder| {
            binder.forget_unexported(place);
            binder.end_if_empty(node, place);
            binder.due(attendance.mark)
        });
        let Some(due) = due else { return Ok(None) };
        if due.is_empty() {
            return Ok(Some(attendance.ask_again()));
        }
        let claim = |((name, _), held): &(ClaimKey, Held)| Claim {
            name: name.to_string(),
            deed: held.deed.clone(),
            stamp: held.stamp,
        };
        let reconciled = place.service.reconcile(due.iter().map(claim).collect()).await?;
        let Some(binder) = binder.upgrade() else { return Ok(None) };
        let mut settled = reconciled.fates.len() == due.len() && reconciled.mark == attendance.mark;
        for ((key, held), fate) in due.into_iter().zip(reconciled.fates) {
            settled &= binder.settle(place, key, &held, fate, reconciled.mark);
        }
        binder.end_if_empty(node, place);
        if !settled {
            // The registry is full, or has changed again: not at once.
            return Ok(Some(attendance.ask_again()));
        }
    }
}

/// Takes out the claims that this holds for, to be dropped outside of the lock.
fn take(claims: &mut BTreeMap<ClaimKey, Held>, is_it: impl Fn(&ClaimKey, &Held) -> bool) -> Vec<(ClaimKey, Held)> {
    claims.extract_if(.., |key, held| is_it(key, held)).collect()
}

#[cfg(test)]
mod tests {
    use rmi_core::Remote;

    use super::*;
    use crate::{Registry, RegistryServer, kept::tests::thing};

    fn binder(node: &Node, url: &str) -> Option<Arc<Binder>> {
        BINDERS.lock().get(&(node.id(), url.to_owned())).and_then(Weak::upgrade)
    }

    #[tokio::test]
    async fn a_binder_lives_as_long_as_there_is_anything_to_look_after() {
        let names = RegistryServer::builder().listen("mem://binder").start().await.unwrap();
        let node = Node::builder().listen("mem://binder-server").start().await.unwrap();
        let registry = Registry::connect_with(&node, "mem://binder").await.unwrap();
        assert!(binder(&node, "mem://binder").is_none());
        registry.bind("a", &thing()).await.unwrap();
        registry.bind("b", &thing()).await.unwrap();
        let first = Arc::downgrade(&binder(&node, "mem://binder").unwrap());
        registry.unbind("a").await.unwrap();
        assert_eq!(first.upgrade().unwrap().claims.lock().len(), 1);
        registry.unbind("b").await.unwrap();
        assert!(first.upgrade().is_none() && binder(&node, "mem://binder").is_none());

        let object = thing();
        registry.bind("a", &object).await.unwrap();
        let weak = Remote::downgrade(&object);
        drop(object);
        let second = Arc::downgrade(&binder(&node, "mem://binder").unwrap());
        drop(registry);
        node.shutdown().await;
        assert!(second.upgrade().is_none() && weak.upgrade().is_none());
        names.shutdown().await;
    }
}

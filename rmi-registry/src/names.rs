//! The registry's own object: the names, what they are bound to, and who may change that.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rmi_core::{AnyRemote, Context, ErrorKind, NodeId, Principal, Remote, RemoteError};
use rmi_macros::remote;
use tracing::{debug, info};

use crate::{
    error::RegistryError,
    holding::{Binding, Holding, MEMBERS_MAX},
    ledger::{Ledger, Offer},
    name::Name,
    rights::{Right, permit},
    service::{
        Attendance, Claim, Deed, Entry, Fate, Found, Mark, NameService, PAGE_LEN_MAX, Page, Reconciled, Subscribed,
        Subscription, Watcher,
    },
    stamp::{Stamp, random},
    table::{Generation, NAMES_MAX, Refused, Slice},
    watchers::{Next, Scope, Told as _, WatcherId},
};

/// The names of one registry. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    ledger: Arc<Mutex<Ledger>>,
    /// How often those who bind and watch names ask whether all is well.
    ask_again: Duration,
    /// Whether a policy tells those on one host apart.
    has_policy: bool,
}

impl Names {
    pub(crate) fn new(ask_again: Duration, has_policy: bool) -> Self {
        Self { ledger: Arc::new(Mutex::new(Ledger::new(random()))), ask_again, has_policy }
    }

    /// Who binds, where that matters: without a policy all are those of this host.
    fn owner(&self) -> Option<Principal> {
        Context::current().filter(|_| self.has_policy).map(|context| context.principal().clone())
    }

    /// Frees every name and ends every watch.
    pub(crate) fn clear(&self) {
        let mut ledger = self.ledger.lock();
        let freed = (ledger.table.clear(), ledger.watchers.clear());
        drop(ledger);
        drop(freed);
    }

    /// A binding that goes from its name once the object is gone for good.
    fn guarded(&self, name: &Name, object: &AnyRemote, stamp: Stamp, generation: Generation) -> Binding {
        let broken = object.broken();
        let (ledger, lost) = (Arc::downgrade(&self.ledger), name.clone());
        let guard = tokio::spawn(async move {
            let cause = broken.await;
            let Some(ledger) = ledger.upgrade() else { return };
            let freed = ledger.lock().expire(&lost, generation);
            if freed.is_some() {
                info!(name = %lost, %cause, "a name goes with its server");
            }
        });
        Binding {
            object: object.clone(),
            stamp,
            by: caller(),
            owner: self.owner(),
            generation,
            guard: guard.abort_handle(),
        }
    }

    /// Makes a binding by one of the ledger's ways.
    fn offer<R>(
        &self,
        name: &Name,
        object: &AnyRemote,
        stamp: Stamp,
        way: impl FnOnce(&mut Ledger, &Offer<'_>) -> R,
    ) -> (R, Mark) {
        let by = caller();
        let binding = |generation| self.guarded(name, object, stamp, generation);
        let mut ledger = self.ledger.lock();
        let outcome = way(&mut ledger, &Offer { name, object, stamp, by, owner: self.owner(), binding: &binding });
        (outcome, ledger.mark(by))
    }

    fn reconcile_one(&self, claim: Claim) -> Result<Fate, RegistryError> {
        let now = Instant::now();
        let Claim { name, deed, stamp } = claim;
        let rights: &[Right] = match &deed {
            // Whichever way it was bound.
            Deed::Bind(_) => &[Right::Bind, Right::Rebind],
            Deed::Join(_) => &[Right::Join],
            Deed::Unbind => &[Right::Unbind],
            Deed::Leave(_) => &[Right::Leave],
        };
        let name = changeable(rights, name)?;
        let (fate, replaced) = match deed {
            Deed::Bind(object) => self.offer(&name, &object, stamp, |ledger, offer| ledger.restore(offer, now)).0,
            Deed::Join(object) => self.offer(&name, &object, stamp, |ledger, offer| ledger.restore_join(offer, now)).0,
            Deed::Unbind => self.ledger.lock().restore_removal(&name, stamp, caller(), now),
            Deed::Leave(object) => self.ledger.lock().restore_leave(&name, &object, stamp, caller(), now),
        };
        let replaced = replaced.is_some();
        info!(%name, ?fate, replaced, "reconciled");
        Ok(fate)
    }
}

#[remote]
impl NameService for Names {
    async fn bind(&self, name: String, object: AnyRemote, stamp: Stamp) -> Result<Mark, RegistryError> {
        let name = changeable(&[Right::Bind], name)?;
        let (outcome, mark) = self.offer(&name, &object, stamp, Ledger::bind);
        let replaced = outcome.map_err(|refused| refusal(refused, &name, &object))?;
        info!(%name, from_lost = replaced.is_some(), "bound");
        Ok(mark)
    }

    async fn rebind(&self, name: String, object: AnyRemote, stamp: Stamp) -> Result<Mark, RegistryError> {
        let name = changeable(&[Right::Rebind], name)?;
        let (outcome, mark) = self.offer(&name, &object, stamp, Ledger::rebind);
        let replaced = outcome.map_err(|refused| refusal(refused, &name, &object))?;
        info!(%name, replaced = replaced.is_some(), "bound anew");
        Ok(mark)
    }

    async fn join(&self, name: String, object: AnyRemote, stamp: Stamp) -> Result<Mark, RegistryError> {
        let (name, now) = (changeable(&[Right::Join], name)?, Instant::now());
        let (outcome, mark) = self.offer(&name, &object, stamp, |ledger, offer| ledger.join(offer, now));
        let replaced = outcome.map_err(|refused| refusal(refused, &name, &object))?;
        info!(%name, object = %object.id(), replaced = replaced.is_some(), "joined");
        Ok(mark)
    }

    async fn leave(&self, name: String, object: AnyRemote, stamp: Stamp) -> Result<(), RegistryError> {
        let name = changeable(&[Right::Leave], name)?;
        let gone = self.ledger.lock().leave(&name, &object, stamp, caller(), Instant::now());
        info!(%name, object = %object.id(), was_member = gone.is_some(), "left");
        Ok(())
    }

    async fn unbind(&self, name: String, stamp: Stamp) -> Result<(), RegistryError> {
        let name = changeable(&[Right::Unbind], name)?;
        let freed = self.ledger.lock().unbind(&name, stamp, caller(), Instant::now());
        if freed.is_none() {
            return Err(not_bound(name.to_string()));
        }
        info!(%name, "unbound");
        Ok(())
    }

    async fn lookup(&self, name: String) -> Result<AnyRemote, RegistryError> {
        permit(&[Right::Lookup], &name)?;
        let found = self.ledger.lock().table.get(&name).and_then(|holding| holding.any().cloned());
        debug!(?name, found = found.is_some(), "looked up");
        found.ok_or_else(|| not_bound(name))
    }

    async fn find(&self, name: String) -> Result<Found, RegistryError> {
        permit(&[Right::Lookup], &name)?;
        let found = self.ledger.lock().table.get(&name).map(|holding| match holding {
            Holding::One(binding) => Found::One(binding.object.clone()),
            Holding::Group(members) => Found::Group(members.iter().map(|member| member.object.clone()).collect()),
        });
        debug!(?name, found = found.is_some(), "looked up");
        found.ok_or_else(|| not_bound(name))
    }

    async fn list(&self, prefix: String, after: Option<String>, limit: u32) -> Result<Page, RegistryError> {
        permit(&[Right::List], &prefix)?;
        let limit = usize::try_from(limit.clamp(1, PAGE_LEN_MAX)).unwrap_or(usize::MAX);
        let ledger = self.ledger.lock();
        let Slice { bindings, more } = ledger.table.slice(&prefix, after.as_deref(), limit);
        let entries = bindings.into_iter().map(|(name, holding)| Entry {
            name: name.to_string(),
            interfaces: holding.interfaces(),
            members: holding.members(),
        });
        Ok(Page { entries: entries.collect(), more })
    }

    async fn attend(&self) -> Result<Attendance, RegistryError> {
        Ok(Attendance::new(self.ledger.lock().mark(caller()), self.ask_again))
    }

    async fn reconcile(&self, claims: Vec<Claim>) -> Result<Reconciled, RegistryError> {
        // What is lost meanwhile is found at the next attendance.
        let mark = self.ledger.lock().mark(caller());
        let fates = claims.into_iter().map(|claim| self.reconcile_one(claim)).collect::<Result<_, _>>()?;
        Ok(Reconciled { fates, mark })
    }

    async fn watch(&self, prefix: String, watcher: Remote<dyn Watcher>) -> Result<Subscribed, RegistryError> {
        permit(&[Right::List], &prefix)?;
        self.subscribe(Scope::Below(prefix), watcher)
    }

    async fn watch_name(&self, name: String, watcher: Remote<dyn Watcher>) -> Result<Subscribed, RegistryError> {
        permit(&[Right::Lookup], &name)?;
        self.subscribe(Scope::Just(name), watcher)
    }
}

impl Names {
    fn subscribe(&self, scope: Scope, watcher: Remote<dyn Watcher>) -> Result<Subscribed, RegistryError> {
        let Some(id) = self.ledger.lock().watchers.add(scope) else {
            let message = "the registry has as many watchers as it takes; watch fewer prefixes";
            return Err(RemoteError::new(ErrorKind::Overloaded, message).into());
        };
        let ledger = Arc::downgrade(&self.ledger);
        let telling = tokio::spawn(tell(ledger.clone(), id, watcher));
        self.ledger.lock().watchers.set_task(id, telling.abort_handle());
        let subscription = Remote::<dyn Subscription>::new(Watching { ledger, id });
        Ok(Subscribed::new(subscription, self.ask_again))
    }
}

/// A watch of this registry, for as long as its watcher holds it.
struct Watching {
    ledger: Weak<Mutex<Ledger>>,
    id: WatcherId,
}

#[remote]
impl Subscription for Watching {
    async fn is_live(&self) -> rmi_core::Result<bool> {
        Ok(self.ledger.upgrade().is_some_and(|ledger| ledger.lock().watchers.contains(self.id)))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        forget(&self.ledger, self.id);
    }
}

/// Ends a watch.
fn forget(ledger: &Weak<Mutex<Ledger>>, id: WatcherId) {
    if let Some(ledger) = ledger.upgrade() {
        let feed = ledger.lock().watchers.remove(id);
        drop(feed);
    }
}

/// Tells one watcher what it is to be told, until its feed ends or it does not answer.
async fn tell(ledger: Weak<Mutex<Ledger>>, id: WatcherId, watcher: Remote<dyn Watcher>) {
    loop {
        let next = {
            let Some(ledger) = ledger.upgrade() else { return };
            let Ledger { table, watchers, .. } = &mut *ledger.lock();
            watchers.next(id, table)
        };
        match next {
            Next::Wait(news) => news.notified().await,
            Next::End => return,
            Next::Tell(changes) => {
                if let Err(error) = watcher.changed(changes).await {
                    debug!(%error, "a watcher does not answer and is told no more");
                    return forget(&ledger, id);
                }
            }
        }
    }
}

/// The node that calls; `None` for this process.
fn caller() -> Option<NodeId> {
    Context::current().map(|context| context.peer())
}

/// The name `text`, if the caller may change what it is bound to by one of these.
fn changeable(rights: &[Right], text: String) -> Result<Name, RegistryError> {
    permit(rights, &text)?;
    Name::new(text.as_str()).map_err(|reason| RegistryError::InvalidName { name: text, reason })
}

fn not_bound(name: String) -> RegistryError {
    RegistryError::NotBound { name, registry: String::new() }
}

fn refusal(refused: Refused, name: &Name, object: &AnyRemote) -> RegistryError {
    let (name, registry) = (name.to_string(), String::new());
    match refused {
        Refused::Taken => RegistryError::AlreadyBound { name, registry },
        Refused::Crowded => {
            let limit = u32::try_from(MEMBERS_MAX).unwrap_or(u32::MAX);
            RegistryError::TooManyMembers { name, limit, registry }
        }
        Refused::Interfaces(found) => {
            RegistryError::WrongInterface { name, wanted: object.interfaces().join(", "), found, registry }
        }
        Refused::Full => {
            let message = format!("the registry holds {NAMES_MAX} names and takes no more; unbind some");
            RemoteError::new(ErrorKind::Overloaded, message).into()
        }
    }
}

//! What a registry knows: its names, those that were removed, and who is told of changes.
//!
//! Every change returns what it took out, to be dropped outside of the lock that holds the ledger.

use std::{collections::HashMap, time::Instant};

use rmi_core::{AnyRemote, NodeId};
use tokio::task::AbortHandle;

use crate::{
    name::Name,
    removed::Removed,
    service::{Change, Fate, Mark},
    stamp::Stamp,
    table::{Generation, Refused, Table},
    watchers::{Told, Watchers, bound},
};

/// For how many nodes losses are remembered one by one.
const LOSERS_MAX: usize = 10_000;

/// What a name is bound to.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) object: AnyRemote,
    pub(crate) stamp: Stamp,
    /// The node that bound it; `None` for this process.
    pub(crate) by: Option<NodeId>,
    /// Waits for the end of the object.
    pub(crate) guard: AbortHandle,
}

impl Drop for Binding {
    fn drop(&mut self) {
        self.guard.abort();
    }
}

impl Told for Binding {
    fn interfaces(&self) -> Vec<String> {
        self.object.interfaces()
    }

    fn stamp(&self) -> Stamp {
        self.stamp
    }
}

/// A binding that is to be made.
pub(crate) struct Offer<'a> {
    pub(crate) name: &'a Name,
    pub(crate) stamp: Stamp,
    pub(crate) by: Option<NodeId>,
    /// Makes it.
    pub(crate) binding: &'a dyn Fn(Generation) -> Binding,
}

/// The state of one registry.
#[derive(Debug)]
pub(crate) struct Ledger {
    instance: u64,
    pub(crate) table: Table<Binding>,
    removed: Removed,
    /// By the node that bound what others took away.
    losses: HashMap<Option<NodeId>, u64>,
    loss_count: u64,
    pub(crate) watchers: Watchers,
}

impl Ledger {
    pub(crate) fn new(instance: u64) -> Self {
        Self {
            instance,
            table: Table::new(),
            removed: Removed::default(),
            losses: HashMap::new(),
            loss_count: 0,
            watchers: Watchers::default(),
        }
    }

    /// The state of the registry as this node sees it.
    pub(crate) fn mark(&self, node: Option<NodeId>) -> Mark {
        Mark { instance: self.instance, losses: self.losses.get(&node).copied().unwrap_or(0) }
    }

    /// Binds a free name, or one whose owner's link is lost.
    pub(crate) fn bind(&mut self, offer: &Offer<'_>) -> Result<Option<Binding>, Refused> {
        match self.table.get(offer.name.as_str()) {
            Some(current) if current.stamp == offer.stamp => Ok(None),
            Some(current) if current.object.is_connected() => Err(Refused::Taken),
            Some(_) | None => self.rebind(offer),
        }
    }

    /// Binds a name, free or not.
    pub(crate) fn rebind(&mut self, offer: &Offer<'_>) -> Result<Option<Binding>, Refused> {
        let replaced = self.table.rebind(offer.name.clone(), offer.binding)?;
        self.removed.forget(offer.name);
        if let Some(loser) = replaced.as_ref().map(|replaced| replaced.by).filter(|loser| *loser != offer.by) {
            self.count_loss(loser);
        }
        let Self { table, watchers, .. } = self;
        if let Some(binding) = table.get(offer.name.as_str()) {
            watchers.tell(offer.name.as_str(), || bound(offer.name.as_str(), binding));
        }
        Ok(replaced)
    }

    /// Frees a name, and keeps bindings up to this stamp from coming back.
    pub(crate) fn unbind(&mut self, name: &Name, stamp: Stamp, by: Option<NodeId>, now: Instant) -> Option<Binding> {
        let freed = self.table.unbind(name.as_str());
        let stamp = freed.as_ref().map_or(stamp, |freed| freed.stamp.max(stamp));
        self.removed.remember(name, stamp, now);
        if let Some(loser) = freed.as_ref().map(|freed| freed.by).filter(|loser| *loser != by) {
            self.count_loss(loser);
        }
        if freed.is_some() {
            self.watchers.tell(name.as_str(), || Change::Unbound(name.to_string()));
        }
        freed
    }

    /// Frees a name whose object is gone, if it is still bound to it.
    pub(crate) fn expire(&mut self, name: &Name, generation: Generation) -> Option<Binding> {
        let freed = self.table.unbind_generation(name.as_str(), generation)?;
        self.count_loss(freed.by);
        self.watchers.tell(name.as_str(), || Change::Expired(name.to_string()));
        Some(freed)
    }

    /// Makes a binding that was made before, unless something newer happened to its name.
    pub(crate) fn restore(&mut self, offer: &Offer<'_>, now: Instant) -> (Fate, Option<Binding>) {
        match self.table.get(offer.name.as_str()) {
            Some(current) if current.stamp > offer.stamp => return (Fate::Superseded, None),
            Some(current) if current.stamp == offer.stamp && current.object.is_connected() => {
                return (Fate::Bound, None);
            }
            None if self.removed.covers(offer.name, offer.stamp, now) => return (Fate::Removed, None),
            Some(_) | None => {}
        }
        self.rebind(offer).map_or((Fate::Refused, None), |replaced| (Fate::Bound, replaced))
    }

    /// Makes a removal that was made before, unless the name was bound since.
    pub(crate) fn restore_removal(
        &mut self,
        name: &Name,
        stamp: Stamp,
        by: Option<NodeId>,
        now: Instant,
    ) -> (Fate, Option<Binding>) {
        match self.table.get(name.as_str()) {
            Some(current) if current.stamp > stamp => (Fate::Superseded, None),
            _ => (Fate::Removed, self.unbind(name, stamp, by, now)),
        }
    }

    fn count_loss(&mut self, loser: Option<NodeId>) {
        if self.losses.len() >= LOSERS_MAX && !self.losses.contains_key(&loser) {
            // Every node looks after its bindings once more, which is no harm.
            self.losses.clear();
        }
        self.loss_count += 1;
        self.losses.insert(loser, self.loss_count);
    }
}

#[cfg(test)]
mod tests {
    use rmi_core::Remote;

    use super::*;
    use crate::kept::tests::thing;

    /// A ledger, and the two nodes that bind in it.
    struct Book {
        ledger: Ledger,
        nodes: [Option<NodeId>; 2],
        now: Instant,
    }

    impl Book {
        fn new() -> Self {
            let nodes = [NodeId::random(), NodeId::random()].map(Some);
            Self { ledger: Ledger::new(7), nodes, now: Instant::now() }
        }

        fn offer<R>(&mut self, node: usize, stamp: u64, way: impl FnOnce(&mut Ledger, &Offer<'_>) -> R) -> R {
            let (name, by, stamp) = (name(), self.nodes[node], Stamp::at(stamp));
            let binding = |_| Binding {
                object: Remote::erase(&thing()),
                stamp,
                by,
                guard: tokio::spawn(std::future::pending::<()>()).abort_handle(),
            };
            way(&mut self.ledger, &Offer { name: &name, stamp, by, binding: &binding })
        }

        fn restore(&mut self, node: usize, stamp: u64) -> Fate {
            let now = self.now;
            self.offer(node, stamp, |ledger, offer| ledger.restore(offer, now).0)
        }

        fn remove(&mut self, node: usize, stamp: u64) -> Fate {
            self.ledger.restore_removal(&name(), Stamp::at(stamp), self.nodes[node], self.now).0
        }

        fn losses(&self) -> [u64; 2] {
            self.nodes.map(|node| self.ledger.mark(node).losses)
        }
    }

    fn name() -> Name {
        Name::new("a").unwrap()
    }

    #[tokio::test]
    async fn the_newest_binding_wins_in_any_order() {
        let mut book = Book::new();
        assert_eq!(book.restore(0, 5), Fate::Bound);
        assert_eq!(book.restore(1, 3), Fate::Superseded);
        assert_eq!((book.restore(0, 5), book.losses()), (Fate::Bound, [0, 0]));
        assert_eq!(book.restore(1, 9), Fate::Bound);
        assert_ne!(book.losses()[0], 0, "the loser sees another mark");
        assert_eq!((book.losses()[1], book.restore(0, 5)), (0, Fate::Superseded));
        assert_eq!(book.ledger.mark(None).instance, 7);
    }

    #[tokio::test]
    async fn what_was_removed_stays_removed_until_it_is_bound_on_purpose() {
        let mut book = Book::new();
        assert_eq!(book.restore(0, 5), Fate::Bound);
        assert_eq!(book.remove(1, 4), Fate::Superseded);
        assert_eq!(book.remove(1, 6), Fate::Removed);
        assert_ne!(book.losses()[0], 0);
        assert_eq!(book.restore(0, 5), Fate::Removed);
        // By a server whose clock is late.
        assert!(book.offer(1, 2, Ledger::bind).unwrap().is_none());
        assert_eq!(book.restore(1, 2), Fate::Bound);
    }

    #[tokio::test]
    async fn a_name_is_bound_twice_only_by_the_same_act() {
        let mut book = Book::new();
        assert!(book.offer(0, 5, Ledger::bind).unwrap().is_none());
        assert!(book.offer(0, 5, Ledger::bind).unwrap().is_none());
        assert_eq!(book.offer(1, 6, Ledger::bind).err(), Some(Refused::Taken));
        assert!(book.offer(1, 6, Ledger::rebind).unwrap().is_some());
        assert_ne!(book.losses()[0], 0);
    }
}

//! What a registry knows: its names, those that were removed, and who is told of changes.
//!
//! Every change returns what it took out, to be dropped outside of the lock that holds the ledger.
//! What concerns the members of a name stands in `groups.rs`.

use std::{collections::HashMap, time::Instant};

use rmi_core::{AnyRemote, NodeId, ObjectId, Principal};

use crate::{
    holding::{Binding, Holding},
    name::Name,
    removed::Removed,
    service::{Change, Fate, Mark},
    stamp::Stamp,
    table::{Generation, Refused, Table},
    watchers::{Watchers, bound},
};

/// For how many nodes losses are remembered one by one.
const LOSERS_MAX: usize = 10_000;

/// A binding that is to be made.
pub(crate) struct Offer<'a> {
    pub(crate) name: &'a Name,
    pub(crate) object: &'a AnyRemote,
    pub(crate) stamp: Stamp,
    pub(crate) by: Option<NodeId>,
    pub(crate) owner: Option<Principal>,
    /// Makes it.
    pub(crate) binding: &'a dyn Fn(Generation) -> Binding,
}

/// The state of one registry.
#[derive(Debug)]
pub(crate) struct Ledger {
    instance: u64,
    pub(crate) table: Table<Holding>,
    pub(crate) removed: Removed<Name>,
    /// Members that have left, by name and object.
    pub(crate) left: Removed<(Name, ObjectId)>,
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
            left: Removed::default(),
            losses: HashMap::new(),
            loss_count: 0,
            watchers: Watchers::default(),
        }
    }

    /// The state of the registry as this node sees it.
    pub(crate) fn mark(&self, node: Option<NodeId>) -> Mark {
        Mark { instance: self.instance, losses: self.losses.get(&node).copied().unwrap_or(0) }
    }

    /// Binds a free name, or one whose owners' links are lost.
    pub(crate) fn bind(&mut self, offer: &Offer<'_>) -> Result<Option<Holding>, Refused> {
        match self.table.get(offer.name.as_str()) {
            Some(Holding::One(current)) if current.stamp == offer.stamp => Ok(None),
            Some(current) if !current.may_be_taken_by(offer.owner.as_ref()) => Err(Refused::Taken),
            Some(_) | None => self.rebind(offer),
        }
    }

    /// Binds a name, free or not.
    pub(crate) fn rebind(&mut self, offer: &Offer<'_>) -> Result<Option<Holding>, Refused> {
        let replaced = self.replace(offer, Holding::One)?;
        self.removed.forget(offer.name);
        Ok(replaced)
    }

    /// Puts what is offered in the place of what the name stood for.
    pub(crate) fn replace(
        &mut self,
        offer: &Offer<'_>,
        holding: impl FnOnce(Binding) -> Holding,
    ) -> Result<Option<Holding>, Refused> {
        let replaced = self.table.rebind(offer.name.clone(), |generation| holding((offer.binding)(generation)))?;
        self.count_losses(replaced.as_ref(), offer.by);
        self.tell(offer.name);
        Ok(replaced)
    }

    /// Frees a name, and keeps bindings up to this stamp from coming back.
    pub(crate) fn unbind(&mut self, name: &Name, stamp: Stamp, by: Option<NodeId>, now: Instant) -> Option<Holding> {
        let freed = self.table.unbind(name.as_str());
        let stamp = freed.as_ref().and_then(Holding::newest).map_or(stamp, |newest| newest.max(stamp));
        self.removed.remember(name, stamp, now);
        self.count_losses(freed.as_ref(), by);
        if freed.is_some() {
            self.watchers.tell(name.as_str(), || Change::Unbound(name.to_string()));
        }
        freed
    }

    /// Takes an object that is gone out of what its name stands for, if it is still there.
    pub(crate) fn expire(&mut self, name: &Name, generation: Generation) -> Option<Holding> {
        let is_gone = |binding: &Binding| binding.generation == generation;
        let holding = self.table.get_mut(name.as_str())?;
        if !holding.bindings().iter().any(is_gone) {
            return None;
        }
        let (freed, is_free) = match holding.retain(|binding| !is_gone(binding)) {
            Some(gone) => (Some(gone), false),
            None => (self.table.unbind(name.as_str()), true),
        };
        // Its node, should it be there still, looks after what it has bound.
        for binding in freed.iter().flat_map(Holding::bindings) {
            self.count_loss(binding.by);
        }
        if is_free {
            self.watchers.tell(name.as_str(), || Change::Expired(name.to_string()));
        } else {
            self.tell(name);
        }
        freed
    }

    /// Makes a binding that was made before, unless something newer happened to its name.
    pub(crate) fn restore(&mut self, offer: &Offer<'_>, now: Instant) -> (Fate, Option<Holding>) {
        match self.table.get(offer.name.as_str()) {
            Some(current) if current.newest() > Some(offer.stamp) => return (Fate::Superseded, None),
            Some(Holding::One(current)) if current.stamp == offer.stamp && current.object.is_connected() => {
                return (Fate::Bound, None);
            }
            None if self.removed.covers(offer.name, offer.stamp, now) => return (Fate::Removed, None),
            Some(_) | None => {}
        }
        self.rebind(offer).map_or((Fate::Refused, None), |replaced| (Fate::Bound, replaced))
    }

    /// Makes a removal that was made before, of all that was not bound since.
    pub(crate) fn restore_removal(
        &mut self,
        name: &Name,
        stamp: Stamp,
        by: Option<NodeId>,
        now: Instant,
    ) -> (Fate, Option<Holding>) {
        let is_newer = |binding: &Binding| binding.stamp > stamp;
        match self.table.get_mut(name.as_str()) {
            Some(holding) if holding.bindings().iter().all(is_newer) => (Fate::Superseded, None),
            Some(holding) if holding.bindings().iter().any(is_newer) => {
                let removed = holding.retain(is_newer);
                self.removed.remember(name, stamp, now);
                self.count_losses(removed.as_ref(), by);
                self.tell(name);
                (Fate::Removed, removed)
            }
            _ => (Fate::Removed, self.unbind(name, stamp, by, now)),
        }
    }

    /// Those who watch the name hear what it stands for now.
    pub(crate) fn tell(&mut self, name: &Name) {
        let Self { table, watchers, .. } = self;
        if let Some(holding) = table.get(name.as_str()) {
            watchers.tell(name.as_str(), || bound(name.as_str(), holding));
        }
    }

    /// The nodes that bound this have lost it, but for the one that took it away itself.
    pub(crate) fn count_losses(&mut self, lost: Option<&Holding>, by: Option<NodeId>) {
        for binding in lost.into_iter().flat_map(Holding::bindings).filter(|binding| binding.by != by) {
            self.count_loss(binding.by);
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
pub(crate) mod tests {
    use rmi_core::Remote;

    use super::*;
    use crate::kept::tests::thing;

    /// A ledger, and the two nodes that bind in it.
    pub(crate) struct Book {
        pub(crate) ledger: Ledger,
        nodes: [Option<NodeId>; 2],
        pub(crate) now: Instant,
    }

    impl Book {
        pub(crate) fn new() -> Self {
            let nodes = [NodeId::random(), NodeId::random()].map(Some);
            Self { ledger: Ledger::new(7), nodes, now: Instant::now() }
        }

        fn offer<R>(&mut self, node: usize, stamp: u64, way: impl FnOnce(&mut Ledger, &Offer<'_>) -> R) -> R {
            self.offer_of(&Remote::erase(&thing()), node, stamp, way)
        }

        /// Offers this object.
        pub(crate) fn offer_of<R>(
            &mut self,
            object: &AnyRemote,
            node: usize,
            stamp: u64,
            way: impl FnOnce(&mut Ledger, &Offer<'_>) -> R,
        ) -> R {
            let (name, by, stamp) = (name(), self.nodes[node], Stamp::at(stamp));
            let binding = |generation| Binding {
                owner: None,
                object: object.clone(),
                stamp,
                by,
                generation,
                guard: tokio::spawn(std::future::pending::<()>()).abort_handle(),
            };
            way(&mut self.ledger, &Offer { name: &name, object, stamp, by, owner: None, binding: &binding })
        }

        pub(crate) fn restore(&mut self, node: usize, stamp: u64) -> Fate {
            let now = self.now;
            self.offer(node, stamp, |ledger, offer| ledger.restore(offer, now).0)
        }

        pub(crate) fn remove(&mut self, node: usize, stamp: u64) -> Fate {
            self.ledger.restore_removal(&name(), Stamp::at(stamp), self.nodes[node], self.now).0
        }

        pub(crate) fn losses(&self) -> [u64; 2] {
            self.nodes.map(|node| self.ledger.mark(node).losses)
        }
    }

    pub(crate) fn name() -> Name {
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

    #[tokio::test]
    async fn a_late_end_spares_the_next_binding() {
        let mut book = Book::new();
        let mut generations = Vec::new();
        for stamp in 1..3 {
            assert!(book.offer(0, stamp, Ledger::rebind).is_ok());
            generations.extend(book.ledger.table.get("a").unwrap().bindings().iter().map(|one| one.generation));
        }
        assert!(book.ledger.expire(&name(), generations[0]).is_none());
        assert!(book.ledger.table.get("a").is_some());
        assert!(book.ledger.expire(&name(), generations[1]).is_some());
        assert!(book.ledger.table.get("a").is_none());
        assert_ne!(book.losses()[0], 0, "its node looks after what it has bound");
    }
}

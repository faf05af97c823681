//! The members of a name, in the ledger of a registry.

use std::time::Instant;

use rmi_core::{AnyRemote, NodeId, ObjectId};

use crate::{
    holding::{Binding, Holding, place_of},
    ledger::{Ledger, Offer},
    name::Name,
    service::{Change, Fate},
    stamp::Stamp,
    table::Refused,
};

impl Ledger {
    /// Joins an object to the group of a name: a new one where the name is free, or the links to all
    /// that it stands for are lost.
    pub(crate) fn join(&mut self, offer: &Offer<'_>, now: Instant) -> Result<Option<Holding>, Refused> {
        let current = self.table.get(offer.name.as_str());
        let is_lost = current.is_none_or(|current| current.may_be_taken_by(offer.owner.as_ref()));
        let joined = match current {
            Some(Holding::Group(_)) => match self.admit(offer) {
                // Servers that were started anew with other interfaces.
                Err(Refused::Interfaces(_)) if is_lost => self.replace(offer, into_group),
                admitted => admitted,
            },
            Some(Holding::One(_)) if !is_lost => Err(Refused::Taken),
            Some(Holding::One(_)) | None => self.replace(offer, into_group),
        }?;
        self.left.forget(&key(offer.name, offer.object));
        // Where an older member of the name was removed, it stays so: only who joins with a clock that is
        // late makes the registry forget that.
        if self.removed.covers(offer.name, offer.stamp, now) {
            self.removed.forget(offer.name);
        }
        Ok(joined)
    }

    /// Takes an object out of the group of a name, and keeps it from coming back. Nothing happens where
    /// it is no member.
    pub(crate) fn leave(
        &mut self,
        name: &Name,
        object: &AnyRemote,
        stamp: Stamp,
        by: Option<NodeId>,
        now: Instant,
    ) -> Option<Holding> {
        self.left.remember(&key(name, object), stamp, now);
        let Some(group @ Holding::Group(_)) = self.table.get_mut(name.as_str()) else { return None };
        let is_it = |member: &Binding| member.object == *object;
        if !group.bindings().iter().any(is_it) {
            return None;
        }
        let (gone, is_free) = match group.retain(|member| !is_it(member)) {
            Some(gone) => (Some(gone), false),
            None => (self.table.unbind(name.as_str()), true),
        };
        self.count_losses(gone.as_ref(), by);
        if is_free {
            self.watchers.tell(name.as_str(), || Change::Unbound(name.to_string()));
        } else {
            self.tell(name);
        }
        gone
    }

    /// Joins an object that was joined before, unless something newer happened to it or to its name.
    pub(crate) fn restore_join(&mut self, offer: &Offer<'_>, now: Instant) -> (Fate, Option<Holding>) {
        let is_removed = self.removed.covers(offer.name, offer.stamp, now)
            || self.left.covers(&key(offer.name, offer.object), offer.stamp, now);
        let is_member = |members: &[Binding]| members.iter().any(|member| member.object == *offer.object);
        let joined = match self.table.get(offer.name.as_str()) {
            Some(Holding::One(current)) if current.stamp > offer.stamp => return (Fate::Superseded, None),
            Some(Holding::Group(members)) if is_member(members) => self.admit(offer),
            _ if is_removed => return (Fate::Removed, None),
            Some(Holding::Group(_)) => self.admit(offer),
            Some(Holding::One(_)) | None => self.replace(offer, into_group),
        };
        joined.map_or((Fate::Refused, None), |replaced| (Fate::Bound, replaced))
    }

    /// Takes out an object that was taken out before, unless it was joined since.
    pub(crate) fn restore_leave(
        &mut self,
        name: &Name,
        object: &AnyRemote,
        stamp: Stamp,
        by: Option<NodeId>,
        now: Instant,
    ) -> (Fate, Option<Holding>) {
        let bindings = self.table.get(name.as_str()).map(Holding::bindings).unwrap_or_default();
        if bindings.iter().any(|member| member.object == *object && member.stamp > stamp) {
            return (Fate::Superseded, None);
        }
        (Fate::Removed, self.leave(name, object, stamp, by, now))
    }

    /// Puts an object among the members of a group. One that is among them stays as it is, while the
    /// link to its owner is there.
    fn admit(&mut self, offer: &Offer<'_>) -> Result<Option<Holding>, Refused> {
        let Some(Holding::Group(members)) = self.table.get(offer.name.as_str()) else { return Ok(None) };
        let place = place_of(members, offer.object)?;
        if place.and_then(|place| members.get(place)).is_some_and(|known| known.object.is_connected()) {
            return Ok(None);
        }
        let generation = self.table.draw();
        let Some(Holding::Group(members)) = self.table.get_mut(offer.name.as_str()) else { return Ok(None) };
        let mut binding = (offer.binding)(generation);
        let replaced = match place.and_then(|place| members.get_mut(place)) {
            Some(known) => {
                // Of one object the first joining counts.
                binding.stamp = binding.stamp.min(known.stamp);
                Some(Holding::One(std::mem::replace(known, binding)))
            }
            None => {
                members.push(binding);
                None
            }
        };
        if replaced.is_none() {
            self.tell(offer.name);
        }
        Ok(replaced)
    }
}

fn into_group(first: Binding) -> Holding {
    Holding::Group(vec![first])
}

fn key(name: &Name, object: &AnyRemote) -> (Name, ObjectId) {
    (name.clone(), object.id())
}

#[cfg(test)]
mod tests {
    use rmi_core::Remote;

    use super::*;
    use crate::{
        holding::MEMBERS_MAX,
        kept::tests::thing,
        ledger::tests::{Book, name},
        watchers::Told as _,
    };

    fn things<const N: usize>() -> [AnyRemote; N] {
        [(); N].map(|()| Remote::erase(&thing()))
    }

    impl Book {
        fn join(&mut self, object: &AnyRemote, stamp: u64) -> Result<(), Refused> {
            let now = self.now;
            self.offer_of(object, 0, stamp, |ledger, offer| ledger.join(offer, now)).map(drop)
        }

        fn restore_join(&mut self, object: &AnyRemote, stamp: u64) -> Fate {
            let now = self.now;
            self.offer_of(object, 0, stamp, |ledger, offer| ledger.restore_join(offer, now).0)
        }

        fn restore_leave(&mut self, object: &AnyRemote, stamp: u64) -> Fate {
            self.ledger.restore_leave(&name(), object, Stamp::at(stamp), None, self.now).0
        }

        /// The members of the name, `None` where it is free or bound.
        fn members(&self) -> Option<Vec<AnyRemote>> {
            match self.ledger.table.get("a")? {
                Holding::One(_) => None,
                Holding::Group(members) => Some(members.iter().map(|member| member.object.clone()).collect()),
            }
        }

        fn told(&self) -> Stamp {
            self.ledger.table.get("a").expect("the name is bound").stamp()
        }
    }

    #[tokio::test]
    async fn an_object_is_a_member_once_with_the_epoch_of_its_first_joining() {
        let (mut book, [one, two]) = (Book::new(), things());
        book.join(&one, 5).unwrap();
        let alone = book.told();
        book.join(&two, 7).unwrap();
        let both = book.told();
        book.join(&one, 9).unwrap();
        assert_eq!(book.members(), Some(vec![one.clone(), two.clone()]));
        assert_eq!(book.told(), both, "nothing has changed for those who watch");
        assert_eq!(book.restore_leave(&two, 8), Fate::Removed);
        assert_eq!(book.told(), alone, "the same members, told alike");
        assert_eq!(book.restore_leave(&one, 4), Fate::Superseded, "it was joined since");
    }

    #[tokio::test]
    async fn a_name_is_bound_or_a_group() {
        let (mut book, [one, two]) = (Book::new(), things());
        book.join(&one, 1).unwrap();
        assert_eq!(book.offer_of(&two, 1, 2, Ledger::bind).err(), Some(Refused::Taken));
        assert!(book.offer_of(&two, 1, 3, Ledger::rebind).is_ok());
        assert_ne!(book.losses()[0], 0, "who has lost a member sees another mark");
        assert_eq!((book.members(), book.join(&one, 4)), (None, Err(Refused::Taken)));
    }

    #[tokio::test]
    async fn members_are_bounded_and_the_bound_holds_for_new_ones_only() {
        let (mut book, [late]) = (Book::new(), things());
        let first = things::<1>();
        book.join(&first[0], 1).unwrap();
        for stamp in 2..=u64::try_from(MEMBERS_MAX).unwrap() {
            book.join(&things::<1>()[0], stamp).unwrap();
        }
        assert_eq!(book.join(&late, 900), Err(Refused::Crowded));
        assert_eq!(book.restore_join(&late, 900), Fate::Refused);
        assert_eq!((book.join(&first[0], 901), book.restore_join(&first[0], 1)), (Ok(()), Fate::Bound));
    }

    #[tokio::test]
    async fn members_come_back_in_any_order_but_not_those_that_were_taken_out() {
        let (mut book, [one, two, left]) = (Book::new(), things());
        assert_eq!(book.restore_join(&two, 7), Fate::Bound);
        assert_eq!(book.restore_leave(&left, 8), Fate::Removed);
        assert_eq!(book.restore_join(&left, 6), Fate::Removed);
        assert_eq!(book.restore_join(&one, 5), Fate::Bound);
        assert_eq!(book.members(), Some(vec![two.clone(), one.clone()]));
        // On purpose it may come back, also with a clock that is late.
        book.join(&left, 6).unwrap();
        assert_eq!(book.restore_join(&left, 6), Fate::Bound);
    }

    #[tokio::test]
    async fn a_group_that_was_unbound_is_not_restored_into_the_next_one() {
        let (mut book, [old, new, late]) = (Book::new(), things());
        book.join(&old, 5).unwrap();
        assert_eq!(book.remove(1, 6), Fate::Removed);
        book.join(&new, 7).unwrap();
        assert_eq!(book.restore_join(&old, 5), Fate::Removed);
        // A removal takes out what is older than itself, and nothing else.
        book.join(&late, 9).unwrap();
        assert_eq!((book.remove(1, 8), book.members()), (Fate::Removed, Some(vec![late.clone()])));
        assert_eq!(book.remove(1, 8), Fate::Superseded);
        assert_eq!(book.restore(1, 8), Fate::Superseded, "a binding that is older than a member");
        assert_eq!(book.restore(1, 10), Fate::Bound);
        assert_eq!((book.members(), book.restore_join(&late, 9)), (None, Fate::Superseded));
    }

    #[tokio::test]
    async fn a_member_that_is_gone_leaves_and_the_last_frees_the_name() {
        let (mut book, [one, two]) = (Book::new(), things());
        book.join(&one, 1).unwrap();
        book.join(&two, 2).unwrap();
        let generations: Vec<_> =
            book.ledger.table.get("a").unwrap().bindings().iter().map(|member| member.generation).collect();
        assert!(book.ledger.expire(&name(), generations[0]).is_some());
        assert!(book.ledger.expire(&name(), generations[0]).is_none(), "once");
        assert_eq!(book.members(), Some(vec![two]));
        assert!(book.ledger.expire(&name(), generations[1]).is_some());
        assert!(book.ledger.table.get("a").is_none());
    }
}

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
        let is_lost = current.is_none_or(|current| !current.is_connected());
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

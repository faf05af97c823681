//! The way by which a reference is held, as the model sees it.

use std::fmt;

use tokio::time::Instant;

use crate::{
    network::NodeKey,
    rules,
    world::{Members, ObjectKey},
};

/// The nodes through which a reference is held: its holder, those that gave it on, the owner. A
/// call that succeeds makes it direct.
#[derive(Clone)]
pub(crate) struct Path {
    pub(crate) object: ObjectKey,
    pub(crate) holder: NodeKey,
    /// From the holder's giver to the owner; none where the holder owns the object.
    hops: Vec<Hop>,
    /// Nothing can be claimed of it until a call succeeds.
    shaken: bool,
    /// The last giver that went, and who asked the owner in its place.
    moved: Option<Move>,
}

#[derive(Clone, Copy, Debug)]
struct Hop {
    to: NodeKey,
    since: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Move {
    at: Instant,
    left: NodeKey,
    by: NodeKey,
}

impl Path {
    /// The owner's own reference.
    pub(crate) fn own(object: ObjectKey, owner: NodeKey) -> Self {
        Self { object, holder: owner, hops: Vec::new(), shaken: false, moved: None }
    }

    pub(crate) fn owner(&self) -> NodeKey {
        self.hops.last().map_or(self.holder, |hop| hop.to)
    }

    /// The same reference as it arrives at another node, sent at `since`.
    pub(crate) fn extended(&self, to: NodeKey, since: Instant, members: &Members) -> Self {
        if to == self.owner() {
            let mut home = Self::own(self.object, to);
            home.shaken = !self.is_firm(members) || !members.hold(self.holder, to, since);
            return home;
        }
        let first = Hop { to: self.holder, since };
        let hops: Vec<_> = std::iter::once(first).chain(self.hops.iter().copied()).collect();
        let gone = hops.iter().any(|hop| !members.is_up(hop.to));
        Self { object: self.object, holder: to, hops, shaken: self.shaken || gone, moved: self.moved }
    }

    /// A call made at `since` succeeded: it is held at its owner now, unless that listens nowhere, so
    /// that the givers have relayed the call.
    pub(crate) fn handle_called(&mut self, since: Instant, members: &Members) {
        if let Some(last) = self.hops.last().copied() {
            if members.listens(last.to) {
                self.hops = vec![Hop { to: last.to, since }];
            } else {
                self.hops.iter_mut().for_each(|hop| hop.since = since);
            }
        }
        (self.shaken, self.moved) = (false, None);
    }

    /// A node goes, with or without a word. References that are held through it are asked of their
    /// owner.
    pub(crate) fn handle_gone(&mut self, node: NodeKey, silently: bool, now: Instant, members: &Members) {
        let Some(at) = self.hops.iter().position(|hop| hop.to == node) else { return };
        let owner = self.owner();
        let firm = self.is_firm(members);
        // One after the other may take longer than the owner waits.
        let again = self.moved.is_some_and(|moved| now < moved.at + rules::LEASE);
        let held_of_owner = self.hops.get(at + 1).is_some_and(|hop| hop.to == owner);
        // Where the way behind it was disturbed, the lease that keeps the object may have begun before.
        let mut behind = self.hops.iter().zip(self.hops.iter().skip(1)).skip(at);
        let undisturbed = behind.all(|(giver, hop)| {
            [hop.to, owner].iter().all(|to| members.unbroken(giver.to, *to, giver.since.min(hop.since)))
        });
        let kept = undisturbed && (silently || held_of_owner || rules::GIVERS_LEAVE_FOR_GIVERS);
        if node == owner || !firm || !kept || again || !members.listens(owner) {
            self.shaken = true;
            return;
        }
        let by = at.checked_sub(1).and_then(|before| self.hops.get(before)).map_or(self.holder, |hop| hop.to);
        self.hops.truncate(at);
        self.hops.push(Hop { to: owner, since: now });
        self.moved = Some(Move { at: now, left: node, by });
    }

    /// Whether the owner keeps the object for this reference, for certain.
    pub(crate) fn is_firm(&self, members: &Members) -> bool {
        if self.shaken || !members.is_up(self.holder) || !self.was_left_in_time(members) {
            return false;
        }
        let (owner, mut from) = (self.owner(), self.holder);
        self.hops.iter().all(|hop| {
            let held = members.hold(from, hop.to, hop.since) || self.goes_on(from, *hop, members);
            // A giver may hold it of its owner by now.
            let holds = held && members.is_up(hop.to) && members.hold(hop.to, owner, hop.since);
            from = hop.to;
            holds
        })
    }

    /// Whether a giver that went was left before the owner let go of what it gave.
    fn was_left_in_time(&self, members: &Members) -> bool {
        let Some(Move { at, left, by }) = self.moved else { return true };
        rules::GIVERS_LEAVE_FOR_LOST_PEERS || members.unbroken(by, left, at - rules::CALM_AFTER)
    }

    /// Whether a giver is left in time where the link to it is lost: its receiver asks the owner,
    /// which nothing keeps it from, while the giver's lease still keeps what it gave.
    fn goes_on(&self, from: NodeKey, giver: Hop, members: &Members) -> bool {
        let owner = self.owner();
        let outage = members.first_outage(from, giver.to, giver.since);
        let calm = outage.is_some_and(|outage| members.calm(from, owner, outage - rules::CALM_AFTER));
        giver.to != owner && members.listens(owner) && calm
    }

    /// Whether it came through a third node, and no call has made it direct.
    pub(crate) fn is_indirect(&self) -> bool {
        self.hops.len() > 1 || self.moved.is_some()
    }

    /// Whether there was an outage on its way.
    pub(crate) fn outlived(&self, members: &Members) -> bool {
        let mut from = self.holder;
        self.hops.iter().any(|hop| {
            let calm = members.calm(from, hop.to, hop.since);
            from = hop.to;
            !calm
        })
    }

    /// The nodes that relay calls to the owner, from the holder on.
    pub(crate) fn relays(&self, members: &Members) -> Vec<NodeKey> {
        match self.hops.split_last() {
            Some((owner, relays)) if !members.listens(owner.to) => relays.iter().map(|hop| hop.to).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether the network was calm since then wherever a call passes: between the holder and the owner,
    /// or between those that relay it.
    pub(crate) fn is_calm(&self, members: &Members, since: Instant) -> bool {
        if members.listens(self.owner()) {
            return members.calm(self.holder, self.owner(), since);
        }
        let mut from = self.holder;
        self.hops.iter().all(|hop| members.calm(std::mem::replace(&mut from, hop.to), hop.to, since))
    }

    /// Whether the holder has a way to the owner, as long as the network is calm.
    pub(crate) fn has_way(&self, members: &Members) -> bool {
        match self.hops[..] {
            [] => true,
            _ if members.listens(self.owner()) => true,
            [Hop { to, since }] => rules::RESUMES || members.calm(self.holder, to, since),
            _ => rules::RELAYS,
        }
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} holds {:?}", self.holder, self.object)?;
        self.hops.iter().try_for_each(|hop| write!(f, " by {:?}", hop.to))?;
        f.write_str(if self.shaken { ", for all that is known no more" } else { "" })
    }
}

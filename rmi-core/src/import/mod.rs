//! An object of another node, as this node holds it, and the way to it.
//!
//! The states of a way:
//!
//! ```text
//! received from its owner ─────────────────────────────▶ Held (direct)
//! received from a third node ─▶ Held (by its giver: the pin)
//!                                │ first call, or the giver goes
//!               owner answers ┌──┴──┐ owner cannot be dialled
//!                             ▼     ▼
//!                     Acquiring ◀─── Relayed (calls go by the giver)
//!                         │   fence
//!               ┌─────────┴────────┐
//!       granted ▼          refused ▼
//!         Held (direct)          Dead
//! ```
//!
//! The pin is released once the owner has answered. A `Held` whose link has ended is acquired anew by
//! the next call, over a new link to its owner; while its link is only suspended, calls wait there.
//! Calls begin in the order in which they were made: while one waits for the way, those after it
//! queue at the gate.

mod broken;
mod way;

use std::sync::Arc;

use parking_lot::Mutex;

use self::way::{Hold, Way};
use crate::{
    connection::{AtOnce, Link, Started},
    endpoint::Endpoint,
    error::{Certainty, ErrorKind, RemoteError},
    gate::Gate,
    id::{NodeId, ObjectId},
    node::Node,
    object::{InterfaceSet, Whereabouts},
    pending::PendingCall,
    referent::Referent,
    session::{HeldReference, Origin, Passed, Third},
    transport::PeerAddr,
    wire::{ROUTE_LEN_MAX, Slot, Target},
};

/// An object of another node.
pub(crate) struct Import {
    node: Node,
    id: ObjectId,
    interfaces: InterfaceSet,
    whereabouts: Arc<Whereabouts>,
    way: Mutex<Way>,
    gate: Gate,
}

/// What a call needs to start: the link, and how the object is called over it.
pub(crate) struct Start {
    pub(crate) link: Arc<Link<Referent>>,
    pub(crate) target: Target,
}

impl Import {
    /// A reference that arrived over this link.
    pub(crate) fn new(node: &Node, link: &Arc<Link<Referent>>, held: HeldReference) -> Arc<Self> {
        let whereabouts = match held.third {
            None => node.whereabouts(link),
            Some(Third { owner, endpoints, route }) => {
                let endpoints = node.dialable(link, &endpoints).collect();
                Arc::new(Whereabouts { owner, endpoints, route })
            }
        };
        let way = Way::Held(Hold::new(link.clone(), held.slot));
        Arc::new(Self::with(node, held.id, held.interfaces, whereabouts, way))
    }

    /// A reference that leads nowhere.
    pub(crate) fn dead(node: &Node, owner: NodeId, id: ObjectId, interfaces: InterfaceSet, why: &str) -> Arc<Self> {
        let error = RemoteError::new(ErrorKind::NoSuchObject, why).with_certainty(Certainty::NotSent);
        let whereabouts = Whereabouts { owner, endpoints: Vec::new(), route: Vec::new() };
        Arc::new(Self::with(node, id, interfaces, Arc::new(whereabouts), Way::dead(error)))
    }

    fn with(node: &Node, id: ObjectId, interfaces: InterfaceSet, whereabouts: Arc<Whereabouts>, way: Way) -> Self {
        Self { node: node.clone(), id, interfaces, whereabouts, way: Mutex::new(way), gate: Gate::default() }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn owner(&self) -> NodeId {
        self.whereabouts.owner
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }

    pub(crate) fn interfaces(&self) -> &InterfaceSet {
        &self.interfaces
    }

    /// Where its owner listens, as far as this node may dial it.
    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.whereabouts.endpoints
    }

    /// Where the peer was seen that calls go to, if there is a link to it.
    pub(crate) fn peer_addr(&self) -> Option<PeerAddr> {
        self.way.lock().link().ok().map(|link| link.peer_addr())
    }

    /// The peer that calls go to, for messages.
    pub(crate) fn describe_peer(&self) -> String {
        match self.way.lock().link() {
            Ok(link) if link.peer().node == self.owner() => link.describe_peer(),
            _ => match self.endpoints().first() {
                Some(endpoint) => format!("{endpoint} (node {})", self.owner()),
                None => format!("node {}", self.owner()),
            },
        }
    }

    /// The reference as it travels over this link. An object held over the link itself goes back
    /// by its slot.
    pub(crate) fn pass(self: &Arc<Self>, link: &Link<Referent>) -> Passed<Referent> {
        self.node.note_relaying(link);
        let (held, direct, behind) = match self.way.lock().hold() {
            Some(hold) => {
                let held = (hold.link.number() == link.number()).then_some(hold.slot);
                let is_direct = hold.link.peer().node == self.owner();
                (held, is_direct, if is_direct { &[][..] } else { &self.whereabouts.route[..] })
            }
            None => (None, false, &[][..]),
        };
        let endpoints = self.endpoints().to_vec();
        let route = if self.relays_to(link) && behind.len() < ROUTE_LEN_MAX {
            std::iter::once(self.node.id()).chain(behind.iter().copied()).collect()
        } else {
            Vec::new()
        };
        let origin = Origin::Foreign { owner: self.owner(), endpoints, route, held, direct };
        Passed { object: Referent::Foreign(self.clone()), id: self.id, interfaces: self.interfaces.clone(), origin }
    }

    /// Whether this node relays calls of this link's peer to the object.
    pub(crate) fn relays_to(&self, link: &Link<Referent>) -> bool {
        self.node.relay_policy().allows(self.endpoints(), &link.peer_addr())
    }

    /// Whether a relayed call would pass through more nodes than a route has.
    pub(crate) fn is_too_far(&self) -> bool {
        self.way.lock().is_relayed() && self.whereabouts.route.len() >= ROUTE_LEN_MAX
    }

    /// Starts a call if the owner is at the other end of an open link and nobody waits for the way. With
    /// when it has to end.
    pub(crate) fn start_at_once(&self, call: AtOnce<'_>) -> Option<Started<PendingCall>> {
        // The way stays locked until the call has started, so that whoever changes it, having entered the
        // gate, comes before or after it. It passes no reference that might look at the way again.
        let way = self.way.lock();
        let Way::Held(Hold { link, slot }) = &*way else { return None };
        if !self.gate.is_free() || link.peer().node != self.owner() {
            return None;
        }
        let (started, left) = link.start_at_once(*slot, self.id, call);
        let link = link.clone();
        drop(way);
        link.carry_out(left);
        let (started, deadline) = started?;
        Some((started.map(|key| PendingCall::new(link, key)), deadline))
    }

    /// Starts a call as soon as there is a way, in the order of the calls.
    ///
    /// # Errors
    ///
    /// Where there is no way to the owner; nothing was sent then.
    pub(crate) async fn start<R>(self: &Arc<Self>, start: impl FnOnce(Start) -> R) -> Result<R, RemoteError> {
        let start = match self.try_start(start, false) {
            Ok(started) => return Ok(started),
            Err(start) => start,
        };
        let _turn = self.gate.enter().await;
        let mut start = start;
        loop {
            start = match self.try_start(start, true) {
                Ok(started) => return Ok(started),
                Err(start) => start,
            };
            self.find_way().await?;
        }
    }

    /// Starts a call if there is a way now. Gives it back otherwise.
    fn try_start<R, S: FnOnce(Start) -> R>(self: &Arc<Self>, start: S, at_gate: bool) -> Result<R, S> {
        // The way is let go of before the call starts: a call that passes this very reference looks
        // at it again. Whoever changes it waits for those that start.
        let _starting = self.gate.start();
        if !at_gate && !self.gate.is_free() {
            return Err(start);
        }
        let found = {
            let way = self.way.lock();
            let held = way.hold().filter(|hold| way.is_relayed() || hold.link.peer().node == self.owner());
            let held = held.map(|Hold { link, slot }| (link, Target::Slot(*slot)));
            held.or_else(|| way.asked().map(|(link, _)| (link, Target::Object(self.id))))
                .filter(|(link, _)| link.is_open())
                .map(|(link, target)| (link.clone(), target))
        };
        match found {
            Some((link, target)) => {
                self.look_for_direct_way(&link);
                Ok(start(Start { link, target }))
            }
            None => Err(start),
        }
    }

    /// Whether the link that the object is held over is there.
    pub(crate) fn is_connected(&self) -> bool {
        self.way.lock().link().is_ok_and(|link| link.is_connected())
    }

    /// Whether what is passed on of it is held over this link.
    pub(crate) fn is_held_over(&self, link: &Link<Referent>) -> bool {
        let way = self.way.lock();
        let is_pinned = way.asked().and_then(|(_, pin)| pin).is_some_and(|pin| pin.link.number() == link.number());
        is_pinned || way.link().is_ok_and(|held| held.number() == link.number())
    }

    /// Whether the object is gone for good, as far as this node knows: what it gave on leads nowhere.
    pub(crate) fn is_gone(&self) -> bool {
        let way = self.way.lock();
        let Ok(link) = way.link() else { return true };
        let revoked = way.hold().is_some_and(|hold| hold.link.is_revoked(hold.slot));
        revoked
            || link
                .ended()
                .is_some_and(|ended| self.endpoints().is_empty() || (ended.goodbye && link.peer().node == self.owner()))
    }

    /// The slot and the link by which the object is held.
    fn hold(&self) -> Option<(Arc<Link<Referent>>, Slot)> {
        self.way.lock().hold().map(|hold| (hold.link.clone(), hold.slot))
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;

    #[test]
    fn an_import_is_small() {
        // With the counts of its `Arc` and what malloc adds: 112 bytes, of which a client may hold a million.
        assert_eq!(size_of::<Import>() + 16, 104);
    }
}

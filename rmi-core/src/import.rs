//! An object of another node, as this node holds it, and the way to it.
//!
//! The states of a way:
//!
//! ```text
//! received from its owner ─────────────────────────────▶ Held (direct)
//! received from a third node ─▶ Held (by its giver: the pin)
//!                                  │ first call, or the giver goes
//!                                  ▼
//!                              Acquiring ──granted──▶ Held (direct), the pin is released
//!                                  │ refused
//!                                  ▼
//!                                 Dead
//! ```
//!
//! A `Held` whose link has ended is acquired anew by the next call, over a new link to its owner.
//! Calls begin in the order in which they were made: while one waits for the way, those after it
//! queue at the gate.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::{
    connection::Link,
    endpoint::Endpoint,
    error::{Certainty, ErrorKind, RemoteError},
    gate::Gate,
    id::{NodeId, ObjectId},
    node::Node,
    object::InterfaceSet,
    pending::PendingCall,
    referent::Referent,
    session::{Answer, HeldReference, Origin, Passed, Received},
    wire::{Slot, Target},
};

/// An object of another node.
pub(crate) struct Import {
    node: Node,
    owner: NodeId,
    id: ObjectId,
    interfaces: InterfaceSet,
    /// Where its owner listens, as far as this node may dial it.
    endpoints: Arc<[Endpoint]>,
    way: Mutex<Way>,
    gate: Gate,
}

/// A reference held over a link; given back when dropped.
struct Hold {
    link: Arc<Link<Referent>>,
    slot: Slot,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.link.release(self.slot);
    }
}

enum Way {
    Held(Hold),
    /// The owner was asked for it over this link. Until it answers, the object is called by its id.
    Acquiring {
        link: Arc<Link<Referent>>,
        /// What the giver holds for this node meanwhile.
        pin: Option<Hold>,
    },
    Dead(RemoteError),
}

/// What a call needs to start: the link, and how the object is called over it.
pub(crate) struct Start {
    pub(crate) link: Arc<Link<Referent>>,
    pub(crate) target: Target,
}

impl Import {
    /// A reference that arrived over this link.
    pub(crate) fn new(node: &Node, link: &Arc<Link<Referent>>, held: HeldReference) -> Arc<Self> {
        let (owner, endpoints) = match held.third {
            None => (link.peer().node, node.peer_endpoints(link)),
            Some((owner, endpoints)) => (owner, node.dialable(link, &endpoints)),
        };
        Arc::new(Self {
            node: node.clone(),
            owner,
            id: held.id,
            interfaces: held.interfaces,
            endpoints,
            way: Mutex::new(Way::Held(Hold { link: link.clone(), slot: held.slot })),
            gate: Gate::default(),
        })
    }

    /// A reference that leads nowhere.
    pub(crate) fn dead(node: &Node, owner: NodeId, id: ObjectId, interfaces: Vec<String>, why: &str) -> Arc<Self> {
        let error = RemoteError::new(ErrorKind::NoSuchObject, why).with_certainty(Certainty::NotSent);
        Arc::new(Self {
            node: node.clone(),
            owner,
            id,
            interfaces: InterfaceSet::new(interfaces),
            endpoints: Arc::from([]),
            way: Mutex::new(Way::Dead(error)),
            gate: Gate::default(),
        })
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn owner(&self) -> NodeId {
        self.owner
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }

    pub(crate) fn interfaces(&self) -> &InterfaceSet {
        &self.interfaces
    }

    /// The peer that calls go to, for messages.
    pub(crate) fn describe_peer(&self) -> String {
        match &*self.way.lock() {
            Way::Held(Hold { link, .. }) | Way::Acquiring { link, .. } if link.peer().node == self.owner => {
                link.describe_peer()
            }
            _ => match self.endpoints.first() {
                Some(endpoint) => format!("{endpoint} (node {})", self.owner),
                None => format!("node {}", self.owner),
            },
        }
    }

    /// The reference as it travels over this link. An object held over the link itself goes back
    /// by its slot.
    pub(crate) fn pass(self: &Arc<Self>, link: &Link<Referent>) -> Passed<Referent> {
        let held = match &*self.way.lock() {
            Way::Held(hold) if hold.link.number() == link.number() => Some(hold.slot),
            _ => None,
        };
        let origin = Origin::Foreign { owner: self.owner, endpoints: self.endpoints.to_vec(), held };
        Passed { object: Referent::Foreign(self.clone()), id: self.id, interfaces: self.interfaces.clone(), origin }
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
    fn try_start<R, S: FnOnce(Start) -> R>(&self, start: S, at_gate: bool) -> Result<R, S> {
        if !at_gate && !self.gate.is_free() {
            return Err(start);
        }
        // The way is let go of before the call starts: a call that passes this very reference looks
        // at it again. The slot stays: it is given up only once its link takes no calls.
        let found = match &*self.way.lock() {
            Way::Held(Hold { link, slot }) if self.is_usable(link) => Some((link.clone(), Target::Slot(*slot))),
            Way::Acquiring { link, .. } if link.is_open() => Some((link.clone(), Target::Object(self.id))),
            _ => None,
        };
        match found {
            Some((link, target)) => Ok(start(Start { link, target })),
            None => Err(start),
        }
    }

    /// Whether calls go over this link: it leads to the owner, or to a giver that is all there is.
    fn is_usable(&self, link: &Link<Referent>) -> bool {
        (link.peer().node == self.owner || self.endpoints.is_empty()) && link.is_open()
    }

    /// Dials the owner and asks it for the object.
    async fn find_way(self: &Arc<Self>) -> Result<(), RemoteError> {
        let unreachable = match &*self.way.lock() {
            Way::Dead(error) => return Err(error.clone()),
            Way::Held(Hold { link, .. }) | Way::Acquiring { link, .. } => link.ended().map(|ended| ended.cause.clone()),
        };
        if self.endpoints.is_empty() {
            let message = "its node listens nowhere that this node may dial, and the link to it is lost";
            let error = RemoteError::new(ErrorKind::Unreachable, message).with_certainty(Certainty::NotSent);
            return Err(unreachable.iter().fold(error, |error, cause| error.with_source(cause)));
        }
        let link = self.node.link_to(self.owner, &self.endpoints).await?;
        self.acquire(link)
    }

    /// Asks the owner for the object. The answer is awaited by a task of its own.
    fn acquire(self: &Arc<Self>, link: Arc<Link<Referent>>) -> Result<(), RemoteError> {
        let now = self.node.now();
        let key = link.start_acquire(now, self.id, now + self.node.limits().call_timeout)?;
        let mut way = self.way.lock();
        let pin = match std::mem::replace(&mut *way, Way::Acquiring { link: link.clone(), pin: None }) {
            // A pin at a giver stays until the owner has answered; what a lost link held is gone.
            Way::Held(hold) => Some(hold),
            Way::Acquiring { pin, .. } => pin,
            Way::Dead(_) => None,
        };
        *way = Way::Acquiring { link: link.clone(), pin };
        drop(way);
        let import = Arc::downgrade(self);
        self.node.spawn(finish_acquire(import, self.node.clone(), PendingCall::new(link, key)));
        Ok(())
    }

    fn handle_acquired(&self, link: &Arc<Link<Referent>>, slot: Slot) {
        let hold = Hold { link: link.clone(), slot };
        let mut way = self.way.lock();
        let before = match &*way {
            Way::Acquiring { link: asked, .. } if asked.number() == link.number() => {
                std::mem::replace(&mut *way, Way::Held(hold))
            }
            _ => {
                drop(way);
                drop(hold);
                return;
            }
        };
        drop(way);
        // Releases the pin, outside the lock.
        drop(before);
    }

    fn handle_refused(&self, link: &Arc<Link<Referent>>, error: RemoteError) {
        let mut way = self.way.lock();
        let before = match &mut *way {
            Way::Acquiring { link: asked, pin } if asked.number() == link.number() => {
                if error.kind() == ErrorKind::NoSuchObject {
                    Some(std::mem::replace(&mut *way, Way::Dead(error)))
                } else {
                    // It was not answered: the next call asks anew, and the pin stays until then.
                    pin.take().map(|hold| std::mem::replace(&mut *way, Way::Held(hold)))
                }
            }
            _ => None,
        };
        drop(way);
        drop(before);
        self.node.deaths().notify_waiters();
    }

    /// The node that gave this reference closes or is lost: goes to the owner before the owner's
    /// lease for the giver runs out.
    pub(crate) async fn leave_giver(self: &Arc<Self>) -> Result<(), RemoteError> {
        let direct = match &*self.way.lock() {
            Way::Held(Hold { link, .. }) | Way::Acquiring { link, .. } => {
                link.peer().node == self.owner && link.ended().is_none()
            }
            Way::Dead(error) => return Err(error.clone()),
        };
        if direct {
            return Ok(());
        }
        let _turn = self.gate.enter().await;
        self.find_way().await
    }

    /// Whether the reference is held through a third node.
    pub(crate) fn is_pinned_by(&self, link: &Link<Referent>) -> bool {
        matches!(&*self.way.lock(), Way::Held(hold) if hold.link.number() == link.number() && link.peer().node != self.owner)
    }

    /// Waits until the object is gone for good: its node went away, or the link to it was lost and
    /// not replaced within the lease. Keeps nothing meanwhile: a reference that this node drops
    /// is gone too.
    pub(crate) async fn broken(import: Weak<Self>) -> RemoteError {
        let gone = || RemoteError::new(ErrorKind::Cancelled, "this node has dropped the reference");
        let Some(node) = import.upgrade().map(|import| import.node.clone()) else { return gone() };
        loop {
            // Listens before it looks, so that no death is missed.
            let mut death = std::pin::pin!(node.deaths().notified());
            death.as_mut().enable();
            let link = match import.upgrade().map(|import| import.link()) {
                Some(Ok(link)) => link,
                Some(Err(dead)) => return dead,
                None => return gone(),
            };
            let ended = tokio::select! {
                ended = link.wait_ended() => ended,
                () = death => continue,
            };
            let Some(held) = import.upgrade() else { continue };
            let direct = link.peer().node == held.owner;
            if direct && ended.goodbye {
                return ended.cause;
            }
            if !direct && held.leave_giver().await.is_ok() {
                drop(held);
                // The owner is asked. Should it refuse for now, it is not asked on and on.
                tokio::time::sleep(link.peer().lease / 6).await;
                continue;
            }
            drop(held);
            tokio::time::sleep(link.peer().lease).await;
            let now = import.upgrade().map(|import| import.link());
            if now.is_some_and(|now| now.is_ok_and(|now| now.number() == link.number())) {
                return ended.cause;
            }
        }
    }

    /// Whether the link that the object is held over is there.
    pub(crate) fn is_connected(&self) -> bool {
        self.link().is_ok_and(|link| link.is_connected())
    }

    /// The link that the object is held over.
    fn link(&self) -> Result<Arc<Link<Referent>>, RemoteError> {
        match &*self.way.lock() {
            Way::Dead(error) => Err(error.clone()),
            Way::Held(Hold { link, .. }) | Way::Acquiring { link, .. } => Ok(link.clone()),
        }
    }
}

/// Awaits what the owner answers to an acquire.
async fn finish_acquire(import: Weak<Import>, node: Node, call: PendingCall) {
    let link = call.link().clone();
    let answer = call.answer().await;
    let import = import.upgrade();
    match answer {
        Answer::Reply { references, .. } => {
            for reference in references {
                match (reference, &import) {
                    (Received::Held(held), Some(import)) if held.id == import.id && held.third.is_none() => {
                        import.handle_acquired(&link, held.slot);
                    }
                    (reference, _) => drop(node.receive(&link, reference)),
                }
            }
        }
        Answer::Failed(error) => {
            if let Some(import) = import {
                import.handle_refused(&link, error);
            }
        }
    }
}

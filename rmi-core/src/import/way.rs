//! The way to an object, and how it changes.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::Import;
use crate::{
    connection::Link,
    error::{Certainty, ErrorKind, RemoteError},
    id::{FENCE, Fingerprint},
    node::Node,
    pending::PendingCall,
    plant::{self, Plant},
    referent::Referent,
    session::{Answer, MethodRef, Received, StartCall},
    time::Time,
    wire::{Encoded, Slot, Target},
};

/// How long calls are relayed before the owner is dialled again.
const RELAYED: Duration = Duration::from_secs(10);

/// A reference held over a link; given back when dropped.
pub(super) struct Hold {
    pub(super) link: Arc<Link<Referent>>,
    pub(super) slot: Slot,
}

impl Hold {
    pub(super) fn new(link: Arc<Link<Referent>>, slot: Slot) -> Self {
        Self { link, slot }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.link.release(self.slot);
    }
}

/// Two words: nearly all are held, and a node may hold very many.
pub(super) enum Way {
    Held(Hold),
    Detour(Box<Detour>),
}

/// A way that few objects have.
pub(super) enum Detour {
    /// The owner cannot be dialled: calls go by the giver, who relays them.
    Relayed {
        hold: Hold,
        /// When the owner is dialled again.
        until: Time,
    },
    /// The owner was asked for it over this link. Until it answers, the object is called by its id.
    Acquiring {
        link: Arc<Link<Referent>>,
        /// What the giver holds for this node meanwhile.
        pin: Option<Hold>,
    },
    Dead(RemoteError),
}

impl Way {
    pub(super) fn dead(error: RemoteError) -> Self {
        Self::Detour(Box::new(Detour::Dead(error)))
    }

    fn acquiring(link: Arc<Link<Referent>>, pin: Option<Hold>) -> Self {
        Self::Detour(Box::new(Detour::Acquiring { link, pin }))
    }

    /// The link that calls go over, or why the object cannot be called any more.
    pub(super) fn link(&self) -> Result<&Arc<Link<Referent>>, &RemoteError> {
        match self {
            Self::Held(Hold { link, .. }) => Ok(link),
            Self::Detour(detour) => match &**detour {
                Detour::Relayed { hold: Hold { link, .. }, .. } | Detour::Acquiring { link, .. } => Ok(link),
                Detour::Dead(error) => Err(error),
            },
        }
    }

    /// What calls go by: the slot at the owner, or at the giver.
    pub(super) fn hold(&self) -> Option<&Hold> {
        match self {
            Self::Held(hold) => Some(hold),
            Self::Detour(detour) => match &**detour {
                Detour::Relayed { hold, .. } => Some(hold),
                Detour::Acquiring { .. } | Detour::Dead(_) => None,
            },
        }
    }

    pub(super) fn is_relayed(&self) -> bool {
        matches!(self, Self::Detour(detour) if matches!(**detour, Detour::Relayed { .. }))
    }

    /// The link that the owner was asked over, and what the giver holds meanwhile.
    pub(super) fn asked(&self) -> Option<(&Arc<Link<Referent>>, Option<&Hold>)> {
        match self {
            Self::Detour(detour) => match &**detour {
                Detour::Acquiring { link, pin } => Some((link, pin.as_ref())),
                Detour::Relayed { .. } | Detour::Dead(_) => None,
            },
            Self::Held(_) => None,
        }
    }
}

impl Import {
    /// Dials the owner and asks it for the object; where it cannot be dialled, the giver relays.
    pub(super) async fn find_way(self: &Arc<Self>) -> Result<(), RemoteError> {
        let lost =
            self.way.lock().link().map(|link| link.ended().map(|ended| ended.cause.clone())).map_err(Clone::clone)?;
        if self.endpoints().is_empty() {
            return if self.relay() { Ok(()) } else { Err(unreachable(lost.as_ref())) };
        }
        match self.node.link_to(self.owner(), self.endpoints()).await {
            Ok(link) => self.acquire(link),
            Err(error) if !self.relay() => Err(error),
            Err(error) => {
                tracing::debug!(object = %self.id, %error, "the owner cannot be dialled; its giver relays");
                Ok(())
            }
        }
    }

    /// Goes by the giver from now on, if he relays.
    fn relay(&self) -> bool {
        let mut way = self.way.lock();
        if !matches!(&*way, Way::Held(hold) if hold.link.is_open() && hold.link.peer().node != self.owner())
            || self.whereabouts.route.is_empty()
        {
            return false;
        }
        let until = self.node.now() + RELAYED;
        // The place is never empty for anybody to see: the way is locked.
        let gone = Way::dead(RemoteError::new(ErrorKind::Other, ""));
        if let Way::Held(hold) = std::mem::replace(&mut *way, gone) {
            *way = Way::Detour(Box::new(Detour::Relayed { hold, until }));
        }
        true
    }

    /// Calls are relayed: dials the owner again from time to time, beside the calls.
    pub(super) fn look_for_direct_way(self: &Arc<Self>, over: &Link<Referent>) {
        if over.peer().node == self.owner() || self.endpoints().is_empty() {
            return;
        }
        let now = self.node.now();
        match &mut *self.way.lock() {
            Way::Detour(detour) => match &mut **detour {
                Detour::Relayed { until, .. } if *until <= now => *until = now + RELAYED,
                _ => return,
            },
            Way::Held(_) => return,
        }
        let import = self.clone();
        self.node.spawn(async move {
            if let Err(error) = import.go_direct().await {
                tracing::debug!(object = %import.id, %error, "calls are still relayed");
            }
        });
    }

    /// Leaves the giver for the owner, who can be dialled by now. Calls made meanwhile wait until all
    /// that were relayed before have begun.
    async fn go_direct(self: &Arc<Self>) -> Result<(), RemoteError> {
        let link = self.node.link_to(self.owner(), self.endpoints()).await?;
        let _turn = self.gate.enter_alone().await;
        if let Some((giver, slot)) = self.hold().filter(|(giver, _)| giver.is_open()) {
            self.fence(&giver, slot).await?;
        }
        self.acquire(link)
    }

    /// Comes back when the owner has begun every call that was made over this way before.
    async fn fence(&self, over: &Arc<Link<Referent>>, slot: Slot) -> Result<(), RemoteError> {
        let now = self.node.now();
        let call = StartCall {
            target: Target::Slot(slot),
            order: self.id,
            method: MethodRef { id: FENCE, fingerprint: Fingerprint(0), name: &"rmi.fence" },
            references: Vec::new(),
            payload: &mut Encoded::default(),
            // Calls wait at the gate meanwhile, and no longer than for a dial.
            deadline: Some(now + self.node.limits().connect_timeout / 2),
            depth: 0,
            relayed: false,
            extras: None,
            promises: None,
        };
        let key = over.start_call(now, call)?;
        match PendingCall::new(over.clone(), key).answer().await.0 {
            Answer::Reply { .. } => Ok(()),
            Answer::Failed(error) => Err(error),
        }
    }

    /// Asks the owner for the object. The answer is awaited by a task of its own.
    fn acquire(self: &Arc<Self>, link: Arc<Link<Referent>>) -> Result<(), RemoteError> {
        let now = self.node.now();
        let key = link.start_acquire(now, self.id, now + self.node.limits().call_timeout)?;
        let mut way = self.way.lock();
        if let Err(error) = way.link() {
            // Another question was answered meanwhile; this one is given up.
            let error = error.clone();
            drop(way);
            drop(PendingCall::new(link, key));
            return Err(error);
        }
        // A pin at a giver stays until the owner has answered; what a lost link held is gone.
        let stays = |_: &Hold| !plant::is(Plant::SkipPin);
        let pin = match std::mem::replace(&mut *way, Way::acquiring(link.clone(), None)) {
            Way::Held(hold) => Some(hold).filter(stays),
            Way::Detour(detour) => match *detour {
                Detour::Relayed { hold, .. } => Some(hold).filter(stays),
                Detour::Acquiring { pin, .. } => pin,
                Detour::Dead(_) => None,
            },
        };
        *way = Way::acquiring(link.clone(), pin);
        drop(way);
        let import = Arc::downgrade(self);
        self.node.spawn(finish_acquire(import, self.node.clone(), PendingCall::new(link, key)));
        Ok(())
    }

    fn handle_acquired(&self, link: &Arc<Link<Referent>>, slot: Slot) {
        let hold = Hold { link: link.clone(), slot };
        let mut way = self.way.lock();
        if way.asked().is_none_or(|(asked, _)| asked.number() != link.number()) {
            drop(way);
            drop(hold);
            return;
        }
        let before = std::mem::replace(&mut *way, Way::Held(hold));
        drop(way);
        // Releases the pin, outside the lock.
        drop(before);
        // Whoever waits for the end of the object waits for another link now.
        self.node.deaths().notify_waiters();
    }

    fn handle_refused(&self, link: &Arc<Link<Referent>>, error: RemoteError) {
        let mut way = self.way.lock();
        let pin = match &mut *way {
            Way::Detour(detour) => match &mut **detour {
                Detour::Acquiring { link: asked, pin } if asked.number() == link.number() => Some(pin.take()),
                _ => None,
            },
            Way::Held(_) => None,
        };
        let next = pin.and_then(|pin| match error.kind() {
            ErrorKind::NoSuchObject => Some((Way::dead(error), pin)),
            // It was not answered: the next call asks anew, and the pin stays until then.
            _ => pin.map(|hold| (Way::Held(hold), None)),
        });
        let before = next.map(|(next, pin)| (std::mem::replace(&mut *way, next), pin));
        drop(way);
        drop(before);
        self.node.deaths().notify_waiters();
    }

    /// The node that gave this reference closes or is lost: goes to the owner before the owner's
    /// lease for the giver runs out.
    pub(crate) async fn leave_giver(self: &Arc<Self>) -> Result<(), RemoteError> {
        let is_direct = |link: &Arc<Link<Referent>>| link.peer().node == self.owner() && link.ended().is_none();
        if self.way.lock().link().map(is_direct).map_err(Clone::clone)? {
            return Ok(());
        }
        let _turn = self.gate.enter_alone().await;
        self.find_way().await
    }

    /// Moves from one link to the owner to another, behind all calls that were made over the first.
    pub(crate) async fn move_to(
        self: &Arc<Self>,
        from: &Arc<Link<Referent>>,
        to: &Arc<Link<Referent>>,
    ) -> Result<(), RemoteError> {
        let _turn = self.gate.enter_alone().await;
        match self.hold() {
            Some((link, slot)) if link.number() == from.number() && self.owner() == to.peer().node => {
                self.fence(from, slot).await?;
                self.acquire(to.clone())
            }
            // It moves once it is granted, or has left already.
            _ => Ok(()),
        }
    }

    /// Whether the reference is held through this link, of a third node.
    pub(crate) fn is_pinned_by(&self, link: &Link<Referent>) -> bool {
        self.hold().is_some_and(|(giver, _)| giver.number() == link.number() && link.peer().node != self.owner())
    }
}

fn unreachable(lost: Option<&RemoteError>) -> RemoteError {
    let message =
        "its node listens nowhere that this node may dial, and who gave the reference relays no calls, or no more";
    match lost {
        None => RemoteError::new(ErrorKind::Unreachable, message),
        Some(lost) => {
            let message = "its node listens nowhere that this node may dial, and the link to it is lost";
            RemoteError::new(ErrorKind::Unreachable, message).with_source(lost)
        }
    }
    .with_certainty(Certainty::NotSent)
}

/// Awaits what the owner answers to an acquire.
async fn finish_acquire(import: Weak<Import>, node: Node, call: PendingCall) {
    let (answer, link) = call.answer().await;
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

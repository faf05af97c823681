//! Layer 3, I/O: one connection, its socket and its session.
//!
//! One task per connection, the [`Driver`], reads, dispatches and flushes. Callers on any task
//! lock the session for a step, and write themselves where they are alone.

mod ageing;
mod batch;
mod blocking;
mod calling;
mod clock;
mod dispatch;
mod driver;
mod ending;
mod held_back;
mod large;
mod places;
mod suspended;

use std::{
    io,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

use self::{ageing::keep_memory, ending::Close};
pub(crate) use self::{
    batch::Gathering,
    calling::{AtOnce, Left, Started},
    clock::Clock,
    dispatch::{Served, panic_text},
    driver::{Driver, Host},
    ending::Ended,
    large::is_large,
    suspended::{Carrier, From, Redial, Unresumed},
};
use crate::{
    endpoint::Endpoint,
    id::{NodeId, ObjectId},
    limits::Limits,
    object::Whereabouts,
    principal::Principal,
    session::{Counts, Directory, KnownMethod, Peer, Session},
    time::Time,
    transport::{PeerAddr, Socket},
    wire::{LinkId, MethodNumber, Slot},
};

/// Bytes that are written under one lock of the session.
const WRITE_LEN: usize = 256 << 10;

/// What links keep alive: an object as its node knows it.
pub(crate) trait Kept: Clone + Send + Sync + 'static {
    /// Whether dropping this many of them may drop the object itself, so that a user's `Drop` runs.
    fn is_last_of(&self, many: usize) -> bool;
}

/// One connection between two nodes.
pub(crate) struct Link<O> {
    own: Weak<Self>,
    number: u64,
    id: Option<LinkId>,
    peer: Peer,
    /// Who that is, over all connections.
    principal: Principal,
    /// Where the peer was seen last.
    addr: Mutex<PeerAddr>,
    /// Where this side dialled it.
    dialled: Option<Endpoint>,
    /// Where the peer may be dialled, once the node has looked.
    whereabouts: OnceLock<Arc<Whereabouts>>,
    limits: Limits,
    locked: Mutex<Locked<O>>,
    /// Bytes that waited to be written after the last step.
    queued: AtomicU64,
    driver: AtomicWaker,
    /// Whether calls wait for the driver that have waited for a result.
    released: AtomicBool,
    clock: Clock,
    runtime: Handle,
    ended: OnceLock<Ended>,
    end: watch::Sender<bool>,
    /// Told when there is room again for what arriving calls answer.
    room: Notify,
    /// Another link to the same peer takes its place.
    retired: AtomicBool,
    /// The peer was given objects of other nodes.
    relays: AtomicBool,
    /// It brought references that may change their link.
    brought_movable: AtomicBool,
}

/// What callers and the driver share.
struct Locked<O> {
    session: Session<O>,
    /// None while the link has no connection.
    socket: Option<Arc<dyn Socket>>,
    /// A new connection that was accepted to take the link up.
    carrier: Option<Box<Carrier>>,
    /// The driver is going to write: nobody else has to.
    flushing: bool,
    /// When the oldest call was made of those that wait to be written: the time of all of them.
    batch: Option<Time>,
    /// The socket took nothing more: what is added waits for nobody knows how long.
    is_full: bool,
    /// Whether the last call was made beside others.
    come_together: bool,
    /// The peer is there again, as somebody has seen: it may be dialled at once.
    hasty: bool,
    /// When the driver will look at the time again.
    armed: Time,
    closing: Option<Close>,
}

impl<O> std::fmt::Debug for Link<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({} to {})", self.number, self.describe_peer())
    }
}

impl<O: Kept> Link<O> {
    /// A link over this socket; `dialled` says where, if this side did.
    pub(crate) fn new(
        socket: Arc<dyn Socket>,
        session: Session<O>,
        principal: Principal,
        dialled: Option<Endpoint>,
        limits: Limits,
        clock: Clock,
    ) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            id: session.link_id(),
            peer: session.peer().clone(),
            principal,
            addr: Mutex::new(socket.peer()),
            dialled,
            whereabouts: OnceLock::new(),
            limits,
            locked: Mutex::new(Locked {
                session,
                socket: Some(socket),
                carrier: None,
                flushing: false,
                batch: None,
                is_full: false,
                come_together: false,
                hasty: false,
                armed: Time::START,
                closing: None,
            }),
            queued: AtomicU64::new(0),
            driver: AtomicWaker::new(),
            released: AtomicBool::new(false),
            clock,
            runtime: Handle::current(),
            ended: OnceLock::new(),
            end: watch::Sender::new(false),
            room: Notify::new(),
            retired: AtomicBool::new(false),
            relays: AtomicBool::new(false),
            brought_movable: AtomicBool::new(false),
        })
    }

    /// Who the peer is.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Does one step with the session, then what it left to do.
    fn step<R>(&self, step: impl FnOnce(&mut Locked<O>) -> R) -> R {
        let (result, left) = self.step_and_leave(step);
        self.carry_out(left);
        result
    }

    /// Does one step for a caller who holds a lock of his own. What it left to do is his to have
    /// [carried out](Self::carry_out), once he has let go of that.
    fn step_and_leave<R>(&self, step: impl FnOnce(&mut Locked<O>) -> R) -> (R, Left<O>) {
        let mut locked = self.locked.lock();
        let result = step(&mut locked);
        self.queued.store(locked.session.counted_output(), Ordering::Release);
        (result, Left(locked.session.has_effects().then(|| locked.session.take_effects())))
    }

    /// Wakes callers and drops what nothing keeps any more, outside every lock. Where a user's
    /// `Drop` may run it gets a task of its own, so that no reader waits for it.
    pub(crate) fn carry_out(&self, Left(effects): Left<O>) {
        let Some(effects) = effects else { return };
        for waker in effects.wakers {
            waker.wake();
        }
        self.discard(effects.garbage);
        if !effects.spent.is_empty() {
            keep_memory(effects.spent, &self.runtime);
        }
    }

    pub(crate) fn discard(&self, garbage: Vec<O>) {
        if garbage.iter().any(|kept| kept.is_last_of(garbage.len())) {
            self.runtime.spawn(async move { drop(garbage) });
        }
    }

    /// The bounds of the node.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Gives a held reference back.
    pub(crate) fn release(&self, slot: Slot) {
        self.act(|session| session.release(slot));
    }

    /// Lets go of an object of this node however often the peer holds it.
    pub(crate) fn unexport(&self, id: &ObjectId, dead: O) {
        self.act(|session| session.unexport(id, dead));
    }

    /// Does something whose frames are to leave soon.
    pub(crate) fn act<R>(&self, act: impl FnOnce(&mut Session<O>) -> R) -> R {
        self.step(|locked| {
            let result = act(&mut locked.session);
            if locked.session.has_released() {
                self.released.store(true, Ordering::Release);
                self.driver.wake();
            }
            if locked.session.has_output() {
                self.wake_to_flush(locked);
            }
            result
        })
    }

    fn wake_to_flush(&self, locked: &mut Locked<O>) {
        if !locked.flushing {
            locked.flushing = true;
            self.driver.wake();
        }
    }

    /// Writes what the socket takes now, some at a time, so that others get at the session too.
    /// `WouldBlock` is an error here.
    fn write(&self, locked: &mut Locked<O>) -> io::Result<()> {
        let Some(socket) = locked.socket.as_ref() else { return Ok(()) };
        (locked.batch, locked.is_full) = (None, true);
        let mut total = 0;
        while locked.session.has_output() && total < WRITE_LEN {
            let written = socket.try_write(&locked.session.slices())?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            locked.session.advance(written);
            total += written;
        }
        locked.is_full = false;
        Ok(())
    }

    /// Whether no call of the peer waits for its answer.
    pub(crate) fn is_quiet(&self) -> bool {
        self.ended.get().is_some() || self.counts().served == 0
    }

    /// Keeps all others from the link meanwhile.
    #[cfg(test)]
    pub(crate) fn hold_up<R>(&self, meanwhile: impl FnOnce() -> R) -> R {
        let _held = self.locked.lock();
        meanwhile()
    }

    /// The node knows that the peer is given objects of other nodes.
    pub(crate) fn note_relaying(&self) {
        self.relays.store(true, Ordering::Release);
    }

    pub(crate) fn is_relaying(&self) -> bool {
        self.relays.load(Ordering::Acquire)
    }

    /// It brings a reference that may change its link.
    pub(crate) fn note_movable(&self) {
        self.brought_movable.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_movable(&self) -> bool {
        self.brought_movable.load(Ordering::Relaxed)
    }

    /// The objects of third nodes that the peer holds through this one, each with its slot.
    pub(crate) fn foreign_given(&self) -> Vec<(Slot, O)> {
        self.locked.lock().session.foreign_given()
    }

    /// Tells the peer that what it holds in this slot is gone for good.
    pub(crate) fn revoke(&self, slot: Slot) {
        self.act(|session| session.revoke(slot));
    }

    /// An object of a third node that the peer holds through this one.
    pub(crate) fn given_of(&self, owner: NodeId, id: ObjectId) -> Option<O> {
        self.locked.lock().session.given_of(owner, id).cloned()
    }

    /// A method that the peer called, by its number.
    pub(crate) fn known_method(&self, number: MethodNumber) -> Option<KnownMethod> {
        self.locked.lock().session.known_method(number)
    }

    /// Whether the peer has unexported what is held in this slot.
    pub(crate) fn is_revoked(&self, slot: Slot) -> bool {
        self.locked.lock().session.is_revoked(slot)
    }

    /// Whether calls may be started on it. While it has no connection they wait for one.
    pub(crate) fn is_open(&self) -> bool {
        self.ended.get().is_none() && self.locked.lock().session.is_open()
    }

    /// Whether it is open and has a connection now.
    pub(crate) fn is_connected(&self) -> bool {
        self.ended.get().is_none() && {
            let locked = self.locked.lock();
            locked.session.is_open() && !locked.session.is_suspended()
        }
    }

    /// Somebody waits for its connection.
    pub(crate) fn hasten(&self) {
        self.locked.lock().hasty = true;
        self.driver.wake();
    }

    /// Whether it has lost its connection, and waits for another.
    pub(crate) fn is_suspended(&self) -> bool {
        self.ended.get().is_none() && self.locked.lock().session.is_suspended()
    }

    /// Whether there is room for the answer of one more call.
    fn has_room(&self) -> bool {
        self.queued.load(Ordering::Acquire) <= self.limits.outbox_bytes
    }

    /// Whether anything waits to be written.
    fn has_output(&self) -> bool {
        self.queued.load(Ordering::Acquire) > 0
    }

    /// Waits until there is, or the link has ended.
    async fn wait_room(&self) {
        let may_go = || self.has_room() || self.ended.get().is_some();
        while !may_go() {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if !may_go() {
                room.await;
            }
        }
    }

    /// How many calls were ever made over it. The count wraps.
    pub(crate) fn calls_made(&self) -> u32 {
        self.locked.lock().session.calls_made()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.locked.lock().session.counts()
    }
}

impl<O> Link<O> {
    /// The link over all its connections, as its acceptor named it; `None` where it has only one.
    pub(crate) fn id(&self) -> Option<LinkId> {
        self.id
    }

    /// Where this side dialled the peer, if it did.
    pub(crate) fn dialled(&self) -> Option<&Endpoint> {
        self.dialled.as_ref()
    }

    /// Unique in the process.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Where the peer may be dialled, found once for all references.
    pub(crate) fn whereabouts(&self, look: impl FnOnce() -> Whereabouts) -> &Arc<Whereabouts> {
        self.whereabouts.get_or_init(|| Arc::new(look()))
    }

    pub(crate) fn peer_addr(&self) -> PeerAddr {
        self.addr.lock().clone()
    }

    /// The peer, for messages.
    pub(crate) fn describe_peer(&self) -> String {
        format!("{} (node {})", self.peer_addr(), self.peer.node)
    }
}

/// A directory that is asked through an `Arc`.
impl<O, D: Directory<O>> Directory<O> for Arc<D> {
    fn find(&self, id: &ObjectId) -> Option<crate::session::Passed<O>> {
        (**self).find(id)
    }
}

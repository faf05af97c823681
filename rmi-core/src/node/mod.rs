//! Nodes: a process's presence in the system. A node dials, listens and exports.

mod admission;
mod batch;
mod builder;
mod current;
mod detached;
mod dial;
mod host;
mod links;
mod listen;
mod merge;
mod permit;
mod policy;
mod relay;
mod stats;

use std::{
    collections::HashMap,
    fmt,
    future::IntoFuture,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::AbortHandle;
use parking_lot::{Mutex, MutexGuard};
use slab::Slab;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, watch},
    time::Instant,
};

use self::{
    admission::{Admission, Place},
    dial::Dials,
    links::Links,
    listen::Listeners,
};
pub use self::{
    builder::{NodeBuilder, NodeError},
    policy::{DialPolicy, RelayPolicy},
    stats::NodeStats,
};
pub(crate) use self::{host::no_such_method, stats::OpenStream};
use crate::{
    any::AnyRemote,
    budget::Budget,
    connection::{Clock, Host, Link},
    endpoint::Endpoint,
    id::{NodeId, ObjectId},
    import::Import,
    interceptor::Interceptors,
    limits::Limits,
    object::{Leases, ObjectTable},
    referent::{Erased, Object, Referent},
    remote::Remote,
    time::Time,
    transport::Transports,
    trust::Trust,
    wire::LinkId,
};

/// Time for links to end once they are told to.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// A process's presence in the system: dials, listens, exports. A cheap clone.
///
/// A node works until it is shut down or its runtime ends; dropping its handles does not end it.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

/// A node that is not kept. One word: each object of a node has one.
#[derive(Clone)]
pub(crate) struct WeakNode(Arc<Known>);

/// What is known of a node also when it is gone.
struct Known {
    id: NodeId,
    inner: Weak<Inner>,
}

pub(crate) struct Inner {
    id: NodeId,
    this: WeakNode,
    clock: Clock,
    runtime: Handle,
    limits: Limits,
    lease: Duration,
    transports: Transports,
    policy: DialPolicy,
    relay_policy: RelayPolicy,
    interceptors: Interceptors,
    trust: Trust,
    advertised: Vec<Endpoint>,
    listeners: Listeners,
    admission: Admission,
    links: Mutex<Links>,
    dials: Dials,
    objects: Mutex<ObjectTable<Object<dyn Erased>>>,
    services: Mutex<HashMap<String, Arc<Object<dyn Erased>>>>,
    kept: Mutex<HashMap<String, AnyRemote>>,
    leases: Mutex<Leases<Left>>,
    /// References that may have to change their link: those that were held through a third node when
    /// they arrived, and those of nodes that may dial this one too.
    movable: Mutex<Vec<Weak<Import>>>,
    /// How many owners may be dialled at once because a giver has gone.
    leaving: Arc<Semaphore>,
    /// Wakes the task that ends leases.
    leases_changed: watch::Sender<()>,
    closed: AtomicBool,
    /// Told when the node begins to shut down.
    closing: Notify,
    /// How many calls may go again.
    budget: Mutex<Budget>,
    /// How many streams are read, here or from here.
    streams: Arc<AtomicUsize>,
    /// Calls that were made over links that have ended. The count wraps.
    made_before: AtomicU32,
    /// Told when an import has died, to those that wait for it.
    deaths: Notify,
    /// Detached calls that run.
    detached: Mutex<Slab<AbortHandle>>,
    /// Told when a closing link has no call left to answer, or has ended.
    quiet: Notify,
    /// How many connections are open, for a shutdown to wait for.
    open: watch::Sender<usize>,
}

/// What a lost peer held, and the place that it takes where it had dialled this node.
struct Left {
    given: Vec<Referent>,
    _place: Option<Place>,
}

impl Node {
    /// Begins a node.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rmi_core::NodeError> {
    /// let node = rmi_core::Node::builder().listen("tcp://127.0.0.1:0").start().await?;
    /// assert!(node.endpoints()[0].to_string().starts_with("tcp://127.0.0.1:"));
    /// node.shutdown().await;
    /// # Ok(()) }
    /// ```
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    /// The node of the current tokio runtime: made at first use, listening nowhere.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, as [`Handle::current`] does.
    #[must_use]
    pub fn current() -> Self {
        current::node()
    }

    /// The node's id, new at every start.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// Where the node can be reached: what it advertises, or else where it listens, with the real
    /// ports.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        if self.0.advertised.is_empty() { self.0.listeners.endpoints() } else { self.0.advertised.clone() }
    }

    /// Stops listening, answers the calls that were taken, says goodbye to every peer, and ends.
    /// Takes at most [`Limits::drain_timeout`] and two seconds. A node that is shut down already is
    /// left alone.
    ///
    /// # Cancel safety
    ///
    /// Once begun, the shutdown goes on when the future is dropped.
    pub async fn shutdown(&self) {
        let node = self.clone();
        let closing = self.0.runtime.spawn(async move { node.close().await });
        // Nothing is left to close where the runtime has ended.
        let _ = closing.await;
    }

    async fn close(&self) {
        let inner = &self.0;
        inner.closed.store(true, Ordering::Release);
        inner.closing.notify_waiters();
        inner.listeners.close();
        let links = self.links();
        for link in &links {
            link.close();
        }
        let drain = tokio::time::timeout(inner.limits.drain_timeout, self.wait_quiet(&links));
        if drain.await.is_err() {
            tracing::warn!("shutting down with calls unanswered that took longer than the time for it");
        }
        // Whoever holds something through this node still has to ask the owner for it: the owner hears
        // no goodbye then. Looked up for all before the first one ends.
        let leaving: Vec<_> = self.links().into_iter().map(|link| (!self.is_giver_of(&link), link)).collect();
        for (goodbye, link) in leaving {
            link.leave(goodbye);
        }
        self.end_detached();
        let mut open = inner.open.subscribe();
        // A method that blocks its thread can hold a link up, and no longer than this.
        let _ = tokio::time::timeout(LEAVE_TIMEOUT, open.wait_for(|open| *open == 0)).await;
        let garbage = (
            std::mem::take(&mut *inner.services.lock()),
            std::mem::take(&mut *inner.kept.lock()),
            inner.leases.lock().end_all(),
        );
        drop(garbage);
        inner.leases_changed.send_replace(());
    }

    pub(crate) fn is_listening(&self) -> bool {
        !self.0.listeners.is_empty()
    }

    /// Waits until no call that was taken over any link waits for its answer, and no detached one runs: a
    /// handler on one may need another.
    async fn wait_quiet(&self, links: &[Arc<Link<Referent>>]) {
        loop {
            let mut quiet = std::pin::pin!(self.0.quiet.notified());
            quiet.as_mut().enable();
            if self.0.detached.lock().is_empty() && links.iter().all(|link| link.is_quiet()) {
                return;
            }
            quiet.await;
        }
    }

    fn links(&self) -> Vec<Arc<Link<Referent>>> {
        self.0.links.lock().all()
    }

    /// The link that its acceptor, this node, named so.
    fn link_of(&self, id: LinkId) -> Option<Arc<Link<Referent>>> {
        self.0.links.lock().accepted(id)
    }

    /// Waits for `signal`, then shuts down: `node.shutdown_on(tokio::signal::ctrl_c()).await`.
    pub async fn shutdown_on<F: IntoFuture>(&self, signal: F) {
        signal.await;
        self.shutdown().await;
    }

    /// The sizes of the node's tables now.
    #[must_use]
    pub fn stats(&self) -> NodeStats {
        stats::of(&self.0)
    }

    /// Makes a local object callable as a service of this name over every link. The object lives
    /// until [`unserve`](Self::unserve) or shutdown. A stub serves nothing and is ignored.
    pub fn serve<I: ?Sized>(&self, name: &str, object: &Remote<I>) {
        if let Some(own) = Remote::own_object(object) {
            own.export(self);
            self.0.services.lock().insert(name.to_owned(), own);
        }
    }

    /// Ends a service.
    pub fn unserve(&self, name: &str) {
        let ended = self.0.services.lock().remove(name);
        drop(ended);
    }

    /// Ends the remote life of a local object at once, whoever holds references to it. Calls that run
    /// end as they would; later ones, also by the name of a service, are refused with
    /// [`ErrorKind::NoSuchObject`](crate::ErrorKind::NoSuchObject). The node and what its peers hold
    /// keep the object no longer. Local `Remote`s do, and go on to call it; passed on, they give
    /// references that lead nowhere, for good.
    ///
    /// Returns whether it is this call that ended it: not where the object was unexported before,
    /// belongs to another node of this process, or where `object` is a stub. Nothing happens then.
    pub fn unexport<I: ?Sized>(&self, object: &Remote<I>) -> bool {
        let Some(own) = Remote::own_object(object).filter(|own| own.unexport(self)) else { return false };
        self.leave_object(&own.id);
        let is_own = |kept: &Arc<_>| Arc::ptr_eq(kept, &own);
        // The caller's own reference outlives this function: no lock here drops the last one.
        self.0.services.lock().retain(|_, served| !is_own(served));
        let dead = own.dead(self);
        for link in self.links() {
            link.unexport(&own.id, dead.clone());
        }
        for left in self.0.leases.lock().holdings_mut() {
            left.given.retain(|referent| !matches!(referent, Referent::Own(kept) if is_own(kept)));
        }
        true
    }

    /// Keeps a reference until [`unkeep`](Self::unkeep), another one under this key, or shutdown.
    pub fn keep(&self, key: String, reference: AnyRemote) {
        let replaced = self.0.kept.lock().insert(key, reference);
        drop(replaced);
    }

    /// Lets go of a reference that [`keep`](Self::keep) keeps.
    pub fn unkeep(&self, key: &str) {
        let dropped = self.0.kept.lock().remove(key);
        drop(dropped);
    }

    /// Whether calls of others are held to an [`Authorizer`](crate::Authorizer).
    #[must_use]
    pub fn has_authorizer(&self) -> bool {
        self.0.trust.authorizer.is_some()
    }

    /// The bounds that the node keeps.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// How many calls may go again now.
    pub(crate) fn budget(&self) -> MutexGuard<'_, Budget> {
        let now = self.now();
        let is_short = self.0.budget.lock().is_short(now);
        // Counted before it is locked: a count locks every link.
        let made = is_short.then(|| self.calls_made());
        let mut budget = self.0.budget.lock();
        if let Some(made) = made {
            budget.fill(now, made);
        }
        budget
    }

    fn calls_made(&self) -> u32 {
        let over = self.links().iter().map(|link| link.calls_made()).fold(0, u32::wrapping_add);
        self.0.made_before.load(Ordering::Relaxed).wrapping_add(over)
    }

    pub(crate) fn relay_policy(&self) -> &RelayPolicy {
        &self.0.relay_policy
    }

    #[inline]
    pub(crate) fn interceptors(&self) -> &Interceptors {
        &self.0.interceptors
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.0.trust
    }

    pub(crate) fn now(&self) -> Time {
        self.0.clock.now()
    }

    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.0.clock.instant(time)
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.runtime.spawn(task);
    }

    pub(crate) fn downgrade(&self) -> WeakNode {
        self.0.this.clone()
    }

    pub(crate) fn deaths(&self) -> &Notify {
        &self.0.deaths
    }

    /// Waits until the node shuts down.
    pub(crate) async fn closing(&self) {
        let mut closing = std::pin::pin!(self.0.closing.notified());
        closing.as_mut().enable();
        if !self.is_closed() {
            closing.await;
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    pub(crate) fn enter_object(&self, object: &Arc<Object<dyn Erased>>) {
        let mut objects = self.0.objects.lock();
        // Looked at under the lock: it is marked before its entry is taken out.
        if !object.is_unexported() {
            objects.insert(object.id, object);
        }
    }

    /// The exported object of this id.
    fn find_object(&self, id: &ObjectId) -> Option<Arc<Object<dyn Erased>>> {
        let found = self.0.objects.lock().get(id);
        found.filter(|object| object.id == *id)
    }

    pub(crate) fn leave_object(&self, id: &ObjectId) {
        self.0.objects.lock().remove(id);
    }
}

impl WeakNode {
    pub(crate) fn id(&self) -> NodeId {
        self.0.id
    }

    pub(crate) fn is(&self, node: &Node) -> bool {
        self.0.id == node.0.id
    }

    pub(crate) fn upgrade(&self) -> Option<Node> {
        self.0.inner.upgrade().map(Node)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.0.id).field("endpoints", &self.endpoints()).finish_non_exhaustive()
    }
}

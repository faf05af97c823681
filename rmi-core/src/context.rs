//! What a method may know of the call that runs it.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    connection::Served,
    id::NodeId,
    principal::Principal,
    skeleton::{Handler, Line},
    time::Time,
    transport::PeerAddr,
    trust::Access,
    wire::Extras,
};

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// The call that a handler serves.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) line: Arc<Line>,
    pub(crate) deadline: Option<Time>,
    pub(crate) depth: u32,
    pub(crate) extras: Option<Arc<Extras>>,
}

/// What a call inherits from the one that runs now.
pub(crate) struct Inherited {
    /// What that one has left, if it does not take for ever.
    pub(crate) left: Option<Duration>,
    /// How deep the call is nested.
    pub(crate) depth: u32,
    /// The trace and the metadata of the outer call.
    extras: Option<Arc<Extras>>,
}

impl Inherited {
    /// The extras of a call that has these of its own.
    pub(crate) fn join(&self, own: Option<&Arc<Extras>>) -> Option<Arc<Extras>> {
        let Some(outer) = &self.extras else { return own.cloned() };
        if own.is_none() && outer.all_travels() {
            return Some(outer.clone());
        }
        let mut joined = own.map_or_else(Extras::default, |own| Extras::clone(own));
        joined.inherit(outer);
        (!joined.is_empty()).then(|| Arc::new(joined))
    }
}

impl Current {
    /// The call that runs now carries this from now on.
    pub(crate) fn set_extras(extras: Option<Arc<Extras>>) {
        CURRENT.with_borrow_mut(|current| {
            if let Some(current) = current {
                current.extras = extras;
            }
        });
    }

    /// What a call made now inherits; none outside of every handler.
    pub(crate) fn inherited() -> Option<Inherited> {
        CURRENT.with_borrow(|current| {
            let current = current.as_ref()?;
            let left = current.deadline.map(|deadline| deadline.since(current.line.link.clock().now()));
            Some(Inherited { left, depth: current.depth.saturating_add(1), extras: current.extras.clone() })
        })
    }
}

/// The call that the current task serves: who calls, and until when.
///
/// It is there while a method of a remote object runs for a remote caller, in the task that runs
/// it, but not in tasks that the method spawns.
#[derive(Clone)]
pub struct Context {
    current: Current,
}

impl Context {
    /// The context of the call that this task serves; `None` outside of every remote call, and in
    /// a call made locally.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone).map(|current| Self { current })
    }

    /// The node that calls.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        self.current.line.link.peer().node
    }

    /// Where the caller was seen.
    #[must_use]
    pub fn peer_addr(&self) -> PeerAddr {
        self.current.line.link.peer_addr()
    }

    /// Who the caller is, as far as it has proved it.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        self.current.line.link.principal()
    }

    /// Whether the caller may do this with this name, by the node's [`Authorizer`](crate::Authorizer); `None` where it
    /// has none. For services that have names.
    #[must_use]
    pub fn may_name(&self, interface: &str, method: &str, name: &str) -> Option<bool> {
        let Line { link, node } = &*self.current.line;
        let authorizer = node.trust().authorizer.as_ref()?;
        let (principal, peer_addr) = (link.principal(), &link.peer_addr());
        let (peer, object, service) = (link.peer().node, None, None);
        let access = Access { principal, peer, peer_addr, interface, method, object, service };
        Some(authorizer.may_name(&access, name))
    }

    /// The time that the caller still waits; `None` where it waits for ever, and in a
    /// `#[remote(detached)]` method, which does not end with it.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.current.deadline.map(|deadline| deadline.since(self.current.line.link.clock().now()))
    }

    /// What the call carries of this name: set by its caller with
    /// [`CallOptions::metadata`](crate::CallOptions::metadata) or as baggage, or added by an interceptor.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<Bytes> {
        self.current.extras.as_ref()?.get(name).cloned()
    }

    /// All that the call carries: names and values.
    pub fn metadata_entries(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.current.extras.iter().flat_map(|extras| extras.entries())
    }

    /// The trace that the call belongs to, where its caller has told one: trace id (16 bytes), span id of the
    /// caller (8), flags (1), as in the W3C's `traceparent`. Calls made by the method carry it on.
    #[must_use]
    pub fn trace(&self) -> Option<[u8; 25]> {
        self.current.extras.as_ref()?.trace
    }

    /// How many calls this one is nested in: 0 where it was made outside of every handler.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.current.depth
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("peer", &self.peer())
            .field("peer_addr", &self.peer_addr())
            .field("principal", self.principal())
            .field("time_left", &self.time_left())
            .field("depth", &self.depth())
            .finish()
    }
}

/// A handler whose context is current while it is polled.
pub(crate) struct InContext {
    handler: Option<Handler>,
    current: Option<Current>,
    is_large: bool,
}

impl InContext {
    /// Of a handler that decodes much, or not.
    pub(crate) fn new(handler: impl Into<Handler>, mut current: Current, is_large: bool) -> Self {
        let handler = handler.into();
        if handler.manner.detached {
            // It runs on when its caller's time is over, and so do the calls that it makes.
            current.deadline = None;
        }
        Self { handler: Some(handler), current: Some(current), is_large }
    }
}

impl Future for InContext {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(handler) = this.handler.as_mut() else { return Poll::Ready(()) };
        let _entered = Entered::new(&mut this.current);
        let polled = handler.running.as_mut().poll(cx);
        if polled.is_ready() {
            // What it leaves behind goes while its context is still there.
            this.handler = None;
        }
        polled
    }
}

impl Served for InContext {
    fn is_detached(&self) -> bool {
        self.handler.as_ref().is_some_and(|handler| handler.manner.detached)
    }

    fn is_blocking(&self) -> bool {
        self.is_large || self.handler.as_ref().is_some_and(|handler| handler.manner.blocking)
    }

    fn is_large(&self) -> bool {
        self.is_large
    }
}

impl Drop for InContext {
    fn drop(&mut self) {
        if self.handler.is_none() {
            return;
        }
        let _entered = Entered::new(&mut self.current);
        self.handler = None;
    }
}

/// Swaps a context in, and out again when dropped, also by a panic.
struct Entered<'a> {
    place: &'a mut Option<Current>,
}

impl<'a> Entered<'a> {
    fn new(place: &'a mut Option<Current>) -> Self {
        swap(place);
        Self { place }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        swap(self.place);
    }
}

fn swap(place: &mut Option<Current>) {
    // While a thread ends its locals may be gone already; there is no context then.
    let _ = CURRENT.try_with(|current| std::mem::swap(&mut *current.borrow_mut(), place));
}

//! A call, as interceptors see it.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    callee::Callee,
    error::Certainty,
    id::{NodeId, ObjectId},
    node::Node,
    skeleton::Line,
    time::Time,
    transport::PeerAddr,
    wire::{Extras, Trace},
};

/// Where an interceptor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// At the caller: around a call that the node makes.
    Client,
    /// At the callee, or at a node that relays: around a call that the node serves.
    Server,
}

/// A call, as its interceptors see it.
pub struct Invocation {
    pub(super) side: Side,
    /// `com.example.Bank.open`.
    pub(super) name: String,
    /// Where the interface's name ends.
    pub(super) split: usize,
    pub(super) is_known: bool,
    pub(super) is_relayed: bool,
    pub(super) object: Option<ObjectId>,
    pub(super) party: Party,
    pub(super) deadline: Option<Time>,
    pub(super) depth: u32,
    pub(super) extras: Extras,
    pub(super) request_len: usize,
    pub(super) idempotent: bool,
    /// What is true of its attempts so far; nothing where there was none.
    pub(super) progress: Option<Certainty>,
}

/// The other side.
pub(super) enum Party {
    Callee(Callee),
    Caller(Arc<Line>),
}

impl Invocation {
    /// Where the interceptor stands.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }

    /// Interface and method, as `com.example.Bank.open`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface that declares the method.
    #[must_use]
    pub fn interface(&self) -> &str {
        self.name.get(..self.split).unwrap_or_default()
    }

    /// The method's name within its interface.
    #[must_use]
    pub fn method(&self) -> &str {
        self.name.get(self.split + 1..).unwrap_or(&self.name)
    }

    /// Whether this program knows the method. Otherwise it relays the call, or will refuse it, and the name is what
    /// the peer calls it: not to be trusted, and of as many forms as the peer likes.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// Whether the call passes through this node to an object of another.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        self.is_relayed
    }

    /// The object that is called; `None` for a service by name, at its caller.
    #[must_use]
    pub fn object(&self) -> Option<ObjectId> {
        self.object
    }

    /// The node at the other side, where it is known before the call goes: the one that calls, or the object's own.
    #[must_use]
    pub fn peer(&self) -> Option<NodeId> {
        match &self.party {
            Party::Callee(callee) => callee.owner(),
            Party::Caller(line) => Some(line.link.peer().node),
        }
    }

    /// Where the other side was seen; `None` at a caller without a connection.
    #[must_use]
    pub fn peer_addr(&self) -> Option<PeerAddr> {
        match &self.party {
            Party::Callee(callee) => callee.peer_addr(),
            Party::Caller(line) => Some(line.link.peer_addr()),
        }
    }

    /// The other side in words: its address, and what is known of its node's id.
    #[must_use]
    pub fn describe_peer(&self) -> String {
        match &self.party {
            Party::Callee(callee) => callee.describe_peer().unwrap_or_else(|| callee.describe_object()),
            Party::Caller(line) => line.link.describe_peer(),
        }
    }

    /// The node that the interceptor belongs to.
    #[must_use]
    pub fn node(&self) -> &Node {
        match &self.party {
            Party::Callee(callee) => callee.node(),
            Party::Caller(line) => &line.node,
        }
    }

    /// The time that is left for the call, if it may not take for ever.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.since(self.node().now()))
    }

    /// How many calls it is nested in.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Bytes of the encoded arguments.
    #[must_use]
    pub fn request_len(&self) -> usize {
        self.request_len
    }

    /// What the call carries of this name.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&Bytes> {
        self.extras.get(name)
    }

    /// All that the call carries: names and values.
    pub fn metadata_entries(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.extras.entries()
    }

    /// Adds to what the call carries, in place of what it had of this name. At the callee the method finds it in its
    /// [`Context`](crate::Context).
    pub fn set_metadata(&mut self, name: &str, value: impl Into<Bytes>) {
        self.extras.set(name, value.into(), false);
    }

    /// The same, and it goes on with the calls that the method makes.
    pub fn set_baggage(&mut self, name: &str, value: impl Into<Bytes>) {
        self.extras.set(name, value.into(), true);
    }

    /// Takes out of what the call carries.
    pub fn remove_metadata(&mut self, name: &str) -> Option<Bytes> {
        self.extras.remove(name)
    }

    /// The trace that the call belongs to: trace id (16 bytes), span id (8), flags (1).
    #[must_use]
    pub fn trace(&self) -> Option<Trace> {
        self.extras.trace
    }

    /// Makes the call belong to a trace.
    pub fn set_trace(&mut self, trace: Option<Trace>) {
        self.extras.trace = trace;
    }

    /// Whether the method may run more than once for one call.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// Whether [`Next::run`](super::Next::run) would let the call go: the first time always; then at the caller only,
    /// where no attempt may have run, or the method is idempotent.
    #[must_use]
    pub fn may_go(&self) -> bool {
        match self.progress {
            None => true,
            Some(progress) => {
                let did_not_run = matches!(progress, Certainty::NotSent | Certainty::NotExecuted);
                self.side == Side::Client && (did_not_run || self.idempotent)
            }
        }
    }

    /// What is true of the call so far, of all its attempts together.
    #[must_use]
    pub fn certainty(&self) -> Certainty {
        self.progress.unwrap_or(match self.side {
            Side::Client => Certainty::NotSent,
            Side::Server => Certainty::NotExecuted,
        })
    }

    /// An attempt begins: dropped before it ends, nothing better is known of it. Returns what was true before.
    pub(super) fn begin(&mut self) -> Option<Certainty> {
        let in_between = match self.side {
            Side::Client => Certainty::Unknown,
            Side::Server => Certainty::Executed,
        };
        let before = self.progress;
        self.progress = worse(before, in_between);
        before
    }

    /// An attempt has ended, and this is true of it.
    pub(super) fn end(&mut self, before: Option<Certainty>, now: Certainty) {
        self.progress = worse(before, now);
    }
}

/// One attempt that may have run, or has, leaves the whole call so.
fn worse(before: Option<Certainty>, now: Certainty) -> Option<Certainty> {
    let rank = |certainty: &Certainty| match certainty {
        Certainty::NotSent => 0,
        Certainty::NotExecuted => 1,
        Certainty::Unknown => 2,
        Certainty::Executed => 3,
    };
    before.into_iter().chain([now]).max_by_key(rank)
}

impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("side", &self.side)
            .field("name", &self.name)
            .field("object", &self.object)
            .field("peer", &self.describe_peer())
            .field("request_len", &self.request_len)
            .finish_non_exhaustive()
    }
}

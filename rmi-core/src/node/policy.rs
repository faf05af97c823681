//! Which endpoints a node dials on the word of a peer, and for whom it relays.

use std::{fmt, sync::Arc};

use crate::{endpoint::Endpoint, transport::PeerAddr};

type Rule = dyn Fn(&Endpoint, &PeerAddr) -> bool + Send + Sync;
type RelayRule = dyn Fn(&[Endpoint], &PeerAddr) -> bool + Send + Sync;

/// Decides whether an endpoint that a peer named may be dialled. What the program itself names is
/// always dialled.
///
/// The default never dials loopback, link-local, unix or in-process endpoints that a peer on
/// another host named: a reference must not open a connection that its sender could not open.
///
/// ```
/// use rmi_core::DialPolicy;
/// let only_private = DialPolicy::new(|endpoint, _peer| endpoint.to_string().starts_with("tcp://10."));
/// ```
#[derive(Clone)]
pub struct DialPolicy(Arc<Rule>);

impl DialPolicy {
    /// Dials where the rule says so. It gets the endpoint and the address of the peer that named
    /// it.
    pub fn new(rule: impl Fn(&Endpoint, &PeerAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(rule))
    }

    /// Dials whatever a peer names.
    #[must_use]
    pub fn all() -> Self {
        Self::new(|_, _| true)
    }

    pub(super) fn allows(&self, endpoint: &Endpoint, named_by: &PeerAddr) -> bool {
        (self.0)(endpoint, named_by)
    }
}

impl Default for DialPolicy {
    fn default() -> Self {
        Self::new(|endpoint, peer| peer.same_host() || !endpoint.is_local_only())
    }
}

impl fmt::Debug for DialPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DialPolicy")
    }
}

/// Decides whether this node passes calls on to an object of a third node, for a peer that got the
/// reference from this node.
///
/// By default only where the object's node listens nowhere that this node could name: such an object
/// is reached in no other way. Calls pass through at most 8 nodes.
///
/// ```
/// use rmi_core::RelayPolicy;
/// let for_this_host_only = RelayPolicy::new(|_owner, caller| caller.same_host());
/// ```
#[derive(Clone)]
pub struct RelayPolicy(Arc<RelayRule>);

impl RelayPolicy {
    /// Relays where the rule says so. It gets the endpoints of the object's node, as far as this node
    /// may dial them, and the address of the peer that calls.
    pub fn new(rule: impl Fn(&[Endpoint], &PeerAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(rule))
    }

    /// Relays to every object, so that callers need reach this node only.
    #[must_use]
    pub fn all() -> Self {
        Self::new(|_, _| true)
    }

    /// Relays nothing.
    #[must_use]
    pub fn never() -> Self {
        Self::new(|_, _| false)
    }

    pub(crate) fn allows(&self, owner: &[Endpoint], caller: &PeerAddr) -> bool {
        (self.0)(owner, caller)
    }
}

impl Default for RelayPolicy {
    fn default() -> Self {
        Self::new(|owner, _| owner.is_empty())
    }
}

impl fmt::Debug for RelayPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayPolicy")
    }
}

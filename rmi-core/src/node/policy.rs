//! Which endpoints a node dials on the word of a peer.

use std::{fmt, sync::Arc};

use crate::{endpoint::Endpoint, transport::PeerAddr};

type Rule = dyn Fn(&Endpoint, &PeerAddr) -> bool + Send + Sync;

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

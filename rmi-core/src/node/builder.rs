//! How a node begins.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicUsize},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, watch},
};

use super::{
    DialPolicy, Inner, Known, Node, RelayPolicy, WeakNode, admission::Admission, dial::Dials, host, listen::Listeners,
};
use crate::{
    budget::Budget,
    connection::Clock,
    endpoint::{Endpoint, EndpointError},
    id::NodeId,
    interceptor::{Interceptor, Interceptors},
    interface::duplicate_names,
    limits::Limits,
    object::{Leases, ObjectTable},
    transport::{Transport, Transports},
    trust::{Authenticator, Authorizer, Place, TokenSource, Trust},
};

/// How long a node's references outlive the loss of its link, unless set.
const LEASE: Duration = Duration::from_secs(30);

/// So many owners are dialled at once because a giver has gone.
const LEAVING_MAX: usize = 64;

/// A node to be started.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct NodeBuilder {
    listen: Vec<String>,
    advertise: Vec<String>,
    transports: Transports,
    limits: Limits,
    lease: Duration,
    policy: DialPolicy,
    relay_policy: RelayPolicy,
    interceptors: Interceptors,
    trust: Trust,
    tokens: Vec<(String, TokenSource)>,
    id: Option<NodeId>,
}

impl Default for NodeBuilder {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            advertise: Vec::new(),
            transports: Transports::default(),
            limits: Limits::default(),
            lease: LEASE,
            policy: DialPolicy::default(),
            relay_policy: RelayPolicy::default(),
            interceptors: Interceptors::default(),
            trust: Trust::default(),
            tokens: Vec::new(),
            id: None,
        }
    }
}

/// Why a node did not start.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// An endpoint to listen on or to advertise is malformed.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A token cannot be for this place: it is no endpoint, or what is sent there can be read by others.
    #[error("a token for {place}: {problem}")]
    Token {
        /// The place.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An endpoint cannot be listened on.
    #[error(transparent)]
    Listen(io::Error),
    /// Two interfaces of the program have one name: peers could not tell them apart.
    #[error(
        "two interfaces are named {name}: {one} and {other}; give one of them another name with #[remote(name = \"..\")]"
    )]
    DuplicateInterface {
        /// The name.
        name: String,
        /// The path of the first.
        one: &'static str,
        /// The path of the second.
        other: &'static str,
    },
}

impl NodeBuilder {
    /// Listens there too, e.g. `tcp://0.0.0.0:0`, `unix:///run/bank.sock`, `mem://test`.
    pub fn listen(mut self, url: impl AsRef<str>) -> Self {
        self.listen.push(url.as_ref().to_owned());
        self
    }

    /// Tells peers to dial there instead of where the node listens: for port forwarding and names.
    /// Rarely needed: a wildcard or loopback host is replaced by the address that the peer sees.
    pub fn advertise(mut self, url: impl AsRef<str>) -> Self {
        self.advertise.push(url.as_ref().to_owned());
        self
    }

    /// Adds a transport, or replaces the one of its scheme.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transports.add(transport);
        self
    }

    /// Dials and listens over TLS too, `tls://host:port`, with these certificates.
    #[cfg(feature = "tls")]
    pub fn tls(self, tls: crate::tls::Tls) -> Self {
        self.transport(crate::tls::TlsTransport::new(tls))
    }

    /// Keeps these bounds.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long a peer's references outlive the loss of its link (default 30 s). A peer is asked
    /// after a sixth of it in silence, and lost after a third.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Decides which endpoints are dialled on the word of a peer.
    pub fn dial_policy(mut self, policy: DialPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Decides whose objects this node relays calls to.
    pub fn relay_policy(mut self, policy: RelayPolicy) -> Self {
        self.relay_policy = policy;
        self
    }

    /// Stands around the calls that the node makes and serves, any number of times: the first that is added is the
    /// outermost.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors.add(Arc::new(interceptor));
        self
    }

    /// Decides who the nodes are that dial this one.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.trust.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Decides for each call that arrives whether its caller may make it.
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.trust.authorizer = Some(Arc::new(authorizer));
        self
    }

    /// Puts another authorizer in the place of the one that was given, if one was: for services with rights of their own.
    #[doc(hidden)]
    pub fn authorizer_around(
        mut self,
        around: impl FnOnce(Option<Arc<dyn Authorizer>>) -> Arc<dyn Authorizer>,
    ) -> Self {
        self.trust.authorizer = Some(around(self.trust.authorizer.take()));
        self
    }

    /// Shows this token to the node that listens at `place`, and to no other: `tls://bank.example:1100`, or
    /// `tls://bank.example` for all ports of that host.
    pub fn token(self, place: impl AsRef<str>, token: impl Into<Bytes>) -> Self {
        let token = token.into();
        self.token_from(place, move || token.clone())
    }

    /// The same with a token that changes: it is asked for at each dial.
    pub fn token_from(mut self, place: impl AsRef<str>, token: impl Fn() -> Bytes + Send + Sync + 'static) -> Self {
        self.tokens.push((place.as_ref().to_owned(), TokenSource(Arc::new(token))));
        self
    }

    /// The node's id, for tests that are to run the same way again. Two nodes of one id are not told
    /// apart.
    #[doc(hidden)]
    pub fn id(mut self, id: NodeId) -> Self {
        self.id = Some(id);
        self
    }

    /// Starts the node on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// Where an endpoint is malformed or taken, a token is for no endpoint, or two interfaces of the program have one name.
    pub async fn start(mut self) -> Result<Node, NodeError> {
        if let Some((one, other)) = duplicate_names() {
            return Err(NodeError::DuplicateInterface { name: one.name.to_string(), one: one.path, other: other.path });
        }
        for (place, token) in std::mem::take(&mut self.tokens) {
            match Place::parse(&place) {
                Ok(place) => self.trust.tokens.add(place, token.0),
                Err(problem) => return Err(NodeError::Token { place, problem: problem.to_string() }),
            }
        }
        let parse = |urls: &[String]| urls.iter().map(|url| url.parse()).collect::<Result<Vec<Endpoint>, _>>();
        let (listen, advertised) = (parse(&self.listen)?, parse(&self.advertise)?);
        let mut listeners = Vec::new();
        for endpoint in &listen {
            let listener = self.transports.listen(endpoint).await;
            listeners.push(listener.map_err(NodeError::Listen)?);
        }
        let bound = Listeners::new(&listeners);
        let node = Node(Arc::new_cyclic(|this| self.inner(this, advertised, bound)));
        for listener in listeners {
            node.spawn(super::listen::accept_all(node.clone(), listener));
        }
        node.spawn(host::end_leases(node.downgrade(), node.0.leases_changed.subscribe()));
        Ok(node)
    }

    /// Starts a node that listens nowhere, which cannot fail. Interfaces of one name are found by
    /// the nodes that listen.
    pub(super) fn start_silent(self) -> Node {
        let node = Node(Arc::new_cyclic(|this| self.inner(this, Vec::new(), Listeners::new(&[]))));
        node.spawn(host::end_leases(node.downgrade(), node.0.leases_changed.subscribe()));
        node
    }

    fn inner(self, this: &Weak<Inner>, advertised: Vec<Endpoint>, listeners: Listeners) -> Inner {
        let id = self.id.unwrap_or_else(NodeId::random);
        // A random id is a random seed.
        let seed = u128::from_be_bytes(id.to_bytes()) as u64;
        Inner {
            id,
            this: WeakNode(Arc::new(Known { id, inner: this.clone() })),
            clock: Clock::start(),
            runtime: Handle::current(),
            lease: self.lease,
            transports: self.transports,
            policy: self.policy,
            relay_policy: self.relay_policy,
            interceptors: self.interceptors,
            trust: self.trust,
            advertised,
            listeners,
            admission: Admission::new(&self.limits),
            links: Mutex::default(),
            dials: Dials::default(),
            objects: Mutex::new(ObjectTable::default()),
            services: Mutex::new(HashMap::new()),
            kept: Mutex::new(HashMap::new()),
            leases: Mutex::new(Leases::default()),
            leases_changed: watch::Sender::new(()),
            movable: Mutex::default(),
            leaving: Arc::new(Semaphore::new(LEAVING_MAX)),
            budget: Mutex::new(Budget::new(self.limits.retries, seed)),
            streams: Arc::new(AtomicUsize::new(0)),
            made_before: AtomicU32::new(0),
            limits: self.limits,
            closed: AtomicBool::new(false),
            closing: Notify::new(),
            detached: Mutex::default(),
            deaths: Notify::new(),
            quiet: Notify::new(),
            open: watch::Sender::new(0),
        }
    }
}

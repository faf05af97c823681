//! A registry that others call.

use std::{error::Error, sync::Arc, time::Duration};

use rmi_core::{Node, NodeBuilder, Remote};
use tokio::runtime::Handle;

use crate::{
    error::RegistryError,
    names::Names,
    rights::{ByRight, OwnHost},
    service::{NameService, SERVICE},
    url::RegistryUrl,
};

/// The lease where none is given.
const DEFAULT_LEASE: Duration = Duration::from_secs(30);

/// A registry in this process: names that others look up, and bind from this host.
///
/// Several can run in one process, each on a node of its own. Dropped, it ends too, but only
/// [`shutdown`](Self::shutdown) waits for that.
///
/// ```no_run
/// # async fn example() -> Result<(), rmi_registry::RegistryError> {
/// let server = rmi_registry::RegistryServer::builder().listen("rmi://127.0.0.1:0").start().await?;
/// println!("look names up at {}", server.url());
/// server.shutdown().await;
/// # Ok(()) }
/// ```
#[must_use = "the registry ends when it is dropped"]
#[derive(Debug)]
pub struct RegistryServer {
    node: Node,
    /// Whether the node serves this registry alone, and ends with it.
    owns_node: bool,
    urls: Vec<String>,
    names: Names,
}

impl RegistryServer {
    /// A registry to be started; without further words it listens at `rmi://127.0.0.1:1099`.
    pub fn builder() -> RegistryServerBuilder {
        RegistryServerBuilder::default()
    }

    /// The URL for [`Registry::connect`](crate::Registry::connect), with the real port. Where the
    /// registry listens at every address of its host, this is the loopback address.
    #[must_use]
    pub fn url(&self) -> String {
        self.urls.first().cloned().unwrap_or_default()
    }

    /// The URLs of all places where the registry listens, in the order in which they were given.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// The node that the registry runs on.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Forgets all names and answers no more. A node that the registry started for itself is shut
    /// down, which waits for the calls being served; one given to the builder goes on.
    ///
    /// # Cancel safety
    /// Once begun, the shutdown goes on when the future is dropped.
    pub async fn shutdown(&self) {
        if self.owns_node {
            self.node.shutdown().await;
        }
        self.withdraw();
    }

    fn withdraw(&self) {
        self.node.unserve(SERVICE);
        self.names.clear();
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        self.withdraw();
        if self.owns_node
            && let Ok(runtime) = Handle::try_current()
        {
            let node = self.node.clone();
            runtime.spawn(async move { node.shutdown().await });
        }
    }
}

/// How a [`RegistryServer`] is to run.
#[must_use = "a registry runs once it is started"]
#[derive(Debug, Default)]
pub struct RegistryServerBuilder {
    listen: Vec<String>,
    lease: Option<Duration>,
    node: Option<Node>,
    node_builder: Option<NodeBuilder>,
}

impl RegistryServerBuilder {
    /// Listens at `url` too: `rmi://host:port` (port 0 takes any free one), over TLS `rmis://`, or the URL of an
    /// endpoint such as `unix:///run/registry.sock` or `mem://names`.
    pub fn listen(mut self, url: impl Into<String>) -> Self {
        self.listen.push(url.into());
        self
    }

    /// The lease of the registry's node (default 30 s): who is silent for a third of it is taken for
    /// lost, as after a third of the other side's lease, if that is shorter. How long the names of a
    /// lost server last is told by the lease of the server's own node.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Starts its own node from this, which may have certificates, limits, an
    /// [`Authenticator`](rmi_core::Authenticator), or an [`Authorizer`](rmi_core::Authorizer).
    ///
    /// The authorizer then decides who may do what with which name, in place of the rule that all may look up and this
    /// host may bind. It is asked for the interface `rmi.Registry` and the methods `bind`, `rebind`, `unbind`, `join`,
    /// `leave`, `lookup` and `list`, whatever the registry calls them by: for the call, and then for the name. That of a node
    /// that is given with [`node`](Self::node) is asked for the registry's own methods, and then for names likewise.
    pub fn node_builder(mut self, builder: NodeBuilder) -> Self {
        self.node_builder = Some(builder);
        self
    }

    /// Runs on a node that listens already, beside its other objects. The node's own lease counts.
    pub fn node(mut self, node: &Node) -> Self {
        self.node = Some(node.clone());
        self
    }

    /// Starts the registry.
    ///
    /// # Errors
    /// Where a URL cannot be listened at, for example because its port is in use; where a node is
    /// given that listens nowhere, or together with URLs or a lease.
    pub async fn start(self) -> Result<RegistryServer, RegistryError> {
        let owns_node = self.node.is_none();
        let ask_again = self.lease.unwrap_or(DEFAULT_LEASE) / 6;
        let (node, has_policy) = self.started_node().await?;
        let urls =
            node.endpoints().into_iter().map(|endpoint| RegistryUrl::on_this_host(endpoint).to_string()).collect();
        let names = Names::new(ask_again, has_policy);
        node.serve(SERVICE, &Remote::<dyn NameService>::new(names.clone()));
        Ok(RegistryServer { node, owns_node, urls, names })
    }

    /// The node, and whether it has an authorizer of its user's.
    async fn started_node(self) -> Result<(Node, bool), RegistryError> {
        if let Some(node) = self.node {
            if !self.listen.is_empty() || self.lease.is_some() || self.node_builder.is_some() {
                return Err(not_started("the node given has its own endpoints, lease and authorizer; leave those out"));
            }
            if node.endpoints().is_empty() {
                return Err(not_started("the node given listens nowhere; start it with Node::builder().listen(url)"));
            }
            let has_policy = node.has_authorizer();
            return Ok((node, has_policy));
        }
        let mut has_policy = false;
        let mut builder = self.node_builder.unwrap_or_else(Node::builder).authorizer_around(|given| {
            has_policy = given.is_some();
            Arc::new(ByRight(given.unwrap_or_else(|| Arc::new(OwnHost))))
        });
        if let Some(lease) = self.lease {
            builder = builder.lease(lease);
        }
        let default = [String::from("rmi://127.0.0.1")];
        for url in if self.listen.is_empty() { &default[..] } else { &self.listen } {
            builder = builder.listen(url.parse::<RegistryUrl>()?.listened()?.to_string());
        }
        let started = builder.start().await.map_err(|error| not_started(with_causes(&error)));
        started.map(|node| (node, has_policy))
    }
}

fn not_started(reason: impl Into<String>) -> RegistryError {
    RegistryError::NotStarted { reason: reason.into() }
}

/// An error and its causes on one line, without those that it repeats itself.
fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string);
    causes.fold(error.to_string(), |line, cause| if line.contains(&cause) { line } else { format!("{line}: {cause}") })
}

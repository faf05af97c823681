//! The objects that the tests bind, and where.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rmi_core::{DialPolicy, Node, NodeBuilder, Remote};
use rmi_macros::remote;
use rmi_registry::{Registry, RegistryError, RegistryServer};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[remote(name = "test.Greeter")]
pub(crate) trait Greeter {
    async fn greet(&self, who: &str) -> rmi_core::Result<String>;
}

#[remote(name = "test.Singer")]
pub(crate) trait Singer: Greeter {
    async fn sing(&self) -> rmi_core::Result<String>;
}

#[remote(name = "test.Stranger")]
pub(crate) trait Stranger {
    async fn vanish(&self) -> rmi_core::Result<()>;
}

pub(crate) struct Host(pub(crate) &'static str);

#[remote]
impl Greeter for Host {
    async fn greet(&self, who: &str) -> rmi_core::Result<String> {
        Ok(format!("{}, {who}", self.0))
    }
}

#[remote]
impl Singer for Host {
    async fn sing(&self) -> rmi_core::Result<String> {
        Ok(format!("{}, la la la", self.0))
    }
}

pub(crate) fn greeter(word: &'static str) -> Remote<dyn Greeter> {
    Remote::<dyn Greeter>::new(Host(word))
}

/// An object to bind, and whether it lives.
pub(crate) fn watched(word: &'static str) -> (Remote<dyn Greeter>, Weak<dyn Greeter>) {
    let object: Arc<dyn Greeter> = Arc::new(Host(word));
    let alive = Arc::downgrade(&object);
    (Remote::<dyn Greeter>::from_arc(object), alive)
}

/// Every transport of whole nodes within one process, at an address of its own.
pub(crate) fn transports() -> [String; 2] {
    [mem("node"), "tcp://127.0.0.1:0".to_owned()]
}

/// An address in this process that no other test uses.
pub(crate) fn mem(what: &str) -> String {
    static USED: AtomicUsize = AtomicUsize::new(0);
    format!("mem://registry-{what}-{}", USED.fetch_add(1, Ordering::Relaxed))
}

/// A registry whose clients look after their names every half a second.
pub(crate) async fn attentive(listen: &str) -> RegistryServer {
    RegistryServer::builder().listen(listen).lease(Duration::from_secs(3)).start().await.unwrap()
}

/// Who answers to the name, once anybody does.
pub(crate) async fn answering(registry: &Registry, name: &str) -> String {
    let answered = async {
        loop {
            if let Ok(found) = registry.lookup::<dyn Greeter>(name).await
                && let Ok(answer) = found.greet("x").await
            {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("somebody answers to the name in time")
}

/// Waits until this holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.expect(what);
}

/// A server's node and its handle of the registry.
pub(crate) async fn server_of(registry: &RegistryServer, listen: &str) -> (Node, Registry) {
    let node = Node::builder().listen(listen).start().await.unwrap();
    let handle = Registry::connect_with(&node, &registry.url()).await.unwrap();
    (node, handle)
}

/// A registry that dials no server: when the link to one is lost, it is not found by its endpoints.
pub(crate) async fn sedentary(lease: Duration) -> RegistryServer {
    let node = at_a_cable().listen("tcp://127.0.0.1:0").lease(lease).start().await.unwrap();
    RegistryServer::builder().node(&node).start().await.unwrap()
}

/// A node that dials no endpoint on the word of a peer: when its cable is cut, it is cut off.
pub(crate) fn at_a_cable() -> NodeBuilder {
    Node::builder().dial_policy(DialPolicy::new(|_, _| false))
}

/// A client's node, which listens nowhere, and its handle of the registry.
pub(crate) async fn client_of(registry: &RegistryServer) -> (Node, Registry) {
    let node = Node::builder().start().await.unwrap();
    let handle = Registry::connect_with(&node, &registry.url()).await.unwrap();
    (node, handle)
}

/// Another address of the same transport.
pub(crate) fn beside(url: &str) -> String {
    if url.starts_with("mem:") { mem("server") } else { "tcp://127.0.0.1:0".to_owned() }
}

/// Waits until the name is free.
pub(crate) async fn unbound(registry: &Registry, name: &str) {
    let freed = async {
        while !matches!(registry.lookup_any(name).await, Err(RegistryError::NotBound { .. })) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("the name goes in time");
}

//! What a node keeps for as long as it runs.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rmi_core::{Node, Remote};
use rmi_macros::remote;

/// Anything that lives and ends with a node. It is never called.
#[remote(name = "rmi.RegistryKept")]
trait Kept {}

struct Value<T>(#[expect(dead_code, reason = "kept for its drop")] Arc<T>);

#[remote]
impl<T: Send + Sync + 'static> Kept for Value<T> {}

/// Under what a node keeps a value.
#[derive(Debug)]
pub(crate) struct KeptKey(String);

impl KeptKey {
    /// A key that no other value has.
    pub(crate) fn new(what: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self(format!("rmi-registry {what} #{}", COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The node keeps the value from now on, until it is let go of or the node is shut down.
    pub(crate) fn keep<T: Send + Sync + 'static>(&self, node: &Node, value: Arc<T>) {
        node.keep(self.0.clone(), Remote::erase(&Remote::<dyn Kept>::new(Value(value))));
    }

    /// The node keeps it no more.
    pub(crate) fn let_go(&self, node: &Node) {
        node.unkeep(&self.0);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Some object.
    #[remote(name = "rmi.RegistryThing")]
    pub(crate) trait Thing {}

    struct Some;

    #[remote]
    impl Thing for Some {}

    pub(crate) fn thing() -> Remote<dyn Thing> {
        Remote::<dyn Thing>::new(Some)
    }

    #[tokio::test]
    async fn a_node_keeps_a_value_until_it_lets_go_or_ends() {
        let node = Node::builder().start().await.unwrap();
        let (first, second) = (Arc::new(1), Arc::new(2));
        let keys = (KeptKey::new("test"), KeptKey::new("test"));
        keys.0.keep(&node, first.clone());
        keys.1.keep(&node, second.clone());
        keys.0.let_go(&node);
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 2));
        node.shutdown().await;
        assert_eq!(Arc::strong_count(&second), 1);
    }
}

//! The default node of each tokio runtime.

use std::{collections::HashMap, sync::OnceLock};

use parking_lot::Mutex;
use tokio::runtime::{Handle, Id};

use super::{Node, NodeBuilder, WeakNode};

fn nodes() -> &'static Mutex<HashMap<Id, Node>> {
    static NODES: OnceLock<Mutex<HashMap<Id, Node>>> = OnceLock::new();
    NODES.get_or_init(Mutex::default)
}

/// The node of this runtime: made at first use, and again after a shutdown.
pub(super) fn node() -> Node {
    let runtime = Handle::current();
    let mut nodes = nodes().lock();
    if let Some(node) = nodes.get(&runtime.id()).filter(|node| !node.is_closed()) {
        return node.clone();
    }
    let node = NodeBuilder::default().start_silent();
    nodes.insert(runtime.id(), node.clone());
    drop(nodes);
    // The runtime drops this task when it ends, and with it the entry: a later runtime may have
    // the same id.
    let entry = Entry { runtime: runtime.id(), node: node.downgrade() };
    node.spawn(async move {
        let _entry = entry;
        std::future::pending::<()>().await;
    });
    node
}

struct Entry {
    runtime: Id,
    node: WeakNode,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut nodes = nodes().lock();
        if nodes.get(&self.runtime).is_some_and(|node| node.id() == self.node.id()) {
            nodes.remove(&self.runtime);
        }
    }
}

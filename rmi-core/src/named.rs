//! References that remember their name.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{
    any::AnyRemote,
    error::{Certainty, ErrorKind, RemoteError},
    id::{NodeId, ObjectId},
    import::Import,
    node::Node,
    object::InterfaceSet,
    referent::Referent,
};

/// Finds what a name stands for now: a registry, as the client of it knows it.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// Looks the name up.
    ///
    /// # Errors
    ///
    /// Where the name is free, or nobody answers.
    async fn resolve(&self) -> Result<AnyRemote, RemoteError>;

    /// The name, and where it is looked up, for messages.
    fn name(&self) -> String;
}

/// A reference that was looked up. It is that of the object first found, for as long as that can be
/// called; when its server has restarted or moved, it leads to what the name stands for then.
pub(crate) struct Named {
    owner: NodeId,
    id: ObjectId,
    interfaces: InterfaceSet,
    node: Node,
    current: Mutex<Arc<Import>>,
    resolver: Arc<dyn Resolve>,
    /// One look-up at a time, for all calls that need it.
    turn: tokio::sync::Mutex<()>,
}

impl Named {
    pub(crate) fn new(first: Arc<Import>, resolver: Arc<dyn Resolve>) -> Arc<Self> {
        Arc::new(Self {
            owner: first.owner(),
            id: first.id(),
            interfaces: first.interfaces().clone(),
            node: first.node().clone(),
            current: Mutex::new(first),
            resolver,
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// The owner and the id of the object first found: what the reference is equal by.
    pub(crate) fn identity(&self) -> (NodeId, ObjectId) {
        (self.owner, self.id)
    }

    #[inline]
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn interfaces(&self) -> &InterfaceSet {
        &self.interfaces
    }

    /// What it leads to now.
    pub(crate) fn current(&self) -> Arc<Import> {
        self.current.lock().clone()
    }

    /// Looks the name up anew, since `failed` cannot be called. Returns whether it leads elsewhere now.
    ///
    /// # Errors
    ///
    /// Where nothing that can be called is found.
    pub(crate) async fn resolve(&self, failed: &Arc<Import>) -> Result<bool, RemoteError> {
        let _turn = self.turn.lock().await;
        if !Arc::ptr_eq(&self.current(), failed) {
            return Ok(true);
        }
        let found = match self.resolver.resolve().await?.into_referent() {
            Referent::Foreign(found) => found,
            Referent::Named(named) => named.current(),
            Referent::Balanced(balanced) => balanced.current()?,
            Referent::Own(_) | Referent::Service(_) => {
                let message = format!(
                    "{} is bound to an object of this very node by now: look it up again to call it",
                    self.resolver.name()
                );
                return Err(RemoteError::new(ErrorKind::Unreachable, message).with_certainty(Certainty::NotSent));
            }
        };
        if (found.owner(), found.id()) == (failed.owner(), failed.id()) {
            return Ok(false);
        }
        tracing::debug!(name = %self.resolver.name(), from = %failed.owner(), to = %found.owner(), "resolved anew");
        let before = std::mem::replace(&mut *self.current.lock(), found);
        drop(before);
        Ok(true)
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (object {} of node {})", self.resolver.name(), self.id, self.owner)
    }
}

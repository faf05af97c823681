//! The one interface of the simulated world, and its objects.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use rmi_core::Remote;
use rmi_macros::remote;

use crate::{
    call::{Errand, Tag, Target},
    network::NodeKey,
    world::{ObjectKey, World},
};

/// What can be done to an object. Every call carries the number by which the model knows it.
#[remote]
pub(crate) trait Thing {
    /// Ends at once.
    async fn touch(&self, tag: u64) -> rmi_core::Result<u64>;
    /// Waits for so many milliseconds.
    async fn linger(&self, tag: u64, time: u64) -> rmi_core::Result<u64>;
    /// Leaves references with the node of this object.
    async fn put(&self, tag: u64, given: Vec<Remote<dyn Thing>>) -> rmi_core::Result<u64>;
    /// Asks for references that the node of this object holds; the model knows which.
    async fn get(&self, tag: u64) -> rmi_core::Result<Vec<Remote<dyn Thing>>>;
    /// Calls another object.
    async fn nest(&self, tag: u64, other: Remote<dyn Thing>) -> rmi_core::Result<u64>;
}

/// An object: it tells the model what happens to it.
pub(crate) struct Servant {
    world: Weak<World>,
    /// Where it lives.
    node: NodeKey,
    /// Which it is; the door of its node is none.
    object: Option<ObjectKey>,
}

impl Servant {
    pub(crate) fn new(world: &Arc<World>, node: NodeKey, object: Option<ObjectKey>) -> Self {
        Self { world: Arc::downgrade(world), node, object }
    }

    /// The call begins; `None` once the program is over.
    fn begin(&self, tag: u64) -> Option<Arc<World>> {
        let world = self.world.upgrade()?;
        world.handle_begun(Tag(tag), self.node, self.object);
        Some(world)
    }
}

impl Drop for Servant {
    fn drop(&mut self) {
        if let (Some(world), Some(object)) = (self.world.upgrade(), self.object) {
            world.handle_dropped(object);
        }
    }
}

#[remote]
impl Thing for Servant {
    async fn touch(&self, tag: u64) -> rmi_core::Result<u64> {
        self.begin(tag);
        Ok(tag)
    }

    async fn linger(&self, tag: u64, time: u64) -> rmi_core::Result<u64> {
        self.begin(tag);
        tokio::time::sleep(Duration::from_millis(time)).await;
        Ok(tag)
    }

    async fn put(&self, tag: u64, given: Vec<Remote<dyn Thing>>) -> rmi_core::Result<u64> {
        if let Some(world) = self.begin(tag) {
            world.take_in(Tag(tag), self.node, given);
        }
        Ok(tag)
    }

    async fn get(&self, tag: u64) -> rmi_core::Result<Vec<Remote<dyn Thing>>> {
        Ok(self.begin(tag).map(|world| world.hand_out(Tag(tag), self.node)).unwrap_or_default())
    }

    async fn nest(&self, tag: u64, other: Remote<dyn Thing>) -> rmi_core::Result<u64> {
        let Some(world) = self.begin(tag) else { return Ok(tag) };
        let taken = world.take_in(Tag(tag), self.node, vec![other]);
        if let [holding] = taken[..] {
            let _released = Released { world: world.clone(), holding };
            if let Some((family, remote)) = world.held(holding) {
                world.call(self.node, Target::Family(family), remote, Errand::Touch).await;
            }
        }
        Ok(tag)
    }
}

/// A reference that is held while a method runs.
struct Released {
    world: Arc<World>,
    holding: crate::world::HoldingKey,
}

impl Drop for Released {
    fn drop(&mut self) {
        self.world.release(self.holding);
    }
}

//! Where objects of other nodes are reached.

use crate::{endpoint::Endpoint, id::NodeId};

/// How the owner of an object is reached without the node that gave the reference, and through it. Shared
/// by all objects of an owner that came over its own link.
#[derive(Debug)]
pub struct Whereabouts {
    /// The owner.
    pub owner: NodeId,
    /// Where it listens, as far as this node may dial it.
    pub endpoints: Vec<Endpoint>,
    /// The nodes that relay to it, the giver first; empty where the giver does not, or owns it.
    pub route: Vec<NodeId>,
}

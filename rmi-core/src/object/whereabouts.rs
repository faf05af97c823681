//! Where objects of other nodes are reached.

use crate::{endpoint::Endpoint, id::NodeId};

/// How the owner of an object is reached without the node that gave the reference, and through it.
#[derive(Debug, Default)]
pub struct Whereabouts {
    /// Where it listens, as far as this node may dial it.
    pub endpoints: Vec<Endpoint>,
    /// The nodes that relay to it, the giver first; empty where the giver does not, or owns it.
    pub route: Vec<NodeId>,
}

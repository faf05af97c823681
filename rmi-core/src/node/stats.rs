//! What a node holds, in numbers.

use super::Inner;

/// The sizes of a node's tables, read now. What leak tests and tools look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStats {
    /// Objects of this node that have travelled and still live.
    pub exported_objects: usize,
    /// References held over links, each object counted once per link.
    pub imported_references: usize,
    /// Open connections.
    pub connections: usize,
    /// Calls made and calls served that are not over.
    pub calls_in_flight: usize,
    /// Leases that run for lost peers.
    pub leases: usize,
}

pub(super) fn of(inner: &Inner) -> NodeStats {
    let links: Vec<_> = inner.links.lock().values().cloned().collect();
    let counts: Vec<_> = links.iter().map(|link| link.counts()).collect();
    NodeStats {
        exported_objects: inner.objects.lock().len(),
        imported_references: counts.iter().map(|counts| counts.imports).sum(),
        connections: links.len(),
        calls_in_flight: counts.iter().map(|counts| counts.made + counts.served).sum(),
        leases: inner.leases.lock().len(),
    }
}

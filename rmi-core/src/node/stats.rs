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
    /// Open connections. A link that is lost has none.
    pub connections: usize,
    /// Calls made and calls served that are not over.
    pub calls_in_flight: usize,
    /// Peers whose link is lost while they hold objects of this node: what they hold lives for its lease.
    pub leases: usize,
}

pub(super) fn of(inner: &Inner) -> NodeStats {
    let links: Vec<_> = inner.links.lock().values().cloned().collect();
    let counts: Vec<_> = links.iter().map(|link| link.counts()).collect();
    let lost = links.iter().zip(&counts).filter(|(link, counts)| counts.exports > 0 && link.is_suspended()).count();
    NodeStats {
        exported_objects: inner.objects.lock().len(),
        imported_references: counts.iter().map(|counts| counts.imports).sum(),
        connections: links.iter().filter(|link| !link.is_suspended()).count(),
        calls_in_flight: counts.iter().map(|counts| counts.made + counts.served).sum(),
        leases: lost + inner.leases.lock().len(),
    }
}

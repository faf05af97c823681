//! What a node holds, in numbers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{Inner, Node};

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
    /// Streams that are read: those of other nodes that have a reader here, and those of this node from which
    /// another one has begun to read.
    pub streams: usize,
}

/// A stream that is read, in the numbers of its node until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream(Arc<AtomicUsize>);

impl Node {
    /// Counts a stream.
    pub(crate) fn open_stream(&self) -> OpenStream {
        self.0.streams.fetch_add(1, Ordering::Relaxed);
        OpenStream(self.0.streams.clone())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn of(inner: &Inner) -> NodeStats {
    let links: Vec<_> = inner.links.lock().all();
    let counts: Vec<_> = links.iter().map(|link| link.counts()).collect();
    let lost = links.iter().zip(&counts).filter(|(link, counts)| counts.exports > 0 && link.is_suspended()).count();
    NodeStats {
        exported_objects: inner.objects.lock().len(),
        imported_references: counts.iter().map(|counts| counts.imports).sum(),
        connections: links.iter().filter(|link| !link.is_suspended()).count(),
        calls_in_flight: counts.iter().map(|counts| counts.made + counts.served).sum(),
        leases: lost + inner.leases.lock().len(),
        streams: inner.streams.load(Ordering::Relaxed),
    }
}

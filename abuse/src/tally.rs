//! What an abuser has done so far.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts, shared by all tasks of an attack.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    opened: AtomicU64,
    open: AtomicU64,
    open_most: AtomicU64,
    sent: AtomicU64,
    cancelled: AtomicU64,
    given: AtomicU64,
    bytes: AtomicU64,
    answered: AtomicU64,
}

/// A connection among those that are open.
pub(crate) struct Open<'t>(&'t Tally);

impl Tally {
    /// A connection was made.
    pub(crate) fn open(&self) -> Open<'_> {
        self.opened.fetch_add(1, Relaxed);
        let open = self.open.fetch_add(1, Relaxed) + 1;
        self.open_most.fetch_max(open, Relaxed);
        Open(self)
    }

    /// So many calls were sent, or whatever else an attack consists of.
    pub(crate) fn sent(&self, count: u64) {
        self.sent.fetch_add(count, Relaxed);
    }

    pub(crate) fn cancelled(&self, cancels: u64) {
        self.cancelled.fetch_add(cancels, Relaxed);
    }

    pub(crate) fn gave(&self, references: u64) {
        self.given.fetch_add(references, Relaxed);
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn answered(&self) {
        self.answered.fetch_add(1, Relaxed);
    }

    /// Connections made.
    pub(crate) fn opened_count(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    /// The most that were open at once.
    pub(crate) fn open_most(&self) -> u64 {
        self.open_most.load(Relaxed)
    }

    pub(crate) fn sent_count(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    pub(crate) fn cancelled_count(&self) -> u64 {
        self.cancelled.load(Relaxed)
    }

    pub(crate) fn given_count(&self) -> u64 {
        self.given.load(Relaxed)
    }

    pub(crate) fn mebibytes(&self) -> u64 {
        self.bytes.load(Relaxed) >> 20
    }

    pub(crate) fn answered_count(&self) -> u64 {
        self.answered.load(Relaxed)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_that_were_open_are_remembered() {
        let tally = Tally::default();
        let first = tally.open();
        drop(tally.open());
        drop(first);
        drop(tally.open());
        assert_eq!((tally.opened_count(), tally.open_most()), (3, 2));
    }
}

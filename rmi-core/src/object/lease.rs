//! Leases: what links leave behind that were lost for good, kept for a while.

use crate::time::Time;

/// The references of lost peers, each kept until its lease runs out.
#[derive(Debug)]
pub struct Leases<T> {
    kept: Vec<Lease<T>>,
}

#[derive(Debug)]
struct Lease<T> {
    ends: Time,
    holdings: T,
}

impl<T> Default for Leases<T> {
    fn default() -> Self {
        Self { kept: Vec::new() }
    }
}

impl<T> Leases<T> {
    /// Keeps what a lost peer held until `ends`.
    pub fn keep(&mut self, ends: Time, holdings: T) {
        self.kept.push(Lease { ends, holdings });
    }

    /// What has run out by now, to be dropped outside every lock.
    pub fn handle_timeout(&mut self, now: Time) -> Vec<T> {
        self.kept.extract_if(.., |lease| lease.ends <= now).map(|lease| lease.holdings).collect()
    }

    /// What each lost peer left behind.
    pub fn holdings_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.kept.iter_mut().map(|lease| &mut lease.holdings)
    }

    /// Everything, at shutdown. To be dropped outside every lock.
    pub fn end_all(&mut self) -> Vec<T> {
        self.kept.drain(..).map(|lease| lease.holdings).collect()
    }

    /// When the next lease runs out.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.kept.iter().map(|lease| lease.ends).min()
    }

    /// How many leases run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether no lease runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_lease_ends_at_its_own_time() {
        let at = |s| Time::after_start(Duration::from_secs(s));
        let mut leases = Leases::default();
        leases.keep(at(10), "a");
        leases.keep(at(20), "b");
        leases.keep(at(30), "c");
        assert_eq!(leases.next_timeout(), Some(at(10)));
        assert!(leases.handle_timeout(at(9)).is_empty());
        assert_eq!(leases.handle_timeout(at(20)), ["a", "b"]);
        assert_eq!((leases.len(), leases.next_timeout()), (1, Some(at(30))));
        assert_eq!(leases.end_all(), ["c"]);
        assert!(leases.is_empty());
    }
}

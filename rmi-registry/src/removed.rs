//! Names that were unbound and members that have left, remembered so that nobody binds them again by
//! mistake.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::{Duration, Instant},
};

use crate::stamp::Stamp;

/// How many are remembered.
const REMOVED_MAX: usize = 10_000;
/// For how long.
const REMEMBERED: Duration = Duration::from_hours(24);

/// What was removed, names or members of names, each with the newest stamp that may not come back.
#[derive(Debug)]
pub(crate) struct Removed<K> {
    stamps: HashMap<K, Entry>,
    /// In the order of the removals; those that were removed again or forgotten stay in it for a while.
    order: VecDeque<(K, u64)>,
    removals: u64,
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    number: u64,
    until: Instant,
}

impl<K> Default for Removed<K> {
    fn default() -> Self {
        Self { stamps: HashMap::new(), order: VecDeque::new(), removals: 0 }
    }
}

impl<K: Clone + Eq + Hash> Removed<K> {
    /// Remembers that something was removed, and with it all bindings up to this stamp.
    pub(crate) fn remember(&mut self, key: &K, stamp: Stamp, now: Instant) {
        self.removals += 1;
        let stamp = self.stamps.get(key).map_or(stamp, |known| known.stamp.max(stamp));
        self.stamps.insert(key.clone(), Entry { stamp, number: self.removals, until: now + REMEMBERED });
        self.order.push_back((key.clone(), self.removals));
        while let Some((oldest, number)) = self.order.front() {
            let current = self.stamps.get(oldest).filter(|entry| entry.number == *number);
            if current.is_some_and(|entry| entry.until > now) && self.order.len() <= REMOVED_MAX {
                return;
            }
            if current.is_some() {
                self.stamps.remove(oldest);
            }
            self.order.pop_front();
        }
    }

    /// It was bound again on purpose.
    pub(crate) fn forget(&mut self, key: &K) {
        self.stamps.remove(key);
    }

    /// Whether a binding with this stamp was removed.
    pub(crate) fn covers(&self, key: &K, stamp: Stamp, now: Instant) -> bool {
        self.stamps.get(key).is_some_and(|entry| entry.stamp >= stamp && entry.until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_removal_covers_what_is_not_newer() {
        let (mut removed, now) = (Removed::default(), Instant::now());
        removed.remember(&name("a"), Stamp::at(5), now);
        removed.remember(&name("a"), Stamp::at(3), now);
        assert!(removed.covers(&name("a"), Stamp::at(5), now));
        assert!(!removed.covers(&name("a"), Stamp::at(6), now));
        assert!(!removed.covers(&name("b"), Stamp::at(1), now));
        removed.forget(&name("a"));
        assert!(!removed.covers(&name("a"), Stamp::at(1), now));
    }

    #[test]
    fn removals_are_forgotten_in_time() {
        let (mut removed, now) = (Removed::default(), Instant::now());
        removed.remember(&name("a"), Stamp::at(1), now);
        let later = now + REMEMBERED;
        assert!(!removed.covers(&name("a"), Stamp::at(1), later));
        removed.remember(&name("b"), Stamp::at(1), later);
        assert_eq!((removed.stamps.len(), removed.order.len()), (1, 1));
    }

    #[test]
    fn many_removals_take_bounded_memory() {
        let (mut removed, now) = (Removed::default(), Instant::now());
        for number in 0..REMOVED_MAX + 10 {
            removed.remember(&name(&format!("{number}")), Stamp::at(1), now);
        }
        assert_eq!((removed.stamps.len(), removed.order.len()), (REMOVED_MAX, REMOVED_MAX));
        for _ in 0..2 * REMOVED_MAX {
            removed.remember(&name("again"), Stamp::at(1), now);
            removed.forget(&name("again"));
        }
        assert!(removed.order.len() <= REMOVED_MAX && removed.stamps.len() <= REMOVED_MAX);
        assert!(!removed.covers(&name("0"), Stamp::at(1), now));
    }
}

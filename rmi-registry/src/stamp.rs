//! When a binding was made: what decides between two of one name.

use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The epoch of a binding, drawn when it is first made and kept when it is made again. Of two
/// bindings of a name the one with the greater stamp is the newer.
///
/// Stamps of one process grow strictly; between processes they are as exact as the clocks of their
/// hosts, and chance decides within a millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Stamp {
    millis: u64,
    chance: u64,
}

impl Stamp {
    /// A stamp newer than all that this process has drawn.
    pub(crate) fn draw() -> Self {
        static LAST: Mutex<u64> = Mutex::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut last = LAST.lock();
        *last = last.saturating_add(1).max(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        Self { millis: *last, chance: random() }
    }
}

impl Stamp {
    /// What stands for these two together, in either order.
    pub(crate) const fn mix(self, other: Self) -> Self {
        Self { millis: self.millis ^ other.millis, chance: self.chance ^ other.chance }
    }
}

/// A number that nobody can guess.
pub(crate) fn random() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}

#[cfg(any(test, feature = "fuzz"))]
impl Stamp {
    pub(crate) const fn at(millis: u64) -> Self {
        Self { millis, chance: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_a_process_grow() {
        let stamps: Vec<_> = (0..1000).map(|_| Stamp::draw()).collect();
        assert!(stamps.is_sorted_by(|older, newer| older < newer));
    }
}

//! How many calls of a node may go again: a server that is in trouble is not to be hammered by all its
//! callers at once.

use std::{hash::BuildHasher, time::Duration};

use foldhash::quality::FixedState;

use crate::time::Time;

/// What one call more that goes again takes.
const COST: u64 = 1000;
/// What each call adds: one in ten may go again.
const PER_CALL: u64 = COST / 10;
/// What each millisecond adds: ten a second may go again, also of a node that hardly calls.
const PER_MILLI: u64 = 10 * COST / 1000;

/// Between two counts of the node's calls while there is too little.
const COUNTED_EVERY: Duration = Duration::from_millis(10);

/// A bucket that calls and time fill, and that every call that goes again takes from. Calls cost nothing
/// here: they are counted, from the tables, only when the bucket is empty.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
    max: u64,
    /// When it was filled, and how many calls the node had made by then. The count wraps.
    filled: Time,
    counted: u32,
    /// What pauses are drawn from. Nodes of one id, which only tests have, draw the same.
    seed: u64,
    draws: u64,
}

impl Budget {
    /// A full bucket, for so many calls.
    pub(crate) fn new(calls: u32, seed: u64) -> Self {
        let max = u64::from(calls) * COST;
        Self { left: max, max, filled: Time::START, counted: 0, seed, draws: 0 }
    }

    /// Whether it is to be [filled](Self::fill) before it is asked.
    pub(crate) fn is_short(&self, now: Time) -> bool {
        self.left < COST && now.since(self.filled) >= COUNTED_EVERY
    }

    /// Time has passed, and the node has made so many calls, ever.
    pub(crate) fn fill(&mut self, now: Time, calls: u32) {
        let calls_since = match calls.wrapping_sub(self.counted) {
            // A link that ends while it is counted may be missed for a moment.
            back if back > u32::MAX / 2 => 0,
            calls => calls,
        };
        let millis = u64::try_from(now.since(self.filled).as_millis()).unwrap_or(u64::MAX);
        let more = u64::from(calls_since) * PER_CALL;
        self.left = self.left.saturating_add(more).saturating_add(millis.saturating_mul(PER_MILLI)).min(self.max);
        self.filled = now;
        self.counted = self.counted.wrapping_add(calls_since);
    }

    /// Whether one call more may go again.
    pub(crate) fn take(&mut self) -> bool {
        let left = self.left.checked_sub(COST);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    /// Any span from `least` to `most`.
    pub(crate) fn draw(&mut self, least: Duration, most: Duration) -> Duration {
        self.draws += 1;
        let chance = FixedState::with_seed(self.seed).hash_one(self.draws) >> 32;
        let range = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or_else(|_| u64::from(u32::MAX));
        let over_least = (u128::from(range) + 1) * u128::from(chance);
        least + Duration::from_micros((over_least >> 32) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::after_start(Duration::from_millis(millis))
    }

    /// How many of these calls go again.
    fn taken(budget: &mut Budget, now: Time, calls: u32, wanted: u32) -> u32 {
        let mut taken = 0;
        for _ in 0..wanted {
            if budget.is_short(now) {
                budget.fill(now, calls);
            }
            taken += u32::from(budget.take());
        }
        taken
    }

    #[test]
    fn it_is_full_at_first_and_then_ten_a_second_may_go_again() {
        let mut budget = Budget::new(100, 7);
        assert_eq!(taken(&mut budget, at(0), 0, 1000), 100);
        assert_eq!(taken(&mut budget, at(1000), 0, 1000), 10);
        assert_eq!(taken(&mut budget, at(1050), 0, 1000), 0);
        assert_eq!(taken(&mut budget, at(1100), 0, 1000), 1);
        assert_eq!(taken(&mut budget, at(3_600_000), 0, 1000), 100, "no more than it holds");
    }

    #[test]
    fn one_in_ten_calls_may_go_again() {
        let mut budget = Budget::new(100, 7);
        taken(&mut budget, at(0), 0, 100);
        assert_eq!(taken(&mut budget, at(10), 500, 1000), 50);
        assert_eq!(taken(&mut budget, at(20), 500, 1000), 0);
        let wraps = Budget { counted: u32::MAX - 99, left: 0, filled: at(20), ..budget };
        assert_eq!(taken(&mut { wraps }, at(30), 100, 1000), 20, "the count wraps");
    }

    #[test]
    fn a_count_that_goes_back_gives_nothing() {
        let mut budget = Budget { left: 0, ..Budget::new(100, 7) };
        budget.fill(at(0), 500);
        assert_eq!(taken(&mut budget, at(0), 500, 1000), 50);
        assert_eq!(taken(&mut budget, at(10), 400, 1000), 0);
        assert_eq!(taken(&mut budget, at(20), 520, 1000), 2, "what was counted is counted once");
    }

    #[test]
    fn callers_of_a_dead_server_add_no_more_than_a_tenth_and_ten_a_second() {
        let (mut budget, mut calls, mut again) = (Budget::new(50, 7), 0, 0);
        for second in 0..60 {
            for millis in (0..1000).step_by(10) {
                // Each call would go again ten times.
                let now = at(second * 1000 + millis);
                let went = taken(&mut budget, now, calls, 100);
                calls += 10 + went;
                again += went;
            }
        }
        let most = 50 + calls / 10 + 60 * 10;
        assert!(again <= most && again > most - 20, "{again} of {calls} went again");
    }

    #[test]
    fn what_is_drawn_lies_between_its_bounds_all_over_and_differs_between_nodes() {
        let (least, most) = (Duration::from_millis(10), Duration::from_millis(30));
        let draws = |seed| {
            let mut budget = Budget::new(1, seed);
            (0..1000).map(|_| budget.draw(least, most)).collect::<Vec<_>>()
        };
        let drawn = draws(1);
        assert!(drawn.iter().all(|span| (least..=most).contains(span)));
        let third = |from: u64, to: u64| {
            drawn.iter().filter(|span| (from * 1000..to * 1000).contains(&(span.as_micros() as u64))).count()
        };
        assert!([third(10, 17), third(17, 24), third(24, 31)].iter().all(|count| *count > 200));
        assert_ne!(drawn, draws(2));
        assert_eq!(drawn, draws(1));
        assert_eq!(Budget::new(1, 1).draw(least, least), least);
    }
}

//! For how long a member that failed is avoided.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use crate::time::Time;

/// How long a member is avoided at first, and at most.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What is known of whether a member can be called. Two threads that look at once may both see that
/// its time is up, which is no harm.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// How often it was found wanting since it last answered.
    failures: AtomicU32,
    /// Until when it is avoided, in nanoseconds from the start of the node.
    until: AtomicU64,
}

impl Health {
    pub(super) fn avoided_until(&self) -> Time {
        Time::after_start(Duration::from_nanos(self.until.load(Ordering::Relaxed)))
    }

    /// It could not be called: it is avoided for a while, for longer each time. All calls that fail
    /// while it is avoided already are one failure.
    pub(super) fn fail(&self, now: Time) {
        if self.avoided_until() <= now {
            self.pause(now);
        }
    }

    /// It is called. One that has failed before is so by one call at a time: the others avoid it until
    /// it has answered.
    pub(super) fn try_again(&self, now: Time) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.pause(now);
        }
    }

    /// It has answered.
    pub(super) fn recover(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.until.store(0, Ordering::Relaxed);
        }
    }

    fn pause(&self, now: Time) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).min(16);
        let until = now + PAUSE.saturating_mul(1 << failures).min(PAUSE_MAX);
        let nanos = u64::try_from(until.since_start().as_nanos()).unwrap_or(u64::MAX);
        self.until.store(nanos, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::after_start(Duration::from_millis(millis))
    }

    #[test]
    fn one_that_fails_is_avoided_for_longer_each_time_and_no_longer_than_the_bound() {
        let (health, mut now) = (Health::default(), at(1));
        assert!(health.avoided_until() <= now, "nobody is avoided without a reason");
        let mut expected = PAUSE;
        for _ in 0..40 {
            health.fail(now);
            assert_eq!(health.avoided_until(), now + expected);
            now = health.avoided_until();
            expected = (expected * 2).min(PAUSE_MAX);
        }
        health.recover();
        assert!(health.avoided_until() <= now);
        health.fail(now);
        assert_eq!(health.avoided_until(), now + PAUSE);
    }

    #[test]
    fn calls_that_fail_together_are_one_failure() {
        let health = Health::default();
        (0..64).for_each(|_| health.fail(at(10)));
        assert_eq!(health.avoided_until(), at(10) + PAUSE);
    }

    #[test]
    fn one_call_at_a_time_tries_again() {
        let health = Health::default();
        health.try_again(at(1));
        assert!(health.avoided_until() <= at(1), "all may call one that never failed");
        health.fail(at(1));
        let later = health.avoided_until();
        health.try_again(later);
        assert_eq!(health.avoided_until(), later + 2 * PAUSE, "the others wait for its answer");
        health.fail(later);
        assert_eq!(health.avoided_until(), later + 2 * PAUSE, "its failure was counted before");
        health.recover();
        assert!(health.avoided_until() <= later);
    }
}

//! When a call that failed goes again: only where that cannot run it twice, or where it may.

use std::time::Duration;

use crate::{
    budget::Budget,
    error::{Certainty, ErrorKind, RemoteError},
    time::Time,
};

/// The shortest pause before another attempt, and the longest.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct Retries {
    /// The method may run more than once.
    idempotent: bool,
    /// The reference has a name, which may be looked up anew.
    named: bool,
    /// How many others there are to take the call: each is asked once, whatever the budget, also where one is
    /// overloaded.
    others: u32,
    /// How many attempts are left.
    left: u32,
    /// When the call is given up.
    until: Time,
    /// The last pause.
    pause: Duration,
    /// What the first attempt failed with.
    first: Option<RemoteError>,
    /// An attempt of which nobody knows whether it ran.
    in_doubt: bool,
}

impl Retries {
    /// One attempt was made, of `attempts` at most.
    pub(crate) const fn new(idempotent: bool, named: bool, attempts: u32, until: Time) -> Self {
        let left = attempts.saturating_sub(1);
        Self { idempotent, named, others: 0, left, until, pause: PAUSE, first: None, in_doubt: false }
    }

    /// Of a reference that leads to one of many.
    pub(crate) const fn with_others(mut self, others: u32) -> Self {
        self.others = others;
        self
    }

    /// How long to wait before the call goes again; `None` where it does not.
    pub(crate) fn again(&mut self, error: &RemoteError, now: Time, budget: &mut Budget) -> Option<Duration> {
        let is_first = self.first.is_none();
        self.first.get_or_insert_with(|| error.clone());
        self.in_doubt |= error.certainty() == Certainty::Unknown;
        if !self.may_go(error) || self.left == 0 {
            return None;
        }
        self.left -= 1;
        let goes_elsewhere = self.others > 0;
        self.others = self.others.saturating_sub(1);
        let is_unsent = error.certainty() == Certainty::NotSent;
        let pause = if is_first && is_unsent {
            // Another link may be there.
            Duration::ZERO
        } else {
            // Drawn between the shortest pause and three times the last one, so that those who lost the
            // same node do not come back together.
            self.pause = budget.draw(PAUSE, self.pause.saturating_mul(3)).min(PAUSE_MAX);
            self.pause
        };
        if now + pause >= self.until {
            return None;
        }
        // What never left this node cost its server nothing, and the dial that it waits for is one for
        // all callers; looking a name up anew is a call. Another member has not felt the call yet, and there are
        // only so many.
        let is_idle = is_unsent && matches!(error.kind(), ErrorKind::ConnectionLost | ErrorKind::Shutdown);
        let is_free = goes_elsewhere || is_idle;
        if !is_free && !budget.take() {
            tracing::debug!(%error, "the call does not go again: too many of this node's calls do");
            return None;
        }
        Some(pause)
    }

    /// The error that ends the call: what is true of its last attempt need not be true of all.
    pub(crate) fn give_up(&mut self, error: RemoteError) -> RemoteError {
        let error = match (self.first.take(), error.kind()) {
            // That nobody is there any more says less than why the call was not taken.
            (Some(first), ErrorKind::Unreachable) => first,
            // Neither does it say why there was another attempt, whose time was over.
            (Some(first), ErrorKind::DeadlineExceeded) if first.kind() != ErrorKind::DeadlineExceeded => {
                error.with_source(&first)
            }
            _ => error,
        };
        if self.in_doubt && error.certainty().did_not_run() { error.with_certainty(Certainty::Unknown) } else { error }
    }

    fn may_go(&self, error: &RemoteError) -> bool {
        let did_not_run = error.certainty().did_not_run();
        match error.kind() {
            // The link was lost or is closing; another may be there.
            ErrorKind::ConnectionLost | ErrorKind::Shutdown => did_not_run || self.idempotent,
            // Its server may have restarted, and have bound the name anew.
            ErrorKind::NoSuchObject | ErrorKind::Unreachable => did_not_run && self.named,
            // All of them may be.
            ErrorKind::Overloaded => did_not_run && self.others > 0,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);
    const UNTIL: Time = Time::after_start(PATIENCE);

    fn retries(idempotent: bool, named: bool) -> Retries {
        Retries::new(idempotent, named, u32::MAX, UNTIL)
    }

    fn full() -> Budget {
        Budget::new(1000, 7)
    }

    fn goes(idempotent: bool, named: bool, kind: ErrorKind, certainty: Certainty) -> bool {
        let error = RemoteError::new(kind, "").with_certainty(certainty);
        retries(idempotent, named).again(&error, Time::START, &mut full()).is_some()
    }

    #[test]
    fn a_call_goes_again_only_where_it_certainly_did_not_run() {
        use Certainty::{Executed, NotExecuted, NotSent, Unknown};
        for kind in [ErrorKind::ConnectionLost, ErrorKind::Shutdown] {
            for certainty in [NotSent, NotExecuted] {
                assert!(goes(false, false, kind, certainty), "{kind:?} {certainty:?}");
            }
            for certainty in [Executed, Unknown] {
                assert!(!goes(false, false, kind, certainty), "{kind:?} {certainty:?}");
                assert!(goes(true, false, kind, certainty), "an idempotent one does: {kind:?} {certainty:?}");
            }
        }
        let others = [
            ErrorKind::DeadlineExceeded,
            ErrorKind::Cancelled,
            ErrorKind::Overloaded,
            ErrorKind::NoSuchMethod,
            ErrorKind::Panicked,
            ErrorKind::Protocol,
            ErrorKind::Marshal,
        ];
        for kind in others {
            assert!(!goes(true, true, kind, NotSent), "{kind:?}");
        }
    }

    #[test]
    fn only_a_name_is_tried_again_where_the_object_is_gone() {
        for kind in [ErrorKind::NoSuchObject, ErrorKind::Unreachable] {
            assert!(goes(false, true, kind, Certainty::NotSent));
            assert!(!goes(false, false, kind, Certainty::NotSent));
            assert!(!goes(true, true, kind, Certainty::Unknown));
        }
    }

    #[test]
    fn an_overloaded_one_is_left_for_each_of_the_others_once() {
        let mut retries = retries(true, true).with_others(2);
        let mut goes =
            |certainty| retries.again(&error(ErrorKind::Overloaded, certainty), Time::START, &mut full()).is_some();
        assert!(!goes(Certainty::Unknown));
        assert_eq!([(); 3].map(|()| goes(Certainty::NotExecuted)), [true, true, false]);
    }

    #[test]
    fn a_call_goes_to_each_of_the_others_whatever_the_budget() {
        let mut empty = Budget::new(0, 7);
        let lost = error(ErrorKind::ConnectionLost, Certainty::Unknown);
        let mut retries = retries(true, true).with_others(2);
        let mut goes = || retries.again(&lost, Time::START, &mut empty).is_some();
        assert_eq!([(); 3].map(|()| goes()), [true, true, false]);
    }

    #[test]
    fn a_call_is_in_doubt_when_one_of_its_attempts_is() {
        let lost = |certainty| RemoteError::new(ErrorKind::ConnectionLost, "").with_certainty(certainty);
        let mut retries = retries(true, false);
        for (attempt, told) in [
            (Certainty::NotSent, Certainty::NotSent),
            (Certainty::Unknown, Certainty::Unknown),
            (Certainty::NotSent, Certainty::Unknown),
            (Certainty::NotExecuted, Certainty::Unknown),
            (Certainty::Executed, Certainty::Executed),
        ] {
            let _pause = retries.again(&lost(attempt), Time::START, &mut full());
            assert_eq!(retries.give_up(lost(attempt)).certainty(), told, "{attempt:?}");
        }
    }

    fn error(kind: ErrorKind, certainty: Certainty) -> RemoteError {
        RemoteError::new(kind, "").with_certainty(certainty)
    }

    #[test]
    fn attempts_come_to_an_end_in_time_and_pauses_grow_and_differ() {
        let lost = error(ErrorKind::ConnectionLost, Certainty::Unknown);
        let mut budget = full();
        let mut all = Vec::new();
        for _ in 0..20 {
            let (mut retries, mut now, mut pauses) = (retries(true, false), Time::START, Vec::new());
            while let Some(pause) = retries.again(&lost, now, &mut budget) {
                assert!((PAUSE..=PAUSE_MAX).contains(&pause), "{pause:?}");
                assert!(pause <= pauses.last().map_or(PAUSE, |last: &Duration| *last) * 3, "{pauses:?}, {pause:?}");
                now = now + pause;
                pauses.push(pause);
            }
            assert!(pauses.len() > 5 && now.since_start() < PATIENCE, "{} attempts until {now:?}", pauses.len());
            all.push(pauses);
        }
        let grown = all.iter().filter(|pauses| pauses.last() > pauses.first()).count();
        assert!(grown > 15, "{all:?}");
        all.dedup();
        assert_eq!(all.len(), 20, "two callers pause alike");
    }

    #[test]
    fn what_was_not_sent_goes_again_at_once_the_first_time() {
        let unsent = error(ErrorKind::ConnectionLost, Certainty::NotSent);
        let mut retries = retries(false, false);
        assert_eq!(retries.again(&unsent, Time::START, &mut full()), Some(Duration::ZERO));
        assert!(retries.again(&unsent, Time::START, &mut full()) >= Some(PAUSE));
        let refused = error(ErrorKind::Shutdown, Certainty::NotExecuted);
        assert!(self::retries(false, false).again(&refused, Time::START, &mut full()) >= Some(PAUSE));
    }

    #[test]
    fn a_call_goes_no_more_often_than_it_may() {
        let lost = error(ErrorKind::ConnectionLost, Certainty::Unknown);
        for (attempts, again) in [(0, 0), (1, 0), (2, 1), (4, 3)] {
            let mut retries = Retries::new(true, false, attempts, UNTIL);
            let went = std::iter::from_fn(|| retries.again(&lost, Time::START, &mut full())).count();
            assert_eq!(went, again, "{attempts} attempts");
        }
    }

    #[test]
    fn what_a_server_may_have_felt_goes_again_only_within_the_budget() {
        use Certainty::{NotExecuted, NotSent, Unknown};
        let mut empty = Budget::new(0, 7);
        for (kind, certainty, goes) in [
            (ErrorKind::ConnectionLost, Unknown, false),
            (ErrorKind::Shutdown, NotExecuted, false),
            (ErrorKind::Unreachable, NotSent, false),
            (ErrorKind::NoSuchObject, NotExecuted, false),
            (ErrorKind::ConnectionLost, NotSent, true),
            (ErrorKind::Shutdown, NotSent, true),
        ] {
            let again = retries(true, true).again(&error(kind, certainty), Time::START, &mut empty);
            assert_eq!(again.is_some(), goes, "{kind:?} {certainty:?}");
        }
    }

    #[test]
    fn that_nobody_is_there_any_more_is_not_what_a_caller_is_told() {
        let mut retries = retries(false, true);
        let _pause = retries.again(&error(ErrorKind::Shutdown, Certainty::NotExecuted), Time::START, &mut full());
        let told = retries.give_up(error(ErrorKind::Unreachable, Certainty::NotSent));
        assert_eq!((told.kind(), told.certainty()), (ErrorKind::Shutdown, Certainty::NotExecuted));
    }

    #[test]
    fn a_call_whose_time_is_over_says_why_it_had_to_go_again() {
        let mut retries = retries(false, true);
        let refused = RemoteError::new(ErrorKind::Unreachable, "refused").with_certainty(Certainty::NotSent);
        let _pause = retries.again(&refused, Time::START, &mut full());
        let late = error(ErrorKind::DeadlineExceeded, Certainty::NotSent);
        let told = retries.give_up(late.clone());
        assert_eq!((told.kind(), told.certainty()), (ErrorKind::DeadlineExceeded, Certainty::NotSent));
        assert_eq!(told.source().unwrap().to_string(), refused.to_string());
        let mut retries = self::retries(false, true);
        assert!(retries.again(&late, Time::START, &mut full()).is_none());
        assert!(retries.give_up(late).source().is_none(), "it is no cause of itself");
    }
}

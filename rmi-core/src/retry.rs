//! When a call that failed goes again: only where that cannot run it twice, or where it may.

use std::time::Duration;

use crate::{
    error::{Certainty, ErrorKind, RemoteError},
    time::Time,
};

/// The first pause before another attempt, and the longest.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct Retries {
    /// The method may run more than once.
    idempotent: bool,
    /// The reference has a name, which may be looked up anew.
    named: bool,
    /// How many others there are to take the call where one is overloaded.
    others: u32,
    count: u32,
    /// When the call is given up, from the first failure on.
    until: Option<Time>,
    /// An attempt of which nobody knows whether it ran.
    in_doubt: bool,
}

impl Retries {
    pub(crate) const fn new(idempotent: bool, named: bool) -> Self {
        Self { idempotent, named, others: 0, count: 0, until: None, in_doubt: false }
    }

    /// Of a reference that leads to one of many.
    pub(crate) const fn with_others(self, others: u32) -> Self {
        Self { others, ..self }
    }

    /// How long to wait before the call goes again; `None` where it does not. `patience` bounds all
    /// attempts together, from the first failure on.
    pub(crate) fn again(&mut self, error: &RemoteError, now: Time, patience: Duration) -> Option<Duration> {
        let until = *self.until.get_or_insert(now + patience);
        self.in_doubt |= error.certainty() == Certainty::Unknown;
        if !self.may_go(error) {
            return None;
        }
        let pause = match self.count {
            0 => Duration::ZERO,
            count => PAUSE.saturating_mul(1 << (count - 1).min(16)).min(PAUSE_MAX),
        };
        self.count += 1;
        (now + pause < until).then_some(pause)
    }

    /// The error that ends the call: what is true of its last attempt need not be true of all.
    pub(crate) fn give_up(&self, error: RemoteError) -> RemoteError {
        let did_not_run = matches!(error.certainty(), Certainty::NotSent | Certainty::NotExecuted);
        if self.in_doubt && did_not_run { error.with_certainty(Certainty::Unknown) } else { error }
    }

    fn may_go(&self, error: &RemoteError) -> bool {
        let did_not_run = matches!(error.certainty(), Certainty::NotSent | Certainty::NotExecuted);
        match error.kind() {
            // The link was lost or is closing; another may be there.
            ErrorKind::ConnectionLost | ErrorKind::Shutdown => did_not_run || self.idempotent,
            // Its server may have restarted, and have bound the name anew.
            ErrorKind::NoSuchObject | ErrorKind::Unreachable => did_not_run && self.named,
            // Each is asked once: all may be.
            ErrorKind::Overloaded => did_not_run && self.count < self.others,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn goes(idempotent: bool, named: bool, kind: ErrorKind, certainty: Certainty) -> bool {
        let error = RemoteError::new(kind, "").with_certainty(certainty);
        Retries::new(idempotent, named).again(&error, Time::START, PATIENCE).is_some()
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
        let error = |certainty| RemoteError::new(ErrorKind::Overloaded, "").with_certainty(certainty);
        let mut retries = Retries::new(true, true).with_others(2);
        let mut goes = |certainty| retries.again(&error(certainty), Time::START, PATIENCE).is_some();
        assert!(!goes(Certainty::Unknown));
        assert_eq!([(); 3].map(|()| goes(Certainty::NotExecuted)), [true, true, false]);
    }

    #[test]
    fn a_call_is_in_doubt_when_one_of_its_attempts_is() {
        let lost = |certainty| RemoteError::new(ErrorKind::ConnectionLost, "").with_certainty(certainty);
        let mut retries = Retries::new(true, false);
        for (attempt, told) in [
            (Certainty::NotSent, Certainty::NotSent),
            (Certainty::Unknown, Certainty::Unknown),
            (Certainty::NotSent, Certainty::Unknown),
            (Certainty::NotExecuted, Certainty::Unknown),
            (Certainty::Executed, Certainty::Executed),
        ] {
            let _pause = retries.again(&lost(attempt), Time::START, PATIENCE);
            assert_eq!(retries.give_up(lost(attempt)).certainty(), told, "{attempt:?}");
        }
    }

    #[test]
    fn attempts_come_to_an_end() {
        let error = RemoteError::new(ErrorKind::ConnectionLost, "").with_certainty(Certainty::NotSent);
        let (mut retries, mut now, mut attempts) = (Retries::new(false, false), Time::START, 0);
        while let Some(pause) = retries.again(&error, now, PATIENCE) {
            now = now + pause;
            attempts += 1;
            assert!(attempts < 100);
        }
        assert!(attempts > 5 && now.since_start() <= PATIENCE, "{attempts} attempts until {now:?}");
    }
}

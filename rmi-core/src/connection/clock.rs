//! The time.

use std::time::Duration;

use tokio::time::Instant;

use crate::time::Time;

/// The clock of a node: the only one below the face.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Time {
        Time::after_start(self.0.elapsed())
    }

    pub(crate) fn instant(self, time: Time) -> Instant {
        // A time too far away for the system's clock is as good as in thirty years.
        let far = Duration::from_secs(30 * 365 * 24 * 60 * 60);
        self.0.checked_add(time.since_start()).unwrap_or(self.0 + far)
    }
}

//! What has happened in programs, counted: a check that never looked at anything finds nothing.

use std::{fmt, ops::AddAssign};

/// Counts of what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Programs that were well.
    pub programs: u64,
    /// Calls made.
    pub calls: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that failed and certainly did not run.
    pub not_run: u64,
    /// Calls that failed, and nobody knows whether they ran.
    pub unknown: u64,
    /// Calls whose callers went away.
    pub dropped: u64,
    /// Calls of other nodes' objects that had to succeed.
    pub claimed: u64,
    /// Those among them whose reference had come through a third node and was not called before.
    pub handed_over: u64,
    /// Those among them whose reference had outlived an outage.
    pub outlived: u64,
    /// Objects created.
    pub objects: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.programs += other.programs;
        self.calls += other.calls;
        self.answered += other.answered;
        self.not_run += other.not_run;
        self.unknown += other.unknown;
        self.dropped += other.dropped;
        self.claimed += other.claimed;
        self.handed_over += other.handed_over;
        self.outlived += other.outlived;
        self.objects += other.objects;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { programs, calls, answered, not_run, unknown, dropped, .. } = self;
        writeln!(f, "{programs} programs, {} objects", self.objects)?;
        writeln!(
            f,
            "{calls} calls: {answered} answered, {not_run} not run, {unknown} unknown, {dropped} dropped by their callers"
        )?;
        let Self { claimed, handed_over, outlived, .. } = self;
        write!(
            f,
            "{claimed} calls had to succeed: {handed_over} the first of a handed-over reference, {outlived} after an outage"
        )
    }
}

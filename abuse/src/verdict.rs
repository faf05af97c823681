//! Whether an attack did harm.

use std::time::Duration;

use crate::{attacks::Kind, sample::Sample, server::Held};

/// Tables keep some of the room that they once needed: so much may stay allocated.
const KEPT_MAX: u64 = 4 << 20;
/// So much more may stay after another round of the same: a leak stays again, room does not.
const KEPT_AGAIN_MAX: u64 = 1 << 20;
/// Files that a runtime opens when it first needs them.
const FILES_MAX: u64 = 4;
/// Slower calls than this are taken for starved: a share of the machine's cores goes to an abuser on the same machine, so
/// that honest calls are slower, but not by more than turns of the scheduler.
const P99_MAX: Duration = Duration::from_millis(100);
/// The time for a handshake is 5 s: whoever needs half of it was lucky.
const DIAL_P99_MAX: Duration = Duration::from_millis(2500);

/// The server before an attack, or after it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct State {
    /// Resident bytes, where the system tells.
    pub(crate) memory: Option<u64>,
    /// Open files, where the system tells.
    pub(crate) files: Option<u64>,
    pub(crate) held: Held,
}

/// One attack, from the quiet before it to the quiet after it.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// What the abuser says it did.
    pub(crate) told: String,
    pub(crate) before: State,
    pub(crate) with: Sample,
    /// The most bytes resident meanwhile.
    pub(crate) peak: Option<u64>,
    pub(crate) after: State,
    /// Until nothing was left, or until it was given up.
    pub(crate) settled: Duration,
}

/// All rounds of one attack on one server.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) kind: Kind,
    /// The clients without the abuser.
    pub(crate) without: Sample,
    pub(crate) rounds: Vec<Round>,
}

impl Trial {
    /// What went wrong, in words; nothing where all is well.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let errors = self.errors();
        if errors > 0 {
            complaints.push(format!("{errors} honest errors"));
        }
        if let Some(slowest) = self.rounds.iter().map(|round| round.with.calls.p99).max().filter(|p99| *p99 > P99_MAX) {
            complaints.push(format!("calls starve: p99 is {} ms", slowest.as_millis()));
        }
        let dials = self.rounds.iter().map(|round| round.with.dials.p99).max();
        if let Some(slowest) = dials.filter(|p99| *p99 > DIAL_P99_MAX) {
            complaints.push(format!("dials starve: p99 is {} ms", slowest.as_millis()));
        }
        let Some(start) = self.rounds.first().map(|round| round.before) else { return complaints };
        for round in &self.rounds {
            complaints.extend(round.after.held.beyond(start.held).into_iter().map(|left| format!("left: {left}")));
            let files = grown(start.files, round.after.files);
            if files > FILES_MAX {
                complaints.push(format!("left: {files} open files"));
            }
        }
        complaints.extend(self.complaints_of_memory(start));
        complaints.dedup();
        complaints
    }

    /// The bound is on all that the process takes of the system. What stays is what it has allocated: the C library
    /// keeps pages that are free in part, as many as it likes.
    fn complaints_of_memory(&self, start: State) -> Vec<String> {
        let mut complaints = Vec::new();
        let growth = grown(start.memory, self.peak());
        if growth > self.kind.growth_max() {
            complaints.push(format!("memory grew by {} MiB, above {}", growth >> 20, self.kind.growth_max() >> 20));
        }
        let mut afters = self.rounds.iter().map(|round| round.after.held.heap);
        let first = afters.next().unwrap_or_default();
        let kept = first.saturating_sub(start.held.heap);
        if kept > KEPT_MAX {
            complaints.push(format!("{} MiB do not come back", kept >> 20));
        }
        let kept_again = afters.next_back().map_or(0, |last| last.saturating_sub(first));
        if kept_again > KEPT_AGAIN_MAX {
            complaints.push(format!("{} MiB more stay after each round", kept_again >> 20));
        }
        complaints
    }

    /// Honest calls that failed, without the abuser too.
    pub(crate) fn errors(&self) -> u64 {
        self.without.errors() + self.rounds.iter().map(|round| round.with.errors()).sum::<u64>()
    }

    /// The most bytes in any round.
    pub(crate) fn peak(&self) -> Option<u64> {
        self.rounds.iter().filter_map(|round| round.peak).max()
    }
}

/// By how much it is more than before; nothing where that is not known.
fn grown(before: Option<u64>, after: Option<u64>) -> u64 {
    before.zip(after).map_or(0, |(before, after)| after.saturating_sub(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Figures;

    const MIB: u64 = 1 << 20;

    fn state(mebibytes: u64) -> State {
        let held = Held { connections: 16, heap: mebibytes * MIB, ..Held::default() };
        State { memory: Some(mebibytes * MIB), files: Some(40), held }
    }

    /// Two rounds of 10 to 50 MiB, with so much left after each.
    fn trial(left: [u64; 2]) -> Trial {
        let round = |before, after| Round {
            told: String::new(),
            before: state(before),
            with: Sample::default(),
            peak: Some(50 * MIB),
            after: state(after),
            settled: Duration::ZERO,
        };
        let rounds = vec![round(10, left[0]), round(left[0], left[1])];
        Trial { kind: Kind::Silent, without: Sample::default(), rounds }
    }

    #[test]
    fn who_comes_back_is_not_blamed() {
        assert!(trial([10, 10]).complaints().is_empty());
        assert!(trial([14, 15]).complaints().is_empty(), "room in tables");
        let mut fragmented = trial([10, 10]);
        fragmented.rounds[1].after.memory = Some(50 * MIB);
        assert!(fragmented.complaints().is_empty(), "pages that the allocator keeps");
    }

    #[test]
    fn errors_are_blamed_also_those_of_dials() {
        let mut trial = trial([10, 10]);
        trial.rounds[0].with.calls.errors = 1;
        trial.rounds[1].with.dials.errors = 2;
        assert_eq!(trial.complaints(), ["3 honest errors"]);
    }

    #[test]
    fn slow_calls_and_dials_are_blamed() {
        let mut trial = trial([10, 10]);
        trial.rounds[1].with.calls = Figures { p99: Duration::from_millis(101), ..Figures::default() };
        trial.rounds[0].with.dials = Figures { p99: Duration::from_secs(3), ..Figures::default() };
        assert_eq!(trial.complaints(), ["calls starve: p99 is 101 ms", "dials starve: p99 is 3000 ms"]);
    }

    #[test]
    fn memory_is_blamed_for_its_peak_and_for_what_stays() {
        let mut high = trial([10, 10]);
        high.rounds[1].peak = Some(75 * MIB);
        assert_eq!(high.complaints(), ["memory grew by 65 MiB, above 64"]);
        assert_eq!(trial([15, 15]).complaints(), ["5 MiB do not come back"]);
        assert_eq!(trial([12, 14]).complaints(), ["2 MiB more stay after each round"]);
    }

    #[test]
    fn what_is_left_is_blamed_once() {
        let mut trial = trial([10, 10]);
        for round in &mut trial.rounds {
            round.after.held.leases = 1;
            round.after.files = Some(45);
        }
        trial.rounds[1].after.files = Some(44);
        assert_eq!(trial.complaints(), ["left: 1 leases", "left: 5 open files", "left: 1 leases"]);
    }
}

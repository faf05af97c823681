//! What became of a figure since it was recorded.

use crate::{figure::Figure, record::Record};

/// More than this is no chance: ten times what figures differ by from run to run.
const TOLERANCE_PERCENT: f64 = 5.0;

/// A figure beside the recorded one.
pub(crate) struct Change {
    pub(crate) figure: Figure,
    /// `None` where there is none.
    pub(crate) recorded: Option<u64>,
}

impl Change {
    pub(crate) fn new(figure: Figure, record: &Record) -> Self {
        Self { figure, recorded: record.instructions(figure.case, figure.side) }
    }

    /// By how much it has risen, in percent.
    pub(crate) fn percent(&self) -> Option<f64> {
        let recorded = self.recorded.filter(|recorded| *recorded > 0)? as f64;
        Some((self.figure.instructions as f64 - recorded) / recorded * 100.0)
    }

    pub(crate) fn is_steady(&self) -> bool {
        self.percent().is_some_and(|percent| percent.abs() <= TOLERANCE_PERCENT)
    }

    /// It has risen too far, or nobody knows.
    pub(crate) fn is_failure(&self) -> bool {
        self.percent().is_none_or(|percent| percent > TOLERANCE_PERCENT)
    }

    /// What to do about it.
    pub(crate) fn remark(&self) -> Option<String> {
        if self.is_steady() {
            return None;
        }
        let Figure { case, side, .. } = self.figure;
        Some(match self.percent() {
            None => format!("FAILED: {case}, {side}: no figure is recorded; record it: cargo xtask counts --write"),
            Some(percent) if percent > 0.0 => format!(
                "FAILED: {case}, {side}: a call costs {percent:.1} % more than recorded, {TOLERANCE_PERCENT} % are \
                 allowed; find out why, or record it: cargo xtask counts --write"
            ),
            Some(percent) => format!(
                "{case}, {side}: a call costs {:.1} % less than recorded; record the gain: cargo xtask counts --write",
                -percent
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{case::Case, figure::Side};

    fn change(recorded: Option<u64>, instructions: u64) -> Change {
        Change { figure: Figure { case: Case::OneCaller, side: Side::Server, instructions }, recorded }
    }

    #[test]
    fn five_percent_either_way_are_nothing() {
        for instructions in [950, 1000, 1050] {
            let change = change(Some(1000), instructions);
            assert!(change.is_steady() && !change.is_failure() && change.remark().is_none());
        }
    }

    #[test]
    fn a_rise_fails() {
        let change = change(Some(1000), 1061);
        assert!(change.is_failure());
        let remark = change.remark().unwrap();
        assert!(remark.starts_with("FAILED: one-caller, server: a call costs 6.1 % more"), "{remark}");
    }

    #[test]
    fn a_fall_is_a_gain_to_record() {
        let change = change(Some(1000), 900);
        assert!(!change.is_failure());
        let remark = change.remark().unwrap();
        assert!(remark.contains("10.0 % less than recorded; record the gain"), "{remark}");
    }

    #[test]
    fn what_is_not_recorded_fails() {
        for recorded in [None, Some(0)] {
            assert!(change(recorded, 900).is_failure());
            assert!(change(recorded, 900).remark().unwrap().contains("no figure is recorded"));
        }
    }
}

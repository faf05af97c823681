//! The table at the end.

use std::time::Duration;

use crate::{
    counts::Counts,
    step::{Finished, Outcome},
};

/// Prints a line for each step, and for tests a closing line with their counts.
pub(crate) fn print(steps: &[Finished], counted: bool) {
    println!("\n{}", table(steps));
    if counted {
        println!("{}", totals(steps));
    }
}

fn table(steps: &[Finished]) -> String {
    let width = steps.iter().map(|step| step.name.chars().count()).max().unwrap_or(0).max("step".len());
    let mut lines = vec![format!("{:width$}  {:>8}  result", "step", "time")];
    for step in steps {
        let (time, result) = match &step.outcome {
            Outcome::Passed => (seconds(step.took), "ok".to_owned()),
            Outcome::Failed(why) => (seconds(step.took), format!("FAILED ({why})")),
            Outcome::LeftOut(reason) => (String::from("-"), format!("LEFT OUT: {reason}")),
            Outcome::NotRun => (String::from("-"), "not run".to_owned()),
        };
        lines.push(format!("{:width$}  {time:>8}  {result}", step.name));
    }
    lines.join("\n") + "\n"
}

/// The closing line: plain, whatever the terminal, so that scripts can read it.
fn totals(steps: &[Finished]) -> String {
    let mut all = Counts::default();
    for step in steps {
        all += step.counts;
    }
    format!("total: {} passed, {} failed, {} skipped", all.passed, all.failed, all.skipped)
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, outcome: Outcome, passed: usize, failed: usize) -> Finished {
        let counts = Counts { passed, failed, skipped: 0 };
        Finished { name: name.to_owned(), outcome, took: Duration::from_millis(1500), counts }
    }

    #[test]
    fn columns_line_up() {
        let steps = [
            step("tests", Outcome::Passed, 3, 0),
            step("doctests of all", Outcome::Failed("exit status: 101".to_owned()), 1, 2),
            step("more", Outcome::NotRun, 0, 0),
            step("most", Outcome::LeftOut("a tool is not installed".to_owned()), 0, 0),
        ];
        let expected = "\
step                 time  result
tests               1.5 s  ok
doctests of all     1.5 s  FAILED (exit status: 101)
more                    -  not run
most                    -  LEFT OUT: a tool is not installed
";
        assert_eq!(table(&steps), expected);
        assert_eq!(totals(&steps), "total: 4 passed, 2 failed, 0 skipped");
    }
}

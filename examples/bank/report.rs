//! What a client has done, as a line between processes and as a row of the table.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::Context;
use indicatif::HumanCount;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) accounts: u64,
    pub(crate) applied: u64,
    pub(crate) refused: u64,
    /// How often this client's audit object was called.
    pub(crate) callbacks: u64,
    /// From the first transaction to the last.
    pub(crate) elapsed: Duration,
}

impl Report {
    /// All of these clients as one; they began together, so the slowest tells the time.
    pub(crate) fn total(reports: &[Self]) -> Self {
        reports.iter().fold(Self::default(), |sum, report| Self {
            accounts: sum.accounts + report.accounts,
            applied: sum.applied + report.applied,
            refused: sum.refused + report.refused,
            callbacks: sum.callbacks + report.callbacks,
            elapsed: sum.elapsed.max(report.elapsed),
        })
    }

    fn calls_per_second(&self) -> u64 {
        ((self.applied + self.refused) as f64 / self.elapsed.as_secs_f64().max(1e-6)) as u64
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accounts, applied, refused, callbacks, elapsed } = self;
        let micros = elapsed.as_micros();
        write!(f, "accounts={accounts} applied={applied} refused={refused} callbacks={callbacks} micros={micros}")
    }
}

impl FromStr for Report {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let field = |name: &str| -> anyhow::Result<u64> {
            let value = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse().ok()).with_context(|| format!("no {name} in the report {line:?}"))
        };
        Ok(Self {
            accounts: field("accounts")?,
            applied: field("applied")?,
            refused: field("refused")?,
            callbacks: field("callbacks")?,
            elapsed: Duration::from_micros(field("micros")?),
        })
    }
}

/// One row for each client, and their total.
#[derive(Debug)]
pub(crate) struct Table<'a>(pub(crate) &'a [Report]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["accounts", "applied", "refused", "callbacks", "calls/s"].map(String::from);
        let row = |f: &mut fmt::Formatter<'_>, name: &str, cells: [String; 5]| {
            write!(f, "{name:<9}")?;
            cells.iter().try_for_each(|cell| write!(f, "{cell:>11}"))?;
            writeln!(f)
        };
        let cells = |report: &Report| {
            let Report { accounts, applied, refused, callbacks, .. } = *report;
            [accounts, applied, refused, callbacks, report.calls_per_second()].map(|n| HumanCount(n).to_string())
        };
        row(f, "", heads)?;
        for (report, client) in self.0.iter().zip(1..) {
            row(f, &format!("client {client}"), cells(report))?;
        }
        row(f, "total", cells(&Report::total(self.0)))
    }
}

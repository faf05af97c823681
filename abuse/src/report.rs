//! What was found, in tables.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use rmi_harness::{Table, grouped};

use crate::{
    driver::LEASE,
    honest::CLIENTS,
    sample::{Figures, Sample},
    verdict::{Round, Trial},
};

/// What stands below this line in RESULTS.md is written by hand, and is kept.
const BY_HAND: &str = "<!-- by hand from here on -->";

/// What the tables do not say, a line each.
pub(crate) fn legend(seconds: u64, rounds: u32, connections: u64) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let which = match rounds {
        1 => format!("one round of {seconds} s"),
        rounds => format!("{rounds} rounds of {seconds} s, of which the worse one is shown,"),
    };
    vec![
        format!("{cores} cores, which server, honest clients and abuser share; three processes, over loopback"),
        format!("{which} on one server; limits are the defaults"),
        format!(
            "{CLIENTS} honest clients call, a millisecond apart; dials are those of new clients, up to their first answer"
        ),
        format!("up to {connections} silent connections; the abuser comes from 127.0.0.2 where the system has that"),
        format!("the lease is {} s; `back after` is when no count and no file was left any more", LEASE.as_secs()),
        "`after` comes once for each round; resident is what the process takes of the system, with free pages that the C \
         library keeps; allocated is what it holds"
            .to_owned(),
    ]
}

pub(crate) fn print(legend: &[String], trials: &[Trial]) {
    println!("{}", legend.join("\n"));
    println!("\nWhat honest clients feel\n\n{}", felt(trials).plain());
    println!("\nWhat the server holds\n\n{}", held(trials).plain());
}

/// Keeps the tables, and what was written by hand.
pub(crate) fn write(legend: &[String], trials: &[Trial]) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    let by_hand = before.split_once(BY_HAND).map_or("\n", |(_, after)| after);
    let legend: Vec<_> = legend.iter().map(|line| format!("- {line}")).collect();
    let (legend, felt, held) = (legend.join("\n"), felt(trials).markdown(), held(trials).markdown());
    let text = format!(
        "# Results\n\nWritten by `cargo xtask abuse --write`.\n\n{legend}\n\n## What honest clients feel\n\n{felt}\n\n\
         ## What the server holds\n\n{held}\n\n{BY_HAND}{by_hand}"
    );
    fs::write(&path, text).context("cannot write abuse/RESULTS.md")
}

fn felt(trials: &[Trial]) -> Table {
    let headers = ["attack", "calls/s: without", "with", "p50 ms: without", "with", "p99 ms: without", "with", "ratio"];
    let dials = ["dial p99 ms: without", "with", "slowest", "dials", "errors"];
    let mut table = Table::new([&headers[..], &dials].concat(), 1);
    for trial in trials {
        let (without, with) = (&trial.without, worst(trial));
        table.push(vec![
            trial.kind.name(),
            grouped(without.rate() as u64),
            grouped(with.rate() as u64),
            millis(without.calls.p50),
            millis(with.calls.p50),
            millis(without.calls.p99),
            millis(with.calls.p99),
            format!("{:.1} ×", with.calls.p99.as_secs_f64() / without.calls.p99.as_secs_f64()),
            millis(without.dials.p99),
            millis(with.dials.p99),
            millis(with.dials.most),
            grouped(with.dials.count),
            grouped(trial.errors()),
        ]);
    }
    table
}

fn held(trials: &[Trial]) -> Table {
    let resident = ["attack", "what it did", "verdict", "resident MiB: before", "peak", "bound", "after"];
    let headers = [&resident[..], &["allocated MiB: before", "after", "back after s"]].concat();
    let mut table = Table::new(headers, 3);
    for trial in trials {
        let start = trial.rounds.first().map(|round| round.before).unwrap_or_default();
        let before = start.memory;
        let told = trial.rounds.last().map_or_else(String::new, |round| round.told.clone());
        let complaints = trial.complaints();
        table.push(vec![
            trial.kind.name(),
            told,
            if complaints.is_empty() { "no harm".to_owned() } else { complaints.join("; ") },
            mebibytes(before),
            mebibytes(trial.peak()),
            mebibytes(before.map(|before| before + trial.kind.growth_max())),
            each(trial, |round| mebibytes(round.after.memory)),
            tenths(start.held.heap),
            each(trial, |round| tenths(round.after.held.heap)),
            each(trial, |round| format!("{:.1}", round.settled.as_secs_f64())),
        ]);
    }
    table
}

/// The round with the slowest calls, with the slowest dials of all.
fn worst(trial: &Trial) -> Sample {
    let samples = || trial.rounds.iter().map(|round| round.with);
    let slowest = samples().max_by_key(|sample| sample.calls.p99).unwrap_or_default();
    let dials = samples().map(|sample| sample.dials);
    let dials = dials.max_by_key(|dials| (dials.p99, dials.most)).unwrap_or_else(Figures::default);
    Sample { dials, ..slowest }
}

fn each(trial: &Trial, cell: impl Fn(&Round) -> String) -> String {
    trial.rounds.iter().map(cell).collect::<Vec<_>>().join(", ")
}

fn millis(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1000.0)
}

fn tenths(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

fn mebibytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "–".to_owned(), |bytes| grouped(bytes >> 20))
}

//! The tables.

use std::{fs, path::Path};

use anyhow::Result;

use crate::{
    machine::core_to_share,
    rounds::{Plan, Summary},
    row::{Row, Work, name},
};

const HEADERS: [&str; 8] = ["work", "runtime", "peer", "rate", "of floor", "p50 µs", "p99 µs", "CPU µs/call"];
/// The columns from this one on hold numbers, which end at the right.
const NUMBERS_FROM: usize = 3;

/// The table as a terminal shows it.
pub(crate) fn plain(summaries: &[Summary]) -> String {
    let lines = aligned(summaries).into_iter().map(|cells| cells.join("  ").trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// What the numbers mean, and what they depend on.
pub(crate) fn legend(rows: &[Row], plan: Plan, machine: &[String]) -> Vec<String> {
    let Plan { rounds, measured, .. } = plan;
    let mut lines = machine.to_vec();
    lines.push(format!(
        "medians of {rounds} rounds of {} ms each, the peers in turns; two processes over loopback, one connection",
        measured.as_millis()
    ));
    lines.push(
        "`of floor` is the ratio to the floor in the same round; CPU time is the client's and the server's".to_owned(),
    );
    if rows.iter().any(|row| row.is_pinned()) {
        lines.push(match core_to_share() {
            Some(core) => {
                format!("\"one core\": both processes are pinned to core {core}; the other rows are not pinned")
            }
            None => "\"one core\": NOT pinned, since this system offers no way to do it".to_owned(),
        });
    }
    if rows.iter().any(|row| matches!(row.work(), Work::Echo(_))) {
        lines.push("MB/s counts a body once for its way there and back".to_owned());
    }
    lines
}

/// Writes `benches/RESULTS.md`.
pub(crate) fn write(summaries: &[Summary], legend: &[String]) -> Result<()> {
    let mut lines = vec!["# Results".to_owned(), String::new()];
    lines.push("Written by `cargo xtask bench --write`.".to_owned());
    lines.push(String::new());
    lines.extend(legend.iter().map(|line| format!("- {line}")));
    lines.push(String::new());
    lines.extend(markdown(summaries));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
    Ok(fs::write(path, lines.join("\n") + "\n")?)
}

fn markdown(summaries: &[Summary]) -> Vec<String> {
    let mut lines: Vec<_> = aligned(summaries).iter().map(|cells| format!("| {} |", cells.join(" | "))).collect();
    let rule = |column| if column < NUMBERS_FROM { "---" } else { "---:" };
    lines.insert(1, format!("| {} |", (0..HEADERS.len()).map(rule).collect::<Vec<_>>().join(" | ")));
    lines
}

/// The headers and a line for each summary, every column of one width.
fn aligned(summaries: &[Summary]) -> Vec<Vec<String>> {
    let mut lines = vec![HEADERS.map(str::to_owned).to_vec()];
    lines.extend(summaries.iter().map(|summary| cells(summary).to_vec()));
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..HEADERS.len()).map(|column| width(column).unwrap_or(0)).collect();
    let pad = |(column, (cell, width)): (usize, (&String, &usize))| {
        if column < NUMBERS_FROM { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    };
    lines.iter().map(|line| line.iter().zip(&widths).enumerate().map(pad).collect()).collect()
}

fn cells(summary: &Summary) -> [String; HEADERS.len()] {
    let unit = match summary.row.work() {
        Work::Add => "calls/s",
        Work::Echo(_) => "MB/s",
    };
    [
        summary.row.title().to_owned(),
        name(summary.flavour),
        name(summary.peer),
        format!("{} {unit:<7}", thousands(summary.rate)),
        format!("{:.2}", summary.of_floor),
        format!("{:.1}", summary.p50_micros),
        format!("{:.1}", summary.p99_micros),
        format!("{:.2}", summary.cpu_micros_per_call),
    ]
}

/// `1234567.8` as `1,234,568`.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{peers::Peer, row::Flavour};

    #[test]
    fn columns_line_up() {
        let summary = Summary {
            row: Row::Callers64,
            flavour: Flavour::CurrentThread,
            peer: Peer::Floor,
            rate: 1_234_567.8,
            of_floor: 1.0,
            p50_micros: 12.345,
            p99_micros: 100.0,
            cpu_micros_per_call: 0.4,
        };
        let echo = Summary { row: Row::Echo1MiB, rate: 999.6, ..summary };
        let expected = "\
work           runtime         peer                rate  of floor  p50 µs  p99 µs  CPU µs/call
64 callers     current_thread  floor  1,234,568 calls/s      1.00    12.3   100.0         0.40
echo of 1 MiB  current_thread  floor      1,000 MB/s         1.00    12.3   100.0         0.40";
        assert_eq!(plain(&[summary, echo]), expected);
        let rule = markdown(&[summary]).into_iter().nth(1);
        assert_eq!(rule.as_deref(), Some("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |"));
    }
}

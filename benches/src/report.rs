//! The report: a table for each group of rows, rmi against each peer, the goals.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use rmi_harness::{Table, number};

use crate::{
    goals::GOALS,
    machine::core_to_share,
    peers::Peer,
    plan::{Plan, Turn},
    results::{Numbers, Results},
    rounds::OBJECT_LEN,
    row::{Group, Row, Work, name},
};

/// What stands below this line in RESULTS.md is kept.
const BY_HAND: &str = "<!-- by hand below -->";

/// What is said of a comparison.
pub(crate) struct Report {
    legend: Vec<String>,
    sections: Vec<(String, Table)>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(plan: &Plan, results: &Results, machine: &[String]) -> Self {
        let tables = Group::ALL.into_iter().map(|group| (group.title().to_owned(), of_group(group, results)));
        let mut sections: Vec<_> = tables.collect();
        sections.push(("rmi's rate, as a multiple of each peer's".to_owned(), ratios(results)));
        sections.push(("Goals".to_owned(), goals(results)));
        sections.retain(|(_, table)| !table.is_empty());
        Self { legend: legend(plan, machine), sections, notes: results.notes.clone() }
    }

    /// As a terminal shows it.
    pub(crate) fn plain(&self) -> String {
        let sections = self.sections.iter().map(|(title, table)| format!("{title}\n\n{}", table.plain()));
        let notes = (!self.notes.is_empty()).then(|| self.notes.join("\n"));
        [self.legend.join("\n")].into_iter().chain(sections).chain(notes).collect::<Vec<_>>().join("\n\n")
    }

    /// Writes `benches/RESULTS.md`; what is written there by hand stays.
    pub(crate) fn write(&self) -> Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, self.markdown(&before)).context("cannot write benches/RESULTS.md")
    }

    fn markdown(&self, before: &str) -> String {
        let list = |lines: &[String]| lines.iter().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n");
        let mut parts = vec!["# Results".to_owned(), "Written by `cargo xtask bench --write`.".to_owned()];
        parts.push(list(&self.legend));
        parts.push("![Ratios to the floor](results.svg)".to_owned());
        parts.extend(self.sections.iter().flat_map(|(title, table)| [format!("## {title}"), table.markdown()]));
        if !self.notes.is_empty() {
            parts.extend(["## Missing".to_owned(), list(&self.notes)]);
        }
        let by_hand = before.split_once(BY_HAND).map_or("\n", |(_, by_hand)| by_hand);
        parts.push(format!("{BY_HAND}{by_hand}"));
        parts.join("\n\n")
    }
}

/// What the numbers mean, and what they depend on.
fn legend(plan: &Plan, machine: &[String]) -> Vec<String> {
    let mut lines = machine.to_vec();
    lines.push(plan.describe());
    lines.extend(plan.omissions().map(str::to_owned));
    lines.push("`of floor` and the multiples are medians of the ratios in the same round".to_owned());
    lines.push(
        "runtime \"native\": a program in C++ or Java, which shares the rounds of current_thread and is compared with it"
            .to_owned(),
    );
    if plan.rows.iter().any(|row| row.is_pinned()) {
        lines.push(core_to_share().map_or_else(
            || "\"one core\": NOT pinned, since this system offers no way to do it".to_owned(),
            |core| format!("\"one core\": both processes are pinned to core {core}; the other rows are not pinned"),
        ));
    }
    let has = |group| plan.rows.iter().any(|row| row.group() == group);
    if has(Group::Bodies) {
        lines.push("MB/s counts a body once for its way there and back".to_owned());
    }
    if plan.rows.contains(&Row::Callbacks) {
        lines.push("a callback in every call: the floor makes two calls one after the other".to_owned());
    }
    if has(Group::Held) {
        lines.push(format!(
            "bytes of held objects: growth of resident memory, in Java of the used heap, with {} objects; \
             {OBJECT_LEN} bytes are the object itself",
            number(plan.held as f64, 0)
        ));
    }
    if plan.peers.contains(&Peer::Capnp) {
        lines.push("capnp-rpc stays on one thread, and is not measured on multi_thread".to_owned());
    }
    lines
}

/// The turns of a group, as measured.
fn turns(group: Group, results: &Results) -> impl Iterator<Item = Turn> {
    let mut turns: Vec<_> = results.turns().filter(move |turn| turn.row.group() == group).collect();
    turns.sort_by_key(|turn| (turn.row as usize, turn.flavour as usize, turn.peer as usize));
    turns.into_iter()
}

fn runtime(turn: Turn) -> String {
    if turn.peer.is_native() { "native".to_owned() } else { name(turn.flavour) }
}

fn of_group(group: Group, results: &Results) -> Table {
    match group {
        Group::Calls | Group::Bodies | Group::Objects => rates(group, results),
        Group::Beside => beside(results),
        Group::Held => held(results),
        Group::Release => release(results),
    }
}

fn rates(group: Group, results: &Results) -> Table {
    let headers = ["work", "runtime", "peer", "rate", "of floor", "p50 µs", "p99 µs", "p99.9 µs"];
    let costs = ["client CPU µs/call", "server CPU µs/call", "server MiB"];
    let mut table = Table::new(headers.into_iter().chain(costs), 3);
    for turn in turns(group, results) {
        let unit = if matches!(turn.row.work(), Work::Echo(_)) { "MB/s" } else { "calls/s" };
        let median = |get: fn(&Numbers) -> f64, decimals| number(results.median(turn, get), decimals);
        table.push(vec![
            turn.row.title().to_owned(),
            runtime(turn),
            turn.peer.title().to_owned(),
            format!("{} {unit:<7}", median(|numbers| numbers.rate, 0)),
            number(results.ratio_to(turn, Peer::Floor, |numbers| numbers.rate), 2),
            median(|numbers| numbers.p50, 1),
            median(|numbers| numbers.p99, 1),
            median(|numbers| numbers.p999, 1),
            median(|numbers| numbers.client_cpu, 2),
            median(|numbers| numbers.server_cpu, 2),
            median(|numbers| numbers.server_mib, 1),
        ]);
    }
    table
}

fn beside(results: &Results) -> Table {
    let mut table = Table::new(["runtime", "peer", "p99 µs, idle", "p99 µs, beside", "times"], 2);
    for turn in turns(Group::Beside, results) {
        table.push(vec![
            runtime(turn),
            turn.peer.title().to_owned(),
            number(results.median(turn, |numbers| numbers.base), 1),
            number(results.median(turn, |numbers| numbers.p99), 1),
            number(results.median(turn, |numbers| numbers.p99 / numbers.base), 1),
        ]);
    }
    table
}

fn held(results: &Results) -> Table {
    let mut table = Table::new(["runtime", "peer", "server bytes/object", "client bytes/object"], 2);
    for turn in turns(Group::Held, results) {
        table.push(vec![
            runtime(turn),
            turn.peer.title().to_owned(),
            number(results.median(turn, |numbers| numbers.server_bytes), 0),
            number(results.median(turn, |numbers| numbers.client_bytes), 0),
        ]);
    }
    table
}

fn release(results: &Results) -> Table {
    let mut table = Table::new(["runtime", "peer", "p50 µs", "p99 µs", "round trip µs", "round trips"], 2);
    for turn in turns(Group::Release, results) {
        table.push(vec![
            runtime(turn),
            turn.peer.title().to_owned(),
            number(results.median(turn, |numbers| numbers.p50), 1),
            number(results.median(turn, |numbers| numbers.p99), 1),
            number(results.median(turn, |numbers| numbers.base), 1),
            number(results.median(turn, |numbers| numbers.p50 / numbers.base), 2),
        ]);
    }
    table
}

/// rmi against each of the others, a column each.
fn ratios(results: &Results) -> Table {
    let others: Vec<_> = results.peers().into_iter().filter(|peer| *peer != Peer::Rmi).collect();
    let headers = ["work", "runtime"].into_iter().chain(others.iter().map(|peer| peer.title()));
    let mut table = Table::new(headers, 2);
    let groups = Group::ALL.into_iter().filter(|group| group.has_rates());
    for turn in groups.flat_map(|group| turns(group, results)).filter(|turn| turn.peer == Peer::Rmi) {
        let ratio = |peer: &Peer| number(results.ratio_to(turn, *peer, |numbers| numbers.rate), 2);
        let start = [turn.row.title().to_owned(), runtime(turn)];
        if !others.is_empty() {
            table.push(start.into_iter().chain(others.iter().map(ratio)).collect());
        }
    }
    table
}

fn goals(results: &Results) -> Table {
    let mut table = Table::new(["work", "runtime", "goal", "measured", "reached"], 5);
    for standing in GOALS.iter().map(|goal| goal.standing(results)) {
        let reached = match standing.is_reached {
            Some(true) => "yes",
            Some(false) => "NO",
            None => continue,
        };
        let flavour = name(standing.flavour);
        table.push(vec![standing.work.to_owned(), flavour, standing.goal, standing.measured, reached.to_owned()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Flavour;

    fn results() -> Results {
        let mut results = Results::default();
        for (peer, rate) in [(Peer::Floor, 1000.0), (Peer::Java, 10.0), (Peer::Rmi, 700.0)] {
            let turn = Turn { row: Row::Callers64, flavour: Flavour::CurrentThread, peer };
            results.add(turn, 0, Numbers { rate, p50: 1.0, ..Numbers::NONE });
        }
        results
    }

    #[test]
    fn every_peer_has_a_line_and_what_is_not_known_a_dash() {
        let table = rates(Group::Calls, &results()).plain();
        let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        let floor = ["64", "callers", "current_thread", "floor", "1,000", "calls/s", "1.00", "1.0"];
        assert_eq!(lines[1], [&floor[..], &["–"; 5]].concat());
        assert_eq!(lines[2][3], "rmi");
        assert_eq!(lines[3][2..4], ["native", "Java"]);
    }

    #[test]
    fn rmi_is_compared_with_each() {
        let table = ratios(&results()).plain();
        let expected = "\
work        runtime         floor  Java RMI
64 callers  current_thread   0.70     70.00";
        assert_eq!(table, expected);
    }

    #[test]
    fn only_goals_that_were_measured_are_told() {
        let table = goals(&results()).plain();
        let expected = "\
work        runtime         goal                measured  reached
64 callers  current_thread  ≥ 0.60 × the floor  0.70 ×    yes
64 callers  current_thread  ≥ 25 × Java RMI     70.00 ×   yes";
        assert_eq!(table, expected);
    }

    #[test]
    fn what_is_written_by_hand_is_kept() {
        let report = Report::new(&Plan::quick(&[], &[]), &results(), &["a machine".to_owned()]);
        let written = report.markdown("old tables\n<!-- by hand below -->\n\n## Others\n");
        assert!(written.ends_with("<!-- by hand below -->\n\n## Others\n"), "{written}");
        assert!(!written.contains("old tables"));
        assert_eq!(report.markdown(&written), written);
    }
}

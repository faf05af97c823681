//! The tables of bounds: every field of `Limits` has a row with its default, and every test that a row names exists.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use rmi_core::Limits;

/// The cells of the rows of a table, without its head.
fn rows<'a>(text: &'a str, line_start: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let lines = text.lines().skip_while(|line| !line.starts_with(&format!("{line_start}{head}")));
    lines
        .skip(2)
        .map_while(|line| line.strip_prefix(line_start)?.strip_prefix('|')?.strip_suffix('|'))
        .map(|row| row.split('|').map(str::trim).collect())
        .collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// A default as it is written in docs, the way that `Debug` has it.
fn plain(default: &str) -> String {
    let number = |text: &str| text.replace(',', "").parse::<u64>();
    let unit = default.strip_suffix(" MiB").or_else(|| default.strip_suffix(" Mi"));
    match (unit.map(number), number(default)) {
        (Some(Ok(number)), _) => (number << 20).to_string(),
        (_, Ok(number)) => number.to_string(),
        _ => default.replace(' ', ""),
    }
}

fn limits_rs() -> String {
    fs::read_to_string(core().join("src/limits.rs")).unwrap()
}

fn core() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_limit_has_a_row_with_its_default() {
    let shown = format!("{:#?}", Limits::default());
    let fields = shown.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(": "));
    let defaults: BTreeMap<_, _> = fields.map(|(field, default)| (field.to_owned(), default.to_owned())).collect();
    assert!(defaults.len() > 20, "{shown}");
    let text = limits_rs();
    let told = rows(&text, "/// ", "| limit |").into_iter().map(|row| {
        assert!(!row[2].is_empty() && row[3].contains('`'), "no words or no test: {row:?}");
        (quoted(row[0]).next().unwrap().to_owned(), plain(row[1]))
    });
    assert_eq!(told.collect::<BTreeMap<_, _>>(), defaults);
}

#[test]
fn every_test_that_a_table_names_exists() {
    let protocol = fs::read_to_string(core().join("../PROTOCOL.md")).unwrap();
    let limits = limits_rs();
    let mut rows = rows(&limits, "/// ", "| limit |");
    rows.extend(self::rows(&protocol, "", "| bound |"));
    let named: HashSet<_> = rows.iter().flat_map(|row| quoted(row.last().unwrap())).collect();
    assert!(named.len() > 40, "{named:?}");
    let mut sources = Vec::new();
    for directory in ["src", "tests", "../tests/it"] {
        read_all(&core().join(directory), &mut sources);
    }
    let is_there = |test: &&str| sources.iter().any(|source| source.contains(&format!("fn {test}() {{")));
    let missing: Vec<_> = named.into_iter().filter(|test| !is_there(test)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

fn read_all(directory: &Path, sources: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(fs::read_to_string(&path).unwrap());
        }
    }
}

//! Where the instructions of a call go: function by function, and module by module.

use std::{
    collections::HashMap,
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rmi_harness::grouped;

use crate::{
    case::Case,
    cpu::Cpu,
    figure::Side,
    measure::{Out, run},
};

/// Functions with a smaller share are summed up.
const SHARE_MIN: f64 = 0.015;

/// The tables of a case, in Markdown.
pub(crate) fn profile(case: Case, cores: &[Cpu; 2]) -> Result<String> {
    let (few, many) = case.calls();
    let out = env::temp_dir().join(format!("rmi-counts-{}", std::process::id()));
    fs::create_dir_all(&out).with_context(|| format!("{} cannot be made", out.display()))?;
    let [core, _] = cores;
    let counted = [few, many].map(|calls| {
        run(core, case, calls, Out::Functions(&out))?;
        let read = |side: &Side| Ok(parse(&fs::read_to_string(side.file(&out))?));
        case.sides().iter().map(read).collect::<Result<Vec<_>>>()
    });
    // Nothing is wrong with the figures where it stays.
    drop(fs::remove_dir_all(&out));
    let [short, long] = counted;
    let calls = u64::from((many - few) * case.callers());
    let mut text = String::new();
    for ((side, short), long) in case.sides().iter().zip(short?).zip(long?) {
        let spent = per_call(&short, &long, calls);
        if spent.is_empty() {
            bail!("valgrind wrote no functions for the {side}");
        }
        text += &render(case, *side, &spent);
    }
    Ok(text)
}

impl Side {
    /// Where valgrind writes what this side spent.
    pub(crate) fn file(self, directory: &Path) -> PathBuf {
        directory.join(self.name())
    }
}

/// Instructions by function.
type Functions = HashMap<String, u64>;

/// Reads a file of cachegrind: `fn=` begins a function, and a line of numbers has a line and its instructions.
fn parse(text: &str) -> Functions {
    let mut functions = Functions::new();
    let mut function = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = name.trim();
        } else if let Some((at, count)) = line.split_once(' ')
            && at.parse::<u64>().is_ok()
            && let Ok(count) = count.trim().parse::<u64>()
        {
            *functions.entry(function.to_owned()).or_default() += count;
        }
    }
    functions
}

/// What a longer run needs more than a shorter one, for so many calls; the most first.
fn per_call(short: &Functions, long: &Functions, calls: u64) -> Vec<(String, u64)> {
    let more = |(name, &count): (&String, &u64)| {
        let more = count.saturating_sub(short.get(name).copied().unwrap_or(0));
        (name.clone(), (more + calls / 2) / calls)
    };
    let mut spent: Vec<_> = long.iter().map(more).filter(|(_, count)| *count > 0).collect();
    sort(&mut spent);
    spent
}

fn sort(spent: &mut [(String, u64)]) {
    spent.sort_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.cmp(b)));
}

/// The module of the runtime, the crate, or the library that a function belongs to.
fn room(function: &str) -> String {
    let start = function.trim_start_matches("core::ptr::drop_in_place<").trim_start_matches(['<', '[', '&']);
    let mut path = start.split("::");
    match (path.next(), path.next()) {
        (Some("rmi_core"), Some(module)) => {
            format!("rmi-core `{}`", module.split(['<', '>', ']']).next().unwrap_or(module))
        }
        (Some("rmi_counts"), _) => "the caller, the method, and what is generated for them".to_owned(),
        (Some(name), Some(_)) if name.chars().all(|c| c.is_alphanumeric() || c == '_') => format!("crate {name}"),
        _ => "libc".to_owned(),
    }
}

fn render(case: Case, side: Side, spent: &[(String, u64)]) -> String {
    let total: u64 = spent.iter().map(|(_, count)| count).sum();
    let mut rooms = Functions::new();
    for (name, count) in spent {
        *rooms.entry(room(name)).or_default() += count;
    }
    let mut rooms: Vec<_> = rooms.into_iter().collect();
    sort(&mut rooms);
    let mut text = format!("### {case}, {side}: {} instructions a call\n\n", grouped(total));
    table(&mut text, "where", &rooms, total);
    let functions: Vec<_> = spent.iter().map(|(name, count)| (format!("`{name}`"), *count)).collect();
    table(&mut text, "function", &functions, total);
    text
}

/// The rows with a share that counts, and the sum of the rest.
fn table(text: &mut String, what: &str, rows: &[(String, u64)], total: u64) {
    let share = |count: u64| count as f64 / total as f64;
    let (shown, rest): (Vec<_>, Vec<_>) = rows.iter().partition(|(_, count)| share(*count) >= SHARE_MIN);
    let others = (format!("{} others", rest.len()), rest.iter().map(|(_, count)| count).sum());
    // A String takes whatever is written.
    let _ = writeln!(text, "| {what} | instructions | share |\n| --- | ---: | ---: |");
    for (name, count) in shown.into_iter().chain((!rest.is_empty()).then_some(&others)) {
        let _ = writeln!(text, "| {name} | {} | {:.1} % |", grouped(*count), 100.0 * share(*count));
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions(entries: &[(&str, u64)]) -> Functions {
        entries.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn the_lines_of_a_function_are_summed_up_over_all_files() {
        let text = "desc: I1 cache: 32768 B\nevents: Ir\nfl=a.rs\nfn=one\n1 10\n2 20\nfl=b.rs\nfn=two\n7 5\nfl=c.rs\nfn=one\n3 1\nsummary: 36\n";
        assert_eq!(parse(text), functions(&[("one", 31), ("two", 5)]));
    }

    #[test]
    fn what_both_runs_have_is_in_no_figure() {
        let (short, long) =
            (functions(&[("start", 900), ("call", 100)]), functions(&[("start", 900), ("call", 1_100)]));
        assert_eq!(per_call(&short, &long, 10), [("call".to_owned(), 100)]);
    }

    #[test]
    fn functions_belong_to_modules_crates_or_the_libc() {
        for (function, expected) in [
            ("<rmi_core::stub::Call as core::future::future::Future>::poll", "rmi-core `stub`"),
            ("core::ptr::drop_in_place<[rmi_core::referent::Referent]>", "rmi-core `referent`"),
            ("rmi_core::session::calling::<impl rmi_core::session::Session<O>>::start_call", "rmi-core `session`"),
            ("tokio::runtime::task::raw::poll", "crate tokio"),
            ("rmi_counts::object::add::{{closure}}", "the caller, the method, and what is generated for them"),
            ("_int_free", "libc"),
        ] {
            assert_eq!(room(function), expected, "{function}");
        }
    }

    #[test]
    fn small_shares_are_summed_up() {
        let spent = [("a".to_owned(), 990), ("b".to_owned(), 6), ("c".to_owned(), 4)];
        let mut text = String::new();
        table(&mut text, "function", &spent, 1_000);
        assert!(text.ends_with("| a | 990 | 99.0 % |\n| 2 others | 10 | 1.0 % |\n\n"), "{text}");
    }
}

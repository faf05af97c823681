//! How a case is counted.

use std::{
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Result, anyhow};

use crate::{
    case::Case,
    change::Change,
    cpu::Cpu,
    figure::{Figure, Side},
    object::READY,
    record::Record,
    valgrind::Counting,
};

/// The figures of a case. Where one is far from the record, or there is none to compare with, the
/// median of three.
pub(crate) fn measure(case: Case, cores: &[Cpu; 2], record: Option<&Record>) -> Result<Vec<Figure>> {
    eprintln!("counting {case}");
    let first = count(case, cores)?;
    let is_steady = |record| first.iter().all(|&figure| Change::new(figure, record).is_steady());
    if record.is_some_and(is_steady) {
        return Ok(first);
    }
    Ok(medians(first, &count(case, cores)?, &count(case, cores)?))
}

/// Instructions of a call: what a longer run needs more than a shorter one, for so many calls.
fn count(case: Case, cores: &[Cpu; 2]) -> Result<Vec<Figure>> {
    let (few, many) = case.calls();
    let [one, other] = cores;
    // Both at once, since each has but one core.
    let (short, long) = thread::scope(|scope| {
        let short = scope.spawn(|| run(one, case, few, Out::Total));
        let long = run(other, case, many, Out::Total);
        let short = short.join().unwrap_or_else(|_| Err(anyhow!("the shorter run panicked")));
        Ok::<_, anyhow::Error>((short?, long?))
    })?;
    let calls = u64::from((many - few) * case.callers());
    let figure = |&side| {
        let more = long.of(side).saturating_sub(short.of(side));
        Figure { case, side, instructions: (more + calls / 2) / calls }
    };
    Ok(case.sides().iter().map(figure).collect())
}

/// Instructions of two whole processes.
pub(crate) struct Run {
    client: u64,
    server: u64,
}

impl Run {
    const fn of(&self, side: Side) -> u64 {
        match side {
            Side::Client => self.client,
            Side::Server => self.server,
        }
    }
}

/// What is wanted of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Out<'a> {
    /// The totals.
    Total,
    /// What each function spends too, in a file of each side in this directory.
    Functions(&'a Path),
}

impl Out<'_> {
    fn of(self, side: Side) -> Option<PathBuf> {
        match self {
            Self::Total => None,
            Self::Functions(directory) => Some(side.file(directory)),
        }
    }
}

/// A server and a client that has each caller call so often.
pub(crate) fn run(core: &Cpu, case: Case, calls: u32, out: Out<'_>) -> Result<Run> {
    let mut server = Counting::start(core, &["serve"], out.of(Side::Server).as_deref())?;
    let url = server.wait_for(READY)?;
    let args = ["call", case.name(), &url, &calls.to_string()];
    let client = Counting::start(core, &args, out.of(Side::Client).as_deref())?.instructions()?;
    Ok(Run { client, server: server.instructions()? })
}

/// For each figure the middle one of three.
fn medians(first: Vec<Figure>, second: &[Figure], third: &[Figure]) -> Vec<Figure> {
    let middle = |((a, b), c): ((Figure, &Figure), &Figure)| {
        let mut three = [a.instructions, b.instructions, c.instructions];
        three.sort_unstable();
        let [_, instructions, _] = three;
        Figure { instructions, ..a }
    };
    first.into_iter().zip(second).zip(third).map(middle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one_of_three_counts() {
        let figures = |client, server| {
            let figure = |side, instructions| Figure { case: Case::Objects, side, instructions };
            vec![figure(Side::Client, client), figure(Side::Server, server)]
        };
        assert_eq!(medians(figures(7, 90), &figures(9, 70), &figures(8, 80)), figures(8, 80));
    }
}

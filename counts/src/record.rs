//! The figures that stand in the tree.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    case::Case,
    environment::Environment,
    figure::{Figure, Side},
};

/// Figures, and where they were counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) environment: Environment,
    pub(crate) figures: Vec<Figure>,
}

impl Record {
    pub(crate) fn read() -> Result<Self> {
        let text =
            fs::read_to_string(path()).context("no figures are recorded; record some: cargo xtask counts --write")?;
        Self::parse(&text).context("counts/RECORDED.txt cannot be read; write it anew: cargo xtask counts --write")
    }

    pub(crate) fn write(&self) -> Result<()> {
        Ok(fs::write(path(), self.to_text())?)
    }

    /// The recorded figure.
    pub(crate) fn instructions(&self, case: Case, side: Side) -> Option<u64> {
        let figure = self.figures.iter().find(|figure| figure.case == case && figure.side == side)?;
        Some(figure.instructions)
    }

    /// Lines of `field value` and `case side instructions`.
    fn parse(text: &str) -> Result<Self> {
        let mut record = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            if let Some(field) = record.environment.field(name) {
                rest.trim().clone_into(field);
                continue;
            }
            let Some((side, instructions)) = rest.trim().split_once(' ') else { bail!("no figure: {line:?}") };
            let side = Side::ALL.into_iter().find(|known| known.name() == side);
            record.figures.push(Figure {
                case: Case::named(name)?,
                side: side.with_context(|| format!("neither client nor server: {line:?}"))?,
                instructions: instructions.trim().parse().with_context(|| format!("no number: {line:?}"))?,
            });
        }
        Ok(record)
    }

    fn to_text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (name, value) in self.environment.fields() {
            text += &format!("{name:<12}  {value}\n");
        }
        text.push('\n');
        for Figure { case, side, instructions } in &self.figures {
            text += &format!("{case:<12}  {side}  {instructions:>7}\n");
        }
        text
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("RECORDED.txt")
}

const HEAD: &str = "\
# Instructions of one call, written by `cargo xtask counts --write`.

";

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let environment = Environment {
            target: "x86_64-linux".to_owned(),
            rustc: "1.95.0".to_owned(),
            valgrind: "3.19.0".to_owned(),
            libc: "glibc 2.36".to_owned(),
        };
        let figure = |case, side, instructions| Figure { case, side, instructions };
        let figures = vec![
            figure(Case::OneCaller, Side::Client, 9_167),
            figure(Case::OneCaller, Side::Server, 7_711),
            figure(Case::MultiThread, Side::Client, 123_456),
        ];
        Record { environment, figures }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let text = record().to_text();
        assert!(text.ends_with(
            "\
target        x86_64-linux
rustc         1.95.0
valgrind      3.19.0
libc          glibc 2.36

one-caller    client     9167
one-caller    server     7711
multi-thread  client   123456
"
        ));
        assert_eq!(Record::parse(&text).unwrap(), record());
    }

    #[test]
    fn figures_are_found_by_case_and_side() {
        assert_eq!(record().instructions(Case::OneCaller, Side::Server), Some(7_711));
        assert_eq!(record().instructions(Case::MultiThread, Side::Server), None);
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["one-caller", "one-caller client", "one-caller both 7", "one-caller client many", "no client 7"] {
            assert!(Record::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_file_in_the_tree_has_every_figure() {
        let record = Record::read().unwrap();
        for case in Case::ALL {
            for &side in case.sides() {
                assert!(record.instructions(case, side).is_some_and(|count| count > 0), "{case}, {side}");
            }
        }
    }
}

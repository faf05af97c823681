//! What figures depend on besides the sources.

use std::{env::consts, process::Command};

use anyhow::{Context, Result, ensure};

use crate::valgrind::INSTALL;

/// Where figures were counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    pub(crate) target: String,
    pub(crate) rustc: String,
    /// It offers only some of the machine's instruction sets, and the libc chooses by what it offers.
    pub(crate) valgrind: String,
    /// malloc and memcpy are part of a call.
    pub(crate) libc: String,
}

impl Environment {
    pub(crate) fn detect() -> Result<Self> {
        let rustc = first_line("rustc", "--version").context("rustc does not tell its version")?;
        let valgrind = first_line("valgrind", "--version").context(INSTALL)?;
        Ok(Self {
            target: format!("{}-{}", consts::ARCH, consts::OS),
            rustc: rustc.split(' ').nth(1).unwrap_or(&rustc).to_owned(),
            valgrind: valgrind.trim_start_matches("valgrind-").to_owned(),
            // Only glibc tells.
            libc: first_line("getconf", "GNU_LIBC_VERSION").unwrap_or_else(|_| "unknown".to_owned()),
        })
    }

    /// The fields by name, as they stand in the record.
    pub(crate) fn fields(&self) -> [(&'static str, &str); 4] {
        let Self { target, rustc, valgrind, libc } = self;
        [("target", target), ("rustc", rustc), ("valgrind", valgrind), ("libc", libc)]
    }

    /// The field of this name.
    pub(crate) fn field(&mut self, name: &str) -> Option<&mut String> {
        match name {
            "target" => Some(&mut self.target),
            "rustc" => Some(&mut self.rustc),
            "valgrind" => Some(&mut self.valgrind),
            "libc" => Some(&mut self.libc),
            _ => None,
        }
    }

    /// A line for each field that is another here.
    pub(crate) fn differences(&self, here: &Self) -> Vec<String> {
        let pairs = self.fields().into_iter().zip(here.fields());
        let differing = pairs.filter(|((_, recorded), (_, here))| recorded != here);
        let line = |((name, recorded), (_, here))| {
            format!("note: recorded with {name} {recorded}, counted with {here}: figures may differ for that alone")
        };
        differing.map(line).collect()
    }
}

fn first_line(program: &str, arg: &str) -> Result<String> {
    let output = Command::new(program).arg(arg).output()?;
    ensure!(output.status.success(), "{program} {arg} failed");
    Ok(String::from_utf8(output.stdout)?.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let recorded = Environment {
            target: "x86_64-linux".to_owned(),
            rustc: "1.95.0".to_owned(),
            valgrind: "3.19.0".to_owned(),
            libc: "glibc 2.36".to_owned(),
        };
        assert!(recorded.differences(&recorded).is_empty());
        let here = Environment { libc: "glibc 2.39".to_owned(), ..recorded.clone() };
        let expected =
            "note: recorded with libc glibc 2.36, counted with glibc 2.39: figures may differ for that alone";
        assert_eq!(recorded.differences(&here), [expected]);
    }
}

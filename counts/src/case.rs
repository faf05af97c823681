//! What is counted, and on which runtimes.

use std::{fmt, io};

use anyhow::{Result, bail};
use tokio::runtime::{Builder, Runtime};

use crate::figure::Side;

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// One caller, small calls one after the other.
    OneCaller,
    /// 64 callers on one connection, small calls.
    Callers64,
    /// One caller, 64 KiB there and back.
    Echo64KiB,
    /// An object is made, returned, called and dropped.
    Objects,
    /// One caller in a task of the multi-thread runtime.
    MultiThread,
}

impl Case {
    pub(crate) const ALL: [Self; 5] =
        [Self::OneCaller, Self::Callers64, Self::Echo64KiB, Self::Objects, Self::MultiThread];

    pub(crate) fn named(name: &str) -> Result<Self> {
        let Some(case) = Self::ALL.into_iter().find(|case| case.name() == name) else {
            bail!("no case is named {name}; there are {}", Self::ALL.map(Self::name).join(", "));
        };
        Ok(case)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OneCaller => "one-caller",
            Self::Callers64 => "callers-64",
            Self::Echo64KiB => "echo-64kib",
            Self::Objects => "objects",
            Self::MultiThread => "multi-thread",
        }
    }

    pub(crate) const fn callers(self) -> u32 {
        match self {
            Self::Callers64 => 64,
            Self::OneCaller | Self::Echo64KiB | Self::Objects | Self::MultiThread => 1,
        }
    }

    /// The calls of each caller in the shorter and in the longer run: what both have, the start and
    /// what grows in it, is in no figure.
    pub(crate) const fn calls(self) -> (u32, u32) {
        match self {
            Self::OneCaller | Self::Objects | Self::MultiThread => (200, 1_200),
            Self::Callers64 => (20, 120),
            Self::Echo64KiB => (50, 250),
        }
    }

    /// The sides whose figures are kept. The server of `multi-thread` is that of `one-caller`.
    pub(crate) const fn sides(self) -> &'static [Side] {
        match self {
            Self::MultiThread => &[Side::Client],
            Self::OneCaller | Self::Callers64 | Self::Echo64KiB | Self::Objects => &[Side::Client, Side::Server],
        }
    }

    /// One worker: which of two takes up a task is another in every run.
    pub(crate) fn client_runtime(self) -> io::Result<Runtime> {
        match self {
            Self::MultiThread => Builder::new_multi_thread().worker_threads(1).enable_all().build(),
            Self::OneCaller | Self::Callers64 | Self::Echo64KiB | Self::Objects => {
                Builder::new_current_thread().enable_all().build()
            }
        }
    }
}

/// The runtime of every server. Its clock stands still, which only the current-thread runtime offers:
/// a method keeps its place in the reader by ending quickly, and under valgrind none is sure to.
pub(crate) fn server_runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().start_paused(true).build()
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_all() {
        for case in Case::ALL {
            assert_eq!(Case::named(case.name()).unwrap(), case);
        }
        let unknown = Case::named("callers").unwrap_err().to_string();
        assert!(unknown.contains("one-caller, callers-64, "), "{unknown}");
    }
}

//! What is measured, and on which runtime.

use clap::ValueEnum;
use tokio::runtime::{Builder, Runtime};

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// One caller, small calls one after the other, both processes on one core.
    #[value(name = "one-caller")]
    OneCaller,
    /// 64 callers on one connection, small calls.
    #[value(name = "callers-64")]
    Callers64,
    /// 256 callers on one connection, small calls.
    #[value(name = "callers-256")]
    Callers256,
    /// One caller, 64 KiB there and back.
    #[value(name = "echo-64kib")]
    Echo64KiB,
    /// One caller, 1 MiB there and back.
    #[value(name = "echo-1mib")]
    Echo1MiB,
    /// One caller, 16 MiB there and back.
    #[value(name = "echo-16mib")]
    Echo16MiB,
}

/// One call of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// `add(i64, i64) -> i64`.
    Add,
    /// `echo` of so many bytes.
    Echo(usize),
}

impl Row {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::OneCaller => "one caller, one core",
            Self::Callers64 => "64 callers",
            Self::Callers256 => "256 callers",
            Self::Echo64KiB => "echo of 64 KiB",
            Self::Echo1MiB => "echo of 1 MiB",
            Self::Echo16MiB => "echo of 16 MiB",
        }
    }

    pub(crate) const fn work(self) -> Work {
        match self {
            Self::OneCaller | Self::Callers64 | Self::Callers256 => Work::Add,
            Self::Echo64KiB => Work::Echo(64 << 10),
            Self::Echo1MiB => Work::Echo(1 << 20),
            Self::Echo16MiB => Work::Echo(16 << 20),
        }
    }

    pub(crate) const fn callers(self) -> usize {
        match self {
            Self::OneCaller | Self::Echo64KiB | Self::Echo1MiB | Self::Echo16MiB => 1,
            Self::Callers64 => 64,
            Self::Callers256 => 256,
        }
    }

    /// Of how many calls of a caller one is timed: reading the clock costs a tenth of the cheapest call.
    pub(crate) const fn timed_every(self) -> u32 {
        match self {
            Self::OneCaller | Self::Echo64KiB | Self::Echo1MiB | Self::Echo16MiB => 1,
            Self::Callers64 | Self::Callers256 => 16,
        }
    }

    /// Whether both processes share one core. On two, a sequential call mostly measures how fast an
    /// idle core wakes.
    pub(crate) const fn is_pinned(self) -> bool {
        matches!(self, Self::OneCaller)
    }
}

/// A tokio runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flavour {
    /// One thread.
    #[value(name = "current_thread")]
    CurrentThread,
    /// Two workers.
    #[value(name = "multi_thread")]
    MultiThread,
}

impl Flavour {
    pub(crate) fn runtime(self) -> std::io::Result<Runtime> {
        match self {
            Self::CurrentThread => Builder::new_current_thread().enable_all().build(),
            Self::MultiThread => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
        }
    }
}

/// The name of a row, a flavour or a peer on the command line.
pub(crate) fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

//! What is measured, and on which runtime.

use std::time::Duration;

use clap::ValueEnum;
use tokio::runtime::{Builder, Runtime};

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// One caller, small calls one after the other, both processes on one core
    #[value(name = "one-caller")]
    OneCaller,
    /// 64 callers on one connection, small calls
    #[value(name = "callers-64")]
    Callers64,
    /// 256 callers on one connection, small calls
    #[value(name = "callers-256")]
    Callers256,
    /// 100 connections with 4 callers each, small calls
    #[value(name = "connections-100")]
    Connections100,
    /// One caller, 64 KiB there and back
    #[value(name = "echo-64kib")]
    Echo64KiB,
    /// One caller, 1 MiB there and back
    #[value(name = "echo-1mib")]
    Echo1MiB,
    /// One caller, 16 MiB there and back
    #[value(name = "echo-16mib")]
    Echo16MiB,
    /// One caller, a thousand small structs there and back
    #[value(name = "echo-structs")]
    EchoStructs,
    /// One caller makes an object, calls it and drops it, both processes on one core
    #[value(name = "objects")]
    Objects,
    /// One caller is called back in every call, both processes on one core
    #[value(name = "callbacks")]
    Callbacks,
    /// Small calls while 64 MiB move on the same connection, beside the same on the idle connection
    #[value(name = "beside-transfer")]
    BesideTransfer,
    /// A million exported objects, each held by a client: bytes at both ends
    #[value(name = "held-objects")]
    HeldObjects,
    /// How long after a reference is dropped its object is
    #[value(name = "release")]
    Release,
}

/// One call of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// `add(i64, i64) -> i64`.
    Add,
    /// `echo` of so many bytes.
    Echo(usize),
    /// `echo` of a thousand structs.
    EchoStructs,
    /// An object is made, returned, called and dropped.
    Object,
    /// A call with a callback in it.
    CallBack,
    /// Small calls first alone, then beside large ones.
    Beside,
    /// Objects are made and held.
    Hold,
    /// A reference is dropped, and its object.
    Release,
}

/// Rows whose numbers are of the same kind: a table each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Calls,
    Bodies,
    Objects,
    Beside,
    Held,
    Release,
}

impl Group {
    pub(crate) const ALL: [Self; 6] =
        [Self::Calls, Self::Bodies, Self::Objects, Self::Beside, Self::Held, Self::Release];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Calls => "Small calls",
            Self::Bodies => "Large arguments and results",
            Self::Objects => "Objects and callbacks",
            Self::Beside => "Small calls beside a transfer of 64 MiB",
            Self::Held => "Objects held by a client",
            Self::Release => "From a dropped reference to the dropped object",
        }
    }

    /// Whether its rows are calls in a time, which have a rate.
    pub(crate) const fn has_rates(self) -> bool {
        matches!(self, Self::Calls | Self::Bodies | Self::Objects)
    }
}

impl Row {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::OneCaller => "one caller, one core",
            Self::Callers64 => "64 callers",
            Self::Callers256 => "256 callers",
            Self::Connections100 => "100 connections × 4 callers",
            Self::Echo64KiB => "echo of 64 KiB",
            Self::Echo1MiB => "echo of 1 MiB",
            Self::Echo16MiB => "echo of 16 MiB",
            Self::EchoStructs => "echo of 1000 structs",
            Self::Objects => "make, call, drop an object, one core",
            Self::Callbacks => "a callback in every call, one core",
            Self::BesideTransfer => "small call beside a transfer",
            Self::HeldObjects => "objects held by a client",
            Self::Release => "reference dropped, object dropped",
        }
    }

    pub(crate) const fn group(self) -> Group {
        match self {
            Self::OneCaller | Self::Callers64 | Self::Callers256 | Self::Connections100 => Group::Calls,
            Self::Echo64KiB | Self::Echo1MiB | Self::Echo16MiB | Self::EchoStructs => Group::Bodies,
            Self::Objects | Self::Callbacks => Group::Objects,
            Self::BesideTransfer => Group::Beside,
            Self::HeldObjects => Group::Held,
            Self::Release => Group::Release,
        }
    }

    pub(crate) const fn work(self) -> Work {
        match self {
            Self::OneCaller | Self::Callers64 | Self::Callers256 | Self::Connections100 => Work::Add,
            Self::Echo64KiB => Work::Echo(64 << 10),
            Self::Echo1MiB => Work::Echo(1 << 20),
            Self::Echo16MiB => Work::Echo(16 << 20),
            Self::EchoStructs => Work::EchoStructs,
            Self::Objects => Work::Object,
            Self::Callbacks => Work::CallBack,
            Self::BesideTransfer => Work::Beside,
            Self::HeldObjects => Work::Hold,
            Self::Release => Work::Release,
        }
    }

    pub(crate) const fn connections(self) -> usize {
        if matches!(self, Self::Connections100) { 100 } else { 1 }
    }

    /// On all connections together.
    pub(crate) const fn callers(self) -> usize {
        match self {
            Self::Callers64 => 64,
            Self::Callers256 => 256,
            Self::Connections100 => 400,
            _ => 1,
        }
    }

    /// Of how many calls of a caller one is timed: reading the clock costs a tenth of the cheapest call. A
    /// build for tests is in no such hurry, and the fewest calls are what it makes.
    pub(crate) const fn timed_every(self) -> u32 {
        if self.callers() > 1 && !cfg!(debug_assertions) { 16 } else { 1 }
    }

    /// Whether both processes share one core. On two, a sequential call mostly measures how fast an
    /// idle core wakes.
    pub(crate) const fn is_pinned(self) -> bool {
        matches!(self, Self::OneCaller | Self::Objects | Self::Callbacks)
    }

    /// The least time that says something: some calls are long.
    pub(crate) const fn measured_min(self) -> Duration {
        match self.work() {
            Work::Beside => Duration::from_millis(600),
            Work::Echo(len) if len > 1 << 20 => Duration::from_millis(300),
            _ => Duration::ZERO,
        }
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

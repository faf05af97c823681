//! The server, and what it holds.

use std::{io::stdin, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use rmi::{Node, Remote};
use rmi_harness::say;

use crate::{
    HEAP,
    desk::{Clerk, Desk, NAME},
};

/// How to serve.
#[derive(Args)]
pub(crate) struct Options {
    /// How long what a lost peer holds is kept.
    #[arg(long)]
    lease_millis: u64,
}

/// The numbers of a server that come back to where they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) connections: u64,
    pub(crate) exports: u64,
    pub(crate) imports: u64,
    pub(crate) calls: u64,
    pub(crate) leases: u64,
    pub(crate) streams: u64,
    /// Bytes allocated.
    pub(crate) heap: u64,
}

/// Serves until there are no more questions. All limits are the defaults.
pub(crate) fn run(options: &Options) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let lease = Duration::from_millis(options.lease_millis);
        let node = Node::builder().listen("tcp://127.0.0.1:0").lease(lease).start().await?;
        node.serve(NAME, &Remote::<dyn Desk>::new(Clerk));
        say("ready", node.endpoints().first().context("the node listens")?)?;
        tokio::task::spawn_blocking(move || {
            for question in stdin().lines() {
                match question?.as_str() {
                    "held" => say("held", Held::now(&node).to_line())?,
                    other => say("unknown", other)?,
                }
            }
            Ok(())
        })
        .await?
    })
}

impl Held {
    fn now(node: &Node) -> Self {
        let stats = node.stats();
        Self {
            connections: stats.connections as u64,
            exports: stats.exported_objects as u64,
            imports: stats.imported_references as u64,
            calls: stats.calls_in_flight as u64,
            leases: stats.leases as u64,
            streams: stats.streams as u64,
            heap: HEAP.allocated() as u64,
        }
    }

    fn to_line(self) -> String {
        let Self { connections, exports, imports, calls, leases, streams, heap } = self;
        format!("{connections} {exports} {imports} {calls} {leases} {streams} {heap}")
    }

    pub(crate) fn from_line(line: &str) -> Result<Self> {
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [connections, exports, imports, calls, leases, streams, heap] = numbers[..] else {
            bail!("no statistics: `{line}`")
        };
        Ok(Self { connections, exports, imports, calls, leases, streams, heap })
    }

    /// What there is more of than there was, in words; bytes come and go.
    pub(crate) fn beyond(self, before: Self) -> Vec<String> {
        let counts = [
            ("connections", self.connections, before.connections),
            ("exported objects", self.exports, before.exports),
            ("references", self.imports, before.imports),
            ("calls", self.calls, before.calls),
            ("leases", self.leases, before.leases),
            ("streams", self.streams, before.streams),
        ];
        let more = counts.into_iter().filter(|(_, now, then)| now > then);
        more.map(|(what, now, then)| format!("{} {what}", now - then)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_survives_the_pipe() {
        let held = Held { connections: 16, exports: 2, imports: 3, calls: 4, leases: 5, streams: 6, heap: 7 };
        assert_eq!(Held::from_line(&held.to_line()).unwrap(), held);
        assert!(Held::from_line("1 2").is_err());
    }

    #[test]
    fn only_growth_is_told() {
        let before = Held { connections: 16, calls: 3, ..Held::default() };
        let after = Held { connections: 18, leases: 1, ..Held::default() };
        assert_eq!(after.beyond(before), ["2 connections", "1 leases"]);
        assert!(before.beyond(before).is_empty());
    }
}

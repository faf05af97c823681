//! The server of a study: two objects, `busy` and `small`.

use std::io::stdin;

use anyhow::{Context, Result};
use clap::Args;
use rmi::{Limits, Node, Remote};
use rmi_harness::say;

use super::desk::{Clerk, Desk};
use crate::{machine::cpu_time, row::Flavour};

/// How to serve.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(long, default_value = "current_thread")]
    flavour: Flavour,
    /// How many calls one peer may have in flight.
    #[arg(long)]
    calls: Option<u32>,
}

/// Serves until there are no more questions.
pub(super) fn run(options: &Options) -> Result<()> {
    options.flavour.runtime()?.block_on(async {
        let mut limits = Limits::default();
        limits.calls = options.calls.unwrap_or(limits.calls);
        let node = Node::builder().listen("tcp://127.0.0.1:0").limits(limits).start().await?;
        for name in ["busy", "small"] {
            node.serve(name, &Remote::<dyn Desk>::new(Clerk));
        }
        let endpoints = node.endpoints();
        say("ready", endpoints.first().context("the node listens")?)?;
        tokio::task::spawn_blocking(move || answer(&node)).await?
    })
}

/// CPU time, and what the node holds: calls in flight, exported objects, connections.
fn answer(node: &Node) -> Result<()> {
    for question in stdin().lines() {
        match question?.as_str() {
            "cpu" => say("cpu", cpu_time().as_nanos())?,
            "left" => {
                let stats = node.stats();
                say("left", format!("{} {} {}", stats.calls_in_flight, stats.exported_objects, stats.connections))?;
            }
            _ => say("unknown", "")?,
        }
    }
    Ok(())
}

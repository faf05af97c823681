//! rmi measured side by side with the floor and its peers: two processes over loopback, in interleaved
//! rounds.
//!
//! `cargo xtask bench` runs it optimised.

mod chart;
mod contract;
mod goals;
mod load;
mod machine;
mod native;
mod peers;
mod plan;
mod process;
mod report;
mod results;
mod rounds;
mod row;
mod studies;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use rmi_harness::say;

use crate::{
    contract::{Holding, answer_questions, wait_for_go},
    load::run,
    machine::memory,
    peers::{Caller, Peer, Visit},
    plan::Plan,
    row::{Flavour, Row, Work},
    studies::Study,
};

/// rmi measured side by side with the floor and its peers.
///
/// Every number is taken of two fresh processes over loopback, the peers in turns and in several
/// rounds; what is printed are medians over the rounds, and ratios are medians of the ratios in the
/// same round: read these first. Peers in other languages are compiled first, and left out with a
/// word on what is missing where that fails.
#[derive(Parser)]
#[command(name = "rmi-bench", args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    /// Measure these rows only; takes several, and may be repeated.
    #[arg(long, value_name = "ROW", num_args = 1.., value_delimiter = ',', hide_possible_values = false)]
    only: Vec<Row>,

    /// Measure these peers only; the floor is what ratios are taken to.
    #[arg(long, value_name = "PEER", num_args = 1.., value_delimiter = ',')]
    peer: Vec<Peer>,

    /// Short rounds and fewer peers: all in less than a minute, and noisier.
    #[arg(long)]
    quick: bool,

    /// Write the tables to benches/RESULTS.md and a picture of them to benches/results.svg.
    #[arg(long)]
    write: bool,

    #[command(subcommand)]
    role: Option<Role>,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench                                    all of it, half an hour
  cargo xtask bench --quick                            a first look, a minute
  cargo xtask bench --only callers-64 callers-256      two rows
  cargo xtask bench --peer floor rmi tarpc             three peers
  cargo xtask bench --only echo-1mib --peer floor rmi omniorb --quick

rmi-bench is its own server and client, too: benches/README.md has the contract that all measured
programs keep.";

/// What else is measured, and what the processes of a measurement are.
#[derive(Subcommand)]
enum Role {
    #[command(flatten)]
    Study(Study),
    /// Holds the objects.
    #[command(hide = true)]
    Serve(Common),
    /// Calls them.
    #[command(hide = true)]
    Call(Call),
}

#[derive(Args)]
struct Common {
    #[arg(long)]
    peer: Peer,
    #[arg(long, default_value = "current_thread")]
    flavour: Flavour,
    #[arg(long)]
    row: Row,
}

#[derive(Args)]
struct Call {
    #[command(flatten)]
    common: Common,
    #[arg(long)]
    url: String,
    /// Milliseconds.
    #[arg(long)]
    warm_up: u64,
    /// Milliseconds.
    #[arg(long)]
    measured: u64,
    /// How many objects are held.
    #[arg(long, default_value_t = 1_000_000)]
    count: usize,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.role {
        None => compare(&cli),
        Some(Role::Study(study)) => studies::run(&study),
        Some(Role::Serve(common)) => serve(&common),
        Some(Role::Call(call)) => call_and_tell(&call),
    }
}

fn compare(cli: &Cli) -> Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("warning: a debug build says nothing about speed; use `cargo xtask bench`");
    }
    let plan = if cli.quick { Plan::quick(&cli.only, &cli.peer) } else { Plan::full(&cli.only, &cli.peer) };
    let results = rounds::measure(&plan)?;
    let report = report::Report::new(&plan, &results, &machine::describe(&results.peers()));
    println!("{}", report.plain());
    if cli.write {
        report.write()?;
        chart::write(&results)?;
    }
    Ok(())
}

fn serve(common: &Common) -> Result<()> {
    common.peer.run(common.flavour, async {
        let served = common.peer.serve().await?;
        say("ready", &served.url)?;
        tokio::task::spawn_blocking(answer_questions).await??;
        drop(served.alive);
        Ok(())
    })
}

fn call_and_tell(call: &Call) -> Result<()> {
    let Common { peer, flavour, row } = call.common;
    let millis = Duration::from_millis;
    let measure = Measure { row, warm_up: millis(call.warm_up), measured: millis(call.measured), count: call.count };
    peer.run(flavour, peer.visit(&call.url, row.connections(), measure))
}

/// Warms up, waits for the word, measures, tells.
struct Measure {
    row: Row,
    warm_up: Duration,
    measured: Duration,
    count: usize,
}

impl Visit for Measure {
    type Output = ();

    async fn visit<C: Caller>(self, callers: Vec<C>) -> Result<()> {
        if self.row.work() == Work::Hold {
            return self.hold(&callers).await;
        }
        run(&callers, self.row, self.warm_up).await?;
        say("warm", "")?;
        tokio::task::spawn_blocking(wait_for_go).await??;
        say("done", run(&callers, self.row, self.measured).await?.to_line())
    }
}

impl Measure {
    /// The objects are held from before `warm` until after `done`.
    async fn hold<C: Caller>(self, callers: &[C]) -> Result<()> {
        let memory_before = memory().unwrap_or(0);
        let mut held = Vec::new();
        for caller in callers {
            held.push(caller.hold(self.count).await?);
        }
        let memory_after = memory().unwrap_or(0);
        say("warm", "")?;
        tokio::task::spawn_blocking(wait_for_go).await??;
        say("done", Holding { objects: self.count as u64, memory_before, memory_after }.to_line())?;
        drop(held);
        Ok(())
    }
}

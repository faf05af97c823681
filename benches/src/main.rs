//! rmi measured side by side with the floor: two processes over loopback, in interleaved rounds.
//!
//! `cargo xtask bench` runs it in release.

mod load;
mod machine;
mod peers;
mod process;
mod report;
mod rounds;
mod row;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    load::{Sample, run},
    peers::{Caller, Peer, Visit},
    process::{answer_questions, say, wait_for_go},
    rounds::Plan,
    row::{Flavour, Row},
};

/// rmi measured side by side with the floor.
#[derive(Parser)]
#[command(name = "rmi-bench")]
struct Cli {
    /// Measure this row only; may be repeated.
    #[arg(long, value_name = "ROW")]
    only: Vec<Row>,

    /// Short rounds: all rows in less than a minute, and noisier.
    #[arg(long)]
    quick: bool,

    /// Write the tables to benches/RESULTS.md.
    #[arg(long)]
    write: bool,

    #[command(subcommand)]
    role: Option<Role>,
}

/// What the processes of a measurement are; started by the program itself.
#[derive(Subcommand)]
#[command(hide = true)]
enum Role {
    /// Holds the object.
    #[command(hide = true)]
    Serve(Common),
    /// Calls it.
    #[command(hide = true)]
    Call(Call),
}

#[derive(Args)]
struct Common {
    #[arg(long)]
    peer: Peer,
    #[arg(long)]
    flavour: Flavour,
    /// The core to stay on.
    #[arg(long)]
    pin: Option<usize>,
}

#[derive(Args)]
struct Call {
    #[command(flatten)]
    common: Common,
    #[arg(long)]
    row: Row,
    #[arg(long)]
    url: String,
    /// Milliseconds.
    #[arg(long)]
    warm_up: u64,
    /// Milliseconds.
    #[arg(long)]
    measured: u64,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.role {
        None => compare(&cli),
        Some(Role::Serve(common)) => serve(&common),
        Some(Role::Call(call)) => call_and_tell(call),
    }
}

fn compare(cli: &Cli) -> Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("warning: a debug build says nothing about speed; use `cargo xtask bench`");
    }
    let rows = if cli.only.is_empty() { Row::value_variants() } else { &cli.only };
    let plan = if cli.quick { Plan::QUICK } else { Plan::FULL };
    let summaries = rounds::measure(rows, plan)?;
    let legend = report::legend(rows, plan, &machine::describe());
    println!("{}\n\n{}", legend.join("\n"), report::plain(&summaries));
    if cli.write {
        report::write(&summaries, &legend)?;
    }
    Ok(())
}

fn serve(common: &Common) -> Result<()> {
    common.pin.map_or(Ok(()), machine::pin)?;
    common.flavour.runtime()?.block_on(async {
        let served = common.peer.serve().await?;
        say("ready", &served.url)?;
        tokio::task::spawn_blocking(answer_questions).await??;
        drop(served.alive);
        Ok(())
    })
}

fn call_and_tell(call: Call) -> Result<()> {
    let Call { common, row, url, warm_up, measured } = call;
    common.pin.map_or(Ok(()), machine::pin)?;
    let measure = Measure { row, warm_up: Duration::from_millis(warm_up), measured: Duration::from_millis(measured) };
    let sample = common.flavour.runtime()?.block_on(common.peer.visit(&url, measure))?;
    say("done", sample.to_line())
}

/// Warms up, waits for the word, measures.
struct Measure {
    row: Row,
    warm_up: Duration,
    measured: Duration,
}

impl Visit for Measure {
    type Output = Sample;

    async fn visit<C: Caller>(self, caller: C) -> Result<Sample> {
        run(&caller, self.row, self.warm_up).await?;
        say("warm", "")?;
        tokio::task::spawn_blocking(wait_for_go).await??;
        run(&caller, self.row, self.measured).await
    }
}

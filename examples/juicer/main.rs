//! A soak: processes make objects, pass references along, clone and drop them, and recurse into each
//! other to a random depth. Then everything is released, and every object must have been dropped.
//!
//! `cargo run --release --example juicer -- --minutes 1` fails on a leak and on any failed call. What
//! each process does is in `press.rs`.

#[path = "../bank/child.rs"]
mod child;
mod press;

use std::{convert::Infallible, process::ExitCode, time::Duration};

use anyhow::ensure;
use clap::{Parser, value_parser};
use futures_util::future::{join_all, select_all, try_join_all};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use rmi::{CallOptions, Node, RegistryServer, Remote};
use tokio::time::{Instant, sleep};

use crate::{
    child::Child,
    press::{Juicer, Tally},
};

/// Time for everything beside the squeezing itself.
const BESIDE: Duration = Duration::from_secs(60);

/// Squeezes objects through processes, and counts whether all come out again.
#[derive(Debug, Parser)]
#[command(name = "juicer")]
struct Options {
    /// How long, in minutes or parts of one.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// How many processes call each other.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u64).range(2..=32))]
    processes: u64,
    /// Where the random choices start.
    #[arg(long, value_name = "N", default_value_t = 1099)]
    seed: u64,
    /// Be one of the processes, bound to this name.
    #[arg(long, value_name = "URL", hide = true)]
    role: Option<String>,
    /// Leave when standard input ends.
    #[arg(long, hide = true)]
    attached: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.role {
        Some(name) => press::run(name, options.attached).await,
        None => run(&options).await,
    };
    outcome.inspect_err(|error| eprintln!("juicer: {error:#}")).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// Starts every process, and ends and reaps every one whatever happens.
async fn run(options: &Options) -> anyhow::Result<()> {
    let time = Duration::try_from_secs_f64(options.minutes * 60.0)?;
    ensure!(options.minutes <= 1e6, "{} minutes are more than a year", options.minutes);
    println!("{} processes for {} s, --seed {}", options.processes, time.as_secs_f64(), options.seed);
    let registry = RegistryServer::builder().listen("tcp://127.0.0.1:0").start().await?;
    let names: Vec<_> = (1..=options.processes).map(|number| format!("{}/juicer-{number}", registry.url())).collect();
    let mut children = names.iter().map(|name| Child::start(name, &["--role", name])).collect::<Result<Vec<_>, _>>()?;
    let play = async {
        try_join_all(children.iter_mut().map(Child::first_line)).await?;
        let lost = select_all(children.iter_mut().map(|child| Box::pin(child.lost())));
        tokio::select! {
            outcome = squeeze(&names, time, options.seed) => outcome,
            (error, ..) = lost => Err(error),
        }
    };
    let outcome = tokio::select! {
        outcome = play => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        () = sleep(time + BESIDE) => Err(anyhow::anyhow!("does not come to its end")),
    };
    Node::current().shutdown().await;
    join_all(children.into_iter().map(Child::end)).await;
    registry.shutdown().await;
    outcome
}

async fn squeeze(names: &[String], time: Duration, seed: u64) -> anyhow::Result<()> {
    let juicers: Vec<Remote<dyn Juicer>> = try_join_all(names.iter().map(|name| rmi::lookup(name))).await?;
    let tallies = || try_join_all(juicers.iter().map(|juicer| juicer.tally()));
    let before = tallies().await?;
    let juiced = join_all(juicers.iter().zip(seed..).map(async |(juicer, seed)| {
        let patient = Remote::with(juicer, CallOptions::new().timeout(time + BESIDE));
        patient.juice(juicers.clone(), seed, time).await
    }));

    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} s, {msg}")?;
    let bar = ProgressBar::new(time.as_secs()).with_style(style);
    let progress = async {
        loop {
            sleep(Duration::from_millis(250)).await;
            bar.set_message(format!("{} calls", HumanCount(tallies().await?.iter().map(|tally| tally.calls).sum())));
            bar.set_position(bar.elapsed().as_secs());
        }
    };
    // All have come to their end before the first one lets go: none calls one that forgot the rest.
    let juiced: Vec<rmi::Result<()>> = tokio::select! {
        juiced = juiced => juiced,
        rmi::Result::<Infallible>::Err(lost) = progress => return Err(lost.into()),
    };
    bar.finish_and_clear();
    try_join_all(juicers.iter().map(|juicer| juicer.release())).await?;
    let released = Instant::now();
    let mut after = tallies().await?;
    // Where that takes too long, the table tells what is left.
    while after.iter().any(|tally| tally.made != tally.freed) && released.elapsed() < BESIDE / 4 {
        sleep(Duration::from_millis(20)).await;
        after = tallies().await?;
    }
    let total = report(&before, &after);
    juiced.into_iter().collect::<rmi::Result<()>>()?;
    ensure!(total.made == total.freed, "{} objects made, {} freed", total.made, total.freed);
    Ok(())
}

/// Prints a row for each process and one for all, and returns the sums.
fn report(before: &[Tally], after: &[Tally]) -> Tally {
    let memory = |bytes: Option<u64>| bytes.map_or_else(|| "n/a".to_owned(), |bytes| HumanBytes(bytes).to_string());
    let print = |name: &str, before: Tally, after: Tally| {
        let leaks = after.made.saturating_sub(after.freed);
        let counts = [after.calls, after.made, after.freed, leaks].map(|count| HumanCount(count).to_string());
        let cells = counts.into_iter().chain([memory(before.memory), memory(after.memory)]);
        println!("{name:<9}{}", cells.map(|cell| format!("{cell:>12}")).collect::<String>());
    };
    println!("{:<9}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}", "", "calls", "made", "freed", "leaks", "at start", "at end");
    for ((before, after), number) in before.iter().zip(after).zip(1..) {
        print(&format!("juicer {number}"), *before, *after);
    }
    let [before, after] =
        [before, after].map(|tallies| tallies.iter().copied().reduce(Tally::plus).unwrap_or_default());
    print("total", before, after);
    after
}

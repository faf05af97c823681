//! The run: starts the processes, has them measure and attack, and judges.

use std::{
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rmi_harness::{Process, allow_files, forget_peak, open_files, peak, resident};

use crate::{
    attacks::Kind,
    process::start,
    report,
    sample::Sample,
    server::Held,
    verdict::{Round, State, Trial},
};

/// How to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these attacks; all unless named.
    #[arg(value_name = "KIND")]
    kinds: Vec<Kind>,

    /// How long each attack lasts.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,

    /// How often each attack is repeated on the same server: what leaks, leaks again.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Keep the tables in abuse/RESULTS.md.
    #[arg(long)]
    write: bool,
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  cargo xtask abuse                       all attacks, some five minutes: on a machine that does nothing else
  cargo xtask abuse silent deaf           two of them
  cargo xtask abuse values --seconds 30   for longer
  cargo xtask abuse --write               and keep the tables in abuse/RESULTS.md

All of it is on this machine, over loopback. A silent connection costs a file in two processes: where the system allows
fewer than 10,000, there are fewer, and the first line says so (`ulimit -Hn`).

Exit status: 0 no attack did harm, 1 one did, 2 the command line was wrong.";

/// Silent connections wanted.
const CONNECTIONS: u64 = 10_000;
/// Files of a process beside those.
const OTHER_FILES: u64 = 500;
/// What the server keeps of a lost peer it keeps for this long: by default it would be 30 s, and the run takes longer.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
/// How long counts and files may take to come back: the lease, and time for everything behind it.
const SETTLED_WITHIN: Duration = Duration::from_secs(25);
/// Memory comes back within this: a lost link over which nothing was held is no count, and stays for the time to connect.
const MEMORY_WITHIN: Duration = LEASE;
/// So much is no matter.
const MEMORY_NEARLY: u64 = 1 << 20;
const LOOK_LONGER: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs, prints, and tells whether all is well.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if cfg!(debug_assertions) {
        eprintln!("warning: a debug build says little about speed; use `cargo xtask abuse`");
    }
    let files = allow_files(CONNECTIONS + OTHER_FILES);
    let connections = CONNECTIONS.min(files.saturating_sub(OTHER_FILES));
    if connections < CONNECTIONS {
        println!(
            "this system allows {files} open files: {connections} silent connections instead of {CONNECTIONS} \
             (raise `ulimit -Hn`)"
        );
    }
    let kinds = if options.kinds.is_empty() { Kind::value_variants() } else { &options.kinds };
    let bar = ProgressBar::new(kinds.len() as u64 * u64::from(options.rounds + 1));
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  ({eta} left)")?);
    let mut trials = Vec::new();
    for kind in kinds {
        let trial = attempt(*kind, options, connections, &bar);
        trials.push(trial.with_context(|| format!("the attack `{}` could not be measured", kind.name()))?);
    }
    bar.finish_and_clear();
    let legend = report::legend(options.seconds, options.rounds, connections);
    report::print(&legend, &trials);
    if options.write {
        report::write(&legend, &trials)?;
    }
    let all_well = trials.iter().all(|trial| trial.complaints().is_empty());
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One attack, on a server of its own.
fn attempt(kind: Kind, options: &Options, connections: u64, bar: &ProgressBar) -> Result<Trial> {
    let name = kind.name();
    bar.set_message(format!("{name}: quiet"));
    let mut server = start(&["server".to_owned(), format!("--lease-millis={}", LEASE.as_millis())])?;
    let endpoint = format!("--endpoint={}", server.expect("ready")?);
    let mut honest = start(&["honest".to_owned(), endpoint.clone()])?;
    honest.expect("ready")?;
    let duration = Duration::from_secs(options.seconds);
    // Once for nothing: what the server allocates once is no growth.
    measure(&mut honest, Duration::from_secs(1))?;
    let without = measure(&mut honest, duration)?;
    bar.inc(1);
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        bar.set_message(format!("{name}: round {number}"));
        let before = at_rest(&mut server)?;
        forget_peak(&server);
        let attack = ["abuser".to_owned(), name.clone(), endpoint.clone()];
        let bounds = [format!("--millis={}", duration.as_millis()), format!("--connections={connections}")];
        let mut abuser = start(&[&attack[..], &bounds].concat())?;
        abuser.expect("ready")?;
        let with = measure(&mut honest, duration)?;
        let told = abuser.expect("done")?;
        drop(abuser);
        let peak = peak(&server);
        bar.set_message(format!("{name}: round {number}, and after it"));
        let start = rounds.first().map_or(before, |first: &Round| first.before);
        let (after, settled) = settle(&mut server, start)?;
        rounds.push(Round { told, before, with, peak, after, settled });
        bar.inc(1);
    }
    Ok(Trial { kind, without, rounds })
}

fn measure(honest: &mut Process, duration: Duration) -> Result<Sample> {
    honest.tell(&format!("measure {}", duration.as_millis()))?;
    Sample::from_line(&honest.expect("measured")?)
}

fn state(server: &mut Process) -> Result<State> {
    server.tell("held")?;
    let held = Held::from_line(&server.expect("held")?)?;
    Ok(State { memory: resident(server), files: open_files(server), held })
}

/// The server, once what honest diallers have just left is gone.
fn at_rest(server: &mut Process) -> Result<State> {
    let rest = Held { connections: crate::honest::CLIENTS, exports: u64::MAX, ..Held::default() };
    let start = Instant::now();
    loop {
        let state = state(server)?;
        if state.held.beyond(rest).is_empty() || start.elapsed() > SETTLED_WITHIN {
            return Ok(state);
        }
        sleep(LOOK_EVERY);
    }
}

/// Waits until nothing is left of an attack, and then for memory; tells how long the first took.
fn settle(server: &mut Process, before: State) -> Result<(State, Duration)> {
    let start = Instant::now();
    let is_more = |now: Option<u64>, then: Option<u64>| now.zip(then).is_some_and(|(now, then)| now > then);
    let mut now = state(server)?;
    while start.elapsed() < SETTLED_WITHIN
        && (!now.held.beyond(before.held).is_empty() || is_more(now.files, before.files))
    {
        sleep(LOOK_EVERY);
        now = state(server)?;
    }
    let settled = start.elapsed();
    let nearly = before.held.heap + MEMORY_NEARLY;
    while start.elapsed() < settled.max(MEMORY_WITHIN) + LOOK_LONGER && now.held.heap > nearly {
        sleep(LOOK_EVERY);
        now = state(server)?;
    }
    Ok((now, settled))
}

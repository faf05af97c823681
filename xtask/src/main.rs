//! The workshop: `cargo xtask check | test | loom | simulate | fuzz | bench | counts | abuse | deny | bless`. Needs nothing
//! but cargo.

mod counts;
mod report;
mod step;
mod tasks;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::step::run_all;

/// The workshop of rmi.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    task: Task,

    /// Run the steps that are left when one has failed.
    #[arg(long, global = true)]
    keep_going: bool,
}

#[derive(Subcommand)]
enum Task {
    /// Format, clippy and rustdoc, each with warnings denied; changes no file.
    Check,
    /// Every test but those of the benchmarks: unit, integration and ui tests, doctests; the examples are built.
    Test(Runner),
    /// Every order in which threads may meet in what they share, with loom.
    Loom(Runner),
    /// Random programs on simulated networks, in release, until one fails.
    Simulate(Simulate),
    /// Look for bytes that what reads them does not bear, with libFuzzer, on the nightly toolchain.
    Fuzz(Fuzz),
    /// Measure rmi beside the floor and its peers, in release; tables at the end.
    Bench(Bench),
    /// Count the instructions of a call, under valgrind, and compare them with those recorded.
    Counts(Instructions),
    /// Attack a server in nine ways, in release, and measure what its honest clients feel; fails where one does harm.
    Abuse(Abuse),
    /// Licences, duplicates, sources and known weaknesses of what programs of users are built of, by cargo-deny.
    Deny,
    /// Run the tests so that they write their golden files anew; look at `git diff` afterwards.
    Bless(Runner),
}

#[derive(Args)]
struct Runner {
    /// Passed on to the runner of the tests: nextest where it is installed (not for loom), else `cargo test`.
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

#[derive(Args)]
struct Simulate {
    /// How many programs (100,000 unless set).
    #[arg(long, value_name = "N")]
    programs: Option<u32>,

    /// What they are drawn from (1099 unless set).
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
}

#[derive(Args)]
struct Fuzz {
    /// What reads the bytes; all in turn unless set, and an unknown one lists all.
    target: Option<String>,

    /// How long for each target (60 unless set).
    #[arg(long, value_name = "N")]
    seconds: Option<u32>,

    /// Let it read this file only, without libFuzzer.
    #[arg(long, requires = "target", conflicts_with = "seconds")]
    file: Option<PathBuf>,
}

#[derive(Args)]
struct Bench {
    /// Measure these rows only (several, or repeated); an unknown one lists all.
    #[arg(long, value_name = "ROW", num_args = 1..)]
    only: Vec<String>,

    /// Measure these peers only (several, or repeated); an unknown one lists all.
    #[arg(long, value_name = "PEER", num_args = 1..)]
    peer: Vec<String>,

    /// Short rounds and fewer peers: all in a minute, and noisier.
    #[arg(long)]
    quick: bool,

    /// Write the tables to benches/RESULTS.md and a picture to benches/results.svg.
    #[arg(long)]
    write: bool,

    /// Measure nothing: run the tests of the package, in which every Rust peer does every row.
    #[arg(long, conflicts_with_all = ["only", "peer", "quick", "write"])]
    check: bool,
}

#[derive(Args)]
struct Instructions {
    /// Count this case only (may be repeated); an unknown one lists all.
    #[arg(long, value_name = "CASE")]
    only: Vec<String>,

    /// Record the figures in counts/RECORDED.txt.
    #[arg(long, conflicts_with = "only")]
    write: bool,

    /// Tell where the instructions of these cases go, function by function.
    #[arg(long, value_name = "CASE", num_args = 1.., conflicts_with_all = ["only", "write"])]
    profile: Vec<String>,
}

#[derive(Args)]
struct Abuse {
    /// Only these attacks; an unknown one lists all.
    #[arg(value_name = "KIND")]
    kinds: Vec<String>,

    /// How long each attack lasts (6 s unless set).
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,

    /// How often each attack is repeated on the same server (twice unless set).
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,

    /// Keep the tables in abuse/RESULTS.md.
    #[arg(long)]
    write: bool,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask check --keep-going       all complaints in one go
  cargo xtask test                     what CI runs
  cargo xtask test -- -p rmi-core      the tests of one package
  cargo xtask simulate --seed 7        other random programs
  cargo xtask fuzz session --seconds 600
  cargo xtask bench --quick            a first look at the speed
  cargo xtask bench --only callers-64 --peer floor rmi tarpc
  cargo xtask counts --write           a call costs something else, and is meant to
  cargo xtask counts --profile callers-64
  cargo xtask abuse silent deaf        two of the attacks
  cargo xtask bless -- -p rmi-macros   new expansion snapshots and ui messages

Exit status: 0 all is well, 1 a step failed, 2 the command line was wrong.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let counted =
        matches!(cli.task, Task::Test(_) | Task::Loom(_) | Task::Bless(_) | Task::Bench(Bench { check: true, .. }));
    let steps = match cli.task {
        Task::Check => tasks::check(),
        Task::Test(runner) => tasks::test(&runner.args),
        Task::Loom(runner) => tasks::loom(&runner.args),
        Task::Simulate(simulate) => tasks::simulate(simulate.programs, simulate.seed),
        Task::Fuzz(fuzz) => tasks::fuzz(fuzz),
        Task::Bench(Bench { check: true, .. }) => tasks::check_bench(),
        Task::Bench(bench) => tasks::bench(&bench),
        Task::Abuse(abuse) => tasks::abuse(&abuse),
        Task::Counts(counts) => tasks::counts(&counts.only, counts.write, &counts.profile),
        Task::Deny => tasks::deny(),
        Task::Bless(runner) => tasks::bless(&runner.args),
    };
    let finished = run_all(steps, cli.keep_going);
    report::print(&finished, counted);
    if finished.iter().any(|step| step.outcome.is_failure()) { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

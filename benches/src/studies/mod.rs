//! Studies of rmi alone: what one caller does to another, what too much work does, what growth costs, what
//! pipelining saves, and what a user's build takes.

mod chains;
mod compile;
mod desk;
mod fairness;
mod guest;
mod host;
mod overload;
mod program;
mod scale;

use std::{fs, path::Path};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use rmi_harness::{Process, Table, number};

use crate::{machine::describe, peers::Peer, process};

/// What may be studied, and the processes that take part.
#[derive(Subcommand)]
pub(crate) enum Study {
    /// What disturbances do to small calls to another object
    ///
    /// While one client moves 64 MiB in each call, has slow or blocked handlers run, or asks for replies that
    /// it never reads, small calls are made one after the other to another object: on the same connection, and
    /// on another one from another process. Each is compared with the same calls just before, without the
    /// disturbance, on both of tokio's runtimes.
    #[command(after_help = "\
Examples:
  rmi-bench fairness --quick        a first look, half a minute
  rmi-bench fairness --write        and keep the table, in benches/fairness.md")]
    Fairness(Options),
    /// What 100,000 calls at once do to a server that is slow
    ///
    /// One client starts them all; a method takes 10 ms. By choice they wait (the client's `waiting_calls`),
    /// are refused as overloaded, or run out of time (its `call_timeout`): each ends, and memory is bounded.
    #[command(after_help = "\
Examples:
  rmi-bench overload                less than a minute
  rmi-bench overload --quick        10,000 calls
  rmi-bench overload --write        and keep the table, in benches/overload.md")]
    Overload(Options),
    /// What a call costs among many connections and many objects
    ///
    /// Up to 5,000 connections, called one after the other, and up to a million objects that a client holds,
    /// called at random. Both processes are pinned to one core, so that the CPU time of a call is that of its
    /// work. It should stay flat: the ratios are to the first line.
    #[command(after_help = "\
Examples:
  rmi-bench scale --quick           up to 1,000 connections and 100,000 objects
  rmi-bench scale --write           all of it, and keep the tables, in benches/scale.md

Where the system allows fewer open files than connections, it says so and makes fewer.")]
    Scale(Options),
    /// What pipelining saves
    ///
    /// Chains of 2, 5 and 10 calls, each on the object that the one before returns: one by one, and in one go,
    /// over links whose round trips take no time, 10 and 50 ms.
    #[command(after_help = "\
Examples:
  rmi-bench chains --quick          a first look, half a minute
  rmi-bench chains --write          and keep the table, in benches/chains.md")]
    Chains(Options),
    /// What a build of five interfaces takes, beside the same with tarpc
    ///
    /// Generates two servers of five interfaces of twenty methods each, builds their dependencies, and then
    /// measures release builds of the servers themselves.
    #[command(after_help = "\
Examples:
  rmi-bench compile                 some minutes, most of it for the dependencies
  rmi-bench compile --quick         one build of each instead of the median of three
  rmi-bench compile --write         and keep the table, in benches/compile.md

CARGO_BUILD_JOBS bounds the builds, as always.")]
    Compile(Options),
    /// The server of a study.
    #[command(hide = true)]
    Host(host::Options),
    /// A client of a study.
    #[command(hide = true)]
    Guest(guest::Options),
}

/// How to study.
#[derive(Args, Clone, Copy)]
pub(crate) struct Options {
    /// Shorter and smaller: a first look, and noisier.
    #[arg(long)]
    quick: bool,

    /// Write the tables to the study's file in benches/, too.
    #[arg(long)]
    write: bool,
}

/// Does what was asked for.
pub(crate) fn run(study: &Study) -> Result<()> {
    match study {
        Study::Fairness(options) => told("fairness", options, &[Peer::Rmi], fairness::study),
        Study::Overload(options) => told("overload", options, &[Peer::Rmi], overload::study),
        Study::Scale(options) => told("scale", options, &[Peer::Rmi], scale::study),
        Study::Chains(options) => told("chains", options, &[Peer::Rmi], chains::study),
        Study::Compile(options) => told("compile", options, &[Peer::Rmi, Peer::Tarpc], compile::study),
        Study::Host(options) => host::run(options),
        Study::Guest(options) => guest::run(options),
    }
}

/// What a study found.
struct Findings {
    title: &'static str,
    legend: Vec<String>,
    sections: Vec<(&'static str, Table)>,
}

/// Studies, prints, and writes where that is wanted.
fn told(name: &str, options: &Options, peers: &[Peer], study: fn(bool) -> Result<Findings>) -> Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("warning: a debug build says nothing about speed; use `cargo run --release -p rmi-bench`");
    }
    let findings = study(options.quick)?;
    let legend: Vec<_> = describe(peers).into_iter().chain(findings.legend).collect();
    println!("{}", legend.join("\n"));
    for (title, table) in &findings.sections {
        println!("\n{title}\n\n{}", table.plain());
    }
    if options.write {
        let list: Vec<_> = legend.iter().map(|line| format!("- {line}")).collect();
        let title = format!("# {}", findings.title);
        let mut parts = vec![title, format!("Written by `rmi-bench {name} --write`."), list.join("\n")];
        for (title, table) in &findings.sections {
            parts.extend([format!("## {title}"), table.markdown()]);
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{name}.md"));
        fs::write(path, parts.join("\n\n") + "\n").with_context(|| format!("cannot write benches/{name}.md"))?;
    }
    Ok(())
}

/// A progress bar of so many steps.
fn bar(steps: usize) -> Result<ProgressBar> {
    let bar = ProgressBar::new(steps as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  ({eta} left)")?);
    Ok(bar)
}

/// Starts this program in another role.
fn start(args: &[String], core: Option<usize>) -> Result<Process> {
    let program = std::env::current_exe()?.to_string_lossy().into_owned();
    process::start(&[program], args, core)
}

/// Mebibytes, with as many decimals as say something.
fn mebibytes(bytes: Option<u64>) -> String {
    number(bytes.map_or(f64::NAN, |bytes| bytes as f64 / f64::from(1 << 20)), 1)
}

/// Three of them: before, at most, after.
fn course(before: Option<u64>, peak: Option<u64>, after: Option<u64>) -> String {
    format!("{} / {} / {}", mebibytes(before), mebibytes(peak), mebibytes(after))
}

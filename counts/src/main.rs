//! The instructions that a call costs its client and its server, counted under valgrind.
//!
//! `cargo xtask counts` runs it in release. How many there are does not depend on what else the
//! machine does, so that a loss too small for any clock shows.

mod case;
mod change;
mod cpu;
mod environment;
mod figure;
mod measure;
mod object;
mod profile;
mod record;
mod table;
mod valgrind;

use std::{env, process::ExitCode};

use anyhow::{Context, Result, bail};

use crate::{case::Case, change::Change, cpu::Cpu, environment::Environment, measure::measure, record::Record};

fn main() -> Result<ExitCode> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["serve"] => serve(),
        ["call", case, url, calls] => call(Case::named(case)?, url, calls.parse()?),
        ["--write"] => write(),
        ["--profile", cases @ ..] if !cases.is_empty() => profile(cases),
        only => check(&chosen(only)?),
    }
}

/// The cases of `--only=CASE`, or all.
fn chosen(args: &[&str]) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for arg in args {
        let Some(name) = arg.strip_prefix("--only=") else {
            bail!("unknown argument {arg}: see cargo xtask counts -h")
        };
        cases.push(Case::named(name)?);
    }
    Ok(if cases.is_empty() { Case::ALL.to_vec() } else { cases })
}

/// The server's process; it ends with its standard input.
fn serve() -> Result<ExitCode> {
    case::server_runtime()?.block_on(object::serve())?;
    Ok(ExitCode::SUCCESS)
}

/// The client's process.
fn call(case: Case, url: &str, calls: u32) -> Result<ExitCode> {
    case.client_runtime()?.block_on(object::call(url, case, calls))?;
    Ok(ExitCode::SUCCESS)
}

/// Counts and compares; fails where a figure has risen too far.
fn check(cases: &[Case]) -> Result<ExitCode> {
    let here = Environment::detect()?;
    let record = Record::read()?;
    let cores = cores();
    let mut changes = Vec::new();
    for &case in cases {
        changes.extend(measure(case, &cores, Some(&record))?.into_iter().map(|figure| Change::new(figure, &record)));
    }
    println!("{}", table::render(&changes));
    for line in changes.iter().filter_map(Change::remark).chain(record.environment.differences(&here)) {
        println!("{line}");
    }
    Ok(if changes.iter().any(Change::is_failure) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Tells where the instructions of these cases go.
fn profile(cases: &[&str]) -> Result<ExitCode> {
    Environment::detect()?;
    let cases = cases.iter().map(|name| Case::named(name)).collect::<Result<Vec<_>>>()?;
    let cores = cores();
    for case in cases {
        eprintln!("counting {case}");
        print!("{}", profile::profile(case, &cores)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts, compares and records.
fn write() -> Result<ExitCode> {
    let environment = Environment::detect()?;
    // Without it, or with one that cannot be read, all figures are new.
    let before = Record::read().unwrap_or_default();
    let mut record = Record { environment, figures: Vec::new() };
    let cores = cores();
    for case in Case::ALL {
        record.figures.extend(measure(case, &cores, None)?);
    }
    let changes: Vec<Change> = record.figures.iter().map(|&figure| Change::new(figure, &before)).collect();
    println!("{}", table::render(&changes));
    record.write().context("the figures were not recorded")?;
    println!("recorded in counts/RECORDED.txt");
    Ok(ExitCode::SUCCESS)
}

/// Where the two runs of a case are.
fn cores() -> [Cpu; 2] {
    let cores = Cpu::two();
    if cores.iter().all(Cpu::is_usable) {
        return cores;
    }
    eprintln!("warning: the processes cannot be bound to a core (taskset, chrt): figures scatter more");
    [Cpu::ANY, Cpu::ANY]
}

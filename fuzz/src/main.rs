//! Lets libFuzzer look for bytes that a target does not bear: `cargo xtask fuzz`.

mod corpus;
mod libfuzzer;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Parser, builder::PossibleValuesParser};
use rmi_fuzz::{TARGETS, target};

/// Lets libFuzzer look for bytes that a target does not bear.
#[derive(Parser)]
#[command(name = "cargo xtask fuzz", bin_name = "cargo xtask fuzz")]
struct Options {
    /// What to call.
    #[arg(value_parser = PossibleValuesParser::new(TARGETS.map(|target| target.name)))]
    target: String,

    /// For how long; what was found is merged into the corpus after that.
    #[arg(long, default_value_t = 60)]
    seconds: u32,

    /// Call it with this file only, without libFuzzer.
    #[arg(long, conflicts_with = "seconds")]
    file: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let target = target(&options.target).context("there is no such target")?;
    if let Some(file) = &options.file {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        (target.run)(&bytes);
        println!("{} bears {}", target.name, file.display());
        return Ok(());
    }
    let fuzzer = libfuzzer::Fuzzer::build(target)?;
    fuzzer.look_for(options.seconds)?;
    let corpus::Kept { own, found } = corpus::renew(target, |dirs| fuzzer.reach(dirs))?;
    println!("the corpus of {}: {own} files with names of their own, {found} that libFuzzer has found", target.name);
    Ok(())
}

//! Runs random programs until one fails: `cargo xtask simulate`.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use rmi_simulate::{BATCH, Find, Tally, hunt};

/// Runs random programs on whole nodes of rmi, in a simulated network and under a virtual clock.
#[derive(Parser)]
#[command(name = "cargo xtask simulate", bin_name = "cargo xtask simulate")]
struct Options {
    /// How many.
    #[arg(long, default_value_t = 100_000)]
    programs: u32,

    /// What they are drawn from: each 500 of them from the next number.
    #[arg(long, default_value_t = 1099)]
    seed: u64,

    /// How many run at once; as many as there are processors unless set.
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let threads = options.threads.or_else(|| thread::available_parallelism().ok().map(Into::into)).unwrap_or(1);
    println!("{} programs, seed {}", options.programs, options.seed);
    let bar = progress(options.programs);
    let tally = Mutex::new(Tally::default());
    let (next, failed) = (AtomicU32::new(0), AtomicBool::new(false));
    let worker = || -> Option<Box<Find>> {
        while !failed.load(Ordering::Relaxed) {
            let batch = next.fetch_add(1, Ordering::Relaxed);
            let first = batch.checked_mul(BATCH).filter(|first| *first < options.programs)?;
            let count = BATCH.min(options.programs - first);
            let seed = options.seed.wrapping_add(u64::from(batch));
            if let Err(find) = hunt(seed, count, |ran| {
                *tally.lock() += ran;
                bar.inc(1);
            }) {
                failed.store(true, Ordering::Relaxed);
                return Some(find);
            }
        }
        None
    };
    let found = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().find_map(|worker| worker.join().ok().flatten())
    });
    bar.finish_and_clear();
    match found {
        None => {
            println!("all is well in {}", tally.lock());
            ExitCode::SUCCESS
        }
        Some(find) => {
            println!("{find}");
            println!("again: cargo xtask simulate --seed {} --programs {BATCH}", find.seed);
            ExitCode::FAILURE
        }
    }
}

fn progress(programs: u32) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} programs, {per_sec}, {eta} left");
    let bar = ProgressBar::new(u64::from(programs));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

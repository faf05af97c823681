//! The caller's side of a measurement.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::{
    machine::cpu_time,
    peers::Caller,
    row::{Row, Work},
};

/// What one process measured in one go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) calls: u64,
    pub(crate) took: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// CPU time of the process that called.
    pub(crate) cpu: Duration,
}

/// Has the row's callers call for so long, all at once.
pub(crate) async fn run<C: Caller>(caller: &C, row: Row, duration: Duration) -> Result<Sample> {
    let (start, cpu_start) = (Instant::now(), cpu_time());
    let mut callers = JoinSet::new();
    for number in 0..row.callers() {
        callers.spawn(call_until(caller.clone(), row, number, start + duration));
    }
    let (mut calls, mut latencies) = (0, Histogram::<u64>::new(3)?);
    while let Some(caller) = callers.join_next().await {
        let tally = caller??;
        calls += tally.calls;
        for nanos in tally.nanos {
            latencies.record(u64::from(nanos))?;
        }
    }
    let (took, cpu) = (start.elapsed(), cpu_time().saturating_sub(cpu_start));
    let percentile = |part| Duration::from_nanos(latencies.value_at_quantile(part));
    Ok(Sample { calls, took, p50: percentile(0.50), p99: percentile(0.99), cpu })
}

/// What one caller did.
struct Tally {
    calls: u64,
    nanos: Vec<u32>,
}

async fn call_until<C: Caller>(caller: C, row: Row, number: usize, end: Instant) -> Result<Tally> {
    let mut tally = Tally { calls: 0, nanos: Vec::new() };
    let mut load = Load::new(row.work(), number);
    loop {
        let start = Instant::now();
        if start >= end {
            break;
        }
        load.call(&caller).await?;
        tally.nanos.push(start.elapsed().as_nanos().try_into().unwrap_or(u32::MAX));
        for _ in 1..row.timed_every() {
            load.call(&caller).await?;
        }
        tally.calls += u64::from(row.timed_every());
    }
    load.verify()?;
    Ok(tally)
}

/// The next call's arguments.
enum Load {
    Add {
        a: i64,
        b: i64,
    },
    /// The body that comes back is the next that goes out.
    Echo {
        first: Vec<u8>,
        body: Vec<u8>,
    },
}

impl Load {
    fn new(work: Work, number: usize) -> Self {
        match work {
            Work::Add => Self::Add { a: 0, b: number as i64 },
            Work::Echo(len) => {
                let first: Vec<u8> = (0..len).map(|at| (at * 7 + at / 251) as u8).collect();
                Self::Echo { body: first.clone(), first }
            }
        }
    }

    async fn call<C: Caller>(&mut self, caller: &C) -> Result<()> {
        match self {
            Self::Add { a, b } => {
                ensure!(caller.add(*a, *b).await? == *a + *b, "a wrong sum came back");
                *a += 1;
            }
            Self::Echo { first, body } => {
                *body = caller.echo(std::mem::take(body)).await?;
                ensure!(body.len() == first.len(), "a body of another length came back");
            }
        }
        Ok(())
    }

    /// A byte that was changed on any trip is still changed after the last.
    fn verify(&self) -> Result<()> {
        if let Self::Echo { first, body } = self {
            ensure!(first == body, "another body came back");
        }
        Ok(())
    }
}

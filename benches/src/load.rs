//! The caller's side of a measurement.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    contract::Sample,
    machine::cpu_time,
    peers::{Caller, entities},
    row::{Row, Work},
};

/// A body repeats itself at no power of two, so that a swapped chunk shows.
const PATTERN_LEN: usize = 65_521;
/// How many structs go there and back in one call.
const ENTITIES: i32 = 1000;
/// The body of the transfer that small calls are made beside; a build for tests takes its time with each byte.
const TRANSFER_LEN: usize = if cfg!(debug_assertions) { 4 << 20 } else { 64 << 20 };
/// Between the small calls beside it.
const PAUSE: Duration = Duration::from_millis(1);

/// Has the row's callers call for so long, all at once.
pub(crate) async fn run<C: Caller>(callers: &[C], row: Row, duration: Duration) -> Result<Sample> {
    match row.work() {
        Work::Beside => beside(callers, duration).await,
        Work::Release => releases(callers, duration).await,
        work => {
            let calling =
                |number| Calling { load: Load::new(work, number), timed_every: row.timed_every(), pause: None };
            let callings: Vec<_> = (0..row.callers()).map(calling).collect();
            together(callings.into_iter().zip(callers.iter().cycle().cloned()), duration).await
        }
    }
}

/// Has them call for so long, and puts together what they did.
async fn together<C: Caller>(callers: impl Iterator<Item = (Calling<C>, C)>, duration: Duration) -> Result<Sample> {
    let (start, cpu_start) = (Instant::now(), cpu_time());
    let mut tasks = JoinSet::new();
    for (calling, caller) in callers {
        caller.start(calling, start + duration, &mut tasks);
    }
    let (mut calls, mut latencies) = (0, Histogram::<u64>::new(3)?);
    while let Some(tally) = tasks.join_next().await {
        let tally = tally??;
        calls += tally.calls;
        for nanos in tally.nanos {
            latencies.record(nanos)?;
        }
    }
    Ok(sample(calls, start.elapsed(), &latencies, cpu_time().saturating_sub(cpu_start)))
}

fn sample(calls: u64, took: Duration, latencies: &Histogram<u64>, cpu: Duration) -> Sample {
    let percentile = |part| Duration::from_nanos(latencies.value_at_quantile(part));
    let (p50, p99, p999) = (percentile(0.50), percentile(0.99), percentile(0.999));
    Sample { calls, took, p50, p99, p999, cpu, base: None }
}

/// Small calls first on the idle connection, a third of the time, and then beside a transfer. There is a
/// pause between them, so that a long one counts no less than the short ones that it stands in the way of.
async fn beside<C: Caller>(callers: &[C], duration: Duration) -> Result<Sample> {
    let calling = |work| Calling { load: Load::new(work, 0), timed_every: 1, pause: Some(PAUSE) };
    let small = || callers.iter().map(|caller| (calling(Work::Add), caller.clone()));
    let (idle_time, busy_time) = (duration / 3, duration * 2 / 3);
    let idle = together(small(), idle_time).await?;
    let (mut transfers, body) = (JoinSet::new(), calling(Work::Echo(TRANSFER_LEN)));
    if let Some(caller) = callers.first() {
        caller.beside().start(Calling { pause: None, ..body }, Instant::now() + busy_time, &mut transfers);
    }
    let busy = together(small(), busy_time).await?;
    while let Some(tally) = transfers.join_next().await {
        ensure!(tally??.calls > 0, "nothing was transferred");
    }
    Ok(Sample { base: Some(idle.p99), ..busy })
}

/// References dropped one after the other, and beside each a round trip.
async fn releases<C: Caller>(callers: &[C], duration: Duration) -> Result<Sample> {
    let (start, cpu_start) = (Instant::now(), cpu_time());
    let (mut releases, mut round_trips) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    for caller in callers.iter().cycle() {
        let released = caller.release().await?;
        releases.record(released.nanos)?;
        round_trips.record(released.round_trip_nanos)?;
        if start.elapsed() >= duration {
            break;
        }
    }
    let cpu = cpu_time().saturating_sub(cpu_start);
    let base = Some(Duration::from_nanos(round_trips.value_at_quantile(0.5)));
    Ok(Sample { base, ..sample(releases.len(), start.elapsed(), &releases, cpu) })
}

/// What one caller is to do.
pub(crate) struct Calling<C: Caller> {
    load: Load<C>,
    timed_every: u32,
    /// Between calls, if any.
    pause: Option<Duration>,
}

/// What one caller did.
pub(crate) struct Tally {
    calls: u64,
    nanos: Vec<u64>,
}

impl<C: Caller> Calling<C> {
    /// Calls until then, at least once.
    pub(crate) async fn run(mut self, caller: C, end: Instant) -> Result<Tally> {
        let mut tally = Tally { calls: 0, nanos: Vec::new() };
        loop {
            let start = Instant::now();
            if start >= end && tally.calls > 0 {
                break;
            }
            self.load.call(&caller).await?;
            tally.nanos.push(start.elapsed().as_nanos() as u64);
            for _ in 1..self.timed_every {
                self.load.call(&caller).await?;
            }
            tally.calls += u64::from(self.timed_every);
            if let Some(pause) = self.pause {
                sleep(pause).await;
            }
        }
        self.load.verify()?;
        Ok(tally)
    }
}

/// The next call's arguments.
enum Load<C: Caller> {
    Add {
        a: i64,
        b: i64,
    },
    /// The body that comes back is the next that goes out.
    Echo {
        first: Bytes,
        body: Bytes,
    },
    EchoEntities {
        first: Vec<C::Entity>,
        entities: Vec<C::Entity>,
    },
    Object(i64),
    CallBack(i64),
}

impl<C: Caller> Load<C> {
    fn new(work: Work, number: usize) -> Self {
        match work {
            Work::Echo(len) => {
                let pattern: Vec<u8> = (0..PATTERN_LEN).map(|at| (at * 7 + at / 251) as u8).collect();
                let mut body = pattern.repeat(len.div_ceil(PATTERN_LEN));
                body.truncate(len);
                Self::Echo { first: Bytes::copy_from_slice(&body), body: body.into() }
            }
            Work::EchoStructs => {
                let entities: Vec<_> = entities(ENTITIES).map(C::Entity::from).collect();
                Self::EchoEntities { first: entities.clone(), entities }
            }
            Work::Object => Self::Object(0),
            Work::CallBack => Self::CallBack(0),
            Work::Add | Work::Beside | Work::Hold | Work::Release => Self::Add { a: 0, b: number as i64 },
        }
    }

    async fn call(&mut self, caller: &C) -> Result<()> {
        match self {
            Self::Add { a, b } => {
                ensure!(caller.add(*a, *b).await? == *a + *b, "a wrong sum came back");
                *a += 1;
            }
            Self::Echo { first, body } => {
                *body = caller.echo(std::mem::take(body)).await?;
                ensure!(body.len() == first.len(), "a body of another length came back");
            }
            Self::EchoEntities { first, entities } => {
                *entities = caller.echo_entities(std::mem::take(entities)).await?;
                ensure!(entities.len() == first.len(), "another number of structs came back");
            }
            Self::Object(value) => {
                *value += 1;
                ensure!(caller.object(*value).await? == *value, "another object answered");
            }
            Self::CallBack(n) => {
                let next = caller.call_back(*n).await?;
                ensure!(next == *n + 1, "the callback was not called");
                *n = next;
            }
        }
        Ok(())
    }

    /// A byte that was changed on any trip is still changed after the last.
    fn verify(&self) -> Result<()> {
        match self {
            Self::Echo { first, body } => ensure!(first == body, "another body came back"),
            Self::EchoEntities { first, entities } => ensure!(first == entities, "other structs came back"),
            Self::Add { .. } | Self::Object(_) | Self::CallBack(_) => {}
        }
        Ok(())
    }
}

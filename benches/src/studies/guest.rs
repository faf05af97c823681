//! A client of a study: does what it is told, a line at a time.

use std::{
    io::stdin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use rmi::{Endpoint, Limits, Node, Remote};
use rmi_harness::say;
use tokio::{sync::mpsc, task::JoinSet, time::sleep};

use super::{
    desk::Desk,
    fairness::{Disturbance, disturb},
    overload, scale,
};
use crate::row::{Flavour, name};

/// Whom to call, and how.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    endpoint: Endpoint,
    #[arg(long, default_value = "current_thread")]
    flavour: Flavour,
    /// How many calls may wait for credit.
    #[arg(long)]
    waiting_calls: Option<u32>,
    /// Milliseconds for a call.
    #[arg(long)]
    call_timeout: Option<u64>,
}

/// A node and its references.
pub(super) struct Guest {
    pub(super) node: Node,
    pub(super) endpoint: Endpoint,
    pub(super) busy: Remote<dyn Desk>,
    pub(super) small: Remote<dyn Desk>,
}

impl Guest {
    /// A node of its own, with a connection of its own.
    pub(super) async fn new(endpoint: Endpoint, limits: Limits) -> Result<Self> {
        let node = Node::builder().limits(limits).start().await?;
        let desk = |name| Remote::<dyn Desk>::service(&node, endpoint.clone(), name);
        let (busy, small) = (desk("busy"), desk("small"));
        small.add(1, 2).await?;
        Ok(Self { node, endpoint, busy, small })
    }
}

/// The small calls of some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Small {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) calls: u64,
    pub(super) errors: u64,
}

/// Between small calls, so that a long one counts no less than the short ones that it stands in the way of.
const PAUSE: Duration = Duration::from_millis(1);

/// Makes small calls, one after the other, for so long.
pub(super) async fn small_calls(desk: &Remote<dyn Desk>, duration: Duration) -> Result<Small> {
    let (end, mut errors, mut latencies) = (Instant::now() + duration, 0, Histogram::<u64>::new(3)?);
    while Instant::now() < end {
        let start = Instant::now();
        let sum = desk.add(3, 4).await;
        latencies.record(start.elapsed().as_nanos() as u64)?;
        errors += u64::from(!matches!(sum, Ok(7)));
        sleep(PAUSE).await;
    }
    let percentile = |part| Duration::from_nanos(latencies.value_at_quantile(part));
    Ok(Small { p50: percentile(0.50), p99: percentile(0.99), calls: latencies.len(), errors })
}

impl Small {
    fn to_line(self) -> String {
        format!("{} {} {} {}", self.p50.as_nanos(), self.p99.as_nanos(), self.calls, self.errors)
    }

    pub(super) fn from_line(line: &str) -> Result<Self> {
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [p50, p99, calls, errors] = numbers[..] else { bail!("no small calls: `{line}`") };
        Ok(Self { p50: Duration::from_nanos(p50), p99: Duration::from_nanos(p99), calls, errors })
    }
}

/// Does what the lines say until there are no more.
pub(super) fn run(options: &Options) -> Result<()> {
    options.flavour.runtime()?.block_on(async {
        let mut limits = Limits::default();
        limits.waiting_calls = options.waiting_calls.unwrap_or(limits.waiting_calls);
        limits.call_timeout = options.call_timeout.map_or(limits.call_timeout, Duration::from_millis);
        let guest = Guest::new(options.endpoint.clone(), limits).await?;
        let (to, mut lines) = mpsc::channel::<String>(1);
        // A thread, not a blocking task: the runtime does not wait for it at the end.
        std::thread::spawn(move || stdin().lines().map_while(Result::ok).try_for_each(|line| to.blocking_send(line)));
        say("ready", "")?;
        let mut disturbances = JoinSet::new();
        let (mut nodes, mut held) = (Vec::new(), Vec::new());
        while let Some(line) = lines.recv().await {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["small", millis] => say("small", small_calls(&guest.small, milliseconds(millis)?).await?.to_line())?,
                ["disturb", kind, millis] => {
                    let kind = Disturbance::from_str(kind, false).map_err(anyhow::Error::msg)?;
                    disturb(kind, &guest.busy, milliseconds(millis)?, &mut disturbances).await?;
                    say("disturbs", name(kind))?;
                }
                ["calm"] => {
                    let (mut calls, mut errors) = (0, 0);
                    while let Some(told) = disturbances.join_next().await {
                        let told = told?;
                        (calls, errors) = (calls + told.calls, errors + told.errors);
                    }
                    say("calm", format!("{calls} {errors}"))?;
                }
                ["flood", calls, millis] => {
                    say("flood", overload::flood(&guest, calls.parse()?, millis.parse()?).await?)?
                }
                ["connect", count] => {
                    scale::connect(&guest, count.parse()?, &mut nodes).await?;
                    say("connected", nodes.len())?;
                }
                ["visit", millis] => say("visit", scale::visit(&nodes, milliseconds(millis)?).await?)?,
                ["hold", count] => {
                    scale::hold(&guest, count.parse()?, &mut held).await?;
                    say("held", held.len())?;
                }
                ["roam", millis] => say("roam", scale::roam(&held, milliseconds(millis)?).await?)?,
                _ => bail!("told `{line}`, which means nothing"),
            }
        }
        Ok(())
    })
}

fn milliseconds(word: &str) -> Result<Duration> {
    Ok(Duration::from_millis(word.parse().context("so many milliseconds")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_calls_survive_the_pipe() {
        let nanos = Duration::from_nanos;
        let small = Small { p50: nanos(5), p99: nanos(70), calls: 9, errors: 1 };
        assert_eq!(Small::from_line(&small.to_line()).unwrap(), small);
        assert!(Small::from_line("1 2 3").is_err());
    }
}

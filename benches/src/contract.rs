//! What a measured program says and answers, in lines over its standard streams; README.md of this
//! package is the contract, which programs in other languages keep too.

use std::{io::stdin, time::Duration};

use anyhow::{Result, bail};
use rmi_harness::say;

use crate::machine::{cpu_time, memory};

/// What one process measured in one go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) calls: u64,
    pub(crate) took: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) p999: Duration,
    /// CPU time of the process that called.
    pub(crate) cpu: Duration,
    /// What the latencies of some rows are compared with.
    pub(crate) base: Option<Duration>,
}

/// What a client that holds objects says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) objects: u64,
    /// Bytes, without them.
    pub(crate) memory_before: u64,
    /// Bytes, with them.
    pub(crate) memory_after: u64,
}

/// Answers questions until there are no more.
pub(crate) fn answer_questions() -> Result<()> {
    for question in stdin().lines() {
        match (question?.as_str(), memory()) {
            ("cpu", _) => say("cpu", cpu_time().as_nanos())?,
            ("memory", Some(bytes)) => say("memory", bytes)?,
            _ => say("unknown", "")?,
        }
    }
    Ok(())
}

/// Waits until it is told to go.
pub(crate) fn wait_for_go() -> Result<()> {
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    if line.trim() == "go" { Ok(()) } else { bail!("told `{line}` instead of `go`") }
}

impl Sample {
    /// As it stands in a `done` line.
    pub(crate) fn to_line(self) -> String {
        let durations = [Some(self.took), Some(self.p50), Some(self.p99), Some(self.p999), Some(self.cpu), self.base];
        let numbers = durations.iter().flatten().map(Duration::as_nanos);
        [u128::from(self.calls)]
            .into_iter()
            .chain(numbers)
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    }

    pub(crate) fn from_line(line: &str) -> Result<Self> {
        let numbers = numbers(line)?;
        let [calls, took, p50, p99, p999, cpu, ref base @ ..] = numbers[..] else { bail!("no sample: `{line}`") };
        let nanos = Duration::from_nanos;
        let base = base.first().copied().map(nanos);
        Ok(Self {
            calls,
            took: nanos(took),
            p50: nanos(p50),
            p99: nanos(p99),
            p999: nanos(p999),
            cpu: nanos(cpu),
            base,
        })
    }
}

impl Holding {
    /// As it stands in a `done` line: as long as a sample.
    pub(crate) fn to_line(self) -> String {
        format!("{} {} {} 0 0 0", self.objects, self.memory_before, self.memory_after)
    }

    pub(crate) fn from_line(line: &str) -> Result<Self> {
        let numbers = numbers(line)?;
        let [objects, memory_before, memory_after, ..] = numbers[..] else { bail!("tells of no objects: `{line}`") };
        Ok(Self { objects, memory_before, memory_after })
    }
}

fn numbers(line: &str) -> Result<Vec<u64>> {
    Ok(line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_survive_the_pipe() {
        let nanos = Duration::from_nanos;
        let (p50, p99, p999) = (nanos(70), nanos(900), nanos(1000));
        let sample = Sample { calls: 5, took: nanos(2_000_000_001), p50, p99, p999, cpu: nanos(3), base: None };
        assert_eq!(sample.to_line(), "5 2000000001 70 900 1000 3");
        for sample in [sample, Sample { base: Some(nanos(8)), ..sample }] {
            assert_eq!(Sample::from_line(&sample.to_line()).unwrap(), sample);
        }
        assert!(Sample::from_line("1 2 3").is_err());
        assert!(Sample::from_line("1 2 3 4 5 six").is_err());
    }

    #[test]
    fn holdings_survive_the_pipe() {
        let holding = Holding { objects: 1000, memory_before: 5, memory_after: 7 };
        assert_eq!(Holding::from_line(&holding.to_line()).unwrap(), holding);
        assert!(Holding::from_line("1").is_err());
    }
}

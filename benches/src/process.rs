//! The processes of a measurement: this program, started again in another role.
//!
//! They speak in lines over pipes. A server says `ready URL`, and answers `cpu` with its CPU time; a
//! client says `warm` when it is, waits for `go`, and says `done` with its sample. Both end when
//! their standard input does, so that none is left behind.

use std::{
    env,
    ffi::OsStr,
    fmt::Display,
    io::{BufRead, BufReader, Write, stdin},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{load::Sample, machine::cpu_time};

/// The longest silence that is waited out.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A process that was started, and that ends when this is dropped.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    pub(crate) fn start(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        let mut child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().context("its input is piped")?;
        let output = child.stdout.take().context("its output is piped")?;
        let (to, lines) = channel();
        thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        Ok(Self { child, input, lines })
    }

    pub(crate) fn tell(&mut self, word: &str) -> Result<()> {
        writeln!(self.input, "{word}").context("a measured process has ended")
    }

    /// What follows the word in the next line.
    pub(crate) fn expect(&mut self, word: &str) -> Result<String> {
        let line = self.lines.recv_timeout(SILENCE_MAX).map_err(|_| anyhow!("a measured process ended or hung"))?;
        match line.strip_prefix(word) {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => bail!("expected `{word}` from a measured process, got `{line}`"),
        }
    }

    /// The CPU time of a server.
    pub(crate) fn cpu(&mut self) -> Result<Duration> {
        self.tell("cpu")?;
        Ok(Duration::from_nanos(self.expect("cpu")?.parse()?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Says a line to the process that started this one.
pub(crate) fn say(word: &str, rest: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word} {rest}")?;
    Ok(out.flush()?)
}

/// Answers questions until there are no more.
pub(crate) fn answer_questions() -> Result<()> {
    for question in stdin().lines() {
        match question?.as_str() {
            "cpu" => say("cpu", cpu_time().as_nanos())?,
            other => bail!("unknown question `{other}`"),
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
        let durations = [self.took, self.p50, self.p99, self.cpu].map(|duration| duration.as_nanos().to_string());
        format!("{} {}", self.calls, durations.join(" "))
    }

    pub(crate) fn from_line(line: &str) -> Result<Self> {
        let numbers = line.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let [calls, took, p50, p99, cpu] = numbers[..] else { bail!("no sample: `{line}`") };
        let nanos = Duration::from_nanos;
        Ok(Self { calls, took: nanos(took), p50: nanos(p50), p99: nanos(p99), cpu: nanos(cpu) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_survive_the_pipe() {
        let nanos = Duration::from_nanos;
        let sample = Sample { calls: 5, took: nanos(2_000_000_001), p50: nanos(70), p99: nanos(900), cpu: nanos(3) };
        assert_eq!(Sample::from_line(&sample.to_line()).unwrap(), sample);
        assert!(Sample::from_line("1 2 3").is_err());
    }
}

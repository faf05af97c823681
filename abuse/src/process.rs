//! The processes of a run, seen from the one that starts them.

use std::{
    fmt::Display,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};

/// The longest silence that is waited out.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// The C library's allocator is told to give back what is free, and not to keep the more the larger it was: what stays
/// then is what the program holds.
const GENEROUS: [(&str, &str); 2] = [("MALLOC_MMAP_THRESHOLD_", "1048576"), ("MALLOC_TRIM_THRESHOLD_", "1048576")];

/// This program in another role; it ends when this is dropped.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    pub(crate) fn start(args: &[String]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args).envs(GENEROUS).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start this program again")?;
        let input = child.stdin.take().context("its input is piped")?;
        let output = child.stdout.take().context("its output is piped")?;
        let (to, lines) = channel();
        thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        Ok(Self { child, input, lines })
    }

    /// The system's number of it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn tell(&mut self, word: &str) -> Result<()> {
        writeln!(self.input, "{word}").context("a process of this run has ended")
    }

    /// What follows the word in the next line.
    pub(crate) fn expect(&mut self, word: &str) -> Result<String> {
        let line = self.lines.recv_timeout(SILENCE_MAX);
        let line = line.map_err(|_| anyhow!("a process of this run ended or hung, before it said `{word}`"))?;
        match line.strip_prefix(word) {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => bail!("expected `{word}` from a process of this run, got `{line}`"),
        }
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

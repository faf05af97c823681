//! The measured processes, seen from their parent.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};

use crate::machine;

/// The longest silence that is waited out.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A process that was started, and that ends when this is dropped.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    /// Starts a program, on one core if it is given.
    pub(crate) fn start(program: &[String], args: &[String], core: Option<usize>) -> Result<Self> {
        let (name, first_args) = program.split_first().context("no program")?;
        let mut command = Command::new(name);
        command.args(first_args).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut spawn = || command.spawn().with_context(|| format!("cannot start {name}"));
        let mut child = match core {
            Some(core) => machine::pinned(core, spawn)??,
            None => spawn()?,
        };
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
        writeln!(self.input, "{word}").context("a measured process has ended")
    }

    /// What follows the word in the next line.
    pub(crate) fn expect(&mut self, word: &str) -> Result<String> {
        let line = self.next_line()?;
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

    /// Bytes of memory: of the heap (`heap`), or all that is resident (`memory`); `None` where the
    /// program does not know.
    pub(crate) fn bytes(&mut self, question: &str) -> Result<Option<u64>> {
        self.tell(question)?;
        let answer = self.next_line()?;
        let number = answer.strip_prefix(question).map(|number| number.trim().parse());
        Ok(number.transpose()?)
    }

    fn next_line(&self) -> Result<String> {
        self.lines.recv_timeout(SILENCE_MAX).map_err(|_| anyhow!("a measured process ended or hung"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

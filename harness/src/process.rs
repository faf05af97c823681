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

/// A process that was started, is told lines and answers by lines. It ends when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// Where there is no such program, or no room for one more process.
    pub fn start(command: &mut Command) -> Result<Self> {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let input = child.stdin.take().context("its input is piped")?;
        let output = child.stdout.take().context("its output is piped")?;
        let (to, lines) = channel();
        thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        Ok(Self { child, input, lines })
    }

    /// The system's number of it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes it a line.
    ///
    /// # Errors
    ///
    /// Where it has ended.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}").context("a process of this run has ended")
    }

    /// What follows the word in the next line that it writes.
    ///
    /// # Errors
    ///
    /// Where it has ended, is silent for two minutes, or says something else.
    pub fn expect(&mut self, word: &str) -> Result<String> {
        let line = self.next_line().with_context(|| format!("it was to say `{word}`"))?;
        match line.strip_prefix(word) {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => bail!("expected `{word}` from a process of this run, got `{line}`"),
        }
    }

    /// The next line that it writes.
    ///
    /// # Errors
    ///
    /// Where it has ended, or is silent for two minutes.
    pub fn next_line(&mut self) -> Result<String> {
        self.lines.recv_timeout(SILENCE_MAX).map_err(|_| anyhow!("a process of this run ended or hung"))
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
///
/// # Errors
///
/// Where nobody listens any more.
pub fn say(word: &str, rest: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word} {rest}")?;
    Ok(out.flush()?)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_process_answers_what_it_is_told_until_it_ends() {
        let mut echo = Process::start(&mut Command::new("cat")).unwrap();
        echo.tell("pong 7").unwrap();
        assert_eq!(echo.expect("pong").unwrap(), "7");
        echo.tell("something else").unwrap();
        let error = echo.expect("pong").unwrap_err();
        assert_eq!(error.to_string(), "expected `pong` from a process of this run, got `something else`");
    }

    #[test]
    fn who_has_ended_says_nothing_more() {
        let mut ended = Process::start(&mut Command::new("true")).unwrap();
        let error = ended.expect("pong").unwrap_err();
        assert_eq!(format!("{error:#}"), "it was to say `pong`: a process of this run ended or hung");
        let error = Process::start(&mut Command::new("no-such-program")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start no-such-program");
    }
}

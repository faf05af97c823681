//! The measured processes, and what their servers tell.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};
use rmi_harness::Process;

use crate::machine;

/// Starts a program, on one core if it is given.
pub(crate) fn start(program: &[String], args: &[String], core: Option<usize>) -> Result<Process> {
    let (name, first_args) = program.split_first().context("no program")?;
    let mut command = Command::new(name);
    command.args(first_args).args(args);
    match core {
        Some(core) => machine::pinned(core, || Process::start(&mut command))?,
        None => Process::start(&mut command),
    }
}

/// The CPU time of a server.
pub(crate) fn cpu(server: &mut Process) -> Result<Duration> {
    server.tell("cpu")?;
    Ok(Duration::from_nanos(server.expect("cpu")?.parse()?))
}

/// Bytes of a server's memory: of the heap (`heap`), or all that is resident (`memory`); `None` where the
/// program does not know.
pub(crate) fn bytes(server: &mut Process, question: &str) -> Result<Option<u64>> {
    server.tell(question)?;
    let answer = server.next_line()?;
    let number = answer.strip_prefix(question).map(|number| number.trim().parse());
    Ok(number.transpose()?)
}

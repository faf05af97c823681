//! Stops a running process, and lets it go on.

use anyhow::{Context, Result};
use rmi_harness::Process;
use rustix::process::{Pid, Signal, kill_process};

/// Stops a process that this one started, so that it reads nothing.
pub(super) fn stop(process: &Process) -> Result<()> {
    signal(process, Signal::STOP)
}

/// Lets it go on.
pub(super) fn go_on(process: &Process) -> Result<()> {
    signal(process, Signal::CONT)
}

fn signal(process: &Process, signal: Signal) -> Result<()> {
    let id = Pid::from_raw(process.id().try_into()?).context("a process has an id")?;
    kill_process(id, signal).context("a process of this study cannot be stopped or continued")
}

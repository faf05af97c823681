//! What the system knows of a running process, and what it allows.

use std::fs;

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::process::Process;

/// The bytes of a process in memory now.
pub(super) fn resident(process: &Process) -> Option<u64> {
    status(process, "VmRSS:")
}

/// The most that it ever had, since [`forget_peak`].
pub(super) fn peak(process: &Process) -> Option<u64> {
    status(process, "VmHWM:")
}

/// The peak is counted anew from here, where the system can do that.
pub(super) fn forget_peak(process: &Process) {
    // Where it cannot, the peak includes what was before, which the column "before" shows.
    drop(fs::write(format!("/proc/{}/clear_refs", process.id()), "5"));
}

fn status(process: &Process, line: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).ok()?;
    let rest = status.lines().find_map(|found| found.strip_prefix(line))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

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

/// Raises the number of files that this process and those it starts may have open, as far as wanted or allowed;
/// the result is how many.
pub(super) fn allow_files(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let now = limit.current.unwrap_or(u64::MAX);
    if now >= wanted {
        return now;
    }
    let raised = wanted.min(hard);
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }) {
        Ok(()) => raised,
        Err(_) => now,
    }
}

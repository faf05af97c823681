//! What the system knows of a process, and what it allows.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::process::Process;

/// The bytes of a process in memory now; `None` where the system does not tell, which Linux does.
pub fn resident(process: &Process) -> Option<u64> {
    status(process, "VmRSS:")
}

/// The most that it had since [`forget_peak`].
pub fn peak(process: &Process) -> Option<u64> {
    status(process, "VmHWM:")
}

/// The peak is counted anew from here, where the system can do that.
pub fn forget_peak(process: &Process) {
    // Where it cannot, the peak includes what was before, which tables show beside it.
    drop(fs::write(format!("/proc/{}/clear_refs", process.id()), "5"));
}

/// How many files and sockets a process has open.
pub fn open_files(process: &Process) -> Option<u64> {
    fs::read_dir(format!("/proc/{}/fd", process.id())).ok().map(|files| files.count() as u64)
}

fn status(process: &Process, line: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).ok()?;
    let rest = status.lines().find_map(|found| found.strip_prefix(line))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

/// Raises the number of files that this process and each that it starts may have open, as far as wanted or allowed;
/// the result is how many.
pub fn allow_files(wanted: u64) -> u64 {
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

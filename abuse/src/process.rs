//! The processes of a run.

use std::process::Command;

use anyhow::Result;
use rmi_harness::Process;

/// The C library's allocator is told to give back what is free, and not to keep the more the larger it was: what stays
/// then is what the program holds.
const GENEROUS: [(&str, &str); 2] = [("MALLOC_MMAP_THRESHOLD_", "1048576"), ("MALLOC_TRIM_THRESHOLD_", "1048576")];

/// Starts this program in another role.
pub(crate) fn start(args: &[String]) -> Result<Process> {
    Process::start(Command::new(std::env::current_exe()?).args(args).envs(GENEROUS))
}

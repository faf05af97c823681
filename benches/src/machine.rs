//! The machine: CPU time, cores, and what it is.

use std::{fs, process::Command, time::Duration};

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};

/// The CPU time that this process has used, all its threads and the kernel on its behalf included.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.try_into().unwrap_or(0))
}

/// A core to which both processes of a pinned row go: the last, since the first often serves interrupts.
#[cfg(target_os = "linux")]
pub(crate) fn core_to_share() -> Option<usize> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let cores = sched_getaffinity(None).ok()?;
    (0..CpuSet::MAX_CPU).rev().find(|core| cores.is_set(*core))
}

/// Keeps this thread, and those that it will start, on one core.
#[cfg(target_os = "linux")]
pub(crate) fn pin(core: usize) -> Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Elsewhere nothing is pinned, and the tables say so.
#[cfg(not(target_os = "linux"))]
pub(crate) fn core_to_share() -> Option<usize> {
    None
}

/// Elsewhere nothing is pinned.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_core: usize) -> Result<()> {
    anyhow::bail!("pinning to a core is written for Linux only")
}

/// What the numbers depend on, a line each.
pub(crate) fn describe() -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let lock = include_str!("../../Cargo.lock");
    vec![
        format!("{}, {cores} cores, {}", cpu.unwrap_or_else(|| "unknown CPU".to_owned()), said(&["uname", "-srm"])),
        format!(
            "rmi {}, tokio {}, postcard {}, {}",
            env!("CARGO_PKG_VERSION"),
            locked_version(lock, "tokio"),
            locked_version(lock, "postcard"),
            said(&["rustc", "--version"])
        ),
        said(&["date", "-u", "+%Y-%m-%d"]),
    ]
}

/// The first line that a command prints.
fn said(command: &[&str]) -> String {
    let output = command.split_first().and_then(|(name, args)| Command::new(name).args(args).output().ok());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

fn locked_version<'a>(lock: &'a str, package: &str) -> &'a str {
    let version = lock.split_once(&format!("name = \"{package}\"\nversion = \"")).map(|(_, after)| after);
    version.and_then(|after| after.split('"').next()).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_lock_file() {
        let lock = "[[package]]\nname = \"tokio-util\"\nversion = \"0.7.1\"\n\n[[package]]\nname = \"tokio\"\nversion = \"1.53.0\"\n";
        assert_eq!(locked_version(lock, "tokio"), "1.53.0");
        assert_eq!(locked_version(lock, "bytes"), "unknown");
    }

    #[test]
    fn work_costs_cpu_time() {
        let before = cpu_time();
        let mut sum = 0_u64;
        while cpu_time() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_time() > before);
    }
}

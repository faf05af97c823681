//! The machine: CPU time, cores, and what it is.

use std::{
    fs,
    process::{Command, Output},
    time::Duration,
};

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};

use crate::peers::Peer;

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

/// Does this on one core: what it starts stays there.
#[cfg(target_os = "linux")]
pub(crate) fn pinned<T>(core: usize, work: impl FnOnce() -> T) -> Result<T> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let before = sched_getaffinity(None)?;
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores)?;
    let outcome = work();
    sched_setaffinity(None, &before)?;
    Ok(outcome)
}

/// Elsewhere nothing is pinned, and the tables say so.
#[cfg(not(target_os = "linux"))]
pub(crate) fn core_to_share() -> Option<usize> {
    None
}

/// Elsewhere nothing is pinned.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pinned<T>(_core: usize, _work: impl FnOnce() -> T) -> Result<T> {
    anyhow::bail!("pinning to a core is written for Linux only")
}

/// Nanoseconds of a clock that all processes of the machine share.
pub(crate) fn clock_nanos() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// The bytes of this process in memory, where the system tells.
pub(crate) fn memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.map(|kibibytes| kibibytes << 10)
}

/// What the numbers depend on, a line each.
pub(crate) fn describe(peers: &[Peer]) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let lock = include_str!("../../Cargo.lock");
    let locked = |package: &str| format!("{package} {}", locked_version(lock, package));
    let versions = peers.iter().filter_map(|peer| match peer {
        Peer::Floor => None,
        Peer::Rmi => Some(format!("rmi {}", env!("CARGO_PKG_VERSION"))),
        Peer::Tarpc => Some(locked("tarpc")),
        Peer::Tonic => Some(format!("{}, {}", locked("tonic"), locked("prost"))),
        Peer::Remoc => Some(locked("remoc")),
        Peer::Capnp => Some(locked("capnp-rpc")),
        Peer::Ice => Some(format!("ZeroC Ice {}", said(&["slice2cpp", "--version"]))),
        Peer::OmniOrb => Some(format!("omniORB {}", said(&["pkg-config", "--modversion", "omniORB4"]))),
        Peer::Java => Some(format!("Java RMI: {}", said(&["java", "-version"]))),
    });
    let libraries = [locked("tokio"), locked("postcard"), said(&["rustc", "--version"])];
    vec![
        format!("{}, {cores} cores, {}", cpu.unwrap_or_else(|| "unknown CPU".to_owned()), said(&["uname", "-srm"])),
        versions.chain(libraries).collect::<Vec<_>>().join("; "),
        said(&["date", "-u", "+%Y-%m-%d"]),
    ]
}

/// The first line that a command prints, be it as an error.
pub(crate) fn said(command: &[&str]) -> String {
    let output = command.split_first().and_then(|(name, args)| Command::new(name).args(args).output().ok());
    let text = output.map(|Output { stdout, stderr, .. }| if stdout.is_empty() { stderr } else { stdout });
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    text.lines().next().unwrap_or("of unknown version").to_owned()
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

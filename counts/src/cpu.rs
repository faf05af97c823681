//! The core that the processes of a run share.

use std::{
    fs,
    process::{Command, Stdio},
};

/// Where the processes of a run are: both on one core, and neither takes it from the other before
/// that one has come to rest. So a reader finds all that its writer had to write, in every run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cpu(Option<usize>);

impl Cpu {
    /// Wherever the system likes.
    pub(crate) const ANY: Self = Self(None);

    /// One core for each of two runs, or one for both.
    pub(crate) fn two() -> [Self; 2] {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let [first, last] = first_and_last(&status).map_or([None, None], |[first, last]| [Some(first), Some(last)]);
        [Self(first), Self(last)]
    }

    /// The program, to be started there.
    pub(crate) fn command(&self, program: &str) -> Command {
        let Some(core) = self.0 else { return Command::new(program) };
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string(), "chrt", "--batch", "0", program]);
        command
    }

    /// Whether programs can be started there.
    pub(crate) fn is_usable(&self) -> bool {
        let mut command = self.command("true");
        let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.0.is_some() && silent.status().is_ok_and(|status| status.success())
    }
}

/// The first and the last core in what Linux tells of a process: `Cpus_allowed_list: 0-3,8`.
fn first_and_last(status: &str) -> Option<[usize; 2]> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim();
    let mut cores = list.split([',', '-']);
    let first = cores.next()?.parse().ok()?;
    let last = cores.next_back().map_or(Some(first), |last| last.parse().ok())?;
    Some([first, last])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_read_from_what_linux_tells() {
        for (list, cores) in [("0-1", [0, 1]), ("3", [3, 3]), ("2,5-7", [2, 7]), ("0-3,8", [0, 8])] {
            assert_eq!(first_and_last(&format!("Name:\tx\nCpus_allowed_list:\t{list}\nMems:\t1\n")), Some(cores));
        }
        assert_eq!(first_and_last("Name:\tx\n"), None);
    }
}

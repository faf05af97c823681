//! A process of this program under valgrind, which counts its instructions.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Stdio},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, bail};

use crate::cpu::Cpu;

/// Says what to do where valgrind is missing.
pub(crate) const INSTALL: &str = "valgrind is not installed: apt-get install valgrind, or your system's like";

/// glibc copies and clears much at a time with one repeated instruction, of which every repetition
/// counts; but not where the lower bits of both addresses are close. So a figure would depend on where
/// in memory its buffers happen to lie.
const TUNABLES: &str = "glibc.cpu.x86_rep_movsb_threshold=1073741824:glibc.cpu.x86_rep_stosb_threshold=1073741824";

/// A process that is being counted. It is ended when this is dropped.
pub(crate) struct Counting {
    child: Child,
    /// What valgrind and the process say on standard error.
    said: Option<JoinHandle<String>>,
}

impl Counting {
    /// Starts this program with these arguments. What each function spends is written to `functions`.
    pub(crate) fn start(core: &Cpu, args: &[&str], functions: Option<&Path>) -> Result<Self> {
        let mut command = core.command("valgrind");
        let mut out = OsString::from("--cachegrind-out-file=");
        out.push(functions.unwrap_or_else(|| Path::new("/dev/null")));
        // Instructions alone, no caches: a third of the time.
        command.args(["--tool=cachegrind", "--cache-sim=no"]).arg(out);
        command.env("GLIBC_TUNABLES", TUNABLES).arg(env::current_exe()?).args(args);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().context("valgrind cannot be started")?;
        // Read as it comes: a full pipe would stop the process.
        let said = child.stderr.take().map(|mut stderr| {
            thread::spawn(move || {
                let mut said = Vec::new();
                // What was read is said, also where reading ended early.
                drop(stderr.read_to_end(&mut said));
                String::from_utf8_lossy(&said).into_owned()
            })
        });
        Ok(Self { child, said })
    }

    /// What follows `start` in the first line on standard output.
    pub(crate) fn wait_for(&mut self, start: &str) -> Result<String> {
        let mut line = String::new();
        if let Some(stdout) = self.child.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        match line.strip_prefix(start) {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => bail!("the server under valgrind did not start:\n{}", self.end()?.1),
        }
    }

    /// Closes standard input, waits for the end, and tells the instructions.
    pub(crate) fn instructions(mut self) -> Result<u64> {
        let (succeeded, said) = self.end()?;
        match instructions(&said) {
            Some(instructions) if succeeded => Ok(instructions),
            _ => bail!("a process under valgrind failed:\n{said}"),
        }
    }

    /// Whether it ended well, and what it said.
    fn end(&mut self) -> Result<(bool, String)> {
        let succeeded = self.child.wait()?.success();
        let said = self.said.take().and_then(|said| said.join().ok());
        Ok((succeeded, said.context("what valgrind says was not read")?))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The instructions, in what valgrind says at the end: `==7== I   refs:      127,755`.
fn instructions(said: &str) -> Option<u64> {
    said.lines().find_map(|line| {
        let (_, count) = line.split_once("== I")?.1.split_once("refs:").filter(|(gap, _)| gap.trim().is_empty())?;
        count.trim().replace(',', "").parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valgrind_sums_up_at_the_end() {
        let old = "==7== Command: true\n--7-- warning: L3 cache found\n==7== \n==7== I   refs:      1,127,755\n";
        assert_eq!(instructions(old), Some(1_127_755));
        assert_eq!(instructions("==19642== I refs:        755\n"), Some(755));
    }

    #[test]
    fn other_lines_hold_no_instructions() {
        for said in ["", "==7== I1  misses:  12", "==7== D   refs:  12", "I refs: 12", "==7== I   refs:      many"] {
            assert_eq!(instructions(said), None, "{said}");
        }
    }
}

//! The instrumented program, and what it is told.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use rmi_fuzz::Target;

use crate::corpus;

/// As cargo-fuzz does it: edges are counted, comparisons are seen, addresses are watched.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Zsanitizer=address";

/// No input is longer: it would only be slower.
const LEN_MAX: usize = 4096;

/// libFuzzer with one target.
#[derive(Debug)]
pub(crate) struct Fuzzer {
    target: Target,
    program: PathBuf,
}

impl Fuzzer {
    /// Builds the program with the nightly toolchain.
    pub(crate) fn build(target: Target) -> Result<Self> {
        let (host, dir) = (host()?, corpus::dir());
        let mut cargo = Command::new("rustup");
        cargo.args(["run", "nightly", "cargo", "build", "--release", "--manifest-path"]);
        cargo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer/Cargo.toml"));
        // With a target of its own for the flags: build scripts and macros do without them.
        cargo.args(["--target", &host, "--target-dir"]).arg(dir.join("build")).env("RUSTFLAGS", RUSTFLAGS);
        ensure!(cargo.status().context("cannot run rustup")?.success(), "the targets do not build with nightly");
        Ok(Self { target, program: dir.join("build").join(host).join("release/rmi-libfuzzer") })
    }

    /// Looks for bytes that the target does not bear, beginning with the corpus and with what was found before.
    pub(crate) fn look_for(&self, seconds: u32) -> Result<()> {
        let found = corpus::found(self.target);
        fs::create_dir_all(&found)?;
        let crash = corpus::dir().join(self.target.name).join("");
        let mut fuzzer = self.command();
        fuzzer.arg(found).arg(corpus::kept(self.target));
        fuzzer.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}", crash.display()));
        fuzzer.args(["-timeout=10", "-rss_limit_mb=2048", "-entropic=0", "-len_control=10", "-print_final_stats=1"]);
        let name = self.target.name;
        ensure!(
            fuzzer.status().context("cannot run libFuzzer")?.success(),
            "{name} has failed: `cargo xtask fuzz {name} --file FILE` does so again, with the file named above"
        );
        Ok(())
    }

    /// What each file of these directories reaches.
    pub(crate) fn reach(&self, dirs: &[PathBuf]) -> Result<Vec<Reach>> {
        let work = corpus::dir().join(self.target.name);
        let (merged, told) = (work.join("merged"), work.join("reach"));
        // A merge tells all of that, and would go on where an older one has ended.
        let _ = (fs::remove_dir_all(&merged), fs::remove_file(&told));
        fs::create_dir_all(&merged)?;
        let mut fuzzer = self.command();
        fuzzer.args(["-merge=1", "-set_cover_merge=1", "-use_counters=0"]);
        fuzzer.arg(format!("-merge_control_file={}", told.display())).arg(merged).args(dirs);
        let output = fuzzer.output().context("cannot run libFuzzer")?;
        ensure!(output.status.success(), "cannot merge: {}", String::from_utf8_lossy(&output.stderr));
        Ok(parse_reach(&fs::read_to_string(&told).context("a merge tells what files reach")?))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("RMI_FUZZ_TARGET", self.target.name).arg(format!("-max_len={LEN_MAX}"));
        command
    }
}

/// A file, and what it reaches.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) file: PathBuf,
    /// Places in the program, by numbers of libFuzzer's.
    pub(crate) features: HashSet<u64>,
}

/// Reads a control file: two counts, a line for each file, then for each its number behind `FT` and what it
/// reaches, among other lines.
fn parse_reach(control: &str) -> Vec<Reach> {
    let mut lines = control.lines();
    let count = lines.next().and_then(|count| count.parse().ok()).unwrap_or(0);
    let files: Vec<_> = lines.by_ref().skip(1).take(count).map(PathBuf::from).collect();
    let reach = |line: &str| {
        let mut numbers = line.strip_prefix("FT ")?.split(' ').filter_map(|number| number.parse::<u64>().ok());
        let file = files.get(usize::try_from(numbers.next()?).ok()?)?.clone();
        Some(Reach { file, features: numbers.collect() })
    };
    lines.filter_map(reach).collect()
}

/// What the compiler runs on.
fn host() -> Result<String> {
    let told = Command::new("rustup").args(["run", "nightly", "rustc", "-vV"]).output().context("cannot run rustup")?;
    ensure!(told.status.success(), "there is no nightly toolchain (rustup toolchain install nightly)");
    let told = String::from_utf8_lossy(&told.stdout);
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not tell its host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_tells_what_files_reach() {
        let control = "2\n0\na/b c\nd\nSTARTED 0 7\nFT 0 5 6\nCOV 0 1\nSTARTED 1 7\nFT 1\nCOV 1\n";
        let reach =
            |file: &str, features: &[u64]| Reach { file: file.into(), features: features.iter().copied().collect() };
        assert_eq!(parse_reach(control), [reach("a/b c", &[5, 6]), reach("d", &[])]);
    }
}

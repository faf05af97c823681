//! The instrumented program, and what it is told.

use std::{
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
        fuzzer.args(["-timeout=10", "-rss_limit_mb=2048", "-entropic=0", "-print_final_stats=1"]);
        let name = self.target.name;
        ensure!(
            fuzzer.status().context("cannot run libFuzzer")?.success(),
            "{name} has failed: `cargo xtask fuzz {name} --file FILE` does so again, with the file named above"
        );
        Ok(())
    }

    /// Adds to `into` the fewest files of `from` that reach all that is reached.
    pub(crate) fn merge(&self, into: &Path, from: &[PathBuf]) -> Result<()> {
        let merged = self.command().args(["-merge=1", "-set_cover_merge=1"]).arg(into).args(from).output();
        let merged = merged.context("cannot run libFuzzer")?;
        ensure!(merged.status.success(), "cannot merge: {}", String::from_utf8_lossy(&merged.stderr));
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("RMI_FUZZ_TARGET", self.target.name).arg(format!("-max_len={LEN_MAX}"));
        command
    }
}

/// What the compiler runs on.
fn host() -> Result<String> {
    let told = Command::new("rustup").args(["run", "nightly", "rustc", "-vV"]).output().context("cannot run rustup")?;
    ensure!(told.status.success(), "there is no nightly toolchain (rustup toolchain install nightly)");
    let told = String::from_utf8_lossy(&told.stdout);
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not tell its host")
}

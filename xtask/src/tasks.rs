//! The steps of each task.

use std::{fs, path::absolute};

use crate::{
    Abuse, Bench, Fuzz,
    step::{Output, Step, has_toolchain, is_installed, is_program_installed, root},
};

/// Everything but the benchmarks, whose peers take minutes to build (`bench --check` tests them), and but the
/// example that turns on a feature of all it is built with.
const TESTED: &str = "--workspace --exclude rmi-bench --exclude rmi-traces";

pub(crate) fn check() -> Vec<Step> {
    vec![
        Step::cargo("format", "fmt --all -- --check").needs("fmt", "rustup component add rustfmt"),
        Step::cargo("clippy", "clippy --workspace --exclude rmi-traces --all-targets -- -D warnings")
            .needs("clippy", "rustup component add clippy"),
        Step::cargo("clippy, traces", "clippy --package rmi-traces --package rmi-core --all-targets -- -D warnings")
            .needs("clippy", "rustup component add clippy"),
        Step::cargo(
            "clippy, bare interceptors",
            "clippy --package rmi-interceptors --no-default-features --all-targets -- -D warnings",
        )
        .needs("clippy", "rustup component add clippy"),
        with_loom(Step::cargo(
            "clippy, loom",
            "clippy --package rmi-core --test interleavings --target-dir target/loom",
        ))
        .args(&["--".to_owned(), "-D".to_owned(), "warnings".to_owned()])
        .needs("clippy", "rustup component add clippy"),
        // Twice: links from public to private items show only without the private items, broken
        // links in the docs of private items only with them.
        Step::cargo("rustdoc", "doc --workspace --no-deps").env("RUSTDOCFLAGS", "-D warnings"),
        Step::cargo("rustdoc, private items", "doc --workspace --no-deps --document-private-items")
            .env("RUSTDOCFLAGS", "-D warnings"),
    ]
}

pub(crate) fn test(args: &[String]) -> Vec<Step> {
    let without_harness = tests_without_harness();
    // First, since tests start these programs.
    let mut steps = vec![Step::cargo("programs and examples", &format!("build {TESTED} --bins --examples"))];
    steps.extend(run_tests("tests", args, &without_harness));
    // nextest runs no doctests.
    steps.push(Step::cargo("doctests", &format!("test {TESTED} --doc --no-fail-fast")).counted(Output::Stdout));
    // Whoever chooses tests has no use for it.
    if args.is_empty() {
        steps.push(Step::cargo("test of traces", "test --package rmi-traces").counted(Output::Stdout));
        steps.extend(loom(&[]));
        steps.extend(checked_counts());
    }
    steps
}

/// The instructions of a call, beside those recorded.
pub(crate) fn counts(only: &[String], write: bool, profile: &[String]) -> Vec<Step> {
    let mut args: Vec<String> = only.iter().map(|case| format!("--only={case}")).collect();
    args.extend(write.then(|| "--write".to_owned()));
    if !profile.is_empty() {
        args.push("--profile".to_owned());
        args.extend(profile.iter().cloned());
    }
    // What is counted is the release build; valgrind would read debug information at every start.
    let step = Step::cargo("instruction counts", "run --release --package rmi-counts --").args(&args);
    vec![step.env("CARGO_PROFILE_RELEASE_DEBUG", "0")]
}

/// The same as one of the tests: where it cannot be run, it is skipped, and says so.
fn checked_counts() -> Vec<Step> {
    let is_recorded = cfg!(all(target_os = "linux", target_arch = "x86_64"));
    let checked = |step: Step| {
        step.left_out_unless(is_recorded, || "figures are recorded for x86-64 Linux only".to_owned())
            .left_out_unless(is_program_installed("valgrind"), || {
                "valgrind is not installed (apt-get install valgrind): nobody looked what a call costs".to_owned()
            })
            .counted(Output::Nothing)
    };
    counts(&[], false, &[]).into_iter().map(checked).collect()
}

/// The models of what threads share.
pub(crate) fn loom(args: &[String]) -> Vec<Step> {
    let models = "test --package rmi-core --test interleavings --target-dir target/loom --no-fail-fast";
    vec![with_loom(Step::cargo("loom", models)).args(args).counted(Output::Stdout)]
}

/// The flag has a target directory of its own: in another's it would build everything anew, and then
/// again without it.
fn with_loom(step: Step) -> Step {
    step.env("RUSTFLAGS", "--cfg rmi_loom").env("CARGO_PROFILE_DEV_DEBUG", "0")
}

pub(crate) fn bless(args: &[String]) -> Vec<Step> {
    let blessed = |step: Step| {
        // Ours for golden bytes, insta's for snapshots, trybuild's for compiler messages.
        step.env("RMI_BLESS", "1").env("INSTA_UPDATE", "always").env("TRYBUILD", "overwrite")
    };
    run_tests("bless", args, &tests_without_harness()).into_iter().map(blessed).collect()
}

pub(crate) fn simulate(programs: Option<u32>, seed: Option<u64>) -> Vec<Step> {
    let mut args: Vec<String> = programs.map(|programs| format!("--programs={programs}")).into_iter().collect();
    args.extend(seed.map(|seed| format!("--seed={seed}")));
    vec![Step::cargo("simulate", "run --release --package rmi-simulate --").args(&args)]
}

/// Attacks on a server, beside honest clients.
pub(crate) fn abuse(abuse: &Abuse) -> Vec<Step> {
    let mut args = abuse.kinds.clone();
    args.extend(abuse.seconds.map(|seconds| format!("--seconds={seconds}")));
    args.extend(abuse.rounds.map(|rounds| format!("--rounds={rounds}")));
    args.extend(abuse.write.then(|| "--write".to_owned()));
    vec![Step::cargo("abuse", "run --release --package rmi-abuse -- run").args(&args)]
}

/// What programs of users are built of: its licences, where it comes from, what there is twice, and what is known of it.
pub(crate) fn deny() -> Vec<Step> {
    let of_users = "--exclude rmi-abuse --exclude rmi-bench --exclude rmi-counts --exclude rmi-fuzz --exclude rmi-harness \
                    --exclude rmi-simulate --exclude rmi-traces --exclude xtask";
    let step = |name: &str, what: &str| {
        Step::cargo(name, &format!("deny --workspace {of_users} check {what}"))
            .needs("deny", "cargo install --locked cargo-deny")
    };
    vec![step("licences, duplicates, sources", "licenses bans sources"), step("advisories", "advisories")]
}

/// One step for each target.
pub(crate) fn fuzz(fuzz: Fuzz) -> Vec<Step> {
    let file = fuzz.file.and_then(|file| absolute(file).ok());
    let seconds = fuzz.seconds.map(|seconds| format!("--seconds={seconds}"));
    let args: Vec<String> = file.iter().map(|file| format!("--file={}", file.display())).chain(seconds).collect();
    let can_look = file.is_some() || has_toolchain("nightly");
    let step = |target: String| {
        Step::cargo(format!("fuzz {target}"), "run --package rmi-fuzz --").args(&[target]).args(&args).left_out_unless(
            can_look,
            || {
                "there is no nightly toolchain (rustup toolchain install nightly); the corpus is replayed by the tests"
                    .to_owned()
            },
        )
    };
    fuzz.target.map_or_else(fuzz_targets, |target| vec![target]).into_iter().map(step).collect()
}

/// Each has a directory.
fn fuzz_targets() -> Vec<String> {
    let dirs = fs::read_dir(root().join("fuzz/corpus")).into_iter().flatten().flatten();
    let mut targets: Vec<_> = dirs.map(|dir| dir.file_name().to_string_lossy().into_owned()).collect();
    targets.sort();
    targets
}

pub(crate) fn bench(bench: &Bench) -> Vec<Step> {
    let rows = bench.only.iter().map(|row| format!("--only={row}"));
    let peers = bench.peer.iter().map(|peer| format!("--peer={peer}"));
    let mut args: Vec<String> = rows.chain(peers).collect();
    args.extend(bench.quick.then(|| "--quick".to_owned()));
    args.extend(bench.write.then(|| "--write".to_owned()));
    vec![Step::cargo("bench", "run --release --package rmi-bench --").args(&args)]
}

/// The tests of the comparison: a step of its own, since the peers take minutes to build.
pub(crate) fn check_bench() -> Vec<Step> {
    vec![Step::cargo("tests of the benchmarks", "test --package rmi-bench").counted(Output::Stdout)]
}

/// The tests but for the doctests, with nextest where it is found.
fn run_tests(name: &str, args: &[String], without_harness: &[WithoutHarness]) -> Vec<Step> {
    let scope = if names_packages(args) { "" } else { TESTED };
    if !is_installed("nextest") {
        eprintln!("cargo nextest is not installed (cargo install cargo-nextest): the tests run with cargo test");
        let step = Step::cargo(name, &format!("test {scope} --tests --examples --no-fail-fast")).args(args);
        return vec![step.counted(Output::Stdout)];
    }
    let mut step = Step::cargo(name, &format!("nextest run {scope} --tests --examples --no-fail-fast")).args(args);
    // nextest cannot list what has no harness.
    if !without_harness.is_empty() {
        let binaries: Vec<_> = without_harness.iter().map(|test| format!("binary(={})", test.name)).collect();
        step = step.args(&["--filterset".to_owned(), format!("not ({})", binaries.join(" | "))]);
    }
    let mut steps = vec![step.counted(Output::Stderr)];
    for WithoutHarness { package, name } in without_harness {
        steps.push(Step::cargo(format!("test {name}"), &format!("test --package {package} --test {name}")));
    }
    steps
}

/// Whether the arguments for the runner choose packages themselves.
fn names_packages(args: &[String]) -> bool {
    args.iter().take_while(|arg| *arg != "--").any(|arg| arg.starts_with("-p") || arg.starts_with("--package"))
}

/// An integration test with `harness = false`: a program that passes or fails as a whole.
#[derive(Debug, PartialEq, Eq)]
struct WithoutHarness {
    package: String,
    name: String,
}

fn tests_without_harness() -> Vec<WithoutHarness> {
    let root = root();
    let members = fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut manifests: Vec<_> = members.chain([root]).map(|dir| dir.join("Cargo.toml")).collect();
    manifests.sort();
    manifests.iter().filter_map(|path| fs::read_to_string(path).ok()).flat_map(|text| without_harness(&text)).collect()
}

fn without_harness(manifest: &str) -> Vec<WithoutHarness> {
    let (mut section, mut package, mut name) = ("", "", "");
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = value.split('#').next().unwrap_or(value).trim().trim_matches('"');
        match (section, key.trim()) {
            ("[package]", "name") => package = value,
            ("[[test]]", "name") => name = value,
            ("[[test]]", "harness") if value == "false" => {
                found.push(WithoutHarness { package: package.to_owned(), name: name.to_owned() });
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_without_harness_are_found_in_manifests() {
        let manifest = "\
[package]
name = \"sample\"
[[test]]
name = \"usual\"
[[test]]
name = \"own\"
harness = false # it is a program
[[bench]]
name = \"speed\"
harness = false
";
        let own = WithoutHarness { package: "sample".to_owned(), name: "own".to_owned() };
        assert_eq!(without_harness(manifest), [own]);
    }

    #[test]
    fn a_package_in_the_arguments_narrows_the_scope() {
        let args = |list: &[&str]| list.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        assert!(names_packages(&args(&["-p", "rmi-core"])));
        assert!(names_packages(&args(&["--package=rmi"])));
        assert!(!names_packages(&args(&["calls", "--", "-p"])));
    }
}

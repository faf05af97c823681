//! One command of a task, and how it ended.

use std::{
    env,
    ffi::OsString,
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::counts::Counts;

/// One cargo command of a task.
pub(crate) struct Step {
    pub(crate) name: String,
    args: Vec<String>,
    env: Vec<(&'static str, &'static str)>,
    /// Why it cannot be run here.
    left_out: Option<String>,
    counted: Option<Output>,
}

/// Where a runner of tests prints its closing line.
#[derive(Clone, Copy)]
pub(crate) enum Output {
    Stdout,
    Stderr,
    /// Nowhere: the step is one test.
    Nothing,
}

/// How a step ended.
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// It cannot be run here, for this reason.
    LeftOut(String),
    NotRun,
}

/// A step that has had its turn.
pub(crate) struct Finished {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    pub(crate) counts: Counts,
}

impl Step {
    /// `cargo ARGS`, the arguments separated by blanks.
    pub(crate) fn cargo(name: impl Into<String>, args: &str) -> Self {
        let args = args.split_whitespace().map(str::to_owned).collect();
        Self { name: name.into(), args, env: Vec::new(), left_out: None, counted: None }
    }

    pub(crate) fn args(mut self, args: &[String]) -> Self {
        self.args.extend_from_slice(args);
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    /// The step is left out, with a word, where this cargo subcommand is missing.
    pub(crate) fn needs(self, subcommand: &str, install: &str) -> Self {
        self.left_out_unless(is_installed(subcommand), || format!("cargo {subcommand} is not installed ({install})"))
    }

    /// The step is left out, with a word, unless this holds.
    pub(crate) fn left_out_unless(mut self, holds: bool, reason: impl FnOnce() -> String) -> Self {
        if !holds && self.left_out.is_none() {
            self.left_out = Some(reason());
        }
        self
    }

    /// The step runs tests: count them, reading what it prints there.
    pub(crate) fn counted(mut self, output: Output) -> Self {
        self.counted = Some(output);
        self
    }

    fn run(self) -> Finished {
        if let Some(reason) = self.left_out {
            eprintln!("\n── {}: LEFT OUT: {reason}", self.name);
            let skipped = usize::from(self.counted.is_some());
            let counts = Counts { skipped, ..Counts::default() };
            return Finished { counts, ..Finished::new(self.name, Outcome::LeftOut(reason)) };
        }
        let environment: String = self.env.iter().map(|(name, value)| format!("{name}='{value}' ")).collect();
        eprintln!("\n── {}: {environment}cargo {}", self.name, self.args.join(" "));
        let start = Instant::now();
        let mut counts = Counts::default();
        let status = self.spawn().and_then(|mut child| {
            match self.counted {
                Some(Output::Stdout) => count_lines(child.stdout.take(), &mut io::stdout(), &mut counts)?,
                Some(Output::Stderr) => count_lines(child.stderr.take(), &mut io::stderr(), &mut counts)?,
                Some(Output::Nothing) | None => {}
            }
            child.wait()
        });
        let outcome = match status {
            Ok(status) if status.success() => Outcome::Passed,
            Ok(status) => Outcome::Failed(status.to_string()),
            Err(error) => Outcome::Failed(format!("cannot run cargo: {error}")),
        };
        if self.counted.is_some() && outcome.is_failure() && counts.failed == 0 {
            counts.failed = 1; // It did not build or was ended: no test of it passed.
        } else if matches!(self.counted, Some(Output::Nothing)) {
            counts.passed = 1;
        }
        Finished { name: self.name, outcome, took: start.elapsed(), counts }
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut command = cargo();
        command.args(&self.args).envs(self.env.iter().copied());
        match self.counted {
            Some(Output::Stdout) => command.stdout(Stdio::piped()),
            Some(Output::Stderr) => {
                // Behind a pipe the runner cannot see that its reader is a terminal.
                let plain = env::var_os("NO_COLOR").is_some() || env::var_os("CARGO_TERM_COLOR").is_some();
                if io::stderr().is_terminal() && !plain {
                    command.env("CARGO_TERM_COLOR", "always");
                }
                command.stderr(Stdio::piped())
            }
            Some(Output::Nothing) | None => &mut command,
        };
        command.spawn()
    }
}

impl Outcome {
    pub(crate) fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

impl Finished {
    fn new(name: String, outcome: Outcome) -> Self {
        Self { name, outcome, took: Duration::ZERO, counts: Counts::default() }
    }
}

/// Runs the steps in order, up to the first that fails, or all of them if told to keep going.
pub(crate) fn run_all(steps: Vec<Step>, keep_going: bool) -> Vec<Finished> {
    let mut failed = false;
    let mut finished = Vec::with_capacity(steps.len());
    for step in steps {
        let step = if failed && !keep_going { Finished::new(step.name, Outcome::NotRun) } else { step.run() };
        failed |= step.outcome.is_failure();
        finished.push(step);
    }
    finished
}

/// Whether `cargo SUBCOMMAND` can be run.
pub(crate) fn is_installed(subcommand: &str) -> bool {
    tells_version(cargo().arg(subcommand))
}

/// Whether the program can be run.
pub(crate) fn is_program_installed(program: &str) -> bool {
    tells_version(&mut Command::new(program))
}

/// Whether rustup has this toolchain; it is not asked to install one.
pub(crate) fn has_toolchain(name: &str) -> bool {
    let listed = Command::new("rustup").args(["toolchain", "list"]).stderr(Stdio::null()).output();
    listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).lines().any(|line| line.starts_with(name)))
}

fn tells_version(command: &mut Command) -> bool {
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_owned)
}

fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root());
    command
}

/// Shows every line as it comes, and adds up those that hold counts.
fn count_lines(from: Option<impl Read>, to: &mut impl Write, counts: &mut Counts) -> io::Result<()> {
    let Some(from) = from else { return Ok(()) };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        if let Some(more) = Counts::parse(&String::from_utf8_lossy(&line)) {
            *counts += more;
        }
        line.clear();
    }
    to.flush()
}

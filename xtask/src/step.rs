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
    needs: Option<Tool>,
    counted: Option<Output>,
}

/// A cargo subcommand that may be absent.
#[derive(Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) subcommand: &'static str,
    pub(crate) install: &'static str,
}

/// Where a runner of tests prints its closing line.
#[derive(Clone, Copy)]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

/// How a step ended.
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    Missing(Tool),
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
        Self { name: name.into(), args, env: Vec::new(), needs: None, counted: None }
    }

    pub(crate) fn args(mut self, args: &[String]) -> Self {
        self.args.extend_from_slice(args);
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    pub(crate) fn needs(mut self, subcommand: &'static str, install: &'static str) -> Self {
        self.needs = Some(Tool { subcommand, install });
        self
    }

    /// The step runs tests: count them, reading what it prints there.
    pub(crate) fn counted(mut self, output: Output) -> Self {
        self.counted = Some(output);
        self
    }

    fn run(self) -> Finished {
        if let Some(tool) = self.needs.filter(|tool| !is_installed(tool.subcommand)) {
            eprintln!("cargo {} is not installed ({}): left out", tool.subcommand, tool.install);
            return Finished::new(self.name, Outcome::Missing(tool));
        }
        let environment: String = self.env.iter().map(|(name, value)| format!("{name}='{value}' ")).collect();
        eprintln!("\n── {}: {environment}cargo {}", self.name, self.args.join(" "));
        let start = Instant::now();
        let mut counts = Counts::default();
        let status = self.spawn().and_then(|mut child| {
            match self.counted {
                Some(Output::Stdout) => count_lines(child.stdout.take(), &mut io::stdout(), &mut counts)?,
                Some(Output::Stderr) => count_lines(child.stderr.take(), &mut io::stderr(), &mut counts)?,
                None => {}
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
            None => &mut command,
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
    let mut command = cargo();
    command.args([subcommand, "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
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

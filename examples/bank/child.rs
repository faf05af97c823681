//! A process that this one started: it is told to leave, and waited for.

use std::{env, io, process::Stdio, thread, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{self, ChildStdin, ChildStdout, Command},
    sync::oneshot,
    time::timeout,
};

/// This program in one role. Its first line says that it is ready; the end of its standard input
/// tells it to leave, so that it does not outlive this process, however that ends.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    process: process::Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    const READY: Duration = Duration::from_secs(20);
    const LEAVE: Duration = Duration::from_secs(5);

    pub(crate) fn start(name: impl Into<String>, arguments: &[&str]) -> anyhow::Result<Self> {
        let name = name.into();
        let mut process = Command::new(env::current_exe()?)
            .arg("--attached")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let output = process.stdout.take().context("standard output is piped")?;
        Ok(Self { name, input: process.stdin.take(), lines: BufReader::new(output).lines(), process })
    }

    /// The line that says it is ready.
    pub(crate) async fn first_line(&mut self) -> anyhow::Result<String> {
        let line = timeout(Self::READY, self.line()).await.with_context(|| format!("{} is silent", self.name))?;
        line?.with_context(|| format!("{} ended before it was ready", self.name))
    }

    /// Its next line; none once it has ended well.
    pub(crate) async fn line(&mut self) -> anyhow::Result<Option<String>> {
        if let Some(line) = self.lines.next_line().await? {
            return Ok(Some(line));
        }
        let status = self.process.wait().await?;
        if !status.success() {
            bail!("{} failed: {status}", self.name);
        }
        Ok(None)
    }

    /// Returns only when a process that should stay has ended.
    pub(crate) async fn lost(&mut self) -> anyhow::Error {
        loop {
            match self.line().await {
                Ok(Some(_)) => {}
                Ok(None) => return anyhow::anyhow!("{} ended too early", self.name),
                Err(error) => return error,
            }
        }
    }

    /// Tells it to leave, ends it where it does not, and reaps it.
    pub(crate) async fn end(mut self) {
        drop(self.input.take());
        // It could not leave while it writes to a full pipe: what it still says is read.
        let leaves = async { while let Ok(Some(_)) = self.line().await {} };
        if timeout(Self::LEAVE, leaves).await.is_err() {
            eprintln!("{} does not leave and is killed", self.name);
            // An error would mean that it has just left.
            _ = self.process.kill().await;
        }
    }
}

/// The child's side: returns at Ctrl-C or, where `attached`, at the end of standard input.
pub(crate) async fn told_to_leave(attached: bool) {
    if attached {
        // A terminal's Ctrl-C reaches every process; the one that started this one decides.
        tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
        let (ended, input_end) = oneshot::channel::<()>();
        // A thread of its own: the end of the runtime waits for tokio's blocking reads.
        thread::spawn(move || {
            _ = io::copy(&mut io::stdin(), &mut io::sink());
            drop(ended);
        });
        _ = input_end.await;
    } else {
        // Where Ctrl-C cannot be heard, there is nothing to wait for.
        _ = tokio::signal::ctrl_c().await;
    }
}

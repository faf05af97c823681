//! A client sends much more than either side could hold through a stream: what was read is sent, and what was
//! sent is let go of.
//!
//! `cargo run --release --example upload` sends 1 GiB to a server in another process, and prints the speed
//! and how much memory each side took for it. It fails where a byte is lost, or where memory grew with
//! what was sent.

#[path = "../bank/child.rs"]
mod child;

use std::{
    fs,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Parser;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use rmi::{Node, RegistryServer, Remote, Streaming, remote};
use tokio::time::Instant;

use crate::child::Child;

/// Sends many bytes through a stream.
#[derive(Debug, Parser)]
#[command(name = "upload")]
struct Options {
    /// How many MiB are sent.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    mib: u64,
    /// Be the server.
    #[arg(long, hide = true)]
    role: Option<String>,
    /// Leave when standard input ends.
    #[arg(long, hide = true)]
    attached: bool,
}

/// Bytes of one item.
const PART: usize = 256 << 10;

/// Memory that each side may take more than before, however much is sent.
const GROWTH_MAX: u64 = 64 << 20;

#[remote]
trait Store {
    /// Takes all parts; returns their length, their sum, and the most memory that the server took meanwhile.
    async fn put(&self, parts: Streaming<Bytes>) -> rmi::Result<(u64, u64, Option<u64>)>;
    /// Bytes of the server in memory.
    async fn memory(&self) -> rmi::Result<Option<u64>>;
}

struct Sink;

#[remote]
impl Store for Sink {
    async fn put(&self, mut parts: Streaming<Bytes>) -> rmi::Result<(u64, u64, Option<u64>)> {
        let (mut len, mut sum, mut most) = (0, 0, None);
        while let Some(part) = parts.next().await {
            let part = part?;
            len += part.len() as u64;
            sum += checksum(&part);
            most = most.max(memory());
        }
        Ok((len, sum, most))
    }

    async fn memory(&self) -> rmi::Result<Option<u64>> {
        Ok(memory())
    }
}

/// Of some bytes of a part, which tells parts apart.
fn checksum(part: &[u8]) -> u64 {
    part.iter().step_by(4096).map(|byte| u64::from(*byte)).sum()
}

/// The bytes of this process in memory, where the system tells.
fn memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB")?.trim().parse().ok());
    kibibytes.map(|kibibytes: u64| kibibytes << 10)
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.role {
        Some(url) => serve(url, options.attached).await,
        None => run(&options).await,
    };
    outcome.inspect_err(|error| eprintln!("upload: {error:#}")).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

async fn serve(url: &str, attached: bool) -> anyhow::Result<()> {
    let node = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
    let (registry, name) = url.rsplit_once('/').context("the URL has no name")?;
    let registry = rmi::Registry::connect_with(&node, registry).await?;
    registry.bind(name, &Remote::<dyn Store>::new(Sink)).await?;
    writeln!(io::stdout(), "ready")?;
    node.shutdown_on(child::told_to_leave(attached)).await;
    Ok(())
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let registry = RegistryServer::builder().listen("tcp://127.0.0.1:0").start().await?;
    let name = format!("{}/store", registry.url());
    let mut server = Child::start("the store", &["--role", &name])?;
    server.first_line().await?;
    let outcome = tokio::select! {
        outcome = upload(options, &name) => outcome,
        error = server.lost() => Err(error),
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    Node::current().shutdown().await;
    server.end().await;
    registry.shutdown().await;
    outcome
}

async fn upload(options: &Options, name: &str) -> anyhow::Result<()> {
    let store: Remote<dyn Store> = rmi::lookup(name).await?;
    let (server_before, client_before) = (store.memory().await?, memory());
    let parts = (options.mib << 20) / PART as u64;
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left")?;
    let bar = ProgressBar::new(options.mib << 20).with_style(style);
    let (begun, mut expected) = (Instant::now(), 0);
    let (sender, stream) = Streaming::channel(1);
    let putting = store.put(stream);
    let sending = async {
        let mut most = None;
        for number in 0..parts {
            let part = Bytes::from(vec![number as u8; PART]);
            expected += checksum(&part);
            sender.send(part).await?;
            bar.inc(PART as u64);
            most = most.max(memory());
        }
        drop(sender);
        anyhow::Ok(most)
    };
    let ((len, sum, server_most), client_most) =
        tokio::try_join!(async { Ok(putting.await?) }, sending).context("the upload broke off")?;
    bar.finish_and_clear();
    ensure!((len, sum) == (parts * PART as u64, expected), "{len} bytes arrived, with the sum {sum}");
    let rate = len as f64 / begun.elapsed().as_secs_f64();
    println!("{} sent in {:.1} s, {}/s", HumanBytes(len), begun.elapsed().as_secs_f64(), HumanBytes(rate as u64));
    for (side, before, most) in [("server", server_before, server_most), ("client", client_before, client_most)] {
        let (Some(before), Some(most)) = (before, most) else {
            println!("  memory of the {side}  not known on this system");
            continue;
        };
        println!("  memory of the {side}  {} before, {} at most", HumanBytes(before), HumanBytes(most));
        ensure!(most.saturating_sub(before) <= GROWTH_MAX, "the {side} took memory for what passed through it");
    }
    Ok(())
}

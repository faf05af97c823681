//! What references cost in memory: a client hoards objects of a server, then makes and drops as many
//! more as it is told to, and lets go of all.
//!
//! `cargo run --release --example hoard` prints the bytes of each held object at both ends, beyond the
//! object itself, and the memory before and after the churn. It fails where an object is left.

#[path = "../bank/child.rs"]
mod child;

use std::{
    fs,
    io::{self, Write},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::Parser;
use futures_util::future::try_join_all;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use rmi::{Node, RegistryServer, Remote, remote};
use tokio::time::{Instant, sleep};

use crate::child::Child;

/// How many objects come with one answer.
const BATCH: u64 = 1000;

/// Hoards references to a server's objects, and measures what they cost.
#[derive(Debug, Parser)]
#[command(name = "hoard")]
struct Options {
    /// How many objects are held at once.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    objects: u64,
    /// How many more are made, returned and dropped.
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    churn: u64,
    /// Be the server.
    #[arg(long, hide = true)]
    role: Option<String>,
    /// Leave when standard input ends.
    #[arg(long, hide = true)]
    attached: bool,
}

/// Something small to hold.
#[remote]
trait Coin {
    async fn value(&self) -> rmi::Result<u64>;
}

#[remote]
trait Mint {
    async fn strike(&self, count: u64) -> rmi::Result<Vec<Remote<dyn Coin>>>;
    /// Makes as many, and keeps them itself: what objects cost without a holder.
    async fn keep(&self, count: u64) -> rmi::Result<()>;
    /// Coins that live, and bytes in memory.
    async fn count(&self) -> rmi::Result<(u64, Option<u64>)>;
}

struct Penny {
    value: u64,
    alive: Arc<AtomicU64>,
}

#[remote]
impl Coin for Penny {
    async fn value(&self) -> rmi::Result<u64> {
        Ok(self.value)
    }
}

impl Drop for Penny {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Relaxed);
    }
}

#[derive(Default)]
struct Works {
    alive: Arc<AtomicU64>,
    vault: parking_lot::Mutex<Vec<Remote<dyn Coin>>>,
}

impl Works {
    fn penny(&self) -> Remote<dyn Coin> {
        let value = self.alive.fetch_add(1, Relaxed);
        Remote::<dyn Coin>::new(Penny { value, alive: self.alive.clone() })
    }
}

#[remote]
impl Mint for Works {
    async fn strike(&self, count: u64) -> rmi::Result<Vec<Remote<dyn Coin>>> {
        Ok((0..count).map(|_| self.penny()).collect())
    }

    async fn keep(&self, count: u64) -> rmi::Result<()> {
        let coins: Vec<_> = (0..count).map(|_| self.penny()).collect();
        let before = std::mem::replace(&mut *self.vault.lock(), coins);
        drop(before);
        Ok(())
    }

    async fn count(&self) -> rmi::Result<(u64, Option<u64>)> {
        Ok((self.alive.load(Relaxed), memory()))
    }
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
    outcome.inspect_err(|error| eprintln!("hoard: {error:#}")).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

async fn serve(url: &str, attached: bool) -> anyhow::Result<()> {
    let node = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
    let (registry, name) = url.rsplit_once('/').context("the URL has no name")?;
    let registry = rmi::Registry::connect_with(&node, registry).await?;
    registry.bind(name, &Remote::<dyn Mint>::new(Works::default())).await?;
    writeln!(io::stdout(), "ready")?;
    node.shutdown_on(child::told_to_leave(attached)).await;
    Ok(())
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let registry = RegistryServer::builder().listen("tcp://127.0.0.1:0").start().await?;
    let name = format!("{}/mint", registry.url());
    let mut server = Child::start("the mint", &["--role", &name])?;
    server.first_line().await?;
    let outcome = tokio::select! {
        outcome = hoard(options, &name) => outcome,
        error = server.lost() => Err(error),
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    Node::current().shutdown().await;
    server.end().await;
    registry.shutdown().await;
    outcome
}

async fn hoard(options: &Options, name: &str) -> anyhow::Result<()> {
    let mint: Remote<dyn Mint> = rmi::lookup(name).await?;
    // What the objects cost by themselves: kept at home, they never travel.
    let (_, empty) = mint.count().await?;
    mint.keep(options.objects).await?;
    let (_, full) = mint.count().await?;
    let object = per_object(empty, full, options.objects);
    mint.keep(0).await?;

    let (_, server_before) = mint.count().await?;
    let client_before = memory();
    let bar = bar(options.objects, "held")?;
    let mut held = Vec::new();
    while (held.len() as u64) < options.objects {
        held.extend(mint.strike(BATCH.min(options.objects - held.len() as u64)).await?);
        bar.set_position(held.len() as u64);
    }
    bar.finish_and_clear();
    let (alive, server_after) = mint.count().await?;
    ensure!(alive == options.objects, "{alive} of {} objects live while all are held", options.objects);
    let at_client = per_object(client_before, memory(), options.objects);
    // The memory of those that were kept before is used again: this counts what comes on top of it.
    let at_server = per_object(empty, server_after, options.objects);
    println!("{} objects held", HumanCount(options.objects));
    println!("  an object by itself        {}", bytes(object));
    println!("  at the server, beyond it   {}", bytes(at_server.zip(object).map(|(all, own)| all - own)));
    println!("  at the client              {}", bytes(at_client));
    drop((held, server_before));
    gone(&mint).await?;

    let (_, server_before) = mint.count().await?;
    let (client_before, begun) = (memory(), Instant::now());
    churn(&mint, options.churn).await?;
    gone(&mint).await?;
    let (_, server_after) = mint.count().await?;
    println!(
        "{} objects made, returned and dropped in {:.1} s",
        HumanCount(options.churn),
        begun.elapsed().as_secs_f64()
    );
    println!("  memory of the server       {} before, {} after", size(server_before), size(server_after));
    println!("  memory of the client       {} before, {} after", size(client_before), size(memory()));
    Ok(())
}

/// Makes and drops so many objects, some at a time.
async fn churn(mint: &Remote<dyn Mint>, count: u64) -> anyhow::Result<()> {
    let bar = bar(count, "made and dropped")?;
    while bar.position() < count {
        let rest = count - bar.position();
        let batches = (0..rest.min(16 * BATCH).div_ceil(BATCH)).map(|at| mint.strike(BATCH.min(rest - at * BATCH)));
        let coins = try_join_all(batches).await?;
        bar.inc(coins.iter().map(|coins| coins.len() as u64).sum());
    }
    bar.finish_and_clear();
    Ok(())
}

/// Waits until the server has dropped all, with a bound.
async fn gone(mint: &Remote<dyn Mint>) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let (alive, _) = mint.count().await?;
        if alive == 0 {
            return Ok(());
        }
        ensure!(begun.elapsed() < Duration::from_secs(30), "{alive} objects are left that nobody holds");
        sleep(Duration::from_millis(20)).await;
    }
}

fn bar(len: u64, what: &'static str) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {msg}")?;
    Ok(ProgressBar::new(len).with_style(style).with_message(what))
}

fn per_object(before: Option<u64>, after: Option<u64>, count: u64) -> Option<i64> {
    let grown = after?.checked_signed_diff(before?)?;
    grown.checked_div(i64::try_from(count).ok()?)
}

fn bytes(count: Option<i64>) -> String {
    count.map_or_else(|| "not known on this system".to_owned(), |count| format!("{count:>5} bytes"))
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "n/a".to_owned(), |bytes| HumanBytes(bytes).to_string())
}

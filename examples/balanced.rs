//! Several servers of one name, one of which is killed while clients call.
//!
//! `cargo run --example balanced` starts the servers, each a process of its own, and clients that hold
//! one reference to all of them: quotes may be asked for twice and so are never lost; an order that was
//! at the killed server may have been taken, and says so.

use std::{
    collections::BTreeMap,
    env,
    io::Write as _,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum, value_parser};
use futures_util::future::try_join_all;
use rmi::{Certainty, Node, Registry, RegistryServer, Remote, remote};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

/// Calls a name that several servers have joined, and kills one of them halfway.
///
/// Fails where a call is lost that may go again, or that certainly did not run.
#[derive(Debug, Parser)]
#[command(name = "balanced")]
struct Options {
    /// How many servers join the name.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(2..=32))]
    servers: u32,
    /// How many calls are made, over all clients.
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = value_parser!(u32).range(100..))]
    calls: u32,
    /// How many clients make them, each on a node of its own.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u32).range(1..=64))]
    clients: u32,
    /// How calls are spread.
    #[arg(long, value_enum, default_value = "power-of-two-choices")]
    balance: Balance,
    /// Run one server of the registry at this URL, until standard input ends.
    #[arg(long, value_name = "URL", hide = true)]
    serve: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Balance {
    /// To the less busy of two that chance picks.
    PowerOfTwoChoices,
    /// To one after the other.
    RoundRobin,
    /// To one until it cannot be called.
    Sticky,
}

impl From<Balance> for rmi::Balance {
    fn from(balance: Balance) -> Self {
        match balance {
            Balance::PowerOfTwoChoices => Self::PowerOfTwoChoices,
            Balance::RoundRobin => Self::RoundRobin,
            Balance::Sticky => Self::Sticky,
        }
    }
}

/// What every server has. Each method names the process that answers.
#[remote]
trait Exchange {
    #[remote(idempotent)]
    async fn quote(&self, pair: &str) -> rmi::Result<(u32, f64)>;
    async fn order(&self, pair: &str, amount: u32) -> rmi::Result<u32>;
}

struct Desk;

#[remote]
impl Exchange for Desk {
    async fn quote(&self, pair: &str) -> rmi::Result<(u32, f64)> {
        Ok((std::process::id(), 1.0 + f64::from(u32::try_from(pair.len()).unwrap_or(0)) / 100.0))
    }

    async fn order(&self, _pair: &str, amount: u32) -> rmi::Result<u32> {
        tokio::time::sleep(Duration::from_millis(u64::from(amount % 3))).await;
        Ok(std::process::id())
    }
}

async fn serve(url: &str) -> anyhow::Result<()> {
    let node = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
    Registry::connect_with(&node, url).await?.join("exchange", &Remote::<dyn Exchange>::new(Desk)).await?;
    writeln!(std::io::stdout(), "ready")?;
    // It does not outlive who started it.
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    node.shutdown().await;
    Ok(())
}

/// A server as a process of its own, once it has joined.
async fn start_server(url: &str) -> anyhow::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["--serve", url]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut server = command.spawn().context("cannot start a server")?;
    let told = server.stdout.take().context("standard output is piped")?;
    let line = BufReader::new(told).lines().next_line().await?;
    ensure!(line.is_some(), "a server ended before it was ready");
    Ok(server)
}

/// What has come of all calls so far.
#[derive(Debug, Default)]
struct Book {
    made: AtomicU32,
    in_doubt: AtomicU32,
    answers: parking_lot::Mutex<BTreeMap<u32, [u32; 2]>>,
}

/// Calls until so many calls were made by all. Those from half of them on are counted apart.
async fn call(exchange: Remote<dyn Exchange>, book: Arc<Book>, calls: u32) -> anyhow::Result<()> {
    loop {
        let number = book.made.fetch_add(1, Ordering::Relaxed);
        if number >= calls {
            return Ok(());
        }
        let server = if number.is_multiple_of(2) {
            exchange.quote("EURUSD").await?.0
        } else {
            match exchange.order("EURUSD", number).await {
                Ok(server) => server,
                Err(error) if error.certainty() == Certainty::Unknown => {
                    if book.in_doubt.fetch_add(1, Ordering::Relaxed) == 0 {
                        println!("in doubt, as others: {error}");
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let half = usize::from(number >= calls / 2);
        if let Some(count) = book.answers.lock().entry(server).or_default().get_mut(half) {
            *count += 1;
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(url) = &options.serve {
        return serve(url).await;
    }
    let names = RegistryServer::builder().listen("tcp://127.0.0.1:0").start().await?;
    let url = names.url();
    let mut servers = try_join_all((0..options.servers).map(|_| start_server(&url))).await?;
    let (book, mut callers, mut nodes) = (Arc::new(Book::default()), Vec::new(), Vec::new());
    for _ in 0..options.clients {
        let node = Node::builder().start().await?;
        let registry = Registry::connect_with(&node, &names.url()).await?;
        let exchange = registry.lookup_balanced::<dyn Exchange>("exchange", options.balance.into()).await?;
        callers.extend((0..8).map(|_| tokio::spawn(call(exchange.clone(), book.clone(), options.calls))));
        nodes.push(node);
    }
    while book.made.load(Ordering::Relaxed) < options.calls / 2 && !callers.iter().all(JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The one that has answered most: with `sticky` others may have nothing to do.
    let busiest = book.answers.lock().iter().max_by_key(|(_, counts)| counts.iter().sum::<u32>()).map(|(id, _)| *id);
    let victim = servers.iter_mut().find(|server| server.id() == busiest).context("a server has answered")?;
    victim.kill().await?;
    for caller in callers {
        caller.await?.context("a call was lost that should have gone to another server")?;
    }

    println!("{:>10}  {:>11}  {:>12}", "server", "before half", "from half on");
    for (server, [before, after]) in book.answers.lock().iter() {
        println!("{server:>10}  {before:>11}  {after:>12}{}", if Some(*server) == busiest { "  killed" } else { "" });
    }
    let in_doubt = book.in_doubt.load(Ordering::Relaxed);
    println!("{} calls, none lost; {in_doubt} orders were at the killed server and are in doubt", options.calls);
    for node in nodes {
        node.shutdown().await;
        let stats = node.stats();
        ensure!((stats.imported_references, stats.calls_in_flight) == (0, 0), "a client leaves something: {stats:?}");
    }
    drop(servers);
    names.shutdown().await;
    Ok(())
}

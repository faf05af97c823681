//! A server follows a file that grows, as `tail -f` does, and three clients read it over a stream each, at
//! different speeds: the slow ones hold up neither the server nor each other.
//!
//! `cargo run --example tail` prints who read how fast, and how far the server was ahead of each. It fails
//! where a line is lost, or where the server ran away from a slow reader.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::Parser;
use futures_util::{future::try_join_all, stream};
use rmi::{Node, Registry, RegistryServer, Remote, Streaming, remote};
use tokio::time::{Instant, sleep};

/// Follows a growing file for three clients.
#[derive(Debug, Parser)]
#[command(name = "tail")]
struct Options {
    /// How many lines are written to the file.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    lines: u64,
    /// How many lines the server may be ahead of a reader.
    #[arg(long, value_name = "N", default_value_t = 64)]
    ahead: u32,
}

/// What a client waits after each line.
const PACES: [(&str, Duration); 3] =
    [("fast", Duration::ZERO), ("steady", Duration::from_micros(200)), ("slow", Duration::from_millis(1))];

/// How long a follower waits at the end of the file before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Lives in the server.
#[remote]
trait Log {
    /// The lines of the file from its beginning on, for as long as they are read; `reader` is for the count.
    async fn follow(&self, reader: u32) -> rmi::Result<Streaming<String>>;
}

struct Follower {
    path: PathBuf,
    /// The lines that each reader's stream was given.
    given: Arc<[AtomicU64; PACES.len()]>,
}

#[remote]
impl Log for Follower {
    async fn follow(&self, reader: u32) -> rmi::Result<Streaming<String>> {
        let other = |error: std::io::Error| {
            rmi::RemoteError::new(rmi::ErrorKind::Other, format!("the file cannot be read: {error}"))
        };
        let file = BufReader::new(File::open(&self.path).map_err(other)?);
        let given = self.given.clone();
        Ok(Streaming::try_new(stream::try_unfold((file, String::new()), move |(mut file, mut part)| {
            let given = given.clone();
            async move {
                // A line may be there in part only.
                while !part.ends_with('\n') {
                    if file.read_line(&mut part).map_err(other)? == 0 {
                        sleep(LOOK_AGAIN).await;
                    }
                }
                if let Some(count) = given.get(reader as usize) {
                    count.fetch_add(1, Relaxed);
                }
                let line = part.trim_end().to_owned();
                Ok::<_, rmi::RemoteError>(Some((line, (file, String::new()))))
            }
        })))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = run(&Options::parse()).await;
    outcome.inspect_err(|error| eprintln!("tail: {error:#}")).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let path = std::env::temp_dir().join(format!("rmi-tail-{}.log", std::process::id()));
    let file = File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
    let outcome = follow(options, &path, file).await;
    fs::remove_file(&path)?;
    outcome
}

async fn follow(options: &Options, path: &std::path::Path, file: File) -> anyhow::Result<()> {
    let registry = RegistryServer::builder().listen("tcp://127.0.0.1:0").start().await?;
    let node = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
    let given: Arc<[AtomicU64; PACES.len()]> = Arc::default();
    let log = Follower { path: path.to_owned(), given: given.clone() };
    let names = Registry::connect_with(&node, &registry.url()).await?;
    names.bind("log", &Remote::<dyn Log>::new(log)).await?;

    let writing = tokio::spawn(write(file, options.lines));
    let readers =
        (0..).zip(PACES).map(|(reader, (name, pace))| read(options, registry.url(), reader, name, pace, &given[..]));
    println!("reader      lines     seconds   server ahead, at most");
    for line in try_join_all(readers).await? {
        println!("{line}");
    }
    writing.await??;
    node.shutdown().await;
    registry.shutdown().await;
    Ok(())
}

/// Lets the file grow, a few lines at a time.
async fn write(mut file: File, lines: u64) -> anyhow::Result<()> {
    for number in 0..lines {
        writeln!(file, "line {number}")?;
        if number % 50 == 49 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(())
}

/// A client: reads all lines at its pace, each from a node of its own.
async fn read(
    options: &Options,
    registry: String,
    reader: u32,
    name: &str,
    pace: Duration,
    given: &[AtomicU64],
) -> anyhow::Result<String> {
    let (begun, mut ahead) = (Instant::now(), 0);
    let node = Node::builder().start().await?;
    let log: Remote<dyn Log> = Registry::connect_with(&node, &registry).await?.lookup("log").await?;
    let mut lines = log.follow(reader).await?.read_ahead(options.ahead);
    for expected in 0..options.lines {
        let line = lines.next().await.context("the file has no end")??;
        ensure!(line == format!("line {expected}"), "{name} reads {line:?} instead of line {expected}");
        let given = given.get(reader as usize).context("no such reader")?.load(Relaxed);
        ahead = ahead.max(given.saturating_sub(expected + 1));
        if !pace.is_zero() {
            sleep(pace).await;
        }
    }
    drop((lines, log));
    node.shutdown().await;
    ensure!(ahead <= 2 * u64::from(options.ahead), "the server was {ahead} lines ahead of {name}");
    Ok(format!("{name:<8}{:>9}{:>12.2}{ahead:>24}", options.lines, begun.elapsed().as_secs_f64()))
}

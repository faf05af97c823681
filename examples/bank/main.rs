//! A bank across processes: a registry, a bank server and three clients, each a process of its own.
//!
//! `cargo run --release --example bank` starts them all, replays `examples/data/ledger.csv` through
//! remote accounts, is called back for every refused withdrawal, and checks every balance against
//! the sums of the file. Start reading at `interface.rs`.

mod child;
mod client;
mod generate;
mod interface;
mod ledger;
mod orchestra;
mod report;
mod server;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum, value_parser};

const LEDGER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/ledger.csv");

const SPREAD: &str = "\
Spread over machines (A holds the names and the money, B and C replay):
  A$ bank --role registry --listen tcp://0.0.0.0:1099
  A$ bank --role server --registry rmi://A:1099 --listen tcp://0.0.0.0:0
  B$ bank --role client --registry rmi://A:1099 --client 1 --clients 2
  C$ bank --role client --registry rmi://A:1099 --client 2 --clients 2
Clients wait for each other before the first transaction; client 1 holds the audit object. A bank
is good for one replay: its accounts start empty. Only a server on the registry's own host may bind.";

/// Replays a ledger through a remote bank and checks every balance.
///
/// With no option at all: starts a registry, a bank server and the clients as separate processes
/// on this machine, replays the ledger, prints a table, and fails on any difference.
#[derive(Debug, Parser)]
#[command(name = "bank", after_help = SPREAD)]
struct Options {
    /// Run this part alone, in the foreground.
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// Where the registry is.
    #[arg(long, value_name = "URL", default_value = "rmi://127.0.0.1:1099", requires = "role")]
    registry: String,
    /// Where this part listens [default: tcp://127.0.0.1:1099 (registry), tcp://127.0.0.1:0 (server)].
    #[arg(long, value_name = "URL", requires = "role")]
    listen: Option<String>,
    /// Which of the clients this one is, from 1.
    #[arg(long, value_name = "I", default_value_t = 1, value_parser = value_parser!(u32).range(1..), requires = "role")]
    client: u32,
    /// How many clients share the accounts.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=64))]
    clients: u32,
    /// The ledger to replay: CSV with the columns account, kind (deposit or withdraw) and cents.
    #[arg(long, value_name = "PATH", default_value = LEDGER)]
    data: PathBuf,
    /// Give up, and end every process, after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    limit: u64,
    /// Write a ledger to PATH instead, the same bytes for the same seed, and end.
    #[arg(long, value_name = "PATH", conflicts_with = "role")]
    generate: Option<PathBuf>,
    /// Where the generator starts.
    #[arg(long, value_name = "N", default_value_t = 1099, requires = "generate")]
    seed: u64,
    /// How many transactions it writes.
    #[arg(long, value_name = "N", default_value_t = 20_000, requires = "generate")]
    rows: u32,
    /// Over how many accounts.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u32).range(1..), requires = "generate")]
    accounts: u32,
    /// Check against the sums of this ledger instead of the one replayed.
    #[arg(long, value_name = "PATH", hide = true, conflicts_with = "role")]
    expect: Option<PathBuf>,
    /// Tell progress on standard output, and leave when standard input ends.
    #[arg(long, hide = true, requires = "role")]
    attached: bool,
}

/// One part of the whole.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Holds the names.
    Registry,
    /// Holds the money.
    Server,
    /// Replays its share of the ledger.
    Client,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let (part, outcome) = match (&options.generate, options.role) {
        (Some(path), _) => ("generator", generate::write(path, options.seed, options.rows, options.accounts)),
        (None, None) => ("bank", orchestra::run(&options).await),
        (None, Some(Role::Registry)) => ("registry", server::run_registry(&options).await),
        (None, Some(Role::Server)) => ("server", server::run_bank(&options).await),
        (None, Some(Role::Client)) => ("client", client::run(&options).await),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{part}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! Abuse, measured: peers that mean harm against a server, and what its honest clients feel of it.
//!
//! `cargo xtask abuse` runs it in release. The server, sixteen honest clients and the abuser are processes of their
//! own: this program in other roles.

mod abuser;
mod attacks;
mod credit;
mod desk;
mod driver;
mod honest;
mod peer;
mod process;
mod report;
mod sample;
mod server;
mod tally;
mod verdict;

use std::{alloc::System, process::ExitCode};

use anyhow::Result;
use cap::Cap;
use clap::{Parser, Subcommand};

/// What a process of this run has allocated: what it holds, whatever the C library keeps of what it gave back.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Attacks a server of rmi, and measures what its honest clients feel
#[derive(Parser)]
#[command(name = "rmi-abuse")]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Carry out attacks, print a table, and fail where one did harm
    ///
    /// For each attack a server is started, and sixteen honest clients that call it all the time; others dial it
    /// anew, call once and go. They are measured without the abuser and then with it, twice. No honest call may
    /// fail, the server's memory stays below a bound, and when the abuser has gone nothing is left of it.
    #[command(after_help = driver::EXAMPLES)]
    Run(driver::Options),
    /// The server.
    #[command(hide = true)]
    Server(server::Options),
    /// The honest clients.
    #[command(hide = true)]
    Honest(honest::Options),
    /// Who means harm.
    #[command(hide = true)]
    Abuser(abuser::Options),
}

fn main() -> Result<ExitCode> {
    match Cli::parse().role {
        Role::Run(options) => driver::run(&options),
        Role::Server(options) => server::run(&options).map(|()| ExitCode::SUCCESS),
        Role::Honest(options) => honest::run(&options).map(|()| ExitCode::SUCCESS),
        Role::Abuser(options) => abuser::run(&options).map(|()| ExitCode::SUCCESS),
    }
}

//! Who means harm: one attack for so long, and then gone without a word.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;
use rmi::Endpoint;
use rmi_harness::say;

use crate::attacks::{Attack, Kind};

/// What to do to whom.
#[derive(Args)]
pub(crate) struct Options {
    kind: Kind,
    #[arg(long)]
    endpoint: Endpoint,
    #[arg(long)]
    millis: u64,
    /// How many connections the system allows.
    #[arg(long)]
    connections: usize,
}

/// Attacks, and tells what it did.
pub(crate) fn run(options: &Options) -> Result<()> {
    let Endpoint::Tcp { host, port } = &options.endpoint else { bail!("{} is not attacked", options.endpoint) };
    let server = SocketAddr::new(host.parse()?, *port);
    let attack = Arc::new(Attack::new(server, options.connections));
    let end = Instant::now() + Duration::from_millis(options.millis);
    say("ready", options.endpoint.clone())?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let attacking = options.kind.carry_out(attack.clone());
        drop(tokio::time::timeout_at(end.into(), attacking).await);
    });
    say("done", options.kind.told(&attack.tally))?;
    // Without goodbyes: the system closes what is open.
    std::process::exit(0);
}

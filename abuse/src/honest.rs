//! The honest clients: sixteen that keep their links, and some that dial anew, call once and go.

use std::{
    io::stdin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use rmi::{Endpoint, Node, Remote};
use rmi_harness::say;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    desk::{Desk, NAME},
    sample::{Measured, Sample},
};

/// Clients that keep their links.
pub(crate) const CLIENTS: u64 = 16;
/// Clients that are always about to dial.
const DIALLERS: usize = 4;
/// Between the calls of a client, so that the machine is not full of honest work, and a long call counts no less than
/// short ones.
const CALL_PAUSE: Duration = Duration::from_millis(1);
const DIAL_PAUSE: Duration = Duration::from_millis(20);
/// So many errors are told in words.
const TOLD_MAX: u64 = 3;

/// Whom to call.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    endpoint: Endpoint,
}

/// Measures when told to, for as long as told.
pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let clients = runtime.block_on(connected(&options.endpoint))?;
    say("ready", clients.len())?;
    for line in stdin().lines() {
        let line = line?;
        let millis = line.strip_prefix("measure ").with_context(|| format!("told `{line}`"))?.parse()?;
        let sample = runtime.block_on(measure(&clients, &options.endpoint, Duration::from_millis(millis)))?;
        say("measured", sample.to_line())?;
    }
    Ok(())
}

/// A client that has called once.
type Client = (Node, Remote<dyn Desk>);

async fn connected(endpoint: &Endpoint) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let node = Node::builder().start().await?;
        let desk = Remote::<dyn Desk>::service(&node, endpoint.clone(), NAME);
        desk.add(1, 1).await?;
        clients.push((node, desk));
    }
    Ok(clients)
}

async fn measure(clients: &[Client], endpoint: &Endpoint, duration: Duration) -> Result<Sample> {
    let start = Instant::now();
    let end = start + duration;
    let (mut calling, mut dialling) = (JoinSet::new(), JoinSet::new());
    for (_, desk) in clients {
        calling.spawn(call(desk.clone(), end));
    }
    for _ in 0..DIALLERS {
        dialling.spawn(dial(endpoint.clone(), end));
    }
    let calls = together(calling).await?.figures();
    // Over the calls' own time: the last dial may take its own.
    let took = start.elapsed();
    let dials = together(dialling).await?.figures();
    Ok(Sample { took, calls, dials })
}

async fn together(mut tasks: JoinSet<Result<Measured>>) -> Result<Measured> {
    let mut all = Measured::new()?;
    while let Some(measured) = tasks.join_next().await {
        all.add(&measured??)?;
    }
    Ok(all)
}

/// Calls until then.
async fn call(desk: Remote<dyn Desk>, end: Instant) -> Result<Measured> {
    let mut measured = Measured::new()?;
    let mut number = 0;
    while Instant::now() < end {
        number += 1;
        one_call(&desk, number, Instant::now(), &mut measured).await?;
        sleep(CALL_PAUSE).await;
    }
    Ok(measured)
}

/// Dials until then, each time as a new node. A dial lasts until its first call is answered.
async fn dial(endpoint: Endpoint, end: Instant) -> Result<Measured> {
    let mut measured = Measured::new()?;
    while Instant::now() < end {
        let node = Node::builder().start().await?;
        let desk = Remote::<dyn Desk>::service(&node, endpoint.clone(), NAME);
        one_call(&desk, 1, Instant::now(), &mut measured).await?;
        node.shutdown().await;
        sleep(DIAL_PAUSE).await;
    }
    Ok(measured)
}

async fn one_call(desk: &Remote<dyn Desk>, number: i64, start: Instant, measured: &mut Measured) -> Result<()> {
    match desk.add(number, 1).await {
        Ok(sum) if sum == number + 1 => measured.record(start.elapsed())?,
        Ok(sum) => bail!("{number} and 1 is not {sum}"),
        Err(error) => {
            measured.errors += 1;
            if measured.errors <= TOLD_MAX {
                eprintln!("an honest call failed after {} ms: {error}", start.elapsed().as_millis());
            }
        }
    }
    Ok(())
}

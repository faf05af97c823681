//! The process that replays its share of the ledger.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rmi::{CallOptions, Node, Remote, remote};
use tokio::task::JoinSet;

use crate::{
    Options, child,
    interface::{Account, Audit, Bank, BankError, Gate},
    ledger::{History, Kind, Ledger, Sums},
    report::Report,
};

/// How long this client waits for the others, which may be started by hand.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    tokio::select! {
        report = replay_share(options) => writeln!(io::stdout(), "report {}", report?)?,
        // Who started it knows why.
        () = child::told_to_leave(options.attached) => ensure!(options.attached, "interrupted"),
    }
    Node::current().shutdown().await;
    Ok(())
}

async fn replay_share(options: &Options) -> anyhow::Result<Report> {
    let &Options { client, clients, ref registry, .. } = options;
    ensure!(client <= clients, "client {client} of {clients} is none: --client counts from 1 to --clients");
    let share = Ledger::read(&options.data)?.share(client, clients);
    let bank: Remote<dyn Bank> = rmi::lookup(&format!("{registry}/bank")).await?;
    let gate: Remote<dyn Gate> = rmi::lookup(&format!("{registry}/gate")).await?;
    let gate = Remote::with(&gate, CallOptions::new().timeout(PATIENCE));

    // This process listens nowhere: the bank calls back over the connection that was made to it.
    let refusals = Arc::new(AtomicU64::new(0));
    if client == 1 {
        bank.watch(Remote::<dyn Audit>::new(RefusalCount(Arc::clone(&refusals)))).await?;
    }
    let mut accounts = Vec::new();
    for history in share {
        accounts.push((bank.open(&history.owner).await?, history));
    }
    let progress = options.attached.then(Progress::default).map(Arc::new);

    gate.pass(clients).await.context("the other clients did not come")?;
    let mut report = Report { accounts: accounts.len() as u64, ..Report::default() };
    let start = Instant::now();
    let mut replays = JoinSet::new();
    for (account, history) in accounts {
        replays.spawn(replay(account, history, progress.clone()));
    }
    while let Some(sums) = replays.join_next().await {
        let sums = sums??;
        report.applied += sums.applied;
        report.refused += sums.refused;
    }
    report.elapsed = start.elapsed();

    // The audit hears of the others' refusals too, each before its caller went on.
    gate.pass(clients).await.context("the other clients did not finish")?;
    report.callbacks = refusals.load(Ordering::Relaxed);
    Ok(report)
}

/// One account's transactions in their order, while other accounts' are in flight.
async fn replay(
    account: Remote<dyn Account>,
    history: History,
    progress: Option<Arc<Progress>>,
) -> anyhow::Result<Sums> {
    let mut sums = Sums::default();
    for &(kind, cents) in &history.transactions {
        let outcome = match kind {
            Kind::Deposit => account.deposit(cents).await,
            Kind::Withdraw => account.withdraw(cents).await,
        };
        match outcome {
            Ok(balance) => sums = Sums { balance, applied: sums.applied + 1, ..sums },
            Err(BankError::Insufficient { .. }) => sums.refused += 1,
            Err(error) => return Err(error).with_context(|| format!("{}: {kind:?} {cents}", history.owner)),
        }
        if let Some(progress) = &progress {
            progress.advance()?;
        }
    }
    let expected = history.sums();
    ensure!(sums == expected, "{}: the bank says {sums:?}, the ledger {expected:?}", history.owner);
    Ok(sums)
}

/// Told to the process that started this one, on standard output.
#[derive(Debug, Default)]
struct Progress(AtomicU64);

impl Progress {
    const STEP: u64 = 100;

    fn advance(&self) -> io::Result<()> {
        let done = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(Self::STEP) { writeln!(io::stdout(), "progress {}", Self::STEP) } else { Ok(()) }
    }
}

/// Lives here, is called from there.
#[derive(Debug)]
struct RefusalCount(Arc<AtomicU64>);

#[remote]
impl Audit for RefusalCount {
    async fn refused(&self, _owner: &str, _cents: i64, _balance: i64) -> rmi::Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

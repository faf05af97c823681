//! The whole: every part as a process, the replay, and the check.

use std::time::Duration;

use anyhow::{bail, ensure};
use futures_util::future::{join_all, select, try_join_all};
use indicatif::{ProgressBar, ProgressStyle};
use rmi::{Node, Remote};
use tokio::time::sleep;

use crate::{
    Options,
    child::Child,
    interface::Bank,
    ledger::{Ledger, Sums},
    report::{Report, Table},
};

/// Starts every part, and ends and reaps every part whatever happens.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let mut cast = Cast::default();
    let outcome = tokio::select! {
        outcome = play(options, &mut cast) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        () = sleep(Duration::from_secs(options.limit)) => Err(anyhow::anyhow!("not done within {} s", options.limit)),
    };
    cast.end().await;
    outcome
}

/// Every process that was started so far.
#[derive(Debug, Default)]
struct Cast {
    registry: Option<Child>,
    server: Option<Child>,
    clients: Vec<Child>,
}

impl Cast {
    /// The clients first, the registry last, so that nobody misses somebody who left.
    async fn end(self) {
        join_all(self.clients.into_iter().map(Child::end)).await;
        for child in self.server.into_iter().chain(self.registry) {
            child.end().await;
        }
    }
}

async fn play(options: &Options, cast: &mut Cast) -> anyhow::Result<()> {
    let ledger = Ledger::read(&options.data)?;
    let expected = Ledger::read(options.expect.as_ref().unwrap_or(&options.data))?;

    let local = ["--listen", "tcp://127.0.0.1:0", "--role"];
    let registry = cast.registry.insert(Child::start("the registry", &[&local[..], &["registry"]].concat())?);
    let url = registry.first_line().await?;
    let server =
        cast.server.insert(Child::start("the server", &[&local[..], &["server", "--registry", &url]].concat())?);
    let endpoint = server.first_line().await?;
    println!("registry at {url}, bank at {endpoint}, {} clients", options.clients);
    let clients = options.clients.to_string();
    let data = options.data.to_string_lossy();
    for client in 1..=options.clients {
        let number = client.to_string();
        let part =
            ["--role", "client", "--client", &number, "--clients", &clients, "--registry", &url, "--data", &data];
        cast.clients.push(Child::start(format!("client {client}"), &part)?);
    }

    let bar = progress_bar(ledger.transactions());
    let lost = select(Box::pin(registry.lost()), Box::pin(server.lost()));
    let reports = tokio::select! {
        reports = try_join_all(cast.clients.iter_mut().map(|client| follow(client, &bar))) => reports?,
        lost = lost => return Err(lost.factor_first().0),
    };
    bar.finish_and_clear();
    print!("{}", Table(&reports));
    check(&format!("{url}/bank"), &expected, Report::total(&reports)).await
}

/// Hidden where standard error is no terminal.
fn progress_bar(transactions: usize) -> ProgressBar {
    let bar = ProgressBar::new(transactions as u64);
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} transactions {elapsed}");
    // Without its style it is still a bar.
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}

/// Shows what a client tells, up to its report.
async fn follow(client: &mut Child, bar: &ProgressBar) -> anyhow::Result<Report> {
    let mut report = None;
    while let Some(line) = client.line().await? {
        match line.split_once(' ') {
            Some(("progress", done)) => bar.inc(done.parse()?),
            Some(("report", text)) => report = Some(text.parse()?),
            _ => bail!("a client said {line:?}"),
        }
    }
    report.ok_or_else(|| anyhow::anyhow!("a client ended without a report"))
}

/// Asks the bank for every balance, and compares all with the sums of the file.
async fn check(bank: &str, expected: &Ledger, total: Report) -> anyhow::Result<()> {
    let bank: Remote<dyn Bank> = rmi::lookup(bank).await?;
    let mut sums = Sums::default();
    let mut differences = 0;
    for history in &expected.accounts {
        let account = history.sums();
        let balance = bank.open(&history.owner).await?.balance().await?;
        if balance != account.balance {
            differences += 1;
            eprintln!("{}: the bank says {balance}, the ledger {}", history.owner, account.balance);
        }
        sums.balance += account.balance;
        sums.applied += account.applied;
        sums.refused += account.refused;
    }
    Node::current().shutdown().await;
    let accounts = expected.accounts.len();
    ensure!(differences == 0, "{differences} of {accounts} balances differ from the ledger");
    let counts = [total.applied, total.refused, total.callbacks];
    ensure!(
        counts == [sums.applied, sums.refused, sums.refused],
        "the clients counted {counts:?} applied, refused and called back, the ledger {} and {}",
        sums.applied,
        sums.refused
    );
    println!("every balance of {accounts} accounts agrees with the ledger, {} cents in all", sums.balance);
    Ok(())
}

//! One of three servers of a name is killed under load: its clients lose no call that may go again.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use rmi::{ErrorKind, Node, Registry, RegistryServer, Remote};

use crate::{
    common::{TCP, client, until},
    killed::{Book, Page, page, runs},
    process::{Chance, Part, orders, tell, variable},
};

#[tokio::test]
#[ignore = "a part of another test, which runs it as a process of its own"]
async fn server() {
    let mut orders = orders();
    let file = OpenOptions::new().append(true).open(variable("RMI_IT_PAGE")).unwrap();
    let node = Node::builder().listen(TCP).start().await.unwrap();
    let registry = Registry::connect_with(&node, &variable("RMI_IT_REGISTRY")).await.unwrap();
    registry.join("books", &Remote::<dyn Book>::new(Page(file))).await.unwrap();
    tell("ready");
    orders.recv().await;
}

const CLIENTS: u64 = 4;
const CALLERS: usize = 8;
/// The numbers of one client begin here times its own.
const SPAN: u64 = 1_000_000;

/// Whether the call of this number may run more than once.
const fn is_idempotent(number: u64) -> bool {
    number % 2 == 1
}

/// Looks up once and calls all the while, until it is told to stop; then says how each call ended, and
/// what is left of all that.
#[tokio::test]
#[ignore = "a part of another test, which runs it as a process of its own"]
async fn caller() {
    let mut orders = orders();
    let (node, next) = (client().await, AtomicU64::new(variable("RMI_IT_CLIENT").parse::<u64>().unwrap() * SPAN));
    let registry = Registry::connect_with(&node, &variable("RMI_IT_REGISTRY")).await.unwrap();
    let books: Remote<dyn Book> = registry.lookup("books").await.unwrap();
    tell("ready");
    let stopped = AtomicBool::new(false);
    let call = async || {
        let mut ends = Vec::new();
        while !stopped.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let result = if is_idempotent(number) { books.again(number).await } else { books.once(number).await };
            ends.push((number, result));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        ends
    };
    let calls = futures_util::future::join_all((0..CALLERS).map(|_| call()));
    let stop = async {
        orders.recv().await;
        stopped.store(true, Ordering::Relaxed);
    };
    for (number, result) in tokio::join!(calls, stop).0.into_iter().flatten() {
        match result {
            Ok(()) => tell(format!("{number} Ok")),
            // What the method itself returns.
            Err(error) if error.kind() == ErrorKind::Other => tell(format!("{number} Ok")),
            Err(error) => tell(format!("{number} {:?} {error}", error.certainty())),
        }
    }
    drop(books);
    until("nothing is left", || (node.stats().imported_references, node.stats().calls_in_flight) == (0, 0)).await;
    node.shutdown().await;
}

fn lines(page: &Path) -> usize {
    std::fs::read_to_string(page).unwrap().lines().count()
}

/// Which share of the calls each has had, in percent.
fn shares(counts: &[usize]) -> Vec<usize> {
    counts.iter().map(|count| 100 * count / counts.iter().sum::<usize>().max(1)).collect()
}

#[tokio::test]
async fn one_of_three_servers_killed_under_load_costs_no_call_that_may_go_again() {
    let mut chance = Chance::seeded(4242);
    let registry = RegistryServer::builder().listen(TCP).start().await.unwrap();
    let url = registry.url();
    let pages: Vec<PathBuf> = (0..3).map(|number| page(&format!("balanced-{number}.page"))).collect();
    let mut servers = Vec::new();
    for page in &pages {
        let variables = [("RMI_IT_REGISTRY", &*url), ("RMI_IT_PAGE", page.to_str().unwrap())];
        let mut server = Part::start("balanced::server", variables);
        server.hear("ready").await;
        servers.push(server);
    }
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let variables = [("RMI_IT_REGISTRY", url.clone()), ("RMI_IT_CLIENT", number.to_string())];
        clients.push(Part::start("balanced::caller", variables));
    }
    for client in &mut clients {
        client.hear("ready").await;
    }
    let written = || pages.iter().map(|page| lines(page)).collect::<Vec<_>>();
    until("all are called", || written().iter().sum::<usize>() > 1500).await;
    tokio::time::sleep(Duration::from_millis(chance.within(0..100))).await;

    let killed = servers.remove(usize::try_from(chance.within(0..3)).unwrap());
    killed.kill().await;
    let before = written();
    let total: usize = before.iter().sum();
    until("the others are called on", || written().iter().sum::<usize>() > total + 1500).await;
    let mut ends = Vec::new();
    for mut client in clients {
        client.order("stop").await;
        while let Some(end) = client.next().await {
            ends.push(end);
        }
        client.end().await;
    }
    let after = written();
    for server in servers {
        server.kill().await;
    }

    println!("written before the kill {before:?}, after it {after:?}");
    assert!(shares(&before).iter().all(|share| (20..=50).contains(share)), "{before:?}");
    let since: Vec<_> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    let mut since = shares(&since);
    since.sort_unstable();
    assert!(since[0] == 0 && since[1] >= 35, "two are left, and called alike: {since:?}");

    let mut ran = BTreeMap::<u64, usize>::new();
    for (number, times) in pages.iter().flat_map(|page| runs(page)) {
        *ran.entry(number).or_default() += times;
    }
    let mut counts = BTreeMap::<(bool, &str), usize>::new();
    for told in &ends {
        let mut words = told.split(' ');
        let (number, end): (u64, _) = (words.next().unwrap().parse().unwrap(), words.next().unwrap());
        let ran = ran.get(&number).copied().unwrap_or(0);
        let is_true = match (is_idempotent(number), end) {
            (true, "Ok") => ran >= 1,
            (false, "Ok") => ran == 1,
            // It was at the one that was killed, and nobody knows whether it ran.
            (false, "Unknown") => ran <= 1,
            _ => false,
        };
        assert!(is_true, "a call that ran {ran} times ended so: {told}");
        *counts.entry((is_idempotent(number), end)).or_default() += 1;
    }
    println!("{counts:?}");
    let unknown = counts.get(&(false, "Unknown")).copied().unwrap_or(0);
    assert!(unknown <= usize::try_from(CLIENTS).unwrap() * CALLERS, "{unknown} were in flight at once");
}

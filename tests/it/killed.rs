//! Processes that are killed: a server under its clients, which must be told the truth of every
//! call, and a client with its hands full, whose server must let go of all that it held.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rmi::{CallOptions, Certainty, ErrorKind, Limits, Node, Registry, RegistryServer, Remote, RemoteError, remote};

use crate::{
    common::{Counter, TCP, client, counter, failure, soon, until},
    process::{Chance, Part, orders, tell, variable},
};

/// Writes down every number it is called with, before it answers.
#[remote]
pub(crate) trait Book {
    async fn once(&self, number: u64) -> rmi::Result<()>;
    #[remote(idempotent)]
    async fn again(&self, number: u64) -> rmi::Result<()>;
    /// Does not answer.
    #[remote(idempotent)]
    async fn stuck(&self, number: u64) -> rmi::Result<()>;
}

/// A file to append to. What was written outlives the process, however that ends.
pub(crate) struct Page(pub(crate) File);

impl Page {
    /// Some calls take their time before they run, some afterwards, and some fail at their end.
    async fn run(&self, number: u64) -> rmi::Result<()> {
        if number.is_multiple_of(4) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        (&self.0).write_all(format!("{number:012}\n").as_bytes()).expect("the page takes the line");
        if number % 4 == 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        match number % 16 {
            15 => Err(RemoteError::new(ErrorKind::Other, "written, and refused all the same")),
            _ => Ok(()),
        }
    }
}

#[remote]
impl Book for Page {
    async fn once(&self, number: u64) -> rmi::Result<()> {
        self.run(number).await
    }
    async fn again(&self, number: u64) -> rmi::Result<()> {
        self.run(number).await
    }
    async fn stuck(&self, number: u64) -> rmi::Result<()> {
        self.run(number).await?;
        std::future::pending().await
    }
}

/// How often each number was written down.
pub(crate) fn runs(page: &Path) -> HashMap<u64, usize> {
    let mut runs = HashMap::new();
    for line in std::fs::read_to_string(page).expect("the page is there").lines() {
        *runs.entry(line.parse().expect("a line is a number")).or_default() += 1;
    }
    runs
}

/// An empty page of this name.
pub(crate) fn page(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, "").expect("the page can be made");
    path
}

#[tokio::test]
#[ignore = "a part of another test, which runs it as a process of its own"]
async fn server() {
    let mut orders = orders();
    let file = OpenOptions::new().append(true).open(variable("RMI_IT_PAGE")).unwrap();
    let node = Node::builder().listen(variable("RMI_IT_LISTEN")).start().await.unwrap();
    let registry = Registry::connect_with(&node, &variable("RMI_IT_REGISTRY")).await.unwrap();
    registry.rebind("book", &Remote::<dyn Book>::new(Page(file))).await.unwrap();
    tell(format!("ready {}", node.endpoints()[0]));
    orders.recv().await;
}

/// A server process, which says where it listens.
async fn start_server(listen: &str, registry: &str, page: &Path) -> (Part, String) {
    let page = page.to_str().expect("a path of text");
    let variables = [("RMI_IT_LISTEN", listen), ("RMI_IT_REGISTRY", registry), ("RMI_IT_PAGE", page)];
    let mut server = Part::start("killed::server", variables);
    let endpoint = server.hear("ready").await;
    (server, endpoint)
}

/// What a client asks for in a call, and tells by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// At most once.
    Plain,
    /// At most once, and soon.
    Hasty,
    /// At least once.
    Idempotent,
}

impl Kind {
    fn of(number: u64) -> Self {
        match number % 3 {
            0 => Self::Plain,
            1 => Self::Hasty,
            _ => Self::Idempotent,
        }
    }
}

const CLIENTS: u64 = 8;
const CALLERS: usize = 4;
/// The numbers of one client begin here times its own.
const SPAN: u64 = 1_000_000;

/// Looks up once and calls all the while, until it is told to stop; then says how each call ended.
#[tokio::test]
#[ignore = "a part of another test, which runs it as a process of its own"]
async fn caller() {
    let mut orders = orders();
    let (node, next) = (client().await, AtomicU64::new(variable("RMI_IT_CLIENT").parse::<u64>().unwrap() * SPAN));
    let registry = Registry::connect_with(&node, &variable("RMI_IT_REGISTRY")).await.unwrap();
    let book: Remote<dyn Book> = registry.lookup("book").await.unwrap();
    let hasty = Remote::with(&book, CallOptions::new().timeout(Duration::from_millis(30)));
    tell("ready");
    let stopped = AtomicBool::new(false);
    let call = async || {
        let mut ends = Vec::new();
        while !stopped.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let result = match Kind::of(number) {
                Kind::Plain => book.once(number).await,
                Kind::Hasty => hasty.once(number).await,
                Kind::Idempotent => book.again(number).await,
            };
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
            Err(error) => tell(format!("{number} {:?} {error}", error.certainty())),
        }
    }
    node.shutdown().await;
}

/// Holds one call's end against how often it ran.
fn check(number: u64, end: &str, told: &str, ran: usize) {
    let kind = Kind::of(number);
    let is_true = match (kind, end) {
        (Kind::Idempotent, "Ok" | "Executed") => ran >= 1,
        // The server was always back in time.
        (Kind::Idempotent, _) => false,
        (_, "Ok" | "Executed") => ran == 1,
        (_, "NotSent" | "NotExecuted") => ran == 0,
        (_, "Unknown") => ran <= 1,
        _ => false,
    };
    assert!(is_true, "a {kind:?} call that ran {ran} times ended so: {told}");
}

#[tokio::test]
async fn a_server_killed_again_and_again_under_eight_clients_costs_no_call_its_truth() {
    let mut chance = Chance::seeded(1099);
    let registry = RegistryServer::builder().listen(TCP).start().await.unwrap();
    let (url, page) = (registry.url(), page("killed.page"));
    let (mut server, endpoint) = start_server(TCP, &url, &page).await;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let variables = [("RMI_IT_REGISTRY", url.clone()), ("RMI_IT_CLIENT", number.to_string())];
        clients.push(Part::start("killed::caller", variables));
    }
    for client in &mut clients {
        client.hear("ready").await;
    }
    let all_are_served = async |after: usize| {
        let served = |client: u64| move |number: &u64| number / SPAN == client;
        let numbers = || -> Vec<u64> {
            std::fs::read_to_string(&page).unwrap().lines().skip(after).map(|line| line.parse().unwrap()).collect()
        };
        let by_all = || {
            let numbers = numbers();
            (0..CLIENTS).all(|client| numbers.iter().any(served(client)))
        };
        until("every client is served again", by_all).await;
    };
    let mut written = 0;
    for _ in 0..5 {
        all_are_served(written).await;
        tokio::time::sleep(Duration::from_millis(chance.within(0..150))).await;
        server.kill().await;
        let down = Instant::now();
        written = std::fs::read_to_string(&page).unwrap().lines().count();
        tokio::time::sleep(Duration::from_millis(chance.within(50..300))).await;
        (server, _) = start_server(&endpoint, &url, &page).await;
        assert!(down.elapsed() < Limits::default().connect_timeout, "this machine is too slow for this test");
    }
    // The very same references work, of each of them.
    all_are_served(written).await;
    let mut ends = Vec::new();
    for mut client in clients {
        client.order("stop").await;
        while let Some(end) = client.next().await {
            ends.push(end);
        }
        client.end().await;
    }
    server.kill().await;

    let runs = runs(&page);
    let mut counts = BTreeMap::<_, usize>::new();
    for told in &ends {
        let mut words = told.split(' ');
        let (number, end) = (words.next().unwrap().parse().unwrap(), words.next().unwrap());
        check(number, end, told, runs.get(&number).copied().unwrap_or(0));
        *counts.entry((Kind::of(number), end)).or_default() += 1;
    }
    println!("{counts:#?}");
    for seen in [(Kind::Plain, "Ok"), (Kind::Plain, "Unknown"), (Kind::Hasty, "NotSent"), (Kind::Idempotent, "Ok")] {
        assert!(counts.contains_key(&seen), "no call ended so: {seen:?}");
    }
    let made = counts.values().sum::<usize>();
    assert!(runs.len() <= made && made > 1000, "{made} calls, {} of them ran", runs.len());
}

#[tokio::test]
async fn a_call_that_may_have_run_says_so_whatever_became_of_its_later_attempts() {
    let registry = RegistryServer::builder().listen(TCP).start().await.unwrap();
    let limits = Limits { connect_timeout: Duration::from_millis(500), ..Limits::default() };
    let client = Node::builder().limits(limits).start().await.unwrap();
    let page = page("stuck.page");
    let names = Registry::connect_with(&client, &registry.url()).await.unwrap();
    let (server, _) = start_server(TCP, &registry.url(), &page).await;
    let book: Remote<dyn Book> = names.lookup("book").await.unwrap();
    let call = tokio::spawn(async move { book.stuck(1).await });
    until("the call runs", || runs(&page).contains_key(&1)).await;
    server.kill().await;
    let error = failure(soon(call).await.unwrap(), "Book.stuck");
    assert_eq!(error.certainty(), Certainty::Unknown, "{error}");
}

/// Makes counters by the thousand.
#[remote]
trait Mint {
    async fn make(&self, count: usize) -> rmi::Result<Vec<Remote<dyn Counter>>>;
}

struct Press;

#[remote]
impl Mint for Press {
    async fn make(&self, count: usize) -> rmi::Result<Vec<Remote<dyn Counter>>> {
        Ok((0..count).map(|_| counter()).collect())
    }
}

const HELD: usize = 10_000;

#[tokio::test]
#[ignore = "a part of another test, which runs it as a process of its own"]
async fn holder() {
    let mut orders = orders();
    let node = client().await;
    let mint = Remote::<dyn Mint>::service(&node, variable("RMI_IT_ENDPOINT").parse().unwrap(), "mint");
    let held = mint.make(HELD).await.unwrap();
    assert_eq!(held[HELD - 1].add(1).await.unwrap(), 1);
    tell("ready");
    orders.recv().await;
    tell(format!("total {}", held[HELD - 1].add(1).await.unwrap()));
    node.shutdown().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_client_that_stands_still_for_a_while_is_lost_and_takes_its_link_up_again() {
    let server = Node::builder().listen(TCP).lease(Duration::from_secs(3)).start().await.unwrap();
    server.serve("mint", &Remote::<dyn Mint>::new(Press));
    let mut holder = Part::start("killed::holder", [("RMI_IT_ENDPOINT", server.endpoints()[0].to_string())]);
    holder.hear("ready").await;
    let (pid, before) = (holder.pid(), server.stats());
    let signal = async |name: &str| {
        let sent = tokio::process::Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().await;
        assert!(sent.unwrap().success());
    };
    signal("STOP").await;
    until("it is lost", || (server.stats().connections, server.stats().leases) == (0, 1)).await;
    signal("CONT").await;
    until("it is back, and holds what it held", || server.stats() == before).await;
    holder.order("go on").await;
    assert_eq!(holder.hear("total").await, "2");
    holder.end().await;
    until("its goodbye frees all", || server.stats().exported_objects == 1).await;
}

#[tokio::test]
async fn a_client_killed_with_ten_thousand_references_is_forgotten_after_its_lease_and_disturbs_nobody() {
    // Long enough that nobody who takes in ten thousand references on a busy machine looks lost.
    let lease = Duration::from_secs(3);
    let server = Node::builder().listen(TCP).lease(lease).start().await.unwrap();
    server.serve("mint", &Remote::<dyn Mint>::new(Press));
    let other = client().await;
    let mint = Remote::<dyn Mint>::service(&other, server.endpoints()[0].clone(), "mint");
    let kept = mint.make(100).await.unwrap();
    let mut killed = Part::start("killed::holder", [("RMI_IT_ENDPOINT", server.endpoints()[0].to_string())]);
    killed.hear("ready").await;
    let (mint_and_kept, all) = (1 + kept.len(), 1 + kept.len() + HELD);
    assert_eq!(server.stats().exported_objects, all);

    killed.kill().await;
    let killed = Instant::now();
    let freed = async {
        while server.stats().exported_objects == all {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(killed.elapsed() >= lease, "freed after {:?}", killed.elapsed());
        until("all is freed", || server.stats().exported_objects == mint_and_kept).await;
        killed.elapsed()
    };
    // Somebody else calls all the while, each object in turn.
    let (mut rounds, mut longest) = (0, Duration::ZERO);
    let calling = async {
        loop {
            for counter in &kept {
                let asked = Instant::now();
                counter.add(1).await.expect("nobody else is disturbed");
                longest = longest.max(asked.elapsed());
            }
            rounds += 1;
        }
    };
    let freed = tokio::select! {
        freed = soon(freed) => freed,
        () = calling => unreachable!("it calls on"),
    };
    println!("freed after {freed:?}, meanwhile {rounds} rounds of calls, the longest of {longest:?}");
    assert!(freed <= 2 * lease, "only after {freed:?}");
    assert!(rounds > 0 && longest < lease, "{rounds} rounds of calls, the longest of {longest:?}");
    assert_eq!((server.stats().leases, server.stats().connections), (0, 1));
    assert!(kept[99].total().await.unwrap() >= rounds);
    drop(kept);
    until("only the mint is left", || server.stats().exported_objects == 1).await;
    assert_eq!((other.stats().imported_references, server.stats().calls_in_flight), (0, 0));
}

//! What the stories share: nodes, interfaces, objects, and how long to wait.

use std::{
    fmt::Debug,
    future::Future,
    sync::{
        Arc, Weak,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rmi::{AnyRemote, Endpoint, Node, NodeStats, Remote, RemoteError, remote};
use rmi_core::interface::Interface;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

/// How long a story waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The future's result, which must come within [`PATIENCE`].
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it happens in time")
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(PATIENCE, holds).await.is_ok(), "in vain: {what}");
}

/// Keeps a worker of the runtime awake for the rest of the test: where one is blocked while the
/// others sleep, nobody looks after sockets and timers.
pub(crate) fn stay_awake() {
    tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
}

/// Waits until these nodes hold nothing but their connections.
pub(crate) async fn at_rest(nodes: &[&Node]) {
    let but_connections = |mut stats: NodeStats| {
        stats.connections = 0;
        stats
    };
    rests(nodes, but_connections).await;
}

/// Waits until these nodes hold nothing, not even connections.
pub(crate) async fn gone(nodes: &[&Node]) {
    rests(nodes, |stats| stats).await;
}

async fn rests(nodes: &[&Node], counted: impl Fn(NodeStats) -> NodeStats) {
    let counts = || nodes.iter().map(|node| counted(node.stats())).collect::<Vec<_>>();
    let zero = async {
        while counts().iter().any(|stats| *stats != NodeStats::default()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(PATIENCE, zero).await.is_ok(), "left over: {:#?}", counts());
}

/// Where the nodes of a story listen: over each transport, at an address of its own.
pub(crate) fn transports() -> Vec<String> {
    let mut urls = vec![mem(), TCP.to_owned()];
    if cfg!(unix) {
        urls.push(unix());
    }
    urls
}

/// Any free port.
pub(crate) const TCP: &str = "tcp://127.0.0.1:0";

/// An address in this process that no other story uses.
pub(crate) fn mem() -> String {
    format!("mem://it-{}", number())
}

fn unix() -> String {
    format!("unix://{}", socket_path())
}

/// A path for a socket that no other story uses.
pub(crate) fn socket_path() -> String {
    let directory = std::env::temp_dir().join(format!("rmi-it-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory for sockets can be made");
    format!("{}/{}", directory.display(), number())
}

/// Another address over the same transport.
pub(crate) fn beside(url: &str) -> String {
    match url.split_once("://") {
        Some(("mem", _)) => mem(),
        Some(("unix", _)) => unix(),
        _ => TCP.to_owned(),
    }
}

/// A number that this process has not used.
pub(crate) fn number() -> usize {
    static USED: AtomicUsize = AtomicUsize::new(0);
    USED.fetch_add(1, Ordering::Relaxed)
}

pub(crate) async fn node(listen: &str) -> Node {
    Node::builder().listen(listen).start().await.expect("the node starts")
}

/// A node that listens nowhere.
pub(crate) async fn client() -> Node {
    Node::builder().start().await.expect("the node starts")
}

/// Serves an object by name and returns a client's reference to it, by that name.
pub(crate) fn serve<I: ?Sized + Interface>(server: &Node, client: &Node, object: &Remote<I>) -> Remote<I> {
    let name = format!("service-{}", number());
    server.serve(&name, object);
    Remote::service(client, server.endpoints()[0].clone(), &name)
}

/// Hands an object of `giver` to another node, as an answer of a call.
pub(crate) async fn hand_over<I: ?Sized + Interface>(giver: &Node, to: &Node, object: &Remote<I>) -> Remote<I> {
    hand_over_by(giver.endpoints()[0].clone(), giver, to, object).await
}

/// The same, where the other node dials the giver there.
pub(crate) async fn hand_over_by<I: ?Sized + Interface>(
    endpoint: Endpoint,
    giver: &Node,
    to: &Node,
    object: &Remote<I>,
) -> Remote<I> {
    let name = format!("door-{}", number());
    giver.serve(&name, &Remote::<dyn Door>::new(Open(Remote::erase(object))));
    let door = Remote::<dyn Door>::service(to, endpoint, &name);
    let taken = soon(door.take()).await.expect("the door is open");
    giver.unserve(&name);
    taken.cast().expect("it is what was put behind the door")
}

/// A door that every caller takes the same reference from.
#[remote]
pub(crate) trait Door {
    async fn take(&self) -> rmi::Result<AnyRemote>;
}

struct Open(AnyRemote);

#[remote]
impl Door for Open {
    async fn take(&self) -> rmi::Result<AnyRemote> {
        Ok(self.0.clone())
    }
}

/// A number to add to.
#[remote]
pub(crate) trait Counter {
    async fn add(&self, by: i64) -> rmi::Result<i64>;
    async fn total(&self) -> rmi::Result<i64>;
}

/// A counter that may be watched for its end.
#[derive(Default)]
pub(crate) struct Tally {
    total: AtomicI64,
    _life: Arc<()>,
}

impl Tally {
    /// A counter, and what tells whether it lives.
    pub(crate) fn mortal() -> (Remote<dyn Counter>, Weak<()>) {
        let life = Arc::new(());
        let watched = Arc::downgrade(&life);
        (Remote::<dyn Counter>::new(Self { total: AtomicI64::new(0), _life: life }), watched)
    }
}

pub(crate) fn counter() -> Remote<dyn Counter> {
    Remote::<dyn Counter>::new(Tally::default())
}

#[remote]
impl Counter for Tally {
    async fn add(&self, by: i64) -> rmi::Result<i64> {
        Ok(self.total.fetch_add(by, Ordering::Relaxed) + by)
    }
    async fn total(&self) -> rmi::Result<i64> {
        Ok(self.total.load(Ordering::Relaxed))
    }
}

pub(crate) async fn dropped(life: &Weak<()>) {
    until("the object is dropped", || life.strong_count() == 0).await;
}

/// Makes counters and keeps one.
#[remote]
pub(crate) trait Shelf {
    async fn make(&self) -> rmi::Result<Remote<dyn Counter>>;
    async fn put(&self, counter: Remote<dyn Counter>) -> rmi::Result<()>;
    async fn get(&self) -> rmi::Result<Option<Remote<dyn Counter>>>;
    async fn clear(&self) -> rmi::Result<()>;
    /// Adds to the counter kept.
    async fn add(&self, by: i64) -> rmi::Result<i64>;
    /// Whether the counter is one of this very process.
    async fn owns(&self, counter: Remote<dyn Counter>) -> rmi::Result<bool>;
}

#[derive(Default)]
pub(crate) struct Board {
    kept: Mutex<Option<Remote<dyn Counter>>>,
    made: Mutex<Vec<Weak<()>>>,
}

impl Board {
    pub(crate) fn made(&self) -> Vec<Weak<()>> {
        self.made.lock().clone()
    }
}

pub(crate) fn shelf() -> Remote<dyn Shelf> {
    Remote::<dyn Shelf>::new(Board::default())
}

#[remote]
impl Shelf for Board {
    async fn make(&self) -> rmi::Result<Remote<dyn Counter>> {
        let (counter, life) = Tally::mortal();
        self.made.lock().push(life);
        Ok(counter)
    }
    async fn put(&self, counter: Remote<dyn Counter>) -> rmi::Result<()> {
        *self.kept.lock() = Some(counter);
        Ok(())
    }
    async fn get(&self) -> rmi::Result<Option<Remote<dyn Counter>>> {
        Ok(self.kept.lock().clone())
    }
    async fn clear(&self) -> rmi::Result<()> {
        let kept = self.kept.lock().take();
        drop(kept);
        Ok(())
    }
    async fn add(&self, by: i64) -> rmi::Result<i64> {
        let kept = self.kept.lock().clone();
        kept.expect("a counter was put here").add(by).await
    }
    async fn owns(&self, counter: Remote<dyn Counter>) -> rmi::Result<bool> {
        Ok(Remote::is_local(&counter))
    }
}

/// Holds its callers until it is opened.
#[remote]
pub(crate) trait Gate {
    async fn pass(&self) -> rmi::Result<()>;
}

/// A gate, as the test sees it. Clones share it.
#[derive(Clone)]
pub(crate) struct Keeper {
    open: Arc<watch::Sender<bool>>,
    inside: Arc<AtomicUsize>,
    entered: Arc<AtomicUsize>,
}

/// Counts a handler that waits, for as long as its future lives.
struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Keeper {
    pub(crate) fn shut() -> Self {
        Self { open: Arc::new(watch::Sender::new(false)), inside: Arc::default(), entered: Arc::default() }
    }

    pub(crate) fn gate(&self) -> Remote<dyn Gate> {
        Remote::<dyn Gate>::new(self.clone())
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// How many handlers ever began.
    pub(crate) fn entered(&self) -> usize {
        self.entered.load(Ordering::SeqCst)
    }

    /// Waits until so many handlers wait.
    pub(crate) async fn holds(&self, count: usize) {
        until("the gate holds so many", || self.inside.load(Ordering::SeqCst) == count).await;
    }
}

#[remote]
impl Gate for Keeper {
    async fn pass(&self) -> rmi::Result<()> {
        self.entered.fetch_add(1, Ordering::SeqCst);
        self.inside.fetch_add(1, Ordering::SeqCst);
        let _inside = Inside(self.inside.clone());
        let mut opened = self.open.subscribe();
        opened.wait_for(|open| *open).await.expect("the gate outlives its callers");
        Ok(())
    }
}

/// A caller at the gate.
pub(crate) fn pass(gate: &Remote<dyn Gate>) -> JoinHandle<rmi::Result<()>> {
    let gate = gate.clone();
    tokio::spawn(async move { gate.pass().await })
}

/// The error of a call that must fail, and that names what it was about.
#[track_caller]
pub(crate) fn failure<T: Debug>(result: Result<T, RemoteError>, method: &str) -> RemoteError {
    let error = result.expect_err("the call fails");
    let told = error.to_string();
    let named = error.method().is_some_and(|named| named.ends_with(method));
    assert!(named && told.contains(method), "{method:?} is not named: {told}");
    for named in [error.object(), error.peer()] {
        assert!(named.is_some_and(|named| told.contains(named)), "object and peer are not named: {told}");
    }
    error
}

/// Remembers in which order it was called.
#[remote]
pub(crate) trait Log {
    async fn note(&self, number: u32) -> rmi::Result<()>;
    async fn read(&self) -> rmi::Result<Vec<u32>>;
}

#[derive(Default)]
pub(crate) struct Pages(Mutex<Vec<u32>>);

#[remote]
impl Log for Pages {
    async fn note(&self, number: u32) -> rmi::Result<()> {
        self.0.lock().push(number);
        Ok(())
    }
    async fn read(&self) -> rmi::Result<Vec<u32>> {
        Ok(self.0.lock().clone())
    }
}

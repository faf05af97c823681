//! Nodes, and a desk whose calls end in every way.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rmi::{Node, NodeBuilder, Remote, RemoteError, Side, Streaming, remote};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

/// How long a story waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The future's result, which must come within [`PATIENCE`].
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it happens in time")
}

/// Waits until the condition holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(PATIENCE, holds).await.is_ok(), "in vain: {what}");
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum DeskError {
    #[error("it is closed")]
    Closed,
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

#[remote(name = "test.Desk")]
pub(crate) trait Desk {
    /// How long the question is.
    async fn ask(&self, question: &str) -> rmi::Result<u32>;
    async fn fail(&self) -> Result<(), DeskError>;
    async fn panic(&self) -> rmi::Result<()>;
    /// Panics the first time.
    #[remote(idempotent)]
    async fn try_again(&self) -> rmi::Result<()>;
    /// Ends when the desk is opened.
    async fn wait(&self) -> rmi::Result<()>;
    /// The same; whoever waits may come again.
    #[remote(idempotent)]
    async fn queue(&self) -> rmi::Result<()>;
    /// Numbers without end.
    async fn numbers(&self) -> rmi::Result<Streaming<u32>>;
    /// Keeps another desk.
    async fn keep(&self, other: Remote<dyn Desk>) -> rmi::Result<()>;
    /// The desk that is kept.
    async fn other(&self) -> rmi::Result<Option<Remote<dyn Desk>>>;
}

/// A desk, as the test sees it.
#[derive(Clone)]
pub(crate) struct Clerk {
    pub(crate) open: Arc<watch::Sender<bool>>,
    /// How many calls wait.
    waiting: Arc<watch::Sender<usize>>,
    /// How many have waited.
    waited: Arc<AtomicUsize>,
    /// How many calls have panicked.
    pub(crate) panics: Arc<AtomicUsize>,
    other: Arc<Mutex<Option<Remote<dyn Desk>>>>,
}

impl Clerk {
    pub(crate) fn new() -> Self {
        let open = Arc::new(watch::Sender::new(false));
        let (waiting, waited) = (Arc::default(), Arc::default());
        Self { open, waiting, waited, panics: Arc::default(), other: Arc::default() }
    }

    /// Waits until so many calls wait at the desk.
    pub(crate) async fn holds(&self, count: usize) {
        let mut waiting = self.waiting.subscribe();
        soon(waiting.wait_for(|waiting| *waiting == count)).await.expect("the desk is there");
    }

    /// How many calls have waited, or wait now.
    pub(crate) fn waited(&self) -> usize {
        self.waited.load(Ordering::Relaxed)
    }

    /// How many calls wait now.
    pub(crate) fn held(&self) -> usize {
        *self.waiting.borrow()
    }
}

/// A call that waits.
struct Waits(Arc<watch::Sender<usize>>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

#[remote]
impl Desk for Clerk {
    async fn ask(&self, question: &str) -> rmi::Result<u32> {
        Ok(question.len().try_into().unwrap())
    }
    async fn fail(&self) -> Result<(), DeskError> {
        Err(DeskError::Closed)
    }
    async fn panic(&self) -> rmi::Result<()> {
        self.panics.fetch_add(1, Ordering::Relaxed);
        panic!("the desk broke down")
    }
    async fn try_again(&self) -> rmi::Result<()> {
        assert_ne!(self.panics.fetch_add(1, Ordering::Relaxed), 0, "the desk broke down");
        Ok(())
    }
    async fn wait(&self) -> rmi::Result<()> {
        self.waited.fetch_add(1, Ordering::Relaxed);
        self.waiting.send_modify(|waiting| *waiting += 1);
        let _waits = Waits(self.waiting.clone());
        self.open.subscribe().wait_for(|open| *open).await.expect("the desk outlives its callers");
        Ok(())
    }
    async fn queue(&self) -> rmi::Result<()> {
        self.wait().await
    }
    async fn numbers(&self) -> rmi::Result<Streaming<u32>> {
        Ok(Streaming::new(futures_util::stream::iter(0..)))
    }
    async fn keep(&self, other: Remote<dyn Desk>) -> rmi::Result<()> {
        *self.other.lock() = Some(other);
        Ok(())
    }
    async fn other(&self) -> rmi::Result<Option<Remote<dyn Desk>>> {
        Ok(self.other.lock().clone())
    }
}

/// What a test has.
pub(crate) struct Scene {
    pub(crate) clerk: Clerk,
    pub(crate) desk: Remote<dyn Desk>,
    pub(crate) server: Node,
    pub(crate) client: Node,
}

impl Scene {
    /// A server and a client, one of which is built so.
    pub(crate) async fn new(side: Side, with: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        let (server, client) = (Node::builder().listen(mem()), Node::builder());
        let (server, client) = match side {
            Side::Server => (with(server), client),
            Side::Client => (server, with(client)),
        };
        let server = server.start().await.expect("the server starts");
        let client = client.start().await.expect("the client starts");
        let clerk = Clerk::new();
        let desk = serve(&server, &client, clerk.clone());
        Self { clerk, desk, server, client }
    }

    /// A caller that waits at the desk.
    pub(crate) fn wait(&self) -> JoinHandle<rmi::Result<()>> {
        let desk = self.desk.clone();
        tokio::spawn(async move { desk.wait().await })
    }

    /// Waits until no call is under way.
    pub(crate) async fn rests(&self) {
        let in_flight = || self.server.stats().calls_in_flight + self.client.stats().calls_in_flight;
        until("all calls are over", || in_flight() == 0).await;
    }
}

/// The clerk's desk at the server, as the client has it.
pub(crate) fn serve(server: &Node, client: &Node, clerk: Clerk) -> Remote<dyn Desk> {
    server.serve("desk", &Remote::<dyn Desk>::new(clerk));
    let endpoint = server.endpoints().into_iter().next().expect("it listens");
    Remote::<dyn Desk>::service(client, endpoint, "desk")
}

/// An address in this process that no other story uses.
pub(crate) fn mem() -> String {
    static USED: AtomicUsize = AtomicUsize::new(0);
    format!("mem://interceptors-{}", USED.fetch_add(1, Ordering::Relaxed))
}

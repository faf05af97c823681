//! A server, a client, and a desk with calls that end in every way.

use std::{sync::Arc, time::Duration};

use rmi::{Interceptor, Node, Remote, RemoteError, Side, remote};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum DeskError {
    #[error("it is closed")]
    Closed,
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

#[remote(name = "test.Desk")]
pub(crate) trait Desk {
    #[remote(idempotent)]
    async fn ask(&self, question: &str) -> rmi::Result<u32>;
    async fn fail(&self) -> Result<(), DeskError>;
    async fn panic(&self) -> rmi::Result<()>;
    /// Ends when the desk is opened.
    async fn wait(&self) -> rmi::Result<()>;
}

/// A desk, as the test sees it.
#[derive(Clone)]
pub(crate) struct Clerk {
    pub(crate) open: Arc<watch::Sender<bool>>,
    /// How many calls wait.
    pub(crate) waiting: Arc<watch::Sender<usize>>,
}

struct Waits(Arc<watch::Sender<usize>>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

#[remote]
impl Desk for Clerk {
    async fn ask(&self, question: &str) -> rmi::Result<u32> {
        Ok(question.len() as u32)
    }
    async fn fail(&self) -> Result<(), DeskError> {
        Err(DeskError::Closed)
    }
    async fn panic(&self) -> rmi::Result<()> {
        panic!("the desk broke down")
    }
    async fn wait(&self) -> rmi::Result<()> {
        self.waiting.send_modify(|waiting| *waiting += 1);
        let _waits = Waits(self.waiting.clone());
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.expect("the desk outlives its callers");
        Ok(())
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
    /// A server and a client, one of which has this interceptor.
    pub(crate) async fn new(side: Side, interceptor: impl Interceptor) -> Self {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let url = format!("mem://interceptors-{}", NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let (server, client) = (Node::builder().listen(url), Node::builder());
        let (server, client) = match side {
            Side::Server => (server.interceptor(interceptor), client),
            Side::Client => (server, client.interceptor(interceptor)),
        };
        let server = server.start().await.expect("the server starts");
        let client = client.start().await.expect("the client starts");
        let clerk = Clerk { open: Arc::new(watch::Sender::new(false)), waiting: Arc::default() };
        server.serve("desk", &Remote::<dyn Desk>::new(clerk.clone()));
        let endpoint = server.endpoints().into_iter().next().expect("it listens");
        let desk = Remote::<dyn Desk>::service(&client, endpoint, "desk");
        Self { clerk, desk, server, client }
    }

    /// Waits until so many calls wait at the desk.
    pub(crate) async fn waits(&self, count: usize) {
        let mut waiting = self.clerk.waiting.subscribe();
        soon(waiting.wait_for(|waiting| *waiting == count)).await.expect("the desk is there");
    }

    /// A caller that waits at the desk.
    pub(crate) fn wait(&self) -> tokio::task::JoinHandle<rmi::Result<()>> {
        let desk = self.desk.clone();
        tokio::spawn(async move { desk.wait().await })
    }

    /// Waits until nothing is under way.
    pub(crate) async fn rests(&self) {
        soon(async {
            while self.server.stats().calls_in_flight + self.client.stats().calls_in_flight > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Waits, and not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it is in time")
}

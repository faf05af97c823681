//! Calls that leave together because their caller says so.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::future::{join_all, try_join_all};
use rmi::{
    Endpoint, Node, Remote, remote,
    transport::{Listener, MemoryTransport, PeerAddr, Socket, Transport},
};

use crate::common::{Counter, PATIENCE, at_rest, counter, hand_over, mem, node, serve, soon};

/// Counts what is written to the sockets that it dials.
#[derive(Debug, Default)]
struct Counting(Arc<AtomicUsize>);

#[derive(Debug)]
struct Counted(Arc<dyn Socket>, Arc<AtomicUsize>);

#[async_trait]
impl Transport for Counting {
    fn scheme(&self) -> &'static str {
        "mem"
    }
    async fn listen(&self, at: &Endpoint) -> io::Result<Box<dyn Listener>> {
        MemoryTransport.listen(at).await
    }
    async fn dial(&self, to: &Endpoint) -> io::Result<Arc<dyn Socket>> {
        Ok(Arc::new(Counted(MemoryTransport.dial(to).await?, self.0.clone())))
    }
}

impl Socket for Counted {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }
    fn try_read(&self, into: &mut BytesMut, len_max: usize) -> io::Result<usize> {
        self.0.try_read(into, len_max)
    }
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_write_ready(cx)
    }
    fn try_write(&self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let written = self.0.try_write(bufs)?;
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(written)
    }
    fn shutdown(&self) {
        self.0.shutdown();
    }
    fn peer(&self) -> PeerAddr {
        self.0.peer()
    }
}

#[remote]
trait Meter {
    #[remote(oneway)]
    async fn add(&self, by: u64) -> rmi::Result<()>;
    async fn total(&self) -> rmi::Result<u64>;
}

#[derive(Default)]
struct Wheel(AtomicUsize);

#[remote]
impl Meter for Wheel {
    async fn add(&self, by: u64) -> rmi::Result<()> {
        self.0.fetch_add(by as usize, Ordering::SeqCst);
        Ok(())
    }
    async fn total(&self) -> rmi::Result<u64> {
        Ok(self.0.load(Ordering::SeqCst) as u64)
    }
}

/// A client that is connected to a meter, and how often it has written.
struct Scene {
    client: Node,
    meter: Remote<dyn Meter>,
    held: Remote<dyn Counter>,
    writes: Arc<AtomicUsize>,
    _server: Node,
}

impl Scene {
    async fn new() -> Self {
        let server = node(&mem()).await;
        let counting = Counting::default();
        let writes = counting.0.clone();
        let client = Node::builder().transport(counting).start().await.unwrap();
        let meter = serve(&server, &client, &Remote::<dyn Meter>::new(Wheel::default()));
        soon(meter.total()).await.unwrap();
        let held = hand_over(&server, &client, &counter()).await;
        soon(held.total()).await.unwrap();
        Self { client, meter, held, writes, _server: server }
    }

    /// How many writes this takes.
    async fn writes(&self, calls: impl Future<Output = ()>) -> usize {
        at_rest_but_held(&self.client).await;
        // The driver has read the last answer, and looks once more whether there is something to write.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let before = self.writes.load(Ordering::SeqCst);
        soon(calls).await;
        at_rest_but_held(&self.client).await;
        self.writes.load(Ordering::SeqCst) - before
    }
}

async fn at_rest_but_held(client: &Node) {
    crate::common::until("no call is under way", || client.stats().calls_in_flight == 0).await;
}

#[tokio::test]
async fn calls_of_a_batch_leave_in_one_write() {
    let scene = Scene::new().await;
    let Scene { client, meter, held, .. } = &scene;
    let adds = |count: u64| async move {
        for by in 0..count {
            meter.add(by).await.unwrap();
        }
    };
    assert!(scene.writes(adds(100)).await > 1, "the first of them goes by itself");
    assert_eq!(scene.writes(client.batch(adds(100))).await, 1);
    // Of two kinds, to two objects, and with their answers.
    let both = async {
        let totals = join_all((0..50).map(|_| held.total()));
        let (totals, others) = tokio::join!(totals, try_join_all((0..50).map(|_| meter.total())));
        assert!(totals.iter().all(Result::is_ok));
        others.unwrap();
    };
    assert_eq!(scene.writes(client.batch(both)).await, 1);
    // A batch in a batch leaves by itself.
    let nested = client.batch(async {
        adds(3).await;
        client.batch(adds(3)).await;
        adds(3).await;
    });
    assert!(scene.writes(nested).await <= 2);
}

#[tokio::test]
async fn calls_that_come_together_again_and_again_leave_in_one_write_each_time() {
    let scene = Scene::new().await;
    let round = || async { drop(soon(join_all((0..4).map(|_| scene.held.total()))).await) };
    assert_eq!(scene.writes(round()).await, 2, "the first was alone before");
    for _ in 0..3 {
        assert_eq!(scene.writes(round()).await, 1);
    }
}

#[tokio::test]
async fn a_batch_that_awaits_an_answer_goes_on() {
    let scene = Scene::new().await;
    let Scene { client, meter, .. } = &scene;
    let before = soon(meter.total()).await.unwrap();
    let mixed = client.batch(async {
        for by in 1..=10 {
            meter.add(by).await.unwrap();
        }
        let after = meter.total().await.unwrap();
        meter.add(100).await.unwrap();
        tokio::task::yield_now().await;
        (after, meter.total().await.unwrap())
    });
    let (after, later) = soon(mixed).await;
    assert_eq!((after - before, later - before), (55, 155));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_leaves_in_one_write_on_several_threads_too() {
    let scene = Scene::new().await;
    let Scene { client, meter, .. } = &scene;
    let started = Instant::now();
    // What else happens on the link may take some calls along, in a write of its own.
    loop {
        let all = try_join_all((0..100).map(|_| meter.total()));
        let writes = scene.writes(client.batch(async { drop(all.await.unwrap()) })).await;
        if writes == 1 {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{writes} writes");
    }
}

#[tokio::test]
async fn a_batch_may_make_the_first_call_of_a_link_and_may_be_dropped() {
    let (server, client) = (node(&mem()).await, crate::common::client().await);
    let meter = serve(&server, &client, &Remote::<dyn Meter>::new(Wheel::default()));
    let total = client.batch(async {
        meter.add(5).await.unwrap();
        meter.total().await
    });
    assert_eq!(soon(total).await.unwrap(), 5);
    let mut dropped = Box::pin(client.batch(async { meter.total().await }));
    assert!(futures_util::poll!(&mut dropped).is_pending());
    drop(dropped);
    at_rest(&[&client]).await;
    let lasted = tokio::time::timeout(Duration::from_secs(5), meter.total()).await;
    assert_eq!(lasted.unwrap().unwrap(), 5);
}

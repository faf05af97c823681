//! How long calls take at most, and what becomes of those that are given up.

use std::time::Duration;

use rmi::{CallOptions, Certainty, Context, Endpoint, ErrorKind, Limits, Node, Remote, remote};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};

use crate::{
    common::{
        Counter, Gate, Keeper, at_rest, client, counter, failure, hand_over, mem, node, pass, serve, soon, transports,
        until,
    },
    raw::RawListener,
};

#[tokio::test(start_paused = true)]
async fn a_call_ends_with_its_time_and_its_handler_is_dropped() {
    let (server, client) = (node(&mem()).await, client().await);
    let keeper = Keeper::shut();
    let gate = serve(&server, &client, &keeper.gate());
    let hurried = Remote::with(&gate, CallOptions::new().timeout(Duration::from_millis(250)));
    let started = Instant::now();
    let error = failure(hurried.pass().await, "Gate.pass");
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::DeadlineExceeded, Certainty::Unknown), "{error}");
    assert_eq!(started.elapsed().as_millis() / 10, 25, "{:?}", started.elapsed());
    keeper.holds(0).await;
    assert_eq!(keeper.entered(), 1);
    at_rest(&[&client]).await;

    // The reference as it was has its own time still: that of the node.
    let started = Instant::now();
    assert_eq!(failure(gate.pass().await, "Gate.pass").kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(started.elapsed().as_secs(), 30);
    keeper.holds(0).await;
    at_rest(&[&client]).await;
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_node_is_the_time_of_its_calls() {
    let server = node(&mem()).await;
    let limits = Limits { call_timeout: Duration::from_secs(2), ..Limits::default() };
    let client = Node::builder().limits(limits).start().await.unwrap();
    let keeper = Keeper::shut();
    let gate = serve(&server, &client, &keeper.gate());
    let started = Instant::now();
    assert_eq!(failure(gate.pass().await, "Gate.pass").kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(started.elapsed().as_secs(), 2);
}

/// Passes a gate on behalf of its caller.
#[remote]
trait Guide {
    async fn lead(&self, gate: Remote<dyn Gate>) -> rmi::Result<Duration>;
}

struct Sherpa;

#[remote]
impl Guide for Sherpa {
    async fn lead(&self, gate: Remote<dyn Gate>) -> rmi::Result<Duration> {
        // Far more than its caller has.
        Remote::with(&gate, CallOptions::new().timeout(Duration::from_secs(3600))).pass().await?;
        Ok(Context::current().and_then(|context| context.time_left()).expect("the call has a time"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_nested_call_has_no_more_time_than_the_one_it_serves() {
    let (server, client, other) = (node(&mem()).await, client().await, node(&mem()).await);
    let keeper = Keeper::shut();
    let guide = serve(&server, &client, &Remote::<dyn Guide>::new(Sherpa));
    let far = hand_over(&other, &client, &keeper.gate()).await;
    let hurried = Remote::with(&guide, CallOptions::new().timeout(Duration::from_secs(3)));
    let started = Instant::now();
    let error = failure(hurried.lead(far.clone()).await, ".lead");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(started.elapsed().as_secs(), 3);
    keeper.holds(0).await;
    assert_eq!(keeper.entered(), 1, "the nested call had begun");

    keeper.open();
    let left = hurried.lead(far).await.unwrap();
    assert!(left <= Duration::from_secs(3), "{left:?}");
    at_rest(&[&client]).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_drops_its_handler_at_the_next_await() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let keeper = Keeper::shut();
        let gate = serve(&server, &client, &keeper.gate());
        let calls: Vec<_> = (0..20).map(|_| pass(&gate)).collect();
        keeper.holds(20).await;
        for call in &calls[..19] {
            call.abort();
        }
        keeper.holds(1).await;
        keeper.open();
        for call in calls {
            assert!(soon(call).await.map_or(true, |passed| passed.is_ok()));
        }
        at_rest(&[&client]).await;
        until("the calls are over", || server.stats().calls_in_flight == 0).await;
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_before_it_was_sent_never_runs() {
    for listen in transports() {
        let limits = Limits { calls: 1, ..Limits::default() };
        let server = Node::builder().listen(&listen).limits(limits).start().await.unwrap();
        let client = client().await;
        let keeper = Keeper::shut();
        let gate = serve(&server, &client, &keeper.gate());
        let first = pass(&gate);
        keeper.holds(1).await;
        let second = pass(&gate);
        until("the second call waits for credit", || client.stats().calls_in_flight == 2).await;
        second.abort();
        until("it has gone", || client.stats().calls_in_flight == 1).await;
        keeper.open();
        soon(first).await.unwrap().unwrap();
        soon(gate.pass()).await.unwrap();
        assert_eq!(keeper.entered(), 2);
        at_rest(&[&client]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_credit_in_vain_was_not_sent() {
    let limits = Limits { calls: 1, ..Limits::default() };
    let server = Node::builder().listen(mem()).limits(limits).start().await.unwrap();
    let client = client().await;
    let keeper = Keeper::shut();
    let gate = serve(&server, &client, &keeper.gate());
    let first = pass(&gate);
    keeper.holds(1).await;
    let hurried = Remote::with(&gate, CallOptions::new().timeout(Duration::from_secs(1)));
    let error = failure(hurried.pass().await, "Gate.pass");
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::DeadlineExceeded, Certainty::NotSent), "{error}");
    keeper.open();
    first.await.unwrap().unwrap();
    assert_eq!(keeper.entered(), 1);
    at_rest(&[&client]).await;
}

/// A client that gives connecting this long.
async fn impatient(connect_timeout: Duration) -> Node {
    let limits = Limits { connect_timeout, ..Limits::default() };
    Node::builder().limits(limits).start().await.unwrap()
}

/// The error of a call to whoever listens there, and how long it took.
async fn call_at(at: Endpoint, connect_timeout: Duration) -> (rmi::RemoteError, Duration) {
    let client = impatient(connect_timeout).await;
    let started = std::time::Instant::now();
    let there = Remote::<dyn Counter>::service(&client, at.clone(), "counter");
    let error = failure(soon(there.add(1)).await, "Counter.add");
    assert!(error.to_string().contains(&at.to_string()), "{error}");
    assert_eq!(error.certainty(), Certainty::NotSent, "{error:?}");
    at_rest(&[&client]).await;
    (error, started.elapsed())
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_unreachable_at_once() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at: Endpoint = format!("tcp://{}", free.local_addr().unwrap()).parse().unwrap();
    drop(free);
    for at in [at, "mem://nobody".parse().unwrap(), "unix:///nowhere/nobody".parse().unwrap()] {
        let (error, took) = call_at(at, Duration::from_secs(60)).await;
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[tokio::test]
async fn a_host_that_cannot_be_found_is_unreachable() {
    let (error, took) = call_at("tcp://no-such-host.invalid:1".parse().unwrap(), Duration::from_secs(3)).await;
    assert!(matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::DeadlineExceeded), "{error}");
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn a_peer_that_accepts_and_stays_silent_costs_the_time_to_connect() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("tcp://{}", silent.local_addr().unwrap()).parse().unwrap();
    let (error, took) = call_at(at, Duration::from_millis(300)).await;
    assert!(matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::DeadlineExceeded), "{error}");
    assert!((300..5000).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn a_peer_that_says_half_a_hello_costs_the_time_to_connect() {
    let half = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("tcp://{}", half.local_addr().unwrap()).parse().unwrap();
    let peer = tokio::spawn(async move {
        let (mut socket, _) = half.accept().await.unwrap();
        socket.write_all(&[60, 0, 0, 0, 1, b'R', b'M', b'I', 1]).await.unwrap();
        // Until the dialler gives up.
        socket.read_to_end(&mut Vec::new()).await.ok();
    });
    let (error, took) = call_at(at, Duration::from_millis(300)).await;
    assert!(matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::DeadlineExceeded), "{error}");
    assert!((300..5000).contains(&took.as_millis()), "{took:?}");
    soon(peer).await.unwrap();
}

#[tokio::test]
async fn who_waits_for_a_dial_in_vain_delays_nobody_else() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at: Endpoint = format!("tcp://{}", silent.local_addr().unwrap()).parse().unwrap();
    let (server, client) = (node(&mem()).await, impatient(Duration::from_secs(1)).await);
    let lost = Remote::<dyn Counter>::service(&client, at, "counter");
    let waiting = tokio::spawn(async move { lost.add(1).await });
    let total = serve(&server, &client, &counter());
    for _ in 0..100 {
        soon(total.add(1)).await.unwrap();
    }
    assert!(!waiting.is_finished());
    failure(soon(waiting).await.unwrap(), "Counter.add");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_lost_after_a_third_of_the_lease() {
    // A thread that is blocked looks like this: the process lives, and says nothing.
    let lease = Duration::from_secs(9);
    let listener = RawListener::at(&mem()).await;
    let at = listener.endpoint();
    let peer = tokio::spawn(async move {
        let mut peer = listener.link(lease).await;
        let call = peer.next_call().await;
        // It has read the call, and never answers anything.
        std::future::pending::<()>().await;
        drop(call);
    });
    let client = client().await;
    let there = Remote::<dyn Counter>::service(&client, at, "counter");
    let started = Instant::now();
    let error = failure(there.add(1).await, "Counter.add");
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::ConnectionLost, Certainty::Unknown), "{error}");
    assert!(error.message().contains("silent"), "{error}");
    assert_eq!(started.elapsed().as_secs(), 3);
    peer.abort();
    at_rest(&[&client]).await;
}

/// Stands still, and the thread that serves it, until it is told to go on.
#[remote]
trait Stone {
    async fn stand(&self) -> rmi::Result<()>;
    async fn carry(&self, load: Vec<u8>) -> rmi::Result<()>;
}

struct Still {
    stands: std::sync::mpsc::Sender<()>,
    goes_on: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
}

#[remote]
impl Stone for Still {
    async fn stand(&self) -> rmi::Result<()> {
        self.stands.send(()).unwrap();
        self.goes_on.lock().unwrap().recv().unwrap();
        Ok(())
    }
    async fn carry(&self, _load: Vec<u8>) -> rmi::Result<()> {
        Ok(())
    }
}

/// Calls that leave together share one reading of the clock: those that cannot leave must not.
#[tokio::test]
async fn calls_made_while_the_peer_reads_nothing_have_all_their_time() {
    let (at_server, start) = tokio::sync::oneshot::channel();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Node::builder().listen(mem()).lease(Duration::from_secs(600)).start().await.unwrap();
            at_server.send(server.clone()).ok().unwrap();
            ended.await.unwrap();
            server.shutdown().await;
        });
    });
    let server = start.await.unwrap();
    let client = Node::builder().lease(Duration::from_secs(600)).start().await.unwrap();
    let (stands, stood) = std::sync::mpsc::channel();
    let (go_on, goes_on) = std::sync::mpsc::channel();
    let still = Still { stands, goes_on: std::sync::Mutex::new(goes_on) };
    let stone = hand_over(&server, &client, &Remote::<dyn Stone>::new(still)).await;
    let other = hand_over(&server, &client, &counter()).await;
    let other = Remote::with(&other, CallOptions::new().timeout(Duration::from_secs(10)));
    other.total().await.unwrap();

    let mut stand = Box::pin(stone.stand());
    assert!(futures_util::poll!(stand.as_mut()).is_pending());
    stood.recv().unwrap();
    tokio::time::pause();
    let mut load = Box::pin(stone.carry(vec![0; 1 << 20]));
    assert!(futures_util::poll!(load.as_mut()).is_pending());
    let ends_of = |other: Remote<dyn Counter>| async move {
        let started = Instant::now();
        assert_eq!(failure(other.total().await, "Counter.total").kind(), ErrorKind::DeadlineExceeded);
        started.elapsed().as_secs()
    };
    // The load does not fit what is between them, as is seen by the first of these.
    let before = tokio::spawn(ends_of(other.clone()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let first = tokio::spawn(ends_of(other.clone()));
    tokio::time::sleep(Duration::from_secs(6)).await;
    let second = tokio::spawn(ends_of(other));
    let ends = (before.await.unwrap(), first.await.unwrap(), second.await.unwrap());
    assert_eq!(ends, (10, 10, 10));

    tokio::time::resume();
    go_on.send(()).unwrap();
    soon(stand).await.unwrap();
    soon(load).await.unwrap();
    client.shutdown().await;
    end.send(()).unwrap();
    thread.join().unwrap();
}

//! Calls that go again, and when they do not.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use parking_lot::Mutex;
use rmi::{CallOptions, Certainty, ErrorKind, Limits, Node, Remote};

use crate::{
    common::{Counter, at_rest, failure, mem, soon},
    raw::RawListener,
};

/// A server that reads one call of each link, and hangs up. Counts the calls.
async fn hangs_up() -> (rmi::Endpoint, Arc<Mutex<usize>>) {
    let listener = RawListener::at(&mem()).await;
    let (at, calls) = (listener.endpoint(), Arc::new(Mutex::new(0)));
    let counted = calls.clone();
    tokio::spawn(async move {
        loop {
            let mut peer = listener.link(Duration::from_secs(30)).await;
            let counted = counted.clone();
            tokio::spawn(async move {
                peer.next_call().await;
                *counted.lock() += 1;
                peer.close();
            });
        }
    });
    (at, calls)
}

async fn client(retries: u32) -> Node {
    Node::builder().limits(Limits { retries, ..Limits::default() }).start().await.unwrap()
}

fn counter_at(client: &Node, at: &rmi::Endpoint, options: CallOptions) -> Remote<dyn Counter> {
    Remote::with(&Remote::<dyn Counter>::service(client, at.clone(), "counter"), options)
}

#[tokio::test(start_paused = true)]
async fn a_call_is_tried_as_often_as_its_caller_says() {
    let (at, calls) = hangs_up().await;
    let client = client(1000).await;
    for attempts in [1, 2, 5] {
        *calls.lock() = 0;
        let options = CallOptions::new().idempotent(true).attempts(attempts);
        let error = failure(soon(counter_at(&client, &at, options).add(1)).await, "Counter.add");
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::ConnectionLost, Certainty::Unknown), "{error}");
        assert_eq!(*calls.lock(), attempts as usize);
    }
    let once = CallOptions::new();
    *calls.lock() = 0;
    failure(soon(counter_at(&client, &at, once).add(1)).await, "Counter.add");
    assert_eq!(*calls.lock(), 1, "it may have run, and may not run twice");
    at_rest(&[&client]).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_never_goes_again_beyond_its_time() {
    let (at, calls) = hangs_up().await;
    let client = client(1000).await;
    let options = CallOptions::new().idempotent(true).timeout(Duration::from_millis(900));
    let started = tokio::time::Instant::now();
    failure(soon(counter_at(&client, &at, options).add(1)).await, "Counter.add");
    assert!(started.elapsed() <= Duration::from_millis(900), "{:?}", started.elapsed());
    assert!(*calls.lock() > 1);
}

#[tokio::test(start_paused = true)]
async fn many_callers_of_a_server_in_trouble_go_again_within_the_budget_of_their_node() {
    let (at, calls) = hangs_up().await;
    let client = client(10).await;
    let options = CallOptions::new().idempotent(true);
    let callers = join_all((0..50).map(|_| {
        let counter = counter_at(&client, &at, options.clone());
        async move { failure(counter.add(1).await, "Counter.add") }
    }));
    let started = tokio::time::Instant::now();
    let errors = soon(callers).await;
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::ConnectionLost));
    let seconds = started.elapsed().as_secs_f64();
    // A link takes down all calls that it carries, so fewer arrive than were made.
    let most = 50.0 + 10.0 + 0.1 * 200.0 + 10.0 * seconds;
    assert!((*calls.lock() as f64) <= most, "{} calls in {seconds} s", calls.lock());
    assert!(seconds < 5.0, "callers without a retry are told at once");
    at_rest(&[&client]).await;
}

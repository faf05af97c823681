//! Methods that run to their end, whatever becomes of their callers.

use std::time::Duration;

use futures_util::poll;
use rmi::{CallOptions, ErrorKind, Limits, Node, Remote};
use tokio::time::Instant;

use crate::{
    bureau::{Bureau, Clerk},
    cable::Cable,
    common::{at_rest, client, counter, failure, gone, hand_over, mem, node, serve, soon, transports, until},
};

#[tokio::test]
async fn a_detached_method_runs_to_its_end_though_its_caller_goes_away() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let clerk = Clerk::new();
        let desk = serve(&server, &client, &clerk.bureau());
        soon(desk.ended()).await.unwrap();
        // Gone before it could begin, and gone while it runs.
        let mut early = Box::pin(desk.work());
        assert!(poll!(&mut early).is_pending());
        drop(early);
        let mut late = Box::pin(desk.work());
        assert!(poll!(&mut late).is_pending());
        clerk.keeper.holds(2).await;
        drop(late);
        // What is cancelled is cancelled by now.
        soon(desk.ended()).await.unwrap();
        clerk.keeper.holds(2).await;
        assert_eq!(client.stats().calls_in_flight, 2, "both are still to be answered");
        clerk.keeper.open();
        clerk.ends(2).await;
        at_rest(&[&client]).await;
        until("they are answered", || server.stats().calls_in_flight == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_detached_method_outlives_the_time_of_its_call_and_so_do_the_calls_that_it_makes() {
    let (server, client) = (node(&mem()).await, client().await);
    let clerk = Clerk::new();
    let desk = serve(&server, &client, &clerk.bureau());
    let total = counter();
    let far = hand_over(&node(&mem()).await, &client, &total).await;
    let hurried = Remote::with(&desk, CallOptions::new().timeout(Duration::from_secs(1)));
    let error = failure(hurried.work_with(far).await, "Bureau.work_with");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    clerk.keeper.holds(1).await;
    clerk.keeper.open();
    clerk.ends(1).await;
    let added = async {
        while total.total().await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon(added).await;
    at_rest(&[&client]).await;
}

#[tokio::test]
async fn a_detached_method_outlives_its_link_and_a_shutdown_waits_for_it() {
    let (server, cable) = Cable::alone_to(Node::builder()).await;
    let client = client().await;
    let clerk = Clerk::new();
    server.serve("desk", &clerk.bureau());
    let desk = Remote::<dyn Bureau>::service(&client, cable.endpoint(), "desk");
    soon(desk.ended()).await.unwrap();
    let (mut work, mut ask) = (Box::pin(desk.work()), Box::pin(desk.ask()));
    assert!(poll!(&mut work).is_pending() && poll!(&mut ask).is_pending());
    clerk.keeper.holds(2).await;
    cable.cut();
    let error = failure(soon(work).await, "Bureau.work");
    assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
    clerk.keeper.holds(1).await;
    drop(ask);
    let ending = tokio::spawn({
        let server = server.clone();
        async move { server.shutdown().await }
    });
    until("the server takes no more calls", || server.stats().connections == 0).await;
    assert!(!ending.is_finished());
    clerk.keeper.holds(1).await;
    clerk.keeper.open();
    soon(ending).await.unwrap();
    assert_eq!(clerk.has_ended(), 1);
    gone(&[&server]).await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_a_detached_method_no_longer_than_it_may() {
    let limits = Limits { drain_timeout: Duration::from_secs(4), ..Limits::default() };
    let server = Node::builder().listen(mem()).limits(limits).start().await.unwrap();
    let client = client().await;
    let clerk = Clerk::new();
    let desk = serve(&server, &client, &clerk.bureau());
    desk.ended().await.unwrap();
    let mut work = Box::pin(desk.work());
    assert!(poll!(&mut work).is_pending());
    clerk.keeper.holds(1).await;
    let started = Instant::now();
    server.shutdown().await;
    assert!((4..=7).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    clerk.keeper.holds(0).await;
    failure(work.await, "Bureau.work");
    gone(&[&server, &client]).await;
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_call_is_set_by_it_then_by_its_method_then_by_the_node() {
    let server = node(&mem()).await;
    let limits = Limits { call_timeout: Duration::from_secs(1), ..Limits::default() };
    let client = Node::builder().limits(limits).start().await.unwrap();
    let clerk = Clerk::new();
    let desk = serve(&server, &client, &clerk.bureau());
    // By a link that is there, and by one that is not.
    let fresh = || serve(&server, &client, &clerk.bureau());
    let held = hand_over(&server, &client, &clerk.bureau()).await;
    for desk in [desk, fresh(), held] {
        let set = Remote::with(&desk, CallOptions::new().timeout(Duration::from_secs(3)));
        for (desk, seconds) in [(&desk, 2), (&set, 3)] {
            let started = Instant::now();
            assert_eq!(failure(desk.ask().await, "Bureau.ask").kind(), ErrorKind::DeadlineExceeded);
            assert_eq!(started.elapsed().as_secs(), seconds);
        }
        let started = Instant::now();
        assert_eq!(failure(desk.work().await, "Bureau.work").kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(started.elapsed().as_secs(), 1);
    }
}

//! How nodes end.

use std::time::Duration;

use rmi::{Certainty, ErrorKind, Limits, Node, NodeStats, Remote};
use tokio::{sync::oneshot, time::Instant};

use crate::common::{
    Counter, Gate, Keeper, Tally, client, counter, dropped, failure, gone, hand_over, mem, node, pass, serve, soon,
    transports, until,
};

#[tokio::test]
async fn calls_that_were_taken_are_answered_and_later_ones_did_not_run() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let keeper = Keeper::shut();
        let gate = serve(&server, &client, &keeper.gate());
        let total = counter();
        let stub = hand_over(&server, &client, &total).await;
        let taken: Vec<_> = (0..10).map(|_| pass(&gate)).collect();
        keeper.holds(10).await;
        let ending = tokio::spawn({
            let server = server.clone();
            async move { server.shutdown().await }
        });
        let refused = async {
            loop {
                if let Err(error) = stub.add(1).await {
                    return error;
                }
            }
        };
        let error = failure::<()>(Err(soon(refused).await), "Counter.add");
        // The link is closing, or nobody is dialled any more.
        assert!(matches!(error.kind(), ErrorKind::Shutdown | ErrorKind::Unreachable), "{error}");
        assert!(matches!(error.certainty(), Certainty::NotExecuted | Certainty::NotSent), "{error:?}");
        assert!(!ending.is_finished(), "it waits for the calls that it took");
        keeper.open();
        for call in taken {
            soon(call).await.unwrap().unwrap();
        }
        soon(ending).await.unwrap();
        drop(total);
        gone(&[&server]).await;
        until("the client has noticed", || client.stats().connections == 0).await;
    }
}

#[tokio::test]
async fn calls_of_a_closing_node_are_not_sent() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let stub = hand_over(&server, &client, &counter()).await;
        soon(client.shutdown()).await;
        let error = failure(soon(stub.add(1)).await, "Counter.add");
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Shutdown, Certainty::NotSent), "{error}");
        drop(stub);
        gone(&[&server, &client]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_no_longer_than_it_may() {
    let limits = Limits { drain_timeout: Duration::from_secs(4), ..Limits::default() };
    let server = Node::builder().listen(mem()).limits(limits).start().await.unwrap();
    let client = client().await;
    let keeper = Keeper::shut();
    let waiting = pass(&serve(&server, &client, &keeper.gate()));
    keeper.holds(1).await;
    let started = Instant::now();
    server.shutdown().await;
    assert!((4..=7).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    keeper.holds(0).await;
    // The handler was dropped: nobody knows how far it had come.
    let error = failure(waiting.await.unwrap(), "Gate.pass");
    assert!(matches!(error.kind(), ErrorKind::ConnectionLost | ErrorKind::Cancelled), "{error}");
    assert!(matches!(error.certainty(), Certainty::Unknown | Certainty::Executed), "{error:?}");
    gone(&[&server, &client]).await;
}

#[tokio::test]
async fn a_node_is_shut_down_by_any_future_and_twice_is_as_good_as_once() {
    for listen in transports() {
        let server = node(&listen).await;
        let stub = serve(&server, &client().await, &counter());
        soon(stub.add(1)).await.unwrap();
        let (signal, signalled) = oneshot::channel::<()>();
        let ending = tokio::spawn({
            let server = server.clone();
            async move { server.shutdown_on(signalled).await }
        });
        soon(stub.add(1)).await.unwrap();
        assert!(!ending.is_finished());
        signal.send(()).unwrap();
        soon(ending).await.unwrap();
        soon(server.shutdown()).await;
        soon(async { tokio::join!(server.shutdown(), server.shutdown()) }).await;
        gone(&[&server]).await;
    }
}

#[tokio::test]
async fn the_address_of_a_node_is_free_again() {
    for listen in transports() {
        let server = node(&listen).await;
        let at = server.endpoints()[0].to_string();
        let (object, life) = Tally::mortal();
        server.serve("counter", &object);
        drop(object);
        let client = client().await;
        let there = Remote::<dyn Counter>::service(&client, server.endpoints()[0].clone(), "counter");
        soon(there.add(1)).await.unwrap();
        soon(server.shutdown()).await;
        dropped(&life).await;
        let next = node(&at).await;
        next.serve("counter", &counter());
        assert_eq!(soon(there.add(1)).await.unwrap(), 1);
        assert_ne!(next.id(), server.id());
    }
}

#[tokio::test]
async fn nodes_that_serve_each_other_may_shut_down_at_once() {
    for _ in 0..10 {
        let (one, other) = (node(&mem()).await, node(&mem()).await);
        let (there, here) = (serve(&other, &one, &counter()), serve(&one, &other, &counter()));
        soon(there.add(1)).await.unwrap();
        soon(here.add(1)).await.unwrap();
        let busy = [there, here].map(|stub| tokio::spawn(async move { while stub.add(1).await.is_ok() {} }));
        soon(async { tokio::join!(one.shutdown(), other.shutdown()) }).await;
        for calls in busy {
            soon(calls).await.unwrap();
        }
        gone(&[&one, &other]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_around_a_shutdown_ends_once_and_honestly() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let total = counter();
        let stub = hand_over(&server, &client, &total).await;
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let stub = stub.clone();
                tokio::spawn(async move {
                    let (mut ran, mut unknown) = (0, 0);
                    loop {
                        match stub.add(1).await {
                            Ok(_) => ran += 1,
                            Err(error) if error.certainty() == Certainty::Unknown => unknown += 1,
                            Err(error) => {
                                assert_ne!(error.certainty(), Certainty::Executed, "{error:?}");
                                return (ran, unknown);
                            }
                        }
                    }
                })
            })
            .collect();
        soon(stub.total()).await.unwrap();
        soon(server.shutdown()).await;
        let (mut ran, mut unknown) = (0, 0);
        for caller in callers {
            let one = soon(caller).await.unwrap();
            (ran, unknown) = (ran + one.0, unknown + one.1);
        }
        assert_eq!(unknown, 0, "a close notice says which calls were taken");
        assert_eq!(total.total().await.unwrap(), ran);
    }
}

#[tokio::test]
async fn a_node_that_was_shut_down_holds_nothing_and_serves_nothing() {
    let (server, client) = (node(&mem()).await, client().await);
    let (object, life) = Tally::mortal();
    let held = hand_over(&server, &client, &object).await;
    server.keep("key".into(), Remote::erase(&object));
    drop(object);
    server.shutdown().await;
    dropped(&life).await;
    drop(held);
    gone(&[&server, &client]).await;
    assert_eq!(server.stats(), NodeStats::default());
}

#[tokio::test]
async fn the_node_of_a_runtime_is_made_anew_after_its_shutdown() {
    let server = node(&mem()).await;
    server.serve("gate", &{
        let keeper = Keeper::shut();
        keeper.open();
        keeper.gate()
    });
    let first = Node::current();
    assert_eq!(first.id(), Node::current().id());
    let gate = Remote::<dyn Gate>::service(&first, server.endpoints()[0].clone(), "gate");
    soon(gate.pass()).await.unwrap();
    first.shutdown().await;
    let second = Node::current();
    assert_ne!(first.id(), second.id());
    let gate = Remote::<dyn Gate>::service(&second, server.endpoints()[0].clone(), "gate");
    soon(gate.pass()).await.unwrap();
}

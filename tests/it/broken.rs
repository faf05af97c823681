//! When a reference is told that its object is gone for good, by whatever way it is held.

use std::time::Duration;

use rmi::{Certainty, ErrorKind, Limits, Node, Remote};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    cable::Cable,
    common::{
        Counter, beside, client, counter, failure, hand_over, hand_over_by, mem, node, serve, shelf, soon, transports,
        until,
    },
};

/// Waits for the end of the object from now on.
async fn watched(reference: &Remote<dyn Counter>) -> JoinHandle<rmi::RemoteError> {
    let broken = tokio::spawn(Remote::broken(reference));
    tokio::task::yield_now().await;
    broken
}

#[tokio::test]
async fn one_that_became_direct_meanwhile_ends_with_its_owner() {
    for listen in transports() {
        let (server, middle, other) = (node(&listen).await, node(&beside(&listen)).await, client().await);
        let object = counter();
        let passed = hand_over(&middle, &other, &hand_over(&server, &middle, &object).await).await;
        let broken = watched(&passed).await;
        soon(passed.add(1)).await.unwrap();
        until("it is held of its owner", || other.stats().connections == 2).await;
        server.shutdown().await;
        soon(broken).await.unwrap();
    }
}

#[tokio::test]
async fn one_held_through_a_giver_ends_when_the_owner_unexports_or_goes() {
    for (listen, goes) in transports().iter().flat_map(|listen| [(listen, false), (listen, true)]) {
        let (server, middle, other) = (node(&beside(listen)).await, node(&beside(listen)).await, client().await);
        let object = counter();
        let held = hand_over(&server, &middle, &object).await;
        let passed = hand_over(&middle, &other, &held).await;
        let broken = watched(&passed).await;
        if goes {
            server.shutdown().await;
        } else {
            assert!(server.unexport(&object));
        }
        soon(broken).await.unwrap();
    }
}

#[tokio::test]
async fn one_that_is_relayed_by_several_nodes_ends_too() {
    for goes in [false, true] {
        let (first, second) = (node(&mem()).await, node(&mem()).await);
        let (owner, caller) = (client().await, client().await);
        let (object, kept) = (counter(), shelf());
        soon(serve(&first, &owner, &kept).put(object.clone())).await.unwrap();
        let at_second = soon(serve(&first, &second, &kept).get()).await.unwrap().unwrap();
        let relayed = hand_over(&second, &caller, &at_second).await;
        assert_eq!(soon(relayed.add(1)).await.unwrap(), 1);
        let broken = watched(&relayed).await;
        if goes {
            owner.shutdown().await;
        } else {
            assert!(owner.unexport(&object));
        }
        soon(broken).await.unwrap();
        failure(soon(relayed.add(1)).await, "Counter.add");
    }
}

/// A server behind a cable, and a reference to an object of it.
async fn cabled(client: &Node) -> (Node, Cable, Remote<dyn Counter>) {
    let (server, cable) = Cable::alone_to(Node::builder()).await;
    let held = hand_over_by(cable.endpoint(), &server, client, &counter()).await;
    (server, cable, held)
}

#[tokio::test]
async fn a_call_over_a_lost_link_waits_for_the_time_to_connect_and_no_longer() {
    let connect_timeout = Duration::from_millis(600);
    let limits = Limits { connect_timeout, ..Limits::default() };
    let client = Node::builder().limits(limits).start().await.unwrap();
    let (_server, cable, held) = cabled(&client).await;
    cable.cut();
    until("the link is lost", || client.stats().connections == 0).await;
    let begun = Instant::now();
    let error = failure(soon(held.add(1)).await, "Counter.add");
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Unreachable, Certainty::NotSent), "{error}");
    let took = begun.elapsed();
    assert!(took >= connect_timeout && took < 2 * connect_timeout, "{took:?}");
}

#[tokio::test]
async fn a_call_that_waits_hastens_the_next_dial() {
    let client = client().await;
    let (_server, cable, held) = cabled(&client).await;
    cable.cut();
    until("the link is lost", || client.stats().connections == 0).await;
    // The pauses between dials are seconds by then.
    tokio::time::sleep(Duration::from_secs(5)).await;
    cable.mend();
    let begun = Instant::now();
    soon(held.add(1)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
}

//! Calls of results that are not there yet, as a peer sends them.

use rmi::{ErrorKind, Node, Remote};
use rmi_core::wire::{CallId, Message, Outcome, PromiseId, Target};

use crate::{
    common::{Counter, Log, Pages, Shelf, at_rest, beside, counter, hand_over, node, shelf, soon, transports, until},
    raw::{Raw, call, encoded, method, service},
};

/// A peer that calls the first reference of the result of this method of a service by its promise, before it has
/// the answer: adds 2 and then 3, and gets both totals.
async fn adds_to_what_is_promised(server: &Node, name: &str, gives: &str) -> Raw {
    let mut peer = Raw::connect(server).await;
    let gives = peer.define(method::<dyn Shelf>(gives)).await;
    let add = peer.define(method::<dyn Counter>("add")).await;
    let mut first = call(0, service(name), gives, vec![]);
    first.promises = Some(PromiseId(7));
    peer.send(&Message::Call(first)).await;
    let promised = || Target::Promise { promise: PromiseId(7), reference: 0 };
    peer.call(1, promised(), add, encoded(&2_i64)).await;
    peer.call(2, promised(), add, encoded(&3_i64)).await;
    let mut totals = Vec::new();
    for _ in 0..3 {
        match peer.next_answer().await {
            Message::Reply(reply) if reply.id == CallId(0) => assert_eq!(reply.references.len(), 1),
            Message::Reply(reply) if reply.outcome == Outcome::Ok => {
                totals.push((reply.id.0, reply.payload.into_bytes()))
            }
            answer => panic!("{answer:?}"),
        }
    }
    totals.sort();
    assert_eq!(totals, [(1, encoded(&2_i64)), (2, encoded(&5_i64))], "in the order in which they were made");
    peer
}

#[tokio::test]
async fn calls_of_a_promise_are_served_when_the_result_is_there() {
    for listen in transports() {
        let server = node(&listen).await;
        server.serve("shelf", &shelf());
        let peer = adds_to_what_is_promised(&server, "shelf", "make").await;
        assert_eq!(server.stats().calls_in_flight, 0);
        peer.close();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_a_promise_are_served_on_two_threads() {
    for listen in transports() {
        let server = node(&listen).await;
        server.serve("shelf", &shelf());
        for _ in 0..100 {
            adds_to_what_is_promised(&server, "shelf", "make").await.close();
        }
    }
}

/// By a node that would not relay a call of the reference itself: its owner can be dialled.
#[tokio::test]
async fn a_result_of_a_third_node_is_followed() {
    for listen in transports() {
        let (server, third) = (node(&listen).await, node(&beside(&listen)).await);
        let (kept, far) = (shelf(), counter());
        soon(kept.put(hand_over(&third, &server, &far).await)).await.unwrap();
        server.serve("shelf", &kept);
        let peer = adds_to_what_is_promised(&server, "shelf", "get").await;
        assert_eq!(soon(far.total()).await.unwrap(), 5);
        peer.close();
    }
}

#[tokio::test]
async fn what_waits_for_no_reference_is_refused_and_never_runs() {
    for listen in transports() {
        let server = node(&listen).await;
        let log = Remote::<dyn Log>::new(Pages::default());
        server.serve("log", &log);
        let mut peer = Raw::connect(&server).await;
        let read = peer.define(method::<dyn Log>("read")).await;
        let note = peer.define(method::<dyn Log>("note")).await;
        let mut first = call(0, service("log"), read, vec![]);
        first.promises = Some(PromiseId(0));
        peer.send(&Message::Call(first)).await;
        peer.call(1, Target::Promise { promise: PromiseId(0), reference: 0 }, note, encoded(&9_u32)).await;
        let mut refused = 0;
        for _ in 0..2 {
            if let Message::Refusal(refusal) = peer.next_answer().await {
                assert_eq!((refusal.id, refusal.error.kind()), (CallId(1), ErrorKind::PromiseBroken));
                refused += 1;
            }
        }
        assert_eq!((refused, soon(log.read()).await.unwrap().len()), (1, 0));
        peer.close();
        server.unserve("log");
        drop(log);
        until("the link is gone", || server.stats().calls_in_flight == 0).await;
        at_rest(&[&server]).await;
    }
}

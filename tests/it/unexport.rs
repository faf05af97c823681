//! Objects that their owner takes back, whoever holds them.

use rmi::{Certainty, ErrorKind, Node, Remote, RemoteError};

use crate::{
    cable::Cable,
    common::{
        Counter, Keeper, Shelf, Tally, at_rest, beside, client, counter, dropped, failure, hand_over, node, pass,
        serve, shelf, soon, transports, until,
    },
};

/// The call found no object, and did not run.
#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, RemoteError>, method: &str) {
    let error = failure(result, method);
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::NoSuchObject, Certainty::NotExecuted), "{error}");
}

#[tokio::test]
async fn an_unexported_object_is_freed_at_once_though_two_clients_hold_it() {
    for listen in transports() {
        let (server, one, other) = (node(&listen).await, client().await, client().await);
        let (object, life) = Tally::mortal();
        let held = [hand_over(&server, &one, &object).await, hand_over(&server, &other, &object).await];
        assert!(server.unexport(&object));
        assert!(!server.unexport(&object), "once is enough");
        drop(object);
        dropped(&life).await;
        until("the doors are closed", || server.stats().exported_objects == 0).await;
        for held in &held {
            assert_refused(soon(held.add(1)).await, "Counter.add");
        }
        assert_eq!((one.stats().imported_references, other.stats().imported_references), (1, 1));

        // A slot that a client still holds is no other object's: the links stay.
        let next = counter();
        let fresh = [hand_over(&server, &one, &next).await, hand_over(&server, &other, &next).await];
        for (total, fresh) in (1..).zip(&fresh) {
            assert_eq!(soon(fresh.add(1)).await.unwrap(), total);
        }
        for held in &held {
            assert_refused(soon(held.total()).await, "Counter.total");
        }
        drop((held, fresh, next));
        at_rest(&[&server, &one, &other]).await;
        assert_eq!(server.stats().connections, 2);
    }
}

#[tokio::test]
async fn its_owner_goes_on_to_use_it_and_passes_it_on_dead() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (object, life) = Tally::mortal();
        let held = hand_over(&server, &client, &object).await;
        assert_eq!(soon(held.add(2)).await.unwrap(), 2);
        server.unexport(&object);
        assert_eq!(object.add(3).await.unwrap(), 5);

        let again = hand_over(&server, &client, &object).await;
        assert_eq!(again, held, "it is the same object, dead");
        assert_refused(soon(again.add(1)).await, "Counter.add");
        drop((held, again));
        until("it is released", || client.stats().imported_references == 0).await;
        let anew = hand_over(&server, &client, &object).await;
        assert_refused(soon(anew.add(1)).await, "Counter.add");

        // Back at its owner it is as dead.
        let shelf = serve(&server, &client, &shelf());
        soon(shelf.put(anew)).await.unwrap();
        let error = soon(shelf.add(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSuchObject, "{error}");
        soon(shelf.clear()).await.unwrap();

        assert_eq!(object.total().await.unwrap(), 5, "nothing reached it");
        let anew = hand_over(&server, &client, &object).await;
        drop(object);
        dropped(&life).await;
        assert_refused(soon(anew.add(1)).await, "Counter.add");
        drop((anew, shelf));
        at_rest(&[&client]).await;
        until("only the shelf is left", || server.stats().exported_objects == 1).await;
    }
}

#[tokio::test]
async fn a_holder_passes_it_on_dead() {
    for listen in transports() {
        let (owner, holder, third) = (node(&listen).await, node(&beside(&listen)).await, client().await);
        let (object, life) = Tally::mortal();
        let held = hand_over(&owner, &holder, &object).await;
        owner.unexport(&object);
        drop(object);
        dropped(&life).await;
        // It dials the owner, and asks for the object by its id.
        let passed = hand_over(&holder, &third, &held).await;
        assert_refused(soon(passed.add(1)).await, "Counter.add");
        drop((held, passed));
        at_rest(&[&owner, &holder, &third]).await;
    }
}

#[tokio::test]
async fn calls_that_run_end_as_they_would() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let keeper = Keeper::shut();
        let object = keeper.gate();
        let gate = hand_over(&server, &client, &object).await;
        let running = pass(&gate);
        keeper.holds(1).await;
        server.unexport(&object);
        drop(object);
        assert_refused(soon(gate.pass()).await, "Gate.pass");
        keeper.open();
        soon(running).await.unwrap().unwrap();
        assert_eq!(keeper.entered(), 1);
        drop(gate);
        at_rest(&[&server, &client]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_that_meets_it_ran_or_was_refused() {
    for listen in transports() {
        let (server, one, other) = (node(&listen).await, client().await, client().await);
        let board = shelf();
        let doors = [serve(&server, &one, &board), serve(&server, &other, &board)];
        for _ in 0..50 {
            let (object, life) = Tally::mortal();
            board.put(object.clone()).await.unwrap();
            let callers = doors.clone().map(|door| {
                tokio::spawn(async move {
                    for ran in 0.. {
                        let held = door.get().await.unwrap().unwrap();
                        let met = held.add(1).await;
                        if met.is_err() {
                            assert_refused(met, "Counter.add");
                            return ran;
                        }
                    }
                    unreachable!("there is an end")
                })
            });
            until("calls run", || object_total(&object) > 4).await;
            server.unexport(&object);
            let ran: i64 = soon(futures_util::future::try_join_all(callers)).await.unwrap().into_iter().sum();
            assert_eq!(object_total(&object), ran);
            board.clear().await.unwrap();
            drop(object);
            dropped(&life).await;
        }
        drop((doors, board));
        at_rest(&[&one, &other]).await;
    }
}

/// The total of a local counter, which answers at once.
fn object_total(object: &Remote<dyn Counter>) -> i64 {
    futures_util::FutureExt::now_or_never(object.total()).unwrap().unwrap()
}

#[tokio::test]
async fn what_a_lost_peer_held_is_freed_before_its_lease_ends() {
    let ((server, cable), client) = (Cable::alone_to(Node::builder()).await, client().await);
    let (object, life) = Tally::mortal();
    let shelf = shelf();
    shelf.put(object.clone()).await.unwrap();
    server.serve("shelf", &shelf);
    let held = soon(Remote::<dyn Shelf>::service(&client, cable.endpoint(), "shelf").get()).await.unwrap().unwrap();
    shelf.clear().await.unwrap();
    cable.cut();
    until("the link is lost", || client.stats().connections + server.stats().connections == 0).await;
    assert_eq!(server.stats().leases, 1);
    server.unexport(&object);
    drop(object);
    // The lease of 30 s is beyond every patience.
    dropped(&life).await;
    assert_eq!(server.stats().leases, 1);
    cable.mend();
    assert_refused(soon(held.add(1)).await, "Counter.add");
}

#[tokio::test]
async fn holders_hear_of_it_at_once_wherever_they_are() {
    for listen in transports() {
        let (server, middle, other) = (node(&listen).await, node(&beside(&listen)).await, client().await);
        let (object, life) = Tally::mortal();
        let held = hand_over(&server, &middle, &object).await;
        let passed_on = hand_over(&middle, &other, &held).await;
        soon(passed_on.add(1)).await.unwrap();
        let broken = [tokio::spawn(Remote::broken(&held)), tokio::spawn(Remote::broken(&passed_on))];
        let weak = Remote::downgrade(&held);
        assert!(server.unexport(&object));
        for broken in broken {
            let error = soon(broken).await.unwrap();
            assert_eq!(error.kind(), ErrorKind::NoSuchObject, "{error}");
        }
        // A weak reference is local: it is there as long as something here keeps it.
        assert!(weak.upgrade().is_some());
        drop(held);
        assert!(weak.upgrade().is_none());
        drop((object, passed_on));
        dropped(&life).await;
        at_rest(&[&server, &middle, &other]).await;
    }
}

#[tokio::test]
async fn a_service_ends_with_its_object() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (object, life) = Tally::mortal();
        let service = serve(&server, &client, &object);
        assert_eq!(soon(service.add(1)).await.unwrap(), 1);
        server.unexport(&object);
        assert_refused(soon(service.add(1)).await, "Counter.add");
        server.serve("again", &object);
        let again = Remote::<dyn Counter>::service(&client, server.endpoints()[0].clone(), "again");
        assert_refused(soon(again.add(1)).await, "Counter.add");
        server.unserve("again");
        drop(object);
        dropped(&life).await;
        at_rest(&[&server, &client]).await;
    }
}

#[tokio::test]
async fn only_the_owner_unexports_and_an_object_that_never_travelled_never_will() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let object = counter();
        let held = hand_over(&server, &client, &object).await;
        assert!(!client.unexport(&held), "a stub");
        assert!(!client.unexport(&object), "an object of another node of this process");
        assert_eq!(soon(held.add(1)).await.unwrap(), 1);

        let unborn = counter();
        assert!(server.unexport(&unborn));
        let passed = hand_over(&server, &client, &unborn).await;
        assert_refused(soon(passed.add(1)).await, "Counter.add");
        assert_eq!(unborn.add(1).await.unwrap(), 1);
        drop((object, held, passed));
        at_rest(&[&server, &client]).await;
    }
}

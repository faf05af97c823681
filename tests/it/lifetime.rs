//! How long objects live: as long as somebody holds them, and a lease.

use std::{
    sync::Weak,
    time::{Duration, Instant},
};

use rmi::{CallOptions, Certainty, ErrorKind, Limits, Node, Registry, RegistryError, RegistryServer, Remote};
use tokio::process::Command;

use crate::{
    cable::Cable,
    common::{
        Board, Counter, Keeper, Shelf, Tally, at_rest, beside, client, counter, dropped, failure, gone, hand_over, mem,
        node, pass, serve, shelf, soon, transports, until,
    },
};

#[tokio::test]
async fn the_owner_drops_an_object_with_the_last_reference_and_not_before() {
    for listen in transports() {
        let (server, one, other) = (node(&listen).await, client().await, client().await);
        let (object, life) = Tally::mortal();
        let first = hand_over(&server, &one, &object).await;
        let second = hand_over(&server, &other, &object).await;
        let again = hand_over(&server, &one, &object).await;
        drop(object);
        drop(first);
        assert_eq!(soon(again.add(1)).await.unwrap(), 1);
        drop(again);
        until("the first client holds nothing", || one.stats().imported_references == 0).await;
        assert_eq!(soon(second.add(1)).await.unwrap(), 2);
        assert_eq!(life.strong_count(), 1);
        drop(second);
        dropped(&life).await;
        at_rest(&[&server, &one, &other]).await;
    }
}

#[tokio::test]
async fn an_object_that_its_owner_holds_stays_callable_although_nobody_else_held_it_for_a_while() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let object = counter();
        for round in 1..4 {
            let held = hand_over(&server, &client, &object).await;
            assert_eq!(soon(held.add(1)).await.unwrap(), round);
            drop(held);
            until("it is released", || client.stats().imported_references == 0).await;
        }
        assert_eq!(server.stats().exported_objects, 1);
        drop(object);
        at_rest(&[&server, &client]).await;
    }
}

#[tokio::test]
async fn a_released_object_is_dropped_within_two_round_trips() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let total = serve(&server, &client, &counter());
        soon(total.add(1)).await.unwrap();
        let (object, life) = Tally::mortal();
        let held = hand_over(&server, &client, &object).await;
        drop(object);
        // The door may still be closing.
        until("only the client holds it", || server.stats().exported_objects == 2).await;
        drop(held);
        soon(total.add(1)).await.unwrap();
        soon(total.add(1)).await.unwrap();
        assert_eq!(life.strong_count(), 0);
    }
}

#[tokio::test]
async fn ten_thousand_objects_come_and_go_and_leave_nothing() {
    for listen in [mem(), crate::common::TCP.to_owned()] {
        let (server, client) = (node(&listen).await, client().await);
        let shelf = serve(&server, &client, &shelf());
        for _ in 0..100 {
            let made = soon(futures_util::future::try_join_all((0..100).map(|_| shelf.make()))).await.unwrap();
            assert_eq!(soon(made[7].add(3)).await.unwrap(), 3);
        }
        drop(shelf);
        at_rest(&[&client]).await;
        until("only the shelf is left", || server.stats().exported_objects == 1).await;
    }
}

#[tokio::test]
async fn references_in_a_reply_that_nobody_awaits_are_released() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let board = std::sync::Arc::new(Board::default());
        let shelf = serve(&server, &client, &Remote::<dyn Shelf>::from_arc(board.clone()));
        shelf.clear().await.unwrap();
        for _ in 0..50 {
            let mut call = Box::pin(shelf.make());
            // Sent, and given up before it can be answered.
            let _ = futures_util::poll!(&mut call);
            drop(call);
        }
        soon(shelf.clear()).await.unwrap();
        let none_lives = || board.made().iter().all(|life: &Weak<()>| life.strong_count() == 0);
        until("what nobody awaited is dropped", none_lives).await;
        at_rest(&[&client]).await;
    }
}

#[tokio::test]
async fn a_goodbye_frees_at_once_what_its_node_held() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (object, life) = Tally::mortal();
        let held = hand_over(&server, &client, &object).await;
        drop(object);
        client.shutdown().await;
        // Far sooner than the lease of 30 s, which would be beyond every patience.
        dropped(&life).await;
        gone(&[&server, &client]).await;
        let error = failure(held.add(1).await, "Counter.add");
        assert_eq!(error.kind(), ErrorKind::Shutdown, "{error}");
    }
}

#[tokio::test]
async fn a_runtime_that_is_dropped_says_goodbye_for_its_nodes() {
    for listen in transports() {
        let server = node(&listen).await;
        let (object, life) = Tally::mortal();
        server.serve("shelf", &shelf());
        server.serve("door", &Remote::<dyn Shelf>::new(Board::default()));
        let endpoint = server.endpoints()[0].clone();
        let shelf = shelf();
        shelf.put(object).await.unwrap();
        server.serve("shelf", &shelf);
        // A short program: it calls and ends.
        let program = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let held = runtime.block_on(async {
                let shelf = Remote::<dyn Shelf>::service(&Node::current(), endpoint, "shelf");
                shelf.get().await.unwrap().unwrap()
            });
            drop(runtime);
            drop(held);
        });
        until("the program has ended", || program.is_finished()).await;
        program.join().unwrap();
        until("its link is gone without a lease", || server.stats().connections == 0).await;
        assert_eq!(server.stats().leases, 0);
        shelf.clear().await.unwrap();
        dropped(&life).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_stays_for_many_leases() {
    let lease = Duration::from_secs(6);
    let server = Node::builder().listen(mem()).lease(lease).start().await.unwrap();
    let client = client().await;
    let keeper = Keeper::shut();
    let gate = hand_over(&server, &client, &keeper.gate()).await;
    let started = tokio::time::Instant::now();
    // Both keep asking each other, so an idle link stays.
    tokio::time::sleep(10 * lease).await;
    let waiting = pass(&gate);
    keeper.holds(1).await;
    keeper.open();
    soon(waiting).await.unwrap().unwrap();
    assert!(started.elapsed() >= 10 * lease);
    assert_eq!((server.stats().connections, server.stats().leases), (1, 0));
}

#[tokio::test]
async fn a_lost_link_keeps_what_it_held_for_the_lease_and_no_longer() {
    let lease = Duration::from_secs(1);
    let (server, cable) = Cable::alone_to(Node::builder().lease(lease)).await;
    let client = client().await;
    let (object, life) = Tally::mortal();
    let shelf = shelf();
    shelf.put(object).await.unwrap();
    server.serve("shelf", &shelf);
    let there = Remote::<dyn Shelf>::service(&client, cable.endpoint(), "shelf");
    let held = soon(there.get()).await.unwrap().unwrap();
    shelf.clear().await.unwrap();
    let cut = Instant::now();
    cable.cut();
    until("the link is lost", || server.stats().connections == 0).await;
    assert_eq!((server.stats().leases, life.strong_count()), (1, 1));
    dropped(&life).await;
    assert!(cut.elapsed() >= lease, "freed after {:?}", cut.elapsed());
    assert_eq!(server.stats().leases, 0);
    cable.mend();
    // The owner is there, the object is not: the holder is told so, and nothing else is called.
    let error = failure(soon(held.add(1)).await, "Counter.add");
    assert_eq!(error.kind(), ErrorKind::NoSuchObject, "{error}");
}

#[tokio::test]
async fn a_lost_link_is_taken_up_again_over_any_endpoint_of_the_node_that_was_dialled() {
    let (server, client) = (node("tcp://127.0.0.1:0").await, client().await);
    let (object, life) = Tally::mortal();
    let shelf = shelf();
    shelf.put(object).await.unwrap();
    server.serve("shelf", &shelf);
    let cable = Cable::to(&server).await;
    let held = soon(Remote::<dyn Shelf>::service(&client, cable.endpoint(), "shelf").get()).await.unwrap().unwrap();
    shelf.clear().await.unwrap();
    cable.cut();
    // Its own endpoint is still there.
    assert_eq!(soon(held.add(7)).await.unwrap(), 7);
    assert_eq!(life.strong_count(), 1);
    assert_eq!((server.stats().connections, server.stats().leases), (1, 0));
    drop(held);
    dropped(&life).await;
}

#[tokio::test]
async fn a_call_in_flight_when_the_link_is_lost_is_unknown_and_its_handler_is_dropped() {
    let (server, client) = (node("tcp://127.0.0.1:0").await, client().await);
    let keeper = Keeper::shut();
    server.serve("gate", &keeper.gate());
    let cable = Cable::to(&server).await;
    let gate = Remote::<dyn crate::common::Gate>::service(&client, cable.endpoint(), "gate");
    let waiting = pass(&gate);
    keeper.holds(1).await;
    cable.cut();
    let error = failure(soon(waiting).await.unwrap(), "Gate.pass");
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::ConnectionLost, Certainty::Unknown), "{error}");
    keeper.holds(0).await;
    assert_eq!(keeper.entered(), 1);
    until("no call is in flight", || client.stats().calls_in_flight + server.stats().calls_in_flight == 0).await;
}

#[tokio::test]
async fn a_reference_from_a_lookup_finds_its_restarted_server_and_stays_what_it_was() {
    for listen in transports() {
        let (registry, client) =
            (RegistryServer::builder().listen(beside(&listen)).start().await.unwrap(), client().await);
        let server = node(&listen).await;
        let at = server.endpoints()[0].to_string();
        let bind = async |server: &Node, object: &Remote<dyn Counter>| {
            Registry::connect_with(server, &registry.url()).await.unwrap().rebind("counter", object).await
        };
        bind(&server, &counter()).await.unwrap();
        let names = Registry::connect_with(&client, &registry.url()).await.unwrap();
        let old = names.lookup::<dyn Counter>("counter").await.unwrap();
        assert_eq!(soon(old.add(1)).await.unwrap(), 1);

        server.shutdown().await;
        until("the client has noticed", || client.stats().connections == 1).await;
        let hasty = Remote::with(&old, CallOptions::new().timeout(Duration::from_millis(200)));
        let error = failure(soon(hasty.add(1)).await, "Counter.add");
        // Its time may also be over while it dials once more.
        assert!(matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::DeadlineExceeded), "{error}");
        assert_eq!(error.certainty(), Certainty::NotSent, "{error}");

        let server = node(&at).await;
        bind(&server, &counter()).await.unwrap();
        let first = (Remote::id(&old), Remote::node_id(&old));
        assert_eq!(soon(old.add(1)).await.unwrap(), 1, "it is another object");
        assert_eq!((Remote::id(&old), Remote::node_id(&old)), first);
        let new = soon(names.lookup::<dyn Counter>("counter")).await.unwrap();
        assert_eq!(soon(new.add(1)).await.unwrap(), 2);
        assert_ne!(old, new);
        // Passed on, it is the reference to the current object.
        let shelf = serve(&server, &client, &shelf());
        soon(shelf.put(old)).await.unwrap();
        assert_eq!(soon(shelf.add(1)).await.unwrap(), 3);
    }
}

#[tokio::test]
async fn a_registry_handle_outlives_the_registry() {
    for listen in transports() {
        let registry = RegistryServer::builder().listen(&listen).start().await.unwrap();
        let at = registry.node().endpoints()[0].to_string();
        let client = client().await;
        let names = Registry::connect_with(&client, &registry.url()).await.unwrap();
        registry.shutdown().await;
        until("the client has noticed", || client.stats().connections == 0).await;
        let Err(RegistryError::Remote(error)) = soon(names.list("")).await else { panic!("nobody is there") };
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        let _registry = RegistryServer::builder().listen(&at).start().await.unwrap();
        assert!(soon(names.list("")).await.unwrap().is_empty());
    }
}

/// The process that the next story kills: it holds a counter and waits inside a gate.
#[tokio::test]
#[ignore = "a part of another test, which runs it as a process of its own"]
async fn killed_in_mid_call() {
    let endpoint = std::env::var("RMI_IT_ENDPOINT").expect("the test that starts this process sets it");
    let endpoint: rmi::Endpoint = endpoint.parse().unwrap();
    let node = client().await;
    let shelf = Remote::<dyn Shelf>::service(&node, endpoint.clone(), "shelf");
    let _held = shelf.get().await.unwrap().unwrap();
    Remote::<dyn crate::common::Gate>::service(&node, endpoint, "gate").pass().await.ok();
}

#[tokio::test]
async fn a_process_killed_in_mid_call_leaves_nothing_after_its_lease() {
    let lease = Duration::from_secs(1);
    let server = Node::builder().listen("tcp://127.0.0.1:0").lease(lease).start().await.unwrap();
    let keeper = Keeper::shut();
    let (object, life) = Tally::mortal();
    let shelf = shelf();
    shelf.put(object).await.unwrap();
    server.serve("shelf", &shelf);
    server.serve("gate", &keeper.gate());
    let total = counter();
    let other = hand_over(&server, &client().await, &total).await;

    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "lifetime::killed_in_mid_call"])
        .env("RMI_IT_ENDPOINT", server.endpoints()[0].to_string())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    keeper.holds(1).await;
    shelf.clear().await.unwrap();
    // SIGKILL, where there is such a thing.
    soon(process.kill()).await.unwrap();
    keeper.holds(0).await;
    assert_eq!(soon(other.add(1)).await.unwrap(), 1, "nobody else is disturbed");
    dropped(&life).await;
    until("nothing is left of it", || (server.stats().leases, server.stats().connections) == (0, 1)).await;
    assert_eq!(server.stats().calls_in_flight, 0);
}

#[tokio::test]
async fn a_client_that_makes_no_calls_notices_that_its_server_restarted() {
    for listen in transports() {
        let limits = Limits { connect_timeout: Duration::from_secs(2), ..Limits::default() };
        let client = Node::builder().limits(limits).start().await.unwrap();
        let server = node(&listen).await;
        let endpoint = server.endpoints()[0].clone();
        server.serve("counter", &counter());
        let service = Remote::<dyn Counter>::service(&client, endpoint.clone(), "counter");
        assert_eq!(soon(service.add(5)).await.unwrap(), 5);
        server.shutdown().await;
        let server = node(&endpoint.to_string()).await;
        server.serve("counter", &counter());
        // The client was idle all the time. Its next call goes to the new server at once.
        assert_eq!(soon(service.add(1)).await.unwrap(), 1);
        at_rest(&[&client]).await;
    }
}

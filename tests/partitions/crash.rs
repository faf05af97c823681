//! Hosts that crash, and run again.

use rmi::{Certainty, ErrorKind, Remote};

use crate::{
    calls::Meeting,
    common::{Shelf, failure, pass, soon, until},
    hosts::{Software, bound_server, gate_at, registry, registry_for, server},
    ledger::Ledger,
    world::{LEASE, at_rest, s, silent_node, story},
};

const HOSTS: [(&str, Software); 2] = [("registry", registry), ("server", bound_server)];

#[test]
fn a_restarted_server_is_found_by_its_name_and_its_old_objects_are_gone() {
    story(&HOSTS, async |world| {
        world.at("registry").await;
        let server = world.at("server").await;
        let client = silent_node().await;
        let shelf: Remote<dyn Shelf> = soon(registry_for(&client).await.lookup("server")).await.unwrap();
        let counter = soon(shelf.make()).await.unwrap();
        let passing = pass(&gate_at("server", &client));
        server.keeper.holds(1).await;
        let first = server.node.id();
        drop(server);
        world.crash("server", &["client", "registry"]).await;
        world.pass(s(0.01)..s(0.5)).await;
        let server = world.restart("server").await;
        assert_ne!(server.node.id(), first);

        let error = failure(soon(passing).await.unwrap(), "Gate.pass");
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::ConnectionLost, Certainty::Unknown), "{error}");
        assert_eq!(server.keeper.entered(), 0, "it is not sent again");
        let new = soon(shelf.make()).await.expect("the name leads to the new server");
        assert_eq!(Remote::node_id(&new), Some(server.node.id()));
        let error = failure(soon(counter.total()).await, "Counter.total");
        assert_eq!(error.kind(), ErrorKind::NoSuchObject, "{error}");
        assert_ne!(error.certainty(), Certainty::Unknown, "it did not run: {error}");
        soon(new.total()).await.expect("the new object is called as ever");
    });
}

#[test]
fn calls_through_a_crash_tell_the_truth_to_their_callers() {
    story(&[("server", server)], async |world| {
        let meeting = Meeting::new(world.clone()).await;
        let passing: Vec<_> = (0..3).map(|_| pass(&gate_at("server", &meeting.client))).collect();
        meeting.server.keeper.holds(3).await;
        let mut ledger = Ledger::new(&meeting.counter);
        ledger.calls(3, s(0.05)).await;
        let Meeting { server, client, counter, given, .. } = meeting;
        let before = server.keeper.entered();
        drop(server);
        world.crash("server", &["client"]).await;
        // Nothing tells the client yet: these are sent into the void, or wait.
        let late: Vec<_> = (0..3).map(|_| pass(&gate_at("server", &client))).collect();
        world.pass(s(0.01)..s(3.0)).await;
        let server = world.restart("server").await;
        for call in passing {
            let error = failure(soon(call).await.unwrap(), "Gate.pass");
            assert_eq!((error.kind(), error.certainty()), (ErrorKind::ConnectionLost, Certainty::Unknown), "{error}");
        }
        assert_eq!(before, 3);
        server.keeper.open();
        let mut ran = 0;
        for call in late {
            match soon(call).await.unwrap() {
                Ok(()) => ran += 1,
                Err(error) => assert!(matches!(error.certainty(), Certainty::Unknown | Certainty::NotSent), "{error}"),
            }
        }
        assert_eq!(server.keeper.entered(), ran, "what ran has told so");
        // The crashed node held it: for a lease, and no longer.
        assert_eq!(given.strong_count(), 1);
        tokio::time::timeout(2 * LEASE, until("the client's object is dropped", || given.strong_count() == 0))
            .await
            .unwrap();
        drop(counter);
        at_rest(&[&server], &[&client], s(1.0)).await;
    });
}

#[test]
fn a_name_is_found_again_after_its_registry_has_restarted() {
    story(&HOSTS, async |world| {
        world.at("registry").await;
        world.at("server").await;
        world.crash("registry", &["client", "server"]).await;
        world.pass(s(0.01)..s(3.0)).await;
        world.restart("registry").await;
        let client = silent_node().await;
        let found = async {
            loop {
                match registry_for(&client).await.lookup::<dyn Shelf>("server").await {
                    Ok(shelf) => break shelf,
                    Err(_) => tokio::time::sleep(s(0.1)).await,
                }
            }
        };
        let shelf = tokio::time::timeout(3 * LEASE, found).await.expect("the server binds its name again");
        soon(shelf.make()).await.unwrap();
    });
}

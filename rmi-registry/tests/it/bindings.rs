//! Bindings that outlive what happens to the registry, and those that give way to newer ones.

use std::time::Duration;

use rmi_core::Node;
use rmi_registry::{Registry, RegistryError, RegistryServer};

use crate::{
    cable::Cable,
    greeter::{
        PATIENCE, answering, at_a_cable, attentive, beside, client_of, greeter, mem, sedentary, server_of, transports,
        unbound, until, watched,
    },
};

/// The same registry, started anew at the same place.
async fn restarted(names: RegistryServer) -> RegistryServer {
    let url = names.url();
    names.shutdown().await;
    drop(names);
    attentive(&url).await
}

#[tokio::test]
async fn names_are_bound_again_at_a_registry_that_restarted() {
    for url in transports() {
        let names = attentive(&url).await;
        let (_server, at_server) = server_of(&names, &beside(&url)).await;
        let (_client, at_client) = client_of(&names).await;
        for name in ["a", "b", "c"] {
            at_server.bind(name, &greeter("Hello")).await.unwrap();
        }
        at_client.unbind("b").await.unwrap();
        at_server.rebind("c", &greeter("Bye")).await.unwrap();

        // The server learns that b is gone before the registry forgets it.
        tokio::time::timeout(PATIENCE, async {
            while at_server.bind("b", &greeter("Again")).await.is_err() {}
            at_server.unbind("b").await.unwrap();
        })
        .await
        .unwrap();
        let names = restarted(names).await;
        assert_eq!(answering(&at_client, "a").await, "Hello, x");
        assert_eq!(answering(&at_client, "c").await, "Bye, x");
        assert!(matches!(at_client.lookup_any("b").await, Err(RegistryError::NotBound { .. })));
        names.shutdown().await;
    }
}

#[tokio::test]
async fn the_newest_binding_wins_at_a_registry_that_restarted() {
    let names = attentive(&mem("names")).await;
    let (_first, at_first) = server_of(&names, &mem("first")).await;
    let (_second, at_second) = server_of(&names, &mem("second")).await;
    let (old, alive) = watched("first");
    at_first.bind("a", &old).await.unwrap();
    drop(old);
    at_second.rebind("a", &greeter("second")).await.unwrap();
    let _names = restarted(names).await;

    // Whoever comes first: the loser is told, and lets go of its object.
    until("the replaced object goes", || alive.strong_count() == 0).await;
    assert_eq!(answering(&at_second, "a").await, "second, x");
    assert_eq!(answering(&at_first, "a").await, "second, x");
}

#[tokio::test]
async fn a_name_removed_by_another_stays_removed() {
    let names = attentive(&mem("names")).await;
    let (_server, at_server) = server_of(&names, &mem("server")).await;
    let (_client, at_client) = client_of(&names).await;
    let (object, alive) = watched("Hello");
    at_server.bind("a", &object).await.unwrap();
    drop(object);
    at_client.unbind("a").await.unwrap();

    until("the server lets go of what was unbound", || alive.strong_count() == 0).await;
    assert!(matches!(at_server.lookup_any("a").await, Err(RegistryError::NotBound { .. })));
    let names = restarted(names).await;
    let (_other, at_other) = server_of(&names, &mem("other")).await;
    assert!(matches!(at_other.lookup_any("a").await, Err(RegistryError::NotBound { .. })));
}

#[tokio::test]
async fn the_name_of_a_lost_server_may_be_taken() {
    // The lease of the lost server is 30 s, longer than the patience of this test.
    let mut names = RegistryServer::builder().listen("rmi://127.0.0.1:0");
    if cfg!(unix) {
        let socket = std::env::temp_dir().join(format!("rmi-taken-{}", std::process::id()));
        names = names.listen(format!("unix://{}", socket.display()));
    }
    let names = names.start().await.unwrap();
    let cable = Cable::to(&names.url()).await;
    let lost = at_a_cable().listen("tcp://127.0.0.1:0").start().await.unwrap();
    let at_lost = Registry::connect_with(&lost, &cable.url()).await.unwrap();
    at_lost.bind("a", &greeter("lost")).await.unwrap();
    // Another server of the host, whoever that is: over a unix socket it is a user, and over TCP nobody in particular.
    let server = Node::builder().listen("tcp://127.0.0.1:0").start().await.unwrap();
    let at_server = Registry::connect_with(&server, names.urls().last().unwrap()).await.unwrap();
    let error = at_server.bind("a", &greeter("new")).await.unwrap_err();
    assert!(matches!(error, RegistryError::AlreadyBound { .. }), "{error:?}");

    cable.cut().await;
    let object = greeter("new");
    let taken = async {
        while at_server.bind("a", &object).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("the name is free once the registry has seen the cut");
    assert_eq!(answering(&at_server, "a").await, "new, x");
}

#[tokio::test]
async fn a_server_cut_off_for_a_lease_binds_again_and_yields_to_who_took_its_name() {
    let names = sedentary(Duration::from_secs(3)).await;
    let cable = Cable::to(&names.url()).await;
    let url = cable.url();
    let lease = Duration::from_millis(600);
    let server = at_a_cable().listen("tcp://127.0.0.1:0").lease(lease).start().await.unwrap();
    let at_server = Registry::connect_with(&server, &url).await.unwrap();
    let (yielding, alive) = watched("old");
    at_server.bind("mine", &greeter("mine")).await.unwrap();
    at_server.bind("taken", &yielding).await.unwrap();
    drop(yielding);

    cable.cut().await;
    let (_other, at_other) = server_of(&names, "tcp://127.0.0.1:0").await;
    unbound(&at_other, "mine").await;
    unbound(&at_other, "taken").await;
    at_other.bind("taken", &greeter("new")).await.unwrap();

    let _cable = Cable::between(&url, &names.url()).await;
    assert_eq!(answering(&at_other, "mine").await, "mine, x");
    until("the server lets go of the name that was taken", || alive.strong_count() == 0).await;
    assert_eq!(answering(&at_other, "taken").await, "new, x");
}

//! How long names last: as long as their servers, and a lease.

use std::time::{Duration, Instant};

use rmi_registry::{Registry, RegistryError, RegistryServer};

use crate::{
    cable::Cable,
    greeter::{Greeter, at_a_cable, client_of, greeter, mem, sedentary, server_of, unbound, until, watched},
};

#[tokio::test]
async fn a_name_goes_at_once_when_its_server_says_goodbye() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (server, at_server) = server_of(&names, &mem("server")).await;
    let (_other, at_other) = server_of(&names, &mem("other")).await;
    at_server.bind("gone", &greeter("Hello")).await.unwrap();
    at_other.bind("stays", &greeter("Hello")).await.unwrap();

    server.shutdown().await;
    // Far sooner than the lease of 30 s, which would be beyond the patience of `unbound`.
    unbound(&at_other, "gone").await;
    at_other.lookup::<dyn Greeter>("stays").await.unwrap();
    at_other.bind("gone", &greeter("Hello")).await.unwrap();
}

/// How a server is lost.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Cut,
    Silence,
}

#[tokio::test]
async fn a_name_goes_a_lease_after_its_server_was_lost() {
    let lease = Duration::from_secs(1);
    for loss in [Loss::Cut, Loss::Silence] {
        let names = sedentary(Duration::from_secs(30)).await;
        let (_client, at_client) = client_of(&names).await;
        let cable = Cable::to(&names.url()).await;
        let server = at_a_cable().listen("tcp://127.0.0.1:0").lease(lease).start().await.unwrap();
        let at_server = Registry::connect_with(&server, &cable.url()).await.unwrap();
        at_server.bind("a", &greeter("Hello")).await.unwrap();

        let lost = Instant::now();
        match loss {
            Loss::Cut => cable.cut().await,
            Loss::Silence => cable.fall_silent(),
        }
        at_client.lookup_any("a").await.expect("a lost server keeps its names for the lease");
        unbound(&at_client, "a").await;
        assert!(lost.elapsed() >= lease, "{loss:?}: gone after {:?}", lost.elapsed());
    }
}

#[tokio::test]
async fn the_late_end_of_a_replaced_object_spares_its_successor() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (first, at_first) = server_of(&names, &mem("first")).await;
    let (_second, at_second) = server_of(&names, &mem("second")).await;
    at_first.bind("a", &greeter("first")).await.unwrap();
    at_first.bind("probe", &greeter("first")).await.unwrap();
    at_second.rebind("a", &greeter("second")).await.unwrap();

    first.shutdown().await;
    unbound(&at_second, "probe").await;
    let found = at_second.lookup::<dyn Greeter>("a").await.unwrap();
    assert_eq!(found.greet("x").await.unwrap(), "second, x");
}

#[tokio::test]
async fn a_bound_object_lives_although_its_server_holds_it_no_more() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (_server, at_server) = server_of(&names, &mem("server")).await;
    let (_client, at_client) = client_of(&names).await;

    let (object, alive) = watched("Hello");
    at_server.bind("a", &object).await.unwrap();
    drop(object);
    let found = at_client.lookup::<dyn Greeter>("a").await.unwrap();
    assert_eq!(found.greet("x").await.unwrap(), "Hello, x");

    drop(found);
    at_server.unbind("a").await.unwrap();
    drop(at_server);
    until("an unbound object is dropped", || alive.strong_count() == 0).await;
}

#[tokio::test]
async fn the_binding_node_keeps_the_object_until_it_ends() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (server, at_server) = server_of(&names, &mem("server")).await;
    let (object, alive) = watched("Hello");
    at_server.bind("a", &object).await.unwrap();
    drop(object);

    names.shutdown().await;
    drop(at_server);
    until("the connection to the registry ends", || server.stats().connections == 0).await;
    assert!(alive.upgrade().is_some(), "the object waits for the registry's return");
    server.shutdown().await;
    assert!(alive.upgrade().is_none(), "nothing of a node outlives it");
}

#[tokio::test]
async fn a_handle_works_again_when_the_registry_has_restarted() {
    let url = mem("names");
    let names = RegistryServer::builder().listen(&url).start().await.unwrap();
    let (_server, registry) = server_of(&names, &mem("server")).await;
    registry.bind("a", &greeter("Hello")).await.unwrap();
    names.shutdown().await;
    drop(names);
    assert!(matches!(registry.lookup_any("a").await, Err(RegistryError::Remote(_))));

    let names = RegistryServer::builder().listen(&url).start().await.unwrap();
    assert!(matches!(registry.lookup_any("b").await, Err(RegistryError::NotBound { .. })));
    registry.bind("b", &greeter("Hello")).await.unwrap();
    registry.lookup_any("b").await.unwrap();
    names.shutdown().await;
}

#[tokio::test]
async fn a_registry_lets_go_of_everything() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (server, registry) = server_of(&names, &mem("server")).await;
    for round in 0..3 {
        registry.rebind("a", &greeter("Hello")).await.unwrap();
        registry.bind(&format!("b{round}"), &greeter("Hello")).await.unwrap();
    }
    for entry in registry.list("").await.unwrap() {
        registry.unbind(&entry.name).await.unwrap();
    }
    until("unbound objects are released", || {
        (names.node().stats().imported_references, server.stats().exported_objects) == (0, 0)
    })
    .await;
}

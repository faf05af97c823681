//! Several registries in one URL.

use rmi_core::Node;
use rmi_registry::{Registry, RegistryError, RegistryServer};

use crate::greeter::{Greeter, answering, attentive, client_of, greeter, server_of, until, watched};

/// Two registries, and the URL that names both.
async fn two() -> (RegistryServer, RegistryServer, String) {
    let (first, second) = (attentive("rmi://127.0.0.1:0").await, attentive("rmi://127.0.0.1:0").await);
    let url = format!("{},{}", first.url(), second.url().trim_start_matches("rmi://"));
    (first, second, url)
}

async fn server() -> Node {
    Node::builder().listen("tcp://127.0.0.1:0").start().await.unwrap()
}

#[tokio::test]
async fn names_are_bound_rebound_and_unbound_at_all() {
    let (first, second, url) = two().await;
    let server = server().await;
    let both = Registry::connect_with(&server, &url).await.unwrap();
    assert_eq!(both.url(), url);
    let (_client, at_first) = client_of(&first).await;
    let (_client, at_second) = client_of(&second).await;

    both.bind("a", &greeter("Hello")).await.unwrap();
    for registry in [&at_first, &at_second, &both] {
        assert_eq!(answering(registry, "a").await, "Hello, x");
    }
    both.rebind("a", &greeter("Bye")).await.unwrap();
    for registry in [&at_first, &at_second, &both] {
        assert_eq!(answering(registry, "a").await, "Bye, x");
        assert_eq!(registry.list("").await.unwrap().len(), 1);
    }
    both.unbind("a").await.unwrap();
    for registry in [&at_first, &at_second, &both] {
        assert!(matches!(registry.lookup_any("a").await, Err(RegistryError::NotBound { .. })));
    }
    assert!(matches!(both.unbind("a").await, Err(RegistryError::NotBound { .. })));
}

#[tokio::test]
async fn a_name_that_one_refuses_is_bound_at_none() {
    let (first, second, url) = two().await;
    let server = server().await;
    let both = Registry::connect_with(&server, &url).await.unwrap();
    let (_other, at_second) = server_of(&second, "tcp://127.0.0.1:0").await;
    let (_client, at_first) = client_of(&first).await;
    at_second.bind("a", &greeter("Hello")).await.unwrap();

    let error = both.bind("a", &greeter("mine")).await.unwrap_err();
    let RegistryError::AlreadyBound { registry, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*registry, second.url());
    assert!(matches!(at_first.lookup_any("a").await, Err(RegistryError::NotBound { .. })));
    // Freed at one of them is freed.
    both.unbind("a").await.unwrap();
    both.bind("a", &greeter("mine")).await.unwrap();
    assert_eq!(answering(&at_first, "a").await, "mine, x");
}

#[tokio::test]
async fn a_registry_that_was_down_catches_up() {
    let (first, second, url) = two().await;
    let server = server().await;
    let both = Registry::connect_with(&server, &url).await.unwrap();
    let (_client, at_second) = client_of(&second).await;
    for name in ["kept", "changed", "removed"] {
        both.bind(name, &greeter("before")).await.unwrap();
    }
    let place = first.url();
    first.shutdown().await;
    drop(first);

    // The second answers now, and takes changes alone.
    assert_eq!(answering(&both, "kept").await, "before, x");
    both.bind("new", &greeter("since")).await.unwrap();
    both.rebind("changed", &greeter("since")).await.unwrap();
    both.unbind("removed").await.unwrap();
    assert_eq!(answering(&at_second, "new").await, "since, x");

    let first = attentive(&place).await;
    let (_client, at_first) = client_of(&first).await;
    for (name, answer) in [("kept", "before, x"), ("changed", "since, x"), ("new", "since, x")] {
        assert_eq!(answering(&at_first, name).await, answer, "{name}");
    }
    let names: Vec<_> = at_first.list("").await.unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["changed", "kept", "new"]);
    second.shutdown().await;
    assert_eq!(answering(&both, "new").await, "since, x");
}

#[tokio::test]
async fn a_removal_reaches_a_registry_that_was_down() {
    let (first, second, url) = two().await;
    let (server, remover) = (server().await, Node::builder().start().await.unwrap());
    let at_server = Registry::connect_with(&server, &url).await.unwrap();
    let at_remover = Registry::connect_with(&remover, &url).await.unwrap();
    let (object, alive) = watched("Hello");
    at_server.bind("a", &object).await.unwrap();
    drop(object);
    let place = first.url();
    first.shutdown().await;
    drop(first);
    at_remover.unbind("a").await.unwrap();

    let first = attentive(&place).await;
    // Whether the server restores the name there or the removal comes first: the server hears of it
    // at both, and lets go.
    until("the removed object goes", || alive.strong_count() == 0).await;
    for registry in [&first, &second] {
        let (_client, registry) = client_of(registry).await;
        assert!(matches!(registry.lookup_any("a").await, Err(RegistryError::NotBound { .. })));
    }
}

#[tokio::test]
async fn where_none_answers_each_is_named_with_its_reason() {
    let (first, second, url) = two().await;
    let server = server().await;
    let both = Registry::connect_with(&server, &url).await.unwrap();
    first.shutdown().await;
    second.shutdown().await;
    let object = greeter("Hello");
    for error in [
        Registry::connect_with(&server, &url).await.unwrap_err(),
        both.lookup_any("a").await.unwrap_err(),
        both.list("").await.unwrap_err(),
        both.bind("a", &object).await.unwrap_err(),
        both.rebind("a", &object).await.unwrap_err(),
        both.unbind("a").await.unwrap_err(),
    ] {
        let RegistryError::NoAnswer { reasons, .. } = &error else { panic!("{error:?}") };
        let mut named: Vec<_> = reasons.iter().map(|(url, _)| url.clone()).collect();
        named.sort();
        let mut expected = vec![first.url(), second.url()];
        expected.sort();
        assert_eq!(named, expected);
        assert!(error.to_string().contains(&first.url()) && error.to_string().contains("unreachable"), "{error}");
    }
}

#[tokio::test]
async fn a_looked_up_reference_finds_its_new_server_at_the_registry_that_is_left() {
    let (first, second, url) = two().await;
    let old = server().await;
    let bound = Registry::connect_with(&old, &url).await.unwrap();
    bound.bind("a", &greeter("old")).await.unwrap();
    let client = Node::builder().start().await.unwrap();
    let found = Registry::connect_with(&client, &url).await.unwrap().lookup::<dyn Greeter>("a").await.unwrap();
    assert_eq!(found.greet("x").await.unwrap(), "old, x");

    // The server moves to another address, and the registry that answered before is gone.
    first.shutdown().await;
    old.shutdown().await;
    let new = server().await;
    let bound = Registry::connect_with(&new, &url).await.unwrap();
    bound.bind("a", &greeter("new")).await.unwrap();
    assert_eq!(found.greet("x").await.unwrap(), "new, x");
    second.shutdown().await;
}

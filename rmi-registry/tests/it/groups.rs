//! Objects that are joined under one name: what the registry knows of them, and how long.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use rmi_core::{ErrorKind, Node, Remote};
use rmi_registry::{Event, Registry, RegistryError, RegistryServer};

use crate::{
    cable::Cable,
    greeter::{
        Greeter, Host, PATIENCE, Singer, at_a_cable, attentive, beside, client_of, greeter, mem, sedentary, server_of,
        transports, unbound, until, watched,
    },
};

/// How many members the registry names.
pub(crate) async fn members(registry: &Registry, name: &str) -> Option<u32> {
    registry.list(name).await.unwrap().into_iter().find(|entry| entry.name == name)?.members
}

/// Waits until the name has so many members at the registry.
pub(crate) async fn has_members(registry: &Registry, name: &str, count: u32) {
    let has = async {
        while members(registry, name).await != Some(count) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, has).await.expect("the members come or go in time");
}

/// All that answer to the name, by what they say.
async fn answers(registry: &Registry, name: &str) -> BTreeSet<String> {
    let found = registry.lookup_any(name).await.unwrap().cast::<dyn Greeter>().unwrap();
    let mut answers = BTreeSet::new();
    for member in Remote::members(&found) {
        answers.insert(member.cast::<dyn Greeter>().unwrap().greet("x").await.unwrap());
    }
    answers
}

#[tokio::test]
async fn objects_join_and_leave_and_the_last_frees_the_name() {
    for url in transports() {
        let names = RegistryServer::builder().listen(&url).start().await.unwrap();
        let (_first, at_first) = server_of(&names, &beside(&url)).await;
        let (_second, at_second) = server_of(&names, &beside(&url)).await;
        let (_client, at_client) = client_of(&names).await;
        let (one, two) = (greeter("one"), greeter("two"));

        at_first.join("a", &one).await.unwrap();
        at_second.join("a", &two).await.unwrap();
        at_first.join("a", &one).await.unwrap();
        assert_eq!(members(&at_client, "a").await, Some(2), "joining twice is joining once");
        assert_eq!(answers(&at_client, "a").await, BTreeSet::from(["one, x".into(), "two, x".into()]));

        at_first.leave("a", &one).await.unwrap();
        at_first.leave("a", &one).await.unwrap();
        assert_eq!(answers(&at_client, "a").await, BTreeSet::from(["two, x".into()]));
        // Whoever holds a member may take it out.
        let [held] = &Remote::members(&at_client.lookup::<dyn Greeter>("a").await.unwrap())[..] else { panic!() };
        at_client.leave("a", &held.cast::<dyn Greeter>().unwrap()).await.unwrap();
        assert!(matches!(at_client.lookup_any("a").await, Err(RegistryError::NotBound { .. })));
        at_second.leave("a", &two).await.unwrap();
        at_second.bind("a", &two).await.unwrap();
        at_second.leave("a", &two).await.unwrap();
        assert_eq!(members(&at_client, "a").await, None, "a binding is not left");
    }
}

#[tokio::test]
async fn one_node_joins_several_objects() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (server, registry) = server_of(&names, &mem("server")).await;
    let (_client, at_client) = client_of(&names).await;
    let objects = [greeter("one"), greeter("two")];
    for object in &objects {
        registry.join("a", object).await.unwrap();
    }
    assert_eq!(answers(&at_client, "a").await.len(), 2);
    registry.leave("a", &objects[0]).await.unwrap();
    assert_eq!(members(&at_client, "a").await, Some(1));
    server.shutdown().await;
    unbound(&at_client, "a").await;
}

#[tokio::test]
async fn a_name_is_bound_or_a_group_and_never_both() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (_first, at_first) = server_of(&names, &mem("first")).await;
    let (_second, at_second) = server_of(&names, &mem("second")).await;
    at_first.bind("bound", &greeter("bound")).await.unwrap();
    at_first.join("group", &greeter("member")).await.unwrap();

    for (name, error) in [
        ("bound", at_second.join("bound", &greeter("late")).await.unwrap_err()),
        ("group", at_second.bind("group", &greeter("late")).await.unwrap_err()),
    ] {
        assert!(matches!(&error, RegistryError::AlreadyBound { name: taken, .. } if taken == name), "{error:?}");
        assert!(error.to_string().contains(&names.url()), "{error}");
    }
    at_second.join("group", &greeter("other")).await.unwrap();
    at_second.rebind("group", &greeter("instead")).await.unwrap();
    assert_eq!(members(&at_second, "group").await, None);
    assert_eq!(answers(&at_first, "group").await, BTreeSet::from(["instead, x".into()]));

    at_second.unbind("bound").await.unwrap();
    at_second.join("bound", &greeter("late")).await.unwrap();
    at_second.join("bound", &greeter("later")).await.unwrap();
    at_first.unbind("bound").await.unwrap();
    assert!(matches!(at_second.lookup_any("bound").await, Err(RegistryError::NotBound { .. })));
}

#[tokio::test]
async fn a_member_has_the_interfaces_of_the_others() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (_server, registry) = server_of(&names, &mem("server")).await;
    registry.join("a", &greeter("one")).await.unwrap();
    let error = registry.join("a", &Remote::<dyn Singer>::new(Host("two"))).await.unwrap_err();
    let RegistryError::WrongInterface { name, wanted, found, .. } = &error else { panic!("{error:?}") };
    assert_eq!((name.as_str(), wanted.as_str()), ("a", "test.Singer, test.Greeter"));
    assert_eq!(found[..], ["test.Greeter"]);
    assert_eq!(members(&registry, "a").await, Some(1));
}

#[tokio::test]
async fn the_members_of_a_name_are_bounded() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (server, registry) = server_of(&names, &mem("server")).await;
    let objects: Vec<_> = (0..256).map(|_| greeter("one")).collect();
    for object in &objects {
        registry.join("a", object).await.unwrap();
    }
    let error = registry.join("a", &greeter("late")).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooManyMembers { limit: 256, .. }), "{error:?}");
    assert!(error.to_string().contains(&names.url()), "{error}");
    registry.join("a", &objects[7]).await.unwrap();
    registry.leave("a", &objects[0]).await.unwrap();
    registry.join("a", &greeter("late")).await.unwrap();
    registry.unbind("a").await.unwrap();
    drop(objects);
    until("all are let go of", || server.stats().exported_objects == 0).await;
}

#[tokio::test]
async fn an_object_that_nobody_could_call_does_not_join() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (_client, registry) = client_of(&names).await;
    let error = registry.join("a", &greeter("Hello")).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotListening { .. }), "{error:?}");
    for name in ["", " a"] {
        let errors = [
            registry.join(name, &greeter("x")).await.unwrap_err(),
            registry.leave(name, &greeter("x")).await.unwrap_err(),
        ];
        assert!(errors.iter().all(|error| matches!(error, RegistryError::InvalidName { .. })), "{errors:?}");
    }
}

#[tokio::test]
async fn a_watch_tells_of_members_that_come_and_go() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (first, at_first) = server_of(&names, &mem("first")).await;
    let (_second, at_second) = server_of(&names, &mem("second")).await;
    let (_client, at_client) = client_of(&names).await;
    let two = greeter("two");
    at_first.join("a", &greeter("one")).await.unwrap();
    let mut watch = at_client.watch("a");
    let mut next = async || {
        let next = tokio::time::timeout(PATIENCE, watch.next()).await.expect("something happens in time");
        match next.unwrap().unwrap() {
            Event::Bound(entry) => format!("+{:?}", entry.members),
            Event::Members(entry) => format!("#{:?}", entry.members),
            Event::Rebound(entry) => format!("*{:?}", entry.members),
            Event::Unbound { .. } => "-".into(),
            Event::Expired { .. } => "x".into(),
            Event::Current => ".".into(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((next().await, next().await), ("+Some(1)".into(), ".".into()));
    at_second.join("a", &two).await.unwrap();
    assert_eq!(next().await, "#Some(2)");
    first.shutdown().await;
    assert_eq!(next().await, "#Some(1)");
    at_second.rebind("a", &two).await.unwrap();
    at_second.unbind("a").await.unwrap();
    assert_eq!((next().await, next().await), ("*None".into(), "-".into()));
    at_second.join("a", &two).await.unwrap();
    at_second.leave("a", &two).await.unwrap();
    assert_eq!((next().await, next().await), ("+Some(1)".into(), "-".into()));
}

#[tokio::test]
async fn a_member_that_is_unexported_or_whose_node_ends_leaves_by_itself() {
    let names = attentive(&mem("names")).await;
    let (first, at_first) = server_of(&names, &mem("first")).await;
    let (second, at_second) = server_of(&names, &mem("second")).await;
    let (_client, at_client) = client_of(&names).await;
    let (one, alive) = watched("one");
    at_first.join("a", &one).await.unwrap();
    at_second.join("a", &greeter("two")).await.unwrap();

    assert!(first.unexport(&one));
    drop(one);
    has_members(&at_client, "a", 1).await;
    until("its node lets go of what nobody can call", || alive.strong_count() == 0).await;
    has_members(&at_client, "a", 1).await;
    assert_eq!(answers(&at_client, "a").await, BTreeSet::from(["two, x".into()]));
    let dead = greeter("dead");
    first.unexport(&dead);
    let error = at_first.join("a", &dead).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Remote(error) if error.kind() == ErrorKind::NoSuchObject), "{error:?}");
    second.shutdown().await;
    unbound(&at_client, "a").await;
    until("nothing is left of it", || names.node().stats().imported_references == 0).await;
}

#[tokio::test]
async fn a_member_goes_a_lease_after_its_server_was_lost() {
    let lease = Duration::from_secs(1);
    let names = sedentary(Duration::from_secs(30)).await;
    let (_other, at_other) = server_of(&names, "tcp://127.0.0.1:0").await;
    let cable = Cable::to(&names.url()).await;
    let server = at_a_cable().listen("tcp://127.0.0.1:0").lease(lease).start().await.unwrap();
    let at_server = Registry::connect_with(&server, &cable.url()).await.unwrap();
    at_server.join("a", &greeter("one")).await.unwrap();
    at_other.join("a", &greeter("two")).await.unwrap();

    let lost = Instant::now();
    cable.cut().await;
    has_members(&at_other, "a", 1).await;
    assert!(lost.elapsed() >= lease, "gone after {:?}", lost.elapsed());
}

#[tokio::test]
async fn members_join_again_at_a_registry_that_restarted_and_those_that_left_do_not() {
    for url in transports() {
        let names = attentive(&url).await;
        let place = names.url();
        let (_first, at_first) = server_of(&names, &beside(&url)).await;
        let (_second, at_second) = server_of(&names, &beside(&url)).await;
        let (_client, at_client) = client_of(&names).await;
        let (left, alive) = watched("left");
        at_first.join("a", &greeter("one")).await.unwrap();
        at_second.join("a", &greeter("two")).await.unwrap();
        at_first.join("a", &left).await.unwrap();
        at_client.leave("a", &left).await.unwrap();
        drop(left);
        until("the server hears that its member was taken out", || alive.strong_count() == 0).await;

        names.shutdown().await;
        drop(names);
        let names = attentive(&place).await;
        has_members(&at_client, "a", 2).await;
        assert_eq!(answers(&at_client, "a").await, BTreeSet::from(["one, x".into(), "two, x".into()]));
        at_client.unbind("a").await.unwrap();
        names.shutdown().await;
    }
}

#[tokio::test]
async fn servers_whose_group_was_unbound_do_not_come_back_into_the_next_one() {
    let names = attentive(&mem("names")).await;
    let (_old, at_old) = server_of(&names, &mem("old")).await;
    let (_new, at_new) = server_of(&names, &mem("new")).await;
    let (object, alive) = watched("old");
    at_old.join("a", &object).await.unwrap();
    drop(object);
    at_new.unbind("a").await.unwrap();
    at_new.join("a", &greeter("new")).await.unwrap();
    until("the old server lets go of its member", || alive.strong_count() == 0).await;
    assert_eq!(members(&at_new, "a").await, Some(1));
    let again = greeter("again");
    at_old.join("a", &again).await.unwrap();
    assert_eq!(members(&at_new, "a").await, Some(2));
}

#[tokio::test]
async fn several_registries_know_the_same_members_also_one_that_was_down() {
    let (first, second) = (attentive("rmi://127.0.0.1:0").await, attentive("rmi://127.0.0.1:0").await);
    let url = format!("{},{}", first.url(), second.url().trim_start_matches("rmi://"));
    let node = Node::builder().listen("tcp://127.0.0.1:0").start().await.unwrap();
    let both = Registry::connect_with(&node, &url).await.unwrap();
    let (_client, at_second) = client_of(&second).await;
    let objects = [greeter("one"), greeter("two"), greeter("three")];
    both.join("a", &objects[0]).await.unwrap();
    both.join("a", &objects[1]).await.unwrap();
    for registry in [&first, &second] {
        let (_client, registry) = client_of(registry).await;
        assert_eq!(answers(&registry, "a").await.len(), 2);
    }

    let place = first.url();
    first.shutdown().await;
    drop(first);
    both.join("a", &objects[2]).await.unwrap();
    both.leave("a", &objects[0]).await.unwrap();
    assert_eq!(members(&at_second, "a").await, Some(2));
    let first = attentive(&place).await;
    let (_client, at_first) = client_of(&first).await;
    has_members(&at_first, "a", 2).await;
    let expected = BTreeSet::from(["two, x".into(), "three, x".into()]);
    for registry in [&at_first, &at_second] {
        assert_eq!(answers(registry, "a").await, expected);
    }
    both.unbind("a").await.unwrap();
    for registry in [&at_first, &at_second] {
        assert!(matches!(registry.lookup_any("a").await, Err(RegistryError::NotBound { .. })));
    }
}

#[tokio::test]
async fn a_name_that_one_registry_refuses_is_joined_at_none_but_where_it_was_before() {
    let (first, second) = (attentive("rmi://127.0.0.1:0").await, attentive("rmi://127.0.0.1:0").await);
    let url = format!("{},{}", first.url(), second.url().trim_start_matches("rmi://"));
    let node = Node::builder().listen("tcp://127.0.0.1:0").start().await.unwrap();
    let both = Registry::connect_with(&node, &url).await.unwrap();
    let (_server, at_second) = server_of(&second, "tcp://127.0.0.1:0").await;
    let (_client, at_first) = client_of(&first).await;
    at_second.bind("a", &greeter("bound")).await.unwrap();
    let object = greeter("member");
    let error = both.join("a", &object).await.unwrap_err();
    let RegistryError::AlreadyBound { registry, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*registry, second.url());
    assert!(matches!(at_first.lookup_any("a").await, Err(RegistryError::NotBound { .. })));

    let alone = Registry::connect_with(&node, &first.url()).await.unwrap();
    alone.join("a", &object).await.unwrap();
    both.join("a", &object).await.unwrap_err();
    assert_eq!(members(&at_first, "a").await, Some(1));
}

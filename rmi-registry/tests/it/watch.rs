//! Watching names.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use rmi_core::Node;
use rmi_registry::{Event, Registry, RegistryError, RegistryServer, Watch};

use crate::{
    cable::Cable,
    greeter::{PATIENCE, at_a_cable, attentive, beside, client_of, greeter, mem, server_of, transports, until},
};

/// A watch and what it has told is bound.
struct Seen {
    watch: Watch,
    bound: BTreeSet<String>,
    /// How often changes were missed.
    missed: usize,
}

impl Seen {
    fn new(registry: &Registry, prefix: &str) -> Self {
        Self { watch: registry.watch(prefix), bound: BTreeSet::new(), missed: 0 }
    }

    /// The next event, which fits those before: `+` bound, `*` rebound, `-` unbound, `x` expired,
    /// `.` current, `?` missed.
    async fn next(&mut self) -> String {
        let next = tokio::time::timeout(PATIENCE, self.watch.next()).await.expect("something happens in time");
        match next.expect("the watch goes on").unwrap() {
            Event::Bound(entry) => {
                assert!(self.bound.insert(entry.name.clone()), "{} was bound", entry.name);
                assert_eq!(entry.interfaces, ["test.Greeter"]);
                format!("+{}", entry.name)
            }
            Event::Rebound(entry) => {
                assert!(self.bound.contains(&entry.name), "{} was not bound", entry.name);
                format!("*{}", entry.name)
            }
            Event::Unbound { name } => {
                assert!(self.bound.remove(&name), "{name} was not bound");
                format!("-{name}")
            }
            Event::Expired { name } => {
                assert!(self.bound.remove(&name), "{name} was not bound");
                format!("x{name}")
            }
            Event::Current => ".".into(),
            Event::Missed => {
                self.missed += 1;
                "?".into()
            }
            other => panic!("{other:?}"),
        }
    }

    async fn next_are(&mut self, events: &[&str]) {
        for event in events {
            assert_eq!(self.next().await, *event);
        }
    }

    async fn read_until(&mut self, bound: &[&str]) {
        while self.bound.iter().map(String::as_str).ne(bound.iter().copied()) {
            self.next().await;
        }
    }
}

#[tokio::test]
async fn a_watch_tells_what_is_there_and_then_every_change_in_order() {
    for url in transports() {
        let names = RegistryServer::builder().listen(&url).start().await.unwrap();
        let (server, at_server) = server_of(&names, &beside(&url)).await;
        let (_other, at_other) = server_of(&names, &beside(&url)).await;
        let (_client, at_client) = client_of(&names).await;
        at_server.bind("a/1", &greeter("Hello")).await.unwrap();
        at_server.bind("b", &greeter("Hello")).await.unwrap();

        let mut seen = Seen::new(&at_client, "a/");
        seen.next_are(&["+a/1", "."]).await;
        at_server.bind("a/2", &greeter("Hello")).await.unwrap();
        at_server.bind("c", &greeter("Hello")).await.unwrap();
        at_server.rebind("a/1", &greeter("Bye")).await.unwrap();
        at_client.unbind("a/2").await.unwrap();
        at_other.bind("a/2", &greeter("Hello")).await.unwrap();
        seen.next_are(&["+a/2", "*a/1", "-a/2", "+a/2"]).await;
        server.shutdown().await;
        seen.next_are(&["xa/1"]).await;
    }
}

#[tokio::test]
async fn many_names_come_in_order_and_all() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (_server, at_server) = server_of(&names, &mem("server")).await;
    let object = greeter("Hello");
    for number in 0..700 {
        at_server.bind(&format!("{number:04}"), &object).await.unwrap();
    }
    let mut seen = Seen::new(&at_server, "0");
    for number in 0..700 {
        assert_eq!(seen.next().await, format!("+{number:04}"));
    }
    seen.next_are(&["."]).await;
}

#[tokio::test]
async fn a_watch_goes_on_at_a_registry_that_restarted() {
    for url in transports() {
        let names = attentive(&url).await;
        let place = names.url();
        let (_server, at_server) = server_of(&names, &beside(&url)).await;
        let (_client, at_client) = client_of(&names).await;
        at_server.bind("a", &greeter("Hello")).await.unwrap();
        let mut seen = Seen::new(&at_client, "");
        seen.next_are(&["+a", "."]).await;

        names.shutdown().await;
        drop(names);
        let _names = attentive(&place).await;
        at_server.bind("b", &greeter("Hello")).await.unwrap();
        while seen.next().await != "." {}
        // The name `a` was gone for a moment or not: by who came back first, its server or the watch.
        seen.read_until(&["a", "b"]).await;
        assert_eq!(seen.missed, 1);
        at_server.unbind("a").await.unwrap();
        seen.read_until(&["b"]).await;
        assert_eq!(seen.missed, 1);
    }
}

#[tokio::test]
async fn a_watch_goes_on_after_a_lost_connection() {
    let names = attentive("rmi://127.0.0.1:0").await;
    let (_server, at_server) = server_of(&names, "tcp://127.0.0.1:0").await;
    let cable = Cable::to(&names.url()).await;
    let url = cable.url();
    let client = at_a_cable().start().await.unwrap();
    let at_client = Registry::connect_with(&client, &url).await.unwrap();
    at_server.bind("a", &greeter("Hello")).await.unwrap();
    at_server.bind("b", &greeter("Hello")).await.unwrap();
    let mut seen = Seen::new(&at_client, "");
    seen.next_are(&["+a", "+b", "."]).await;
    // An answer that was lost would leave it open whether something was missed.
    until("the watcher has answered", || names.node().stats().calls_in_flight == 0).await;

    cable.cut().await;
    at_server.unbind("a").await.unwrap();
    at_server.bind("c", &greeter("Hello")).await.unwrap();
    let _cable = Cable::between(&url, &names.url()).await;
    // The link is resumed, and what could not be told meanwhile waited for it.
    seen.next_are(&["-a", "+c"]).await;
    at_server.unbind("b").await.unwrap();
    seen.next_are(&["-b"]).await;
}

#[tokio::test]
async fn a_watch_follows_the_registry_that_answers() {
    let (first, second) = (attentive("rmi://127.0.0.1:0").await, attentive("rmi://127.0.0.1:0").await);
    let url = format!("{},{}", first.url(), second.url().trim_start_matches("rmi://"));
    let server = Node::builder().listen("tcp://127.0.0.1:0").start().await.unwrap();
    let both = Registry::connect_with(&server, &url).await.unwrap();
    both.bind("a", &greeter("Hello")).await.unwrap();
    let mut seen = Seen::new(&both, "");
    seen.next_are(&["+a", "."]).await;
    first.shutdown().await;
    // The second has the same binding: nothing differs.
    seen.next_are(&["?", "."]).await;
    both.bind("b", &greeter("Hello")).await.unwrap();
    seen.next_are(&["+b"]).await;
}

#[tokio::test]
async fn one_who_reads_slowly_is_told_so_and_delays_nobody() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (_server, at_server) = server_of(&names, &mem("server")).await;
    let (_client, at_client) = client_of(&names).await;
    let (_other, at_other) = client_of(&names).await;
    let object = greeter("Hello");
    at_server.bind("a", &object).await.unwrap();
    let (mut slow, mut quick) = (Seen::new(&at_client, ""), Seen::new(&at_other, ""));
    slow.next_are(&["+a", "."]).await;
    quick.next_are(&["+a", "."]).await;

    for _ in 0..3000 {
        at_server.rebind("a", &object).await.unwrap();
        quick.next_are(&["*a"]).await;
    }
    at_server.bind("b", &object).await.unwrap();
    at_server.unbind("a").await.unwrap();
    quick.next_are(&["+b", "-a"]).await;
    slow.read_until(&["b"]).await;
    assert_eq!((slow.missed, quick.missed), (1, 0));
    at_server.bind("c", &object).await.unwrap();
    slow.read_until(&["b", "c"]).await;
    assert_eq!(slow.missed, 1);
}

#[tokio::test]
async fn a_watch_that_is_dropped_leaves_nothing() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (client, at_client) = client_of(&names).await;
    let before = names.node().stats().exported_objects;
    let mut seen = Seen::new(&at_client, "");
    seen.next_are(&["."]).await;
    assert_eq!(client.stats().exported_objects, 1);
    assert_eq!(names.node().stats().exported_objects, before + 1);
    drop(seen);
    until("the watch is gone at both ends", || {
        let (here, there) = (client.stats(), names.node().stats());
        (here.exported_objects, here.imported_references) == (0, 0)
            && (there.exported_objects, there.imported_references) == (before, 0)
    })
    .await;
}

#[tokio::test]
async fn a_watcher_that_is_lost_is_forgotten_and_delays_nobody() {
    let names = attentive("rmi://127.0.0.1:0").await;
    let before = names.node().stats().exported_objects;
    let cable = Cable::to(&names.url()).await;
    let lost = at_a_cable().lease(Duration::from_secs(3)).start().await.unwrap();
    let at_lost = Registry::connect_with(&lost, &cable.url()).await.unwrap();
    let (_server, at_server) = server_of(&names, "tcp://127.0.0.1:0").await;
    let mut seen = Seen::new(&at_server, "");
    let mut lost = Seen::new(&at_lost, "");
    seen.next_are(&["."]).await;
    lost.next_are(&["."]).await;

    cable.fall_silent();
    let begun = Instant::now();
    let object = greeter("Hello");
    for _ in 0..20 {
        at_server.rebind("a", &object).await.unwrap();
    }
    seen.next_are(&["+a", "*a"]).await;
    // Sooner than silence is taken for a loss.
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    at_server.unbind("a").await.unwrap();
    until("only one watch and no name is left", || {
        let there = names.node().stats();
        (there.exported_objects, there.imported_references) == (before + 1, 1)
    })
    .await;
}

#[tokio::test]
async fn a_watch_moves_between_tasks() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (_client, at_client) = client_of(&names).await;
    let reading = tokio::spawn(async move { at_client.watch("").next().await });
    let first = tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
    assert!(matches!(first, Some(Ok(Event::Current))), "{first:?}");
}

#[tokio::test]
async fn a_watch_ends_with_its_node_or_an_error() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (client, at_client) = client_of(&names).await;
    let mut seen = Seen::new(&at_client, "");
    seen.next_are(&["."]).await;
    client.shutdown().await;
    let end = tokio::time::timeout(PATIENCE, seen.watch.next()).await.unwrap();
    assert!(end.is_none(), "{end:?}");

    let (_client, at_client) = client_of(&names).await;
    names.shutdown().await;
    let mut watch = at_client.watch("");
    let error = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap();
    assert!(matches!(error, Some(Err(RegistryError::Remote(_)))), "{error:?}");
    assert!(watch.next().await.is_none());
}

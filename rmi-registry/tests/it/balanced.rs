//! References to the members of a name: how their calls are spread, where they go when a member cannot be
//! called, and that they leave nothing.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rmi_core::{Balance, CallOptions, Certainty, ErrorKind, Limits, Node, NodeStats, Remote, RemoteError};
use rmi_macros::remote;
use rmi_registry::{Registry, RegistryServer};
use tokio::sync::Semaphore;

use crate::{
    cable::Cable,
    greeter::{Greeter, PATIENCE, attentive, beside, client_of, greeter, mem, server_of, transports, until},
    groups::has_members,
};

#[remote(name = "test.Clerk")]
trait Clerk {
    #[remote(idempotent)]
    async fn name(&self) -> rmi_core::Result<usize>;
    /// Answers once it is let through.
    async fn wait(&self) -> rmi_core::Result<usize>;
    /// May run only once.
    async fn take(&self) -> rmi_core::Result<usize>;
    /// Names the one who is passed.
    async fn ask(&self, other: Remote<dyn Clerk>) -> rmi_core::Result<usize>;
}

struct Desk {
    number: usize,
    asked: AtomicUsize,
    door: Semaphore,
}

#[remote]
impl Clerk for Desk {
    async fn name(&self) -> rmi_core::Result<usize> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.number)
    }

    async fn wait(&self) -> rmi_core::Result<usize> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.door.acquire().await.unwrap().forget();
        Ok(self.number)
    }

    async fn take(&self) -> rmi_core::Result<usize> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Ok(self.number)
    }

    async fn ask(&self, other: Remote<dyn Clerk>) -> rmi_core::Result<usize> {
        other.name().await
    }
}

/// A server with one member.
struct Server {
    node: Node,
    registry: Registry,
    desk: Arc<Desk>,
    clerk: Remote<dyn Clerk>,
}

/// Servers whose clerks are joined under the name, numbered from 0.
async fn servers(names: &RegistryServer, url: &str, count: usize) -> Vec<Server> {
    let mut servers = Vec::new();
    for number in 0..count {
        let (node, registry) = server_of(names, &beside(url)).await;
        let desk = Arc::new(Desk { number, asked: AtomicUsize::new(0), door: Semaphore::new(0) });
        let clerk = Remote::<dyn Clerk>::from_arc(desk.clone());
        registry.join("clerks", &clerk).await.unwrap();
        servers.push(Server { node, registry, desk, clerk });
    }
    servers
}

/// Who answers so many calls, one after the other.
async fn answers(clerks: &Remote<dyn Clerk>, calls: usize) -> Vec<usize> {
    let mut answers = Vec::new();
    for _ in 0..calls {
        answers.push(clerks.name().await.unwrap());
    }
    answers
}

fn counts(answers: &[usize]) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    answers.iter().for_each(|answer| *counts.entry(*answer).or_default() += 1);
    counts
}

/// Waits until the reference knows of so many members.
async fn knows(clerks: &Remote<dyn Clerk>, count: usize) {
    until("the reference hears of its members", || Remote::members(clerks).len() == count).await;
}

#[tokio::test]
async fn calls_are_spread_as_the_balance_says() {
    for url in transports() {
        let names = RegistryServer::builder().listen(&url).start().await.unwrap();
        let servers = servers(&names, &url, 3).await;
        let (_client, registry) = client_of(&names).await;

        let in_turn = registry.lookup_balanced::<dyn Clerk>("clerks", Balance::RoundRobin).await.unwrap();
        assert_eq!(answers(&in_turn, 9).await, [0, 1, 2, 0, 1, 2, 0, 1, 2]);

        let sticky = registry.lookup_balanced::<dyn Clerk>("clerks", Balance::Sticky).await.unwrap();
        let stuck = answers(&sticky, 20).await;
        assert!(stuck.iter().all(|answer| *answer == stuck[0]), "{stuck:?}");

        let by_chance = registry.lookup::<dyn Clerk>("clerks").await.unwrap();
        let spread = counts(&answers(&by_chance, 600).await);
        assert!(spread.len() == 3 && spread.values().all(|count| (120..=300).contains(count)), "{spread:?}");
        for server in servers {
            server.node.shutdown().await;
        }
    }
}

#[tokio::test]
async fn one_who_is_slow_gets_fewer_calls() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let servers = servers(&names, &mem("x"), 3).await;
    let (_client, registry) = client_of(&names).await;
    let clerks = registry.lookup::<dyn Clerk>("clerks").await.unwrap();
    // Two of them hold every call that they get, up to so many calls; one answers at once.
    servers[0].desk.door.add_permits(1000);
    let waiting: Vec<_> = (0..90)
        .map(|_| {
            let clerks = clerks.clone();
            tokio::spawn(async move { clerks.wait().await })
        })
        .collect();
    until("nine of ten are with those who hold them", || {
        servers.iter().map(|server| server.desk.asked.load(Ordering::Relaxed)).sum::<usize>() == 90
    })
    .await;
    let asked = |number: usize| servers[number].desk.asked.load(Ordering::Relaxed);
    // Where all calls begin before the first has ended, they are spread evenly.
    assert!((0..3).all(|number| (20..=40).contains(&asked(number))), "{:?}", (asked(0), asked(1), asked(2)));
    until("the quick one has answered", || clerks_in_flight(&servers[0].node) == 0).await;
    // It is the less busy one of every two that it is among: of two thirds.
    let quick = answers(&clerks, 300).await.into_iter().filter(|answer| *answer == 0).count();
    assert!((150..=250).contains(&quick), "{quick} of 300");
    servers.iter().for_each(|server| server.desk.door.add_permits(1000));
    for call in waiting {
        call.await.unwrap().unwrap();
    }
}

fn clerks_in_flight(node: &Node) -> usize {
    node.stats().calls_in_flight
}

#[tokio::test]
async fn members_that_come_are_called_and_those_that_go_are_not() {
    for url in transports() {
        let names = RegistryServer::builder().listen(&url).start().await.unwrap();
        let mut servers = servers(&names, &url, 2).await;
        let (_client, registry) = client_of(&names).await;
        let clerks = registry.lookup_balanced::<dyn Clerk>("clerks", Balance::RoundRobin).await.unwrap();
        assert_eq!(counts(&answers(&clerks, 10).await), BTreeMap::from([(0, 5), (1, 5)]));

        let (node, at_third) = server_of(&names, &beside(&url)).await;
        let desk = Arc::new(Desk { number: 2, asked: AtomicUsize::new(0), door: Semaphore::new(0) });
        at_third.join("clerks", &Remote::<dyn Clerk>::from_arc(desk)).await.unwrap();
        knows(&clerks, 3).await;
        assert_eq!(counts(&answers(&clerks, 9).await), BTreeMap::from([(0, 3), (1, 3), (2, 3)]));

        servers[0].registry.leave("clerks", &servers[0].clerk).await.unwrap();
        knows(&clerks, 2).await;
        assert_eq!(counts(&answers(&clerks, 10).await), BTreeMap::from([(1, 5), (2, 5)]));
        // With a goodbye, and without a call lost.
        servers.remove(1).node.shutdown().await;
        assert_eq!(counts(&answers(&clerks, 10).await), BTreeMap::from([(2, 10)]));
        knows(&clerks, 1).await;
        node.shutdown().await;
    }
}

#[tokio::test]
async fn calls_that_wait_are_not_lost_when_a_server_says_goodbye() {
    for url in transports() {
        let names = RegistryServer::builder().listen(&url).start().await.unwrap();
        let servers = servers(&names, &url, 3).await;
        let (_client, registry) = client_of(&names).await;
        let clerks = registry.lookup::<dyn Clerk>("clerks").await.unwrap();
        let (stopped, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let (clerks, stopped, taken) = (clerks.clone(), stopped.clone(), taken.clone());
                tokio::spawn(async move {
                    while stopped.load(Ordering::Relaxed) == 0 {
                        clerks.take().await?;
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok::<_, RemoteError>(())
                })
            })
            .collect();
        until("all are called", || servers.iter().all(|server| server.desk.asked.load(Ordering::Relaxed) > 20)).await;
        servers[0].node.shutdown().await;
        servers[1].node.shutdown().await;
        let then = servers[2].desk.asked.load(Ordering::Relaxed);
        until("one is left and called on", || servers[2].desk.asked.load(Ordering::Relaxed) > then + 50).await;
        stopped.store(1, Ordering::Relaxed);
        for caller in callers {
            caller.await.unwrap().expect("none of the calls was lost");
        }
        let asked = servers.iter().map(|server| server.desk.asked.load(Ordering::Relaxed)).sum::<usize>();
        assert_eq!(asked, taken.load(Ordering::Relaxed), "none ran twice");
    }
}

#[tokio::test]
async fn one_that_does_not_take_its_calls_leaves_them_to_the_others() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let servers = servers(&names, &mem("x"), 3).await;
    let (_client, registry) = client_of(&names).await;
    let clerks = registry.lookup_balanced::<dyn Clerk>("clerks", Balance::Sticky).await.unwrap();
    let first = clerks.name().await.unwrap();
    // The registry is gone: nobody tells the client.
    names.shutdown().await;
    assert!(servers[first].node.unexport(&servers[first].clerk));
    let second = answers(&clerks, 10).await;
    assert!(second.iter().all(|answer| *answer == second[0] && *answer != first), "{first}, then {second:?}");
    // Objects that did not take part have stayed the same all the while.
    assert_eq!(Remote::members(&clerks).len(), 3);
}

#[tokio::test]
async fn calls_pass_by_a_member_that_cannot_be_reached_and_come_back_from_it() {
    for is_cut in [true, false] {
        let names = RegistryServer::builder().listen("rmi://127.0.0.1:0").start().await.unwrap();
        let others = servers(&names, "tcp:", 2).await;
        // Clients reach the third one by a cable.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let cable = Cable::to(&format!("rmi://{free}")).await;
        let seen = cable.url().replace("rmi:", "tcp:");
        let far = Node::builder().listen(format!("tcp://{free}")).advertise(seen).lease(Duration::from_secs(1));
        let far = far.start().await.unwrap();
        let registry = Registry::connect_with(&far, &names.url()).await.unwrap();
        let desk = Arc::new(Desk { number: 2, asked: AtomicUsize::new(0), door: Semaphore::new(0) });
        registry.join("clerks", &Remote::<dyn Clerk>::from_arc(desk.clone())).await.unwrap();

        let (client, registry) = client_of(&names).await;
        let clerks = registry.lookup_balanced::<dyn Clerk>("clerks", Balance::RoundRobin).await.unwrap();
        assert_eq!(answers(&clerks, 3).await, [0, 1, 2]);
        let patient = Remote::with(&clerks, CallOptions::new().idempotent(true));
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let patient = patient.clone();
                tokio::spawn(async move { patient.wait().await })
            })
            .collect();
        let asked =
            || others.iter().map(|other| &other.desk).chain([&desk]).map(|desk| desk.asked.load(Ordering::Relaxed));
        until("each has one call that waits", || asked().eq([2, 2, 2])).await;

        if is_cut {
            cable.cut().await
        } else {
            cable.fall_silent()
        }
        // The call that was there goes again at another one.
        until("it goes again", || others.iter().any(|other| other.desk.asked.load(Ordering::Relaxed) > 2)).await;
        let begun = Instant::now();
        assert!(answers(&clerks, 30).await.iter().all(|answer| *answer != 2));
        assert!(begun.elapsed() < Duration::from_secs(2), "nobody waited for it: {:?}", begun.elapsed());
        others.iter().for_each(|other| other.desk.door.add_permits(9));
        for call in waiting {
            assert_ne!(call.await.unwrap().unwrap(), 2);
        }
        drop((clerks, patient));
        until("nothing is left at the client", || client.stats().imported_references == 0).await;
        assert_eq!(client.stats().calls_in_flight, 0);
    }
}

#[tokio::test]
async fn where_all_are_gone_the_error_names_the_group_and_the_next_who_joins_is_called() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let mut servers = servers(&names, &mem("x"), 2).await;
    let limits = Limits { connect_timeout: Duration::from_millis(300), ..Limits::default() };
    let client = Node::builder().limits(limits).start().await.unwrap();
    let registry = Registry::connect_with(&client, &names.url()).await.unwrap();
    let clerks = registry.lookup::<dyn Clerk>("clerks").await.unwrap();
    let broken = Remote::broken(&clerks);
    answers(&clerks, 4).await;
    for server in servers.drain(..) {
        server.node.shutdown().await;
    }
    tokio::time::timeout(PATIENCE, broken).await.expect("the group is empty");
    let error = clerks.name().await.unwrap_err();
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::NoSuchObject, Certainty::NotSent), "{error}");
    let group = format!("{}/clerks", names.url());
    assert_eq!((error.object(), error.method()), (Some(group.as_str()), Some("test.Clerk.name")), "{error}");

    let late = {
        let clerks = clerks.clone();
        tokio::spawn(async move { clerks.name().await })
    };
    let (_node, at_new) = server_of(&names, &mem("server")).await;
    let desk = Arc::new(Desk { number: 7, asked: AtomicUsize::new(0), door: Semaphore::new(0) });
    at_new.join("clerks", &Remote::<dyn Clerk>::from_arc(desk)).await.unwrap();
    assert_eq!(late.await.unwrap().unwrap(), 7, "a call waits for a member as long as for a connection");
    assert_eq!(clerks.name().await.unwrap(), 7);
}

#[tokio::test]
async fn members_that_cannot_be_called_are_told_of_by_name() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let servers = servers(&names, &mem("x"), 2).await;
    let limits = Limits { connect_timeout: Duration::from_millis(300), ..Limits::default() };
    let client = Node::builder().limits(limits).start().await.unwrap();
    let registry = Registry::connect_with(&client, &names.url()).await.unwrap();
    let clerks = registry.lookup::<dyn Clerk>("clerks").await.unwrap();
    answers(&clerks, 4).await;
    names.shutdown().await;
    servers.iter().for_each(|server| assert!(server.node.unexport(&server.clerk)));
    let error = clerks.name().await.unwrap_err();
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::NoSuchObject, Certainty::NotExecuted), "{error}");
    assert_eq!(error.object(), Some(&*format!("{}/clerks", names.url())));
    assert!(error.to_string().contains("none of its 2 members"), "{error}");
    let cause = std::error::Error::source(&error).expect("the last failure").to_string();
    assert!(
        cause.contains(&format!("{} of", Remote::id(&servers[0].clerk)))
            || cause.contains(&format!("{} of", Remote::id(&servers[1].clerk))),
        "{cause}"
    );
}

#[tokio::test]
async fn the_last_known_members_are_called_while_the_registry_is_away_and_all_again_when_it_is_back() {
    let names = attentive(&mem("names")).await;
    let place = names.url();
    let servers = servers(&names, &mem("x"), 3).await;
    let (_client, registry) = client_of(&names).await;
    let clerks = registry.lookup_balanced::<dyn Clerk>("clerks", Balance::RoundRobin).await.unwrap();
    // Not one of them was called before.
    names.shutdown().await;
    drop(names);
    let all = BTreeMap::from([(0, 3), (1, 3), (2, 3)]);
    assert_eq!(counts(&answers(&clerks, 9).await), all);
    let names = attentive(&place).await;
    let calling = async {
        loop {
            clerks.name().await.unwrap();
            assert_eq!(Remote::members(&clerks).len(), 3, "no member is given up because the registry forgot it");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = has_members(&registry, "clerks", 3) => {}
        () = calling => {}
    }
    assert_eq!(counts(&answers(&clerks, 9).await), all);
    // It is followed again.
    servers[0].registry.leave("clerks", &servers[0].clerk).await.unwrap();
    knows(&clerks, 2).await;
    names.shutdown().await;
}

#[tokio::test]
async fn references_to_one_group_are_equal_and_have_one_id() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let servers = servers(&names, &mem("x"), 2).await;
    let ((_client, at_client), (_other, at_other)) = (client_of(&names).await, client_of(&names).await);
    let one = at_client.lookup::<dyn Clerk>("clerks").await.unwrap();
    let other = at_other.lookup_balanced::<dyn Clerk>("clerks", Balance::Sticky).await.unwrap();
    assert_eq!((&one, Remote::id(&one)), (&other, Remote::id(&other)));
    assert_eq!(HashSet::from([one.clone(), other.clone()]).len(), 1);
    assert_eq!(Remote::node_id(&one), None);
    for server in &servers {
        assert!(one != server.clerk && Remote::id(&one) != Remote::id(&server.clerk));
    }
    let mut members: Vec<_> = Remote::members(&one).iter().map(|member| member.node_id().unwrap()).collect();
    members.sort_unstable();
    let mut nodes: Vec<_> = servers.iter().map(|server| server.node.id()).collect();
    nodes.sort_unstable();
    assert_eq!(members, nodes);
    let before = Remote::id(&one);
    servers[0].registry.leave("clerks", &servers[0].clerk).await.unwrap();
    knows(&one, 1).await;
    assert_eq!(Remote::id(&one), before, "whoever is a member");
    let elsewhere = at_client.lookup::<dyn Clerk>("clerks").await.unwrap();
    assert_eq!(elsewhere, one);
    servers[0].registry.join("others", &servers[0].clerk).await.unwrap();
    assert_ne!(at_client.lookup::<dyn Clerk>("others").await.unwrap(), one);
}

#[tokio::test]
async fn passed_on_it_is_one_member() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let servers = servers(&names, &mem("x"), 3).await;
    let (_client, registry) = client_of(&names).await;
    let clerks = registry.lookup_balanced::<dyn Clerk>("clerks", Balance::RoundRobin).await.unwrap();
    let mut asked = HashSet::new();
    for _ in 0..3 {
        asked.insert(servers[0].clerk.ask(clerks.clone()).await.unwrap());
    }
    assert_eq!(asked.len(), 3, "as a call would choose it");
    let (_binder, at_binder) = server_of(&names, &mem("x")).await;
    let held = at_binder.lookup::<dyn Clerk>("clerks").await.unwrap();
    at_binder.bind("alias", &held).await.unwrap();
    let alias = registry.lookup::<dyn Clerk>("alias").await.unwrap();
    assert!(servers.iter().any(|server| Remote::id(&server.clerk) == Remote::id(&alias)));
}

#[tokio::test]
async fn a_node_leaves_its_own_members_to_others() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let servers = servers(&names, &mem("x"), 1).await;
    let registry = &servers[0].registry;
    let own = registry.lookup::<dyn Clerk>("clerks").await.unwrap();
    assert!(Remote::is_local(&own) && own == servers[0].clerk);
    let (_other, at_other) = server_of(&names, &mem("x")).await;
    let desk = Arc::new(Desk { number: 5, asked: AtomicUsize::new(0), door: Semaphore::new(0) });
    at_other.join("clerks", &Remote::<dyn Clerk>::from_arc(desk)).await.unwrap();
    let clerks = registry.lookup::<dyn Clerk>("clerks").await.unwrap();
    assert_eq!(counts(&answers(&clerks, 10).await), BTreeMap::from([(5, 10)]));
}

#[tokio::test]
async fn a_reference_that_is_dropped_leaves_nothing() {
    for url in transports() {
        let names = RegistryServer::builder().listen(&url).start().await.unwrap();
        let servers = servers(&names, &url, 3).await;
        let (client, registry) = client_of(&names).await;
        let nothing = |stats: NodeStats| (stats.imported_references, stats.exported_objects, stats.calls_in_flight);
        assert_eq!(nothing(client.stats()), (0, 0, 0));
        let before = nothing(names.node().stats());

        let one = registry.lookup::<dyn Clerk>("clerks").await.unwrap();
        let other = registry.lookup_balanced::<dyn Clerk>("clerks", Balance::RoundRobin).await.unwrap();
        answers(&one, 6).await;
        answers(&other, 6).await;
        until("one watch for both", || names.node().stats().exported_objects == before.1 + 1).await;
        servers[0].node.shutdown().await;
        knows(&one, 2).await;
        drop(one);
        answers(&other, 2).await;
        drop(other);
        until("the client holds nothing", || nothing(client.stats()) == (0, 0, 0)).await;
        until("the registry tells nobody", || nothing(names.node().stats()) == (before.0 - 1, before.1, 0)).await;
        until("the servers are held by the registry alone", || {
            servers[1..].iter().all(|server| nothing(server.node.stats()) == (0, 1, 0))
        })
        .await;
    }
}

#[tokio::test]
async fn a_node_that_shuts_down_ends_its_watches() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let _servers = servers(&names, &mem("x"), 2).await;
    let limits = Limits { connect_timeout: Duration::from_millis(300), ..Limits::default() };
    let client = Node::builder().limits(limits).start().await.unwrap();
    let registry = Registry::connect_with(&client, &names.url()).await.unwrap();
    let before = names.node().stats();
    let clerks = registry.lookup::<dyn Clerk>("clerks").await.unwrap();
    clerks.name().await.unwrap();
    client.shutdown().await;
    until("the registry tells nobody", || names.node().stats().exported_objects == before.exported_objects).await;
    assert!(clerks.name().await.is_err());
}

#[tokio::test]
async fn a_name_that_was_bound_and_is_a_group_now_is_found_by_an_old_reference() {
    let names = RegistryServer::builder().listen(mem("names")).start().await.unwrap();
    let (first, at_first) = server_of(&names, &mem("first")).await;
    let (_second, at_second) = server_of(&names, &mem("second")).await;
    let (_client, registry) = client_of(&names).await;
    at_first.bind("a", &greeter("bound")).await.unwrap();
    let found = registry.lookup::<dyn Greeter>("a").await.unwrap();
    assert_eq!(found.greet("x").await.unwrap(), "bound, x");
    at_first.unbind("a").await.unwrap();
    first.shutdown().await;
    at_second.join("a", &greeter("member")).await.unwrap();
    assert_eq!(found.greet("x").await.unwrap(), "member, x");
    let group = registry.lookup::<dyn Greeter>("a").await.unwrap();
    at_second.rebind("a", &greeter("rebound")).await.unwrap();
    tokio::time::timeout(PATIENCE, async { while group.greet("x").await.unwrap() != "rebound, x" {} }).await.unwrap();
}

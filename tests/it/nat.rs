//! Two hosts and a router between them: a server, and a client behind NAT whom nobody can dial. Each
//! is a network namespace of its own, which lives as long as the process in it: nothing is left of
//! them, however the story ends. It needs root, util-linux, `ip` and `nft`, and is left out without.

use std::{
    fs,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rmi::{Context, Node, Remote, remote};

use crate::{
    common::{Counter, TCP, client, counter, serve, shelf, until},
    process::{Part, orders, tell},
};

#[remote]
trait Tower {
    /// Keeps a bell to ring.
    async fn keep(&self, bell: Remote<dyn Bell>) -> rmi::Result<()>;
    async fn counter(&self) -> rmi::Result<Remote<dyn Counter>>;
    /// Where the caller is seen.
    async fn seen(&self) -> rmi::Result<String>;
}

#[remote]
trait Bell {
    /// How often it has rung.
    async fn ring(&self) -> rmi::Result<usize>;
}

#[derive(Default)]
struct Belfry(Mutex<Option<Remote<dyn Bell>>>);

#[remote]
impl Tower for Belfry {
    async fn keep(&self, bell: Remote<dyn Bell>) -> rmi::Result<()> {
        *self.0.lock() = Some(bell);
        Ok(())
    }
    async fn counter(&self) -> rmi::Result<Remote<dyn Counter>> {
        Ok(counter())
    }
    async fn seen(&self) -> rmi::Result<String> {
        Ok(Context::current().expect("this is a handler").peer_addr().to_string())
    }
}

struct Brass(AtomicUsize);

#[remote]
impl Bell for Brass {
    async fn ring(&self) -> rmi::Result<usize> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Long enough for several dials once the way is there again.
const LEASE: Duration = Duration::from_secs(3);

/// The public host. It listens on a wildcard address, and learns from nobody how it is reached.
#[tokio::test]
#[ignore = "a part of another test, which runs it as a process of its own"]
async fn server() {
    let (mut orders, belfry) = (orders(), Arc::<Belfry>::default());
    assert_eq!(orders.recv().await.unwrap(), "listen");
    let node = Node::builder().listen("tcp://0.0.0.0:4000").lease(LEASE).start().await.unwrap();
    node.serve("tower", &Remote::<dyn Tower>::from_arc(belfry.clone()));
    tell("listens");
    while let Some(order) = orders.recv().await {
        match order.as_str() {
            "ring" => {
                let bell = belfry.0.lock().clone().expect("it was given a bell");
                match bell.ring().await {
                    Ok(count) => tell(format!("rang {count}")),
                    Err(error) => tell(format!("failed {:?} {error}", error.certainty())),
                }
            }
            "count" => tell(format!("connections {}", node.stats().connections)),
            "lose" => {
                until("the client is lost", || (node.stats().connections, node.stats().leases) == (0, 1)).await;
                tell("lost");
            }
            "end" => {
                let bell = belfry.0.lock().take();
                drop(bell);
                let left = || (node.stats().connections, node.stats().leases, node.stats().exported_objects);
                until("nothing is left of the client", || left() == (0, 0, 1)).await;
                return;
            }
            other => panic!("not an order: {other}"),
        }
    }
}

/// The private host. It listens nowhere.
#[tokio::test]
#[ignore = "a part of another test, which runs it as a process of its own"]
async fn caller() {
    let (mut orders, node) = (orders(), client().await);
    let endpoint = orders.recv().await.unwrap().parse().unwrap();
    let tower = Remote::<dyn Tower>::service(&node, endpoint, "tower");
    tower.keep(Remote::<dyn Bell>::new(Brass(AtomicUsize::new(0)))).await.unwrap();
    let counter = tower.counter().await.unwrap();
    tell("is there");
    while let Some(order) = orders.recv().await {
        match order.as_str() {
            "add" => tell(format!("total {}", counter.add(1).await.unwrap())),
            "ask" => tell(format!("seen at {}", tower.seen().await.unwrap())),
            "pass" => {
                let neighbour = Node::builder().listen(TCP).start().await.unwrap();
                let shelf = serve(&neighbour, &node, &shelf());
                shelf.put(counter.clone()).await.unwrap();
                tell(format!("total {}", shelf.add(1).await.unwrap()));
                orders.recv().await;
                neighbour.shutdown().await;
                tell("alone");
            }
            "end" => {
                node.shutdown().await;
                return;
            }
            other => panic!("not an order: {other}"),
        }
    }
}

/// What the story needs and this machine does not have.
fn missing() -> Option<String> {
    let forwards = "echo 1 > /proc/sys/net/ipv4/ip_forward";
    let needs: [&[&str]; 5] = [
        &["ip", "-V"],
        &["nft", "--version"],
        &["nsenter", "--version"],
        &["unshare", "--net", "nft", "list", "ruleset"],
        &["unshare", "--net", "sh", "-c", forwards],
    ];
    let works = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
    };
    needs.into_iter().find(|words| !works(words)).map(|words| words.join(" "))
}

/// A network namespace, named by a process in it.
struct Network(String);

impl Network {
    /// That of a process which was started by `unshare`.
    async fn of(pid: u32) -> Self {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let (own, pid) = (of("self"), pid.to_string());
        until("it has a network of its own", || of(&pid).is_some_and(|network| Some(network) != own)).await;
        Self(pid)
    }

    /// Runs commands in it, one a line.
    fn run(&self, commands: &str) {
        for command in commands.trim().lines() {
            let mut inside = Command::new("nsenter");
            inside.args(["--target", &self.0, "--net", "sh", "-c", command]).stdin(Stdio::null());
            let output = inside.output().expect("nsenter runs");
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    /// A cable to another.
    fn plug(&self, own_end: &str, other: &Self, other_end: &str) {
        let Self(other) = other;
        self.run(&format!("ip link add {own_end} type veth peer name {other_end} netns {other}"));
    }
}

/// The router between the two hosts; it has `wan` and `lan`.
fn lay_cables(server: &Network, router: &Network, client: &Network) {
    router.plug("wan", server, "eth0");
    router.plug("lan", client, "eth0");
    server.run(
        "ip link set lo up
         ip addr add 203.0.113.2/24 dev eth0
         ip link set eth0 up",
    );
    client.run(
        "ip link set lo up
         ip addr add 192.168.77.2/24 dev eth0
         ip link set eth0 up
         ip route add default via 192.168.77.1",
    );
    router.run(
        "ip addr add 203.0.113.1/24 dev wan
         ip addr add 192.168.77.1/24 dev lan
         ip link set wan up
         ip link set lan up
         echo 1 > /proc/sys/net/ipv4/ip_forward
         nft add table ip nat
         nft 'add chain ip nat out { type nat hook postrouting priority 100 ; }'
         nft add rule ip nat out oifname wan masquerade
         nft 'add chain ip nat through { type filter hook forward priority 0 ; policy drop ; }'
         nft add rule ip nat through iifname lan accept
         nft add rule ip nat through ct state established,related accept",
    );
}

#[tokio::test]
async fn a_client_behind_nat_is_called_back_also_after_its_way_was_broken() {
    if let Some(missing) = missing() {
        println!("left out: `{missing}` does not work here");
        return;
    }
    let own_network = ["unshare", "--net"];
    let nothing: [(&str, &str); 0] = [];
    let mut server = Part::start_in(&own_network, "nat::server", nothing);
    let mut client = Part::start_in(&own_network, "nat::caller", nothing);
    let mut held = tokio::process::Command::new("unshare");
    held.args(["--net", "cat"]).stdin(Stdio::piped()).kill_on_drop(true);
    let held = held.spawn().expect("it ran a moment ago");
    let router = Network::of(held.id().unwrap()).await;
    lay_cables(&Network::of(server.pid()).await, &router, &Network::of(client.pid()).await);

    server.order("listen").await;
    server.hear("listens").await;
    client.order("tcp://203.0.113.2:4000").await;
    client.hear("is there").await;
    client.order("ask").await;
    let seen = client.hear("seen at").await;
    assert!(seen.contains("203.0.113.1"), "the router stands for the client: {seen}");
    server.order("ring").await;
    assert_eq!(server.hear("rang").await, "1");

    // A neighbour of the client's dials the server itself, by what the client told it: where the
    // client reached it.
    client.order("pass").await;
    assert_eq!(client.hear("total").await, "1");
    server.order("count").await;
    assert_eq!(server.hear("connections").await, "2");
    client.order("go on").await;
    client.hear("alone").await;

    // The way breaks, for long enough that the server gives the connection up.
    router.run("ip link set wan down");
    server.order("lose").await;
    server.hear("lost").await;
    router.run("ip link set wan up");
    server.order("ring").await;
    assert_eq!(server.hear("rang").await, "2");
    client.order("add").await;
    assert_eq!(client.hear("total").await, "2");

    // The router gets another address and knows nothing more of its connections. The server has not
    // noticed: it calls into the void, and the call goes again once the client has.
    router.run("ip addr del 203.0.113.1/24 dev wan\nip addr add 203.0.113.9/24 dev wan");
    server.order("ring").await;
    assert_eq!(server.hear("rang").await, "3");
    client.order("ask").await;
    let seen = client.hear("seen at").await;
    assert!(seen.contains("203.0.113.9"), "{seen}");
    client.order("add").await;
    assert_eq!(client.hear("total").await, "3");

    client.order("end").await;
    client.end().await;
    server.order("end").await;
    server.end().await;
}

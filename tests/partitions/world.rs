//! A network of hosts with a node each, run for several seeds.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    env,
    ops::Range,
    panic::{self, AssertUnwindSafe},
    rc::Rc,
    sync::Once,
    time::Duration,
};

use rmi::{Limits, Node, NodeBuilder, NodeStats};
use turmoil::{Builder, Sim};

use crate::{
    common::until,
    hosts::{FURNITURE_LEN, Furniture, Software},
    network::Network,
};

/// The lease of all nodes. A peer is asked after a sixth of it in silence, and lost after a third.
pub(crate) const LEASE: Duration = Duration::from_secs(6);

/// When a silent connection is given up at the latest, and both sides know.
pub(crate) const NOTICED: Duration = Duration::from_millis(2500);

/// The time to connect, and that calls wait for a connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What a message takes from host to host: longer than a step, so that what one host has sent can
/// still be lost when the other sees that it has.
const LATENCY: Range<Duration> = Duration::from_millis(5)..Duration::from_millis(25);

/// How long each host runs before the next one does. A story costs some microseconds for each.
const TICK: Duration = Duration::from_millis(4);

/// Simulated time for one story.
const STORY: Duration = Duration::from_secs(300);

/// The seeds, unless `RMI_SEEDS` names others, as `1..100`.
const SEEDS: Range<u64> = 1..5;

thread_local! {
    /// Panics of the story under way: tokio keeps those of tasks to itself.
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// The story's hold on the world around it. Clones share it.
#[derive(Clone)]
pub(crate) struct World(Rc<Inner>);

struct Inner {
    seed: u64,
    chance: Cell<u64>,
    orders: RefCell<Vec<Order>>,
    furniture: RefCell<HashMap<&'static str, Furniture>>,
}

/// What only the simulation itself can do.
enum Order {
    Crash(&'static str),
    Restart(&'static str),
}

/// Tells a story once for each seed: these hosts run this software, and the story is told on another
/// host, `client`.
pub(crate) fn story<F: Future<Output = ()> + 'static>(hosts: &[(&'static str, Software)], tell: impl Fn(World) -> F) {
    count_panics();
    for seed in seeds() {
        PANICS.set(0);
        let told = panic::catch_unwind(AssertUnwindSafe(|| run(seed, hosts, &tell)));
        let (ended_well, panics) = (matches!(told, Ok(Ok(()))), PANICS.get());
        let error = told.ok().and_then(Result::err);
        assert!(ended_well && panics == 0, "failed with seed {seed}, after {panics} panics: {error:?}");
    }
}

fn seeds() -> Range<u64> {
    let Ok(named) = env::var("RMI_SEEDS") else { return SEEDS };
    let bounds = named.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    bounds.unwrap_or_else(|| {
        panic!("RMI_SEEDS is {named:?}: write the first seed and the one behind the last, as 1..100")
    })
}

fn run<F: Future<Output = ()> + 'static>(
    seed: u64,
    hosts: &[(&'static str, Software)],
    tell: &impl Fn(World) -> F,
) -> turmoil::Result {
    let mut sim = Builder::new()
        .rng_seed(seed)
        .min_message_latency(LATENCY.start)
        .max_message_latency(LATENCY.end)
        .simulation_duration(STORY)
        .tick_duration(TICK)
        .enable_random_order()
        .tcp_capacity(1024)
        .build();
    let world = World(Rc::new(Inner {
        seed,
        chance: Cell::new(seed),
        orders: RefCell::default(),
        furniture: RefCell::default(),
    }));
    for &(name, software) in hosts {
        let world = world.clone();
        sim.host(name, move || {
            let world = world.clone();
            async move {
                let furniture = software(name).await;
                world.0.furniture.borrow_mut().insert(name, furniture);
                std::future::pending().await
            }
        });
    }
    let story = tell(world.clone());
    sim.client("client", async move {
        story.await;
        Ok(())
    });
    while !sim.step()? {
        world.obey(&mut sim);
    }
    Ok(())
}

/// A node of the simulation, to be told where it listens.
pub(crate) fn node_builder() -> NodeBuilder {
    let limits = Limits { connect_timeout: CONNECT_TIMEOUT, ..Limits::default() };
    Node::builder().transport(Network::default()).lease(LEASE).limits(limits)
}

/// A node that listens nowhere.
pub(crate) async fn silent_node() -> Node {
    node_builder().start().await.expect("the node starts")
}

impl World {
    fn obey(&self, sim: &mut Sim<'_>) {
        for order in self.0.orders.take() {
            match order {
                Order::Crash(host) => sim.crash(host),
                Order::Restart(host) => sim.bounce(host),
            }
        }
    }

    /// What a host has, once it runs.
    pub(crate) async fn at(&self, host: &'static str) -> Furniture {
        until("the host runs", || self.0.furniture.borrow().contains_key(host)).await;
        self.0.furniture.borrow()[host].clone()
    }

    /// A host is without power at once: nothing that it has not sent by now is ever sent.
    pub(crate) async fn crash(&self, host: &'static str, peers: &[&'static str]) {
        for peer in peers {
            turmoil::partition(host, *peer);
        }
        self.order(Order::Crash(host)).await;
        for peer in peers {
            turmoil::repair(host, *peer);
        }
        self.0.furniture.borrow_mut().remove(host);
    }

    /// It runs again, with nothing of what it knew.
    pub(crate) async fn restart(&self, host: &'static str) -> Furniture {
        self.order(Order::Restart(host)).await;
        self.at(host).await
    }

    async fn order(&self, order: Order) {
        self.0.orders.borrow_mut().push(order);
        until("the order is obeyed", || self.0.orders.borrow().is_empty()).await;
    }

    /// One in `of` of these; which, each seed says anew.
    pub(crate) fn some<T: Copy>(&self, all: &[T], of: usize) -> Vec<T> {
        all.iter().skip(self.0.seed as usize % of).step_by(of).copied().collect()
    }

    /// A time within these bounds, drawn from the seed (splitmix64).
    pub(crate) fn time(&self, bounds: Range<Duration>) -> Duration {
        let next = self.0.chance.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.chance.set(next);
        let mut bits = next;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let width = (bounds.end - bounds.start).as_micros() as u64;
        bounds.start + Duration::from_micros(bits % width.max(1))
    }

    /// Lets a time within these bounds pass.
    pub(crate) async fn pass(&self, bounds: Range<Duration>) {
        tokio::time::sleep(self.time(bounds)).await;
    }
}

/// Waits until these servers hold nothing but their furniture, and these nodes nothing, but for
/// connections.
pub(crate) async fn at_rest(servers: &[&Furniture], nodes: &[&Node], within: Duration) {
    let servers = servers.iter().map(|server| (&server.node, FURNITURE_LEN));
    let all: Vec<_> = nodes.iter().map(|node| (*node, 0)).chain(servers).collect();
    let rests = |(node, exported): &(&Node, usize)| {
        let NodeStats { exported_objects, imported_references, calls_in_flight, leases, .. } = node.stats();
        (exported_objects, imported_references, calls_in_flight, leases) == (*exported, 0, 0, 0)
    };
    let wait = async {
        while !all.iter().all(rests) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let rested = tokio::time::timeout(within, wait).await;
    assert!(rested.is_ok(), "left over: {:#?}", all.iter().map(|(node, _)| node.stats()).collect::<Vec<_>>());
}

fn count_panics() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            print(info);
        }));
    });
}

/// Seconds, for the bounds of times.
pub(crate) const fn s(seconds: f64) -> Duration {
    Duration::from_millis((seconds * 1000.0) as u64)
}

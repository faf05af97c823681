//! A program that runs: nodes, the network between them, and what the steps do.

mod ending;

use std::{sync::Arc, time::Duration};

use rmi_core::{Node, Remote};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    call::{Errand, Target},
    network::{Host, Network, NodeKey},
    panics,
    program::{Program, Step},
    random::Random,
    rules,
    socket::{SimulatedTransport, endpoint_of},
    thing::{Servant, Thing},
    world::{FamilyKey, Holding, HoldingKey, Member, Phase, World},
};

/// The name under which every node serves its door.
const DOOR: &str = "door";

pub(crate) struct Simulation {
    world: Arc<World>,
    network: Network,
    /// The node that was started last at each host.
    hosts: Vec<NodeKey>,
    calls: Vec<(NodeKey, JoinHandle<()>)>,
    /// Nodes that shut down.
    leaving: Vec<JoinHandle<()>>,
    disturbed: bool,
    /// Whether leases run out before the last calls.
    patient: bool,
    /// Where the nodes' ids come from: of two nodes that dialled each other the lower decides.
    ids: Random,
}

/// The place that a number chooses among so many: half of the numbers choose one of the three that
/// came last, so that references wander on.
fn place(number: u8, count: usize) -> Option<usize> {
    let number = usize::from(number);
    match number.checked_sub(128) {
        None => number.checked_rem(count),
        Some(number) => number.checked_rem(count.min(3)).map(|back| count - 1 - back),
    }
}

/// A reference that a step chose.
struct Chosen {
    key: HoldingKey,
    node: NodeKey,
    family: FamilyKey,
    remote: Remote<dyn Thing>,
}

impl Simulation {
    pub(crate) async fn new(program: &Program, traced: bool) -> Result<Self, String> {
        let network = Network::new(program.weather, program.seed);
        let world = World::new(network.clone(), traced);
        let (hosts, calls, leaving) = (Vec::new(), Vec::new(), Vec::new());
        let (disturbed, patient, ids) = (false, program.seed % 2 == 1, Random::new(program.seed));
        let mut simulation = Self { world, network, hosts, calls, leaving, disturbed, patient, ids };
        for (host, listens) in std::iter::once(&true).chain(&program.listens).enumerate() {
            let node = simulation.start(Host(host), *listens).await?;
            simulation.hosts.push(node);
        }
        Ok(simulation)
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    async fn start(&mut self, host: Host, listens: bool) -> Result<NodeKey, String> {
        let key = self.world.with(|state| NodeKey(state.members.list.len()));
        let transport = SimulatedTransport::new(self.network.clone(), key, host);
        let mut builder =
            Node::builder().id(self.ids.node_id()).transport(transport).limits(rules::limits()).lease(rules::LEASE);
        if listens {
            builder = builder.listen(endpoint_of(host).to_string());
        }
        let node = builder.start().await.map_err(|error| format!("{key:?} does not start: {error}"))?;
        node.serve(DOOR, &Remote::<dyn Thing>::new(Servant::new(&self.world, key, None)));
        self.world.note(|| format!("{key:?} starts at {host:?}, listens: {listens}"));
        self.world.with(|state| state.members.list.push(Member { host, listens, node, phase: Phase::Up }));
        Ok(key)
    }

    /// Does a step, and looks whether all is well.
    pub(crate) async fn step(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Create { node } => {
                if let Some(node) = self.up(node) {
                    self.world.create(node);
                }
            }
            Step::Pass { reference, to, more, as_result, keep } => self.pass(reference, to, more, as_result, keep),
            Step::SendHome { reference } => self.send_home(reference),
            Step::Clone { reference } => {
                if let Some(Chosen { node, family, remote, .. }) = self.chosen(reference) {
                    self.world.with(|state| state.hold(node, family, remote));
                }
            }
            Step::Drop { reference } => {
                let chosen = self.chosen(reference).map(|chosen| chosen.key);
                chosen.into_iter().for_each(|key| self.world.release(key));
            }
            Step::Call { reference, count } => {
                for _ in 0..count {
                    self.call(reference, Errand::Touch);
                }
            }
            Step::Linger { reference, time } => {
                self.call(reference, Errand::Linger(Duration::from_millis(u64::from(time) * 10)));
            }
            Step::Nest { reference, other } => {
                let holder = self.chosen(reference).map(|chosen| chosen.node);
                if let Some(other) = holder.and_then(|holder| self.chosen_of(holder, other)) {
                    self.call(reference, Errand::Nest(other.family, other.remote));
                }
            }
            Step::Cancel { call } => self.cancel(call),
            Step::Wait { time } => sleep(Duration::from_millis(u64::from(time))).await,
            Step::Cut { .. } | Step::Partition { .. } | Step::Heal { .. } => self.disturb_network(step),
            Step::Crash { .. } | Step::Shutdown { .. } | Step::Restart { .. } => self.disturb_node(step).await?,
        }
        self.check()
    }

    fn disturb_network(&mut self, step: &Step) {
        self.world.note(|| format!("{step:?}"));
        match *step {
            Step::Cut { a, b, after } => {
                if let Some((a, b)) = self.two_hosts(a, b) {
                    self.disturbed = true;
                    self.network.cut(a, b, usize::from(after));
                }
            }
            Step::Partition { from, to, both } => {
                if let Some((from, to)) = self.two_hosts(from, to) {
                    self.disturbed = true;
                    self.network.block(from, to);
                    if both {
                        self.network.block(to, from);
                    }
                }
            }
            Step::Heal { a, b } => {
                if let Some((a, b)) = self.two_hosts(a, b) {
                    self.network.heal(a, b);
                }
            }
            _ => {}
        }
    }

    async fn disturb_node(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Crash { node, silent } => {
                if let Some(node) = self.up(node) {
                    self.disturbed = true;
                    self.crash(node, silent);
                }
            }
            Step::Shutdown { node } => {
                if let Some(node) = self.up(node) {
                    self.disturbed = true;
                    self.shut_down(node);
                }
            }
            Step::Restart { node } => self.restart(node).await?,
            _ => {}
        }
        Ok(())
    }

    fn crash(&mut self, node: NodeKey, silent: bool) {
        self.world.note(|| format!("{node:?} crashes, silent: {silent}"));
        let Some(host) = self.host_of(node) else { return };
        self.network.crash(node, host, silent);
        let lost = self.bury(node, Phase::Crashed);
        self.calls.iter().filter(|(caller, _)| *caller == node).for_each(|(_, call)| call.abort());
        drop(lost);
    }

    fn shut_down(&mut self, key: NodeKey) {
        self.world.note(|| format!("{key:?} begins to shut down"));
        let Some(host) = self.host_of(key) else { return };
        self.network.leave(host);
        let lost = self.bury(key, Phase::Leaving);
        let node = self.world.with(|state| state.members.list.get(key.0).map(|member| member.node.clone()));
        let (world, network) = (self.world.clone(), self.network.clone());
        self.leaving.push(tokio::spawn(async move {
            if let Some(node) = node {
                node.shutdown().await;
            }
            network.leave(host);
            world.note(|| format!("{key:?} has shut down"));
            world.with(|state| state.members.list.get_mut(key.0).map(|member| member.phase = Phase::Left));
            drop(lost);
        }));
    }

    /// What a node that goes has held.
    fn bury(&self, node: NodeKey, phase: Phase) -> Vec<Holding> {
        self.world.with(|state| {
            state.handle_gone(node, phase);
            state.holdings.extract_if(.., |_, held| held.node == node).map(|(_, held)| held).collect()
        })
    }

    async fn restart(&mut self, node: u8) -> Result<(), String> {
        let at = usize::from(node) % self.hosts.len();
        let Some(before) = self.hosts.get(at).copied() else { return Ok(()) };
        let gone = self.world.with(|state| {
            let member = state.members.list.get(before.0)?;
            matches!(member.phase, Phase::Left | Phase::Crashed).then_some((member.host, member.listens))
        });
        if let Some((host, listens)) = gone {
            self.network.turn_on(host, before);
            let started = self.start(host, listens).await?;
            self.hosts.splice(at..=at, [started]);
        }
        Ok(())
    }

    fn pass(&mut self, reference: u8, to: u8, more: u8, as_result: bool, keep: bool) {
        let (Some(first), Some(to)) = (self.chosen(reference), self.up(to)) else { return };
        let from = first.node;
        if from == to {
            return;
        }
        let mut given = vec![first];
        given.extend((1..=more).filter_map(|next| self.chosen_of(from, reference.wrapping_add(next))));
        let keys: Vec<_> = given.iter().map(|chosen| chosen.key).collect();
        let as_result = as_result && !keys.is_empty();
        let (asks, asked) = if as_result { (to, from) } else { (from, to) };
        let Some((target, remote)) = self.way(asks, asked) else { return };
        let errand = if as_result {
            Errand::Get(keys.clone())
        } else {
            Errand::Put(given.into_iter().map(|chosen| (chosen.family, chosen.remote)).collect())
        };
        self.spawn_call(asks, target, remote, errand);
        // What is asked for has to be there when the question arrives.
        if !keep && !as_result {
            keys.into_iter().for_each(|key| self.world.release(key));
        }
    }

    fn send_home(&mut self, reference: u8) {
        let Some(chosen) = self.chosen(reference) else { return };
        let owner = self.world.with(|state| {
            let owner = state.family(chosen.family)?.path.owner();
            state.members.is_up(owner).then_some(owner)
        });
        let Some(owner) = owner.filter(|owner| *owner != chosen.node) else { return };
        // The way home may be the reference itself.
        let (target, remote) =
            self.way(chosen.node, owner).unwrap_or_else(|| (Target::Family(chosen.family), chosen.remote.clone()));
        self.spawn_call(chosen.node, target, remote, Errand::Put(vec![(chosen.family, chosen.remote)]));
    }

    /// How one node calls another: at its door, or on some object of it.
    fn way(&self, from: NodeKey, to: NodeKey) -> Option<(Target, Remote<dyn Thing>)> {
        self.world.with(|state| {
            let (caller, callee) = (state.members.list.get(from.0)?, state.members.list.get(to.0)?);
            if callee.listens {
                let door = Remote::<dyn Thing>::service(&caller.node, endpoint_of(callee.host), DOOR);
                return Some((Target::Door(to), door));
            }
            let held: Vec<_> = state.holdings.values().filter(|held| held.node == from).collect();
            let held: Vec<_> = held.into_iter().map(|held| (held.family, held.remote.clone())).collect();
            let found =
                held.into_iter().find(|(family, _)| state.family(*family).is_some_and(|f| f.path.owner() == to));
            found.map(|(family, remote)| (Target::Family(family), remote))
        })
    }

    fn call(&mut self, reference: u8, errand: Errand) {
        if let Some(Chosen { node, family, remote, .. }) = self.chosen(reference) {
            self.spawn_call(node, Target::Family(family), remote, errand);
        }
    }

    fn spawn_call(&mut self, caller: NodeKey, target: Target, remote: Remote<dyn Thing>, errand: Errand) {
        let world = self.world.clone();
        let call = tokio::spawn(async move { world.call(caller, target, remote, errand).await });
        self.calls.push((caller, call));
    }

    fn cancel(&mut self, call: u8) {
        self.calls.retain(|(_, call)| !call.is_finished());
        if let Some(at) = usize::from(call).checked_rem(self.calls.len()) {
            self.calls.swap_remove(at).1.abort();
        }
    }

    fn chosen(&self, reference: u8) -> Option<Chosen> {
        self.choose(reference, |_| true)
    }

    fn chosen_of(&self, holder: NodeKey, reference: u8) -> Option<Chosen> {
        self.choose(reference, |held| held.node == holder)
    }

    fn choose(&self, reference: u8, among: impl Fn(&Holding) -> bool) -> Option<Chosen> {
        self.world.with(|state| {
            let found: Vec<_> = state.holdings.iter().filter(|(_, held)| among(held)).collect();
            let at = place(reference, found.len())?;
            let (key, held) = found.get(at)?;
            Some(Chosen { key: **key, node: held.node, family: held.family, remote: held.remote.clone() })
        })
    }

    /// The node at a host, if it is up.
    fn up(&self, node: u8) -> Option<NodeKey> {
        let key = *self.hosts.get(usize::from(node) % self.hosts.len())?;
        self.world.with(|state| state.members.is_up(key)).then_some(key)
    }

    fn host_of(&self, node: NodeKey) -> Option<Host> {
        self.world.with(|state| state.members.list.get(node.0).map(|member| member.host))
    }

    fn two_hosts(&self, a: u8, b: u8) -> Option<(Host, Host)> {
        let host = |number: u8| Host(usize::from(number) % self.hosts.len());
        (host(a) != host(b)).then(|| (host(a), host(b)))
    }

    fn check(&self) -> Result<(), String> {
        let now = Instant::now();
        let late = self.world.with(|state| state.overdue(now, self.disturbed).or_else(|| state.unended(now)));
        let panicked = panics::happened().then(|| "a task panicked".to_owned());
        match panicked.or(late).or_else(|| self.world.violation()) {
            Some(wrong) => Err(wrong),
            None => Ok(()),
        }
    }
}

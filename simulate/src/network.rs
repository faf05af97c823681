//! The network between the nodes: which connections there are, and what is wrong with it.

mod carrier;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    task::Waker,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use crate::{
    outages::Outages,
    pipe::Pipe,
    program::{HOSTS_MAX, Weather},
    random::Random,
    rules,
    socket::SimulatedSocket,
};

/// A machine: a place that a node can be started at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Host(pub(crate) usize);

/// One start of a node: another one after each restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeKey(pub(crate) usize);

/// One side of a connection: the one that dialled is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side(pub(crate) bool);

/// A connection, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WireKey(u64);

/// The network. A cheap clone.
#[derive(Clone, Debug)]
pub(crate) struct Network(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told when a dial that waits may go on.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    seed: u64,
    /// What is drawn for the connections from one host to another, whatever others do meanwhile.
    random: BTreeMap<(Host, Host), Random>,
    weather: Weather,
    doors: BTreeMap<Host, Door>,
    /// Hosts without power: who dials them hears nothing.
    off: BTreeSet<Host>,
    /// Nodes that have crashed: nothing gets in or out.
    crashed: BTreeSet<NodeKey>,
    /// From the first, nothing arrives at the second.
    blocked: BTreeSet<(Host, Host)>,
    wires: BTreeMap<WireKey, Wire>,
    wires_made: u64,
    outages: Outages,
}

#[derive(Debug)]
struct Door {
    node: NodeKey,
    arrivals: mpsc::UnboundedSender<SimulatedSocket>,
}

/// A connection. What a side writes is in its pipe.
#[derive(Debug)]
struct Wire {
    dialler: End,
    acceptor: End,
}

#[derive(Debug)]
struct End {
    node: NodeKey,
    host: Host,
    closed: bool,
    dropped: bool,
    written: Pipe,
}

/// When a side can read.
pub(crate) enum Readable {
    Now,
    At(Instant),
    Never,
}

impl Wire {
    fn end(&mut self, side: Side) -> (&mut End, &mut End) {
        if side.0 { (&mut self.acceptor, &mut self.dialler) } else { (&mut self.dialler, &mut self.acceptor) }
    }

    fn joins(&self, a: Host, b: Host) -> bool {
        let hosts = (self.dialler.host, self.acceptor.host);
        hosts == (a, b) || hosts == (b, a)
    }

    fn is_of(&self, node: NodeKey) -> bool {
        self.dialler.node == node || self.acceptor.node == node
    }

    /// Breaks the connection. Some of the bytes under way from each side arrive.
    fn reset(&mut self, now: Instant, woken: &mut Vec<Waker>) {
        for end in [&mut self.dialler, &mut self.acceptor] {
            end.written.reset(false, now);
            woken.extend(end.written.reader.take());
        }
    }

    /// Whether a cut of it has not had its effect on both sides.
    fn is_doomed(&self, crashed: &BTreeSet<NodeKey>) -> bool {
        let ends = [&self.dialler, &self.acceptor];
        let cut = ends.iter().any(|end| end.written.broken || end.written.breaks_after.is_some());
        cut && ends.iter().any(|end| !end.closed && !crashed.contains(&end.node))
    }
}

impl Network {
    pub(crate) fn new(weather: Weather, seed: u64) -> Self {
        let state = State {
            seed,
            random: BTreeMap::new(),
            weather,
            doors: BTreeMap::new(),
            off: BTreeSet::new(),
            crashed: BTreeSet::new(),
            blocked: BTreeSet::new(),
            wires: BTreeMap::new(),
            wires_made: 0,
            outages: Outages::default(),
        };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }))
    }

    /// All connections between two hosts break, after so many further bytes.
    pub(crate) fn cut(&self, a: Host, b: Host, after: usize) {
        self.disturb(|state, now, woken| {
            for wire in state.wires.values_mut().filter(|wire| wire.joins(a, b)) {
                if after == 0 {
                    wire.reset(now, woken);
                } else {
                    for end in [&mut wire.dialler, &mut wire.acceptor] {
                        end.written.breaks_after.get_or_insert(after);
                    }
                }
            }
            state.outages.set(a, b, true, now);
        });
    }

    /// Nothing arrives from one host at the other any more.
    pub(crate) fn block(&self, from: Host, to: Host) {
        self.disturb(|state, now, _| {
            state.blocked.insert((from, to));
            state.outages.set(from, to, true, now);
        });
    }

    /// Two hosts reach each other again; what was held up arrives.
    pub(crate) fn heal(&self, a: Host, b: Host) {
        self.disturb(|state, _, woken| {
            state.blocked.remove(&(a, b));
            state.blocked.remove(&(b, a));
            woken.extend(state.readers(|wire| wire.joins(a, b)));
        });
    }

    /// All hosts reach each other again. Cuts that wait for bytes happen now.
    pub(crate) fn heal_all(&self) {
        self.disturb(|state, now, woken| {
            state.blocked.clear();
            let doomed =
                |wire: &&mut Wire| [&wire.dialler, &wire.acceptor].iter().any(|end| end.written.breaks_after.is_some());
            for wire in state.wires.values_mut().filter(doomed) {
                wire.reset(now, woken);
            }
            woken.extend(state.readers(|_| true));
        });
    }

    /// A node ends without a word; with its host it does so silently.
    pub(crate) fn crash(&self, node: NodeKey, host: Host, silent: bool) {
        self.disturb(|state, now, woken| {
            state.crashed.insert(node);
            state.doors.remove(&host);
            if silent {
                state.off.insert(host);
            } else {
                state.reset_wires_of(node, now, woken);
            }
            state.disturb_all(host, now, now + rules::SILENCE);
        });
    }

    /// A node begins to shut down.
    pub(crate) fn leave(&self, host: Host) {
        self.disturb(|state, now, _| state.disturb_all(host, now, now + rules::SILENCE));
    }

    /// A node is about to start at a host that another one ran at.
    pub(crate) fn turn_on(&self, host: Host, before: NodeKey) {
        self.disturb(|state, now, woken| {
            state.off.remove(&host);
            if state.crashed.contains(&before) {
                // The host knows nothing of the connections of its former node.
                state.reset_wires_of(before, now, woken);
            }
            state.disturb_all(host, now, now + rules::SILENCE);
        });
    }

    /// Whether what is held over a link between the two since then is held certainly.
    pub(crate) fn holds(&self, a: Host, b: Host, since: Instant) -> bool {
        a == b || self.outages(a, b, |outages, now| outages.holds(a, b, since, now))
    }

    /// Whether nothing was disturbed between the two since then.
    pub(crate) fn calm(&self, a: Host, b: Host, since: Instant) -> bool {
        a == b || self.outages(a, b, |outages, _| outages.calm(a, b, since))
    }

    /// Whether nothing was disturbed between the two since then, but by nodes that went.
    pub(crate) fn unbroken(&self, a: Host, b: Host, since: Instant) -> bool {
        a == b || self.outages(a, b, |outages, _| outages.unbroken(a, b, since))
    }

    /// When the first outage between the two began that was not over by then.
    pub(crate) fn first_outage(&self, a: Host, b: Host, since: Instant) -> Option<Instant> {
        self.outages(a, b, |outages, _| outages.first(a, b, since))
    }

    fn outages<R>(&self, a: Host, b: Host, look: impl FnOnce(&Outages, Instant) -> R) -> R {
        let now = Instant::now();
        let mut state = self.0.state.lock();
        let state = &mut *state;
        let disturbed = state.blocked.contains(&(a, b))
            || state.blocked.contains(&(b, a))
            || state.wires.values().any(|wire| wire.joins(a, b) && wire.is_doomed(&state.crashed));
        state.outages.set(a, b, disturbed, now);
        look(&state.outages, now)
    }

    fn disturb(&self, what: impl FnOnce(&mut State, Instant, &mut Vec<Waker>)) {
        let mut woken = Vec::new();
        what(&mut self.0.state.lock(), Instant::now(), &mut woken);
        woken.into_iter().for_each(Waker::wake);
        self.0.changed.notify_waiters();
    }
}

impl State {
    fn random(&mut self, from: Host, to: Host) -> &mut Random {
        let own = (from.0 * HOSTS_MAX + to.0) as u64;
        self.random.entry((from, to)).or_insert_with(|| Random::new(self.seed.rotate_left(7) ^ own))
    }

    fn readers(&mut self, of: impl Fn(&Wire) -> bool) -> Vec<Waker> {
        let wires = self.wires.values_mut().filter(|wire| of(wire));
        wires
            .flat_map(|wire| [wire.dialler.written.reader.take(), wire.acceptor.written.reader.take()])
            .flatten()
            .collect()
    }

    fn reset_wires_of(&mut self, node: NodeKey, now: Instant, woken: &mut Vec<Waker>) {
        for wire in self.wires.values_mut().filter(|wire| wire.is_of(node)) {
            wire.reset(now, woken);
        }
    }

    fn disturb_all(&mut self, host: Host, now: Instant, until: Instant) {
        for other in (0..HOSTS_MAX).map(Host).filter(|other| *other != host) {
            self.outages.set_until(host, other, now, until);
        }
    }
}

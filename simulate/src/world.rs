//! The model: what there is in the simulated world, and what must be true of it.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use rmi_core::{Node, ObjectId, Remote};
use tokio::time::Instant;

use crate::{
    call::{Call, Tag, Target},
    network::{Host, Network, NodeKey},
    path::Path,
    rules,
    tally::Tally,
    thing::{Servant, Thing},
};

/// An object, by its place in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectKey(pub(crate) usize);

/// A reference together with its clones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FamilyKey(usize);

impl FamilyKey {
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// A `Remote` that a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HoldingKey(u64);

/// The model of a program that runs. The objects of the program report to it.
pub(crate) struct World {
    state: Mutex<State>,
    traced: bool,
    began: Instant,
}

pub(crate) struct State {
    pub(crate) members: Members,
    pub(crate) objects: Vec<Object>,
    pub(crate) families: Vec<Family>,
    pub(crate) holdings: BTreeMap<HoldingKey, Holding>,
    holdings_made: u64,
    pub(crate) calls: Vec<Call>,
    /// The first thing that was wrong.
    violation: Option<String>,
    trace: Vec<String>,
    pub(crate) tally: Tally,
}

/// All starts of nodes, and the network between them.
pub(crate) struct Members {
    pub(crate) network: Network,
    pub(crate) list: Vec<Member>,
}

/// One start of a node.
pub(crate) struct Member {
    pub(crate) host: Host,
    pub(crate) listens: bool,
    pub(crate) node: Node,
    pub(crate) phase: Phase,
}

/// How far a node's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Up,
    Leaving,
    Left,
    Crashed,
}

pub(crate) struct Object {
    pub(crate) owner: NodeKey,
    pub(crate) id: ObjectId,
    pub(crate) dropped: bool,
    /// Since when nothing is known to hold it.
    pub(crate) unheld: Option<Instant>,
}

pub(crate) struct Family {
    pub(crate) path: Path,
    /// Calls made.
    made: u64,
    /// The place of the last call that began at the owner.
    begun: u64,
}

pub(crate) struct Holding {
    pub(crate) node: NodeKey,
    pub(crate) family: FamilyKey,
    pub(crate) remote: Remote<dyn Thing>,
}

impl Members {
    fn get(&self, node: NodeKey) -> Option<&Member> {
        self.list.get(node.0)
    }

    pub(crate) fn is_up(&self, node: NodeKey) -> bool {
        self.get(node).is_some_and(|member| member.phase == Phase::Up)
    }

    pub(crate) fn listens(&self, node: NodeKey) -> bool {
        self.get(node).is_some_and(|member| member.listens)
    }

    pub(crate) fn hold(&self, a: NodeKey, b: NodeKey, since: Instant) -> bool {
        self.hosts(a, b).is_some_and(|(a, b)| self.network.holds(a, b, since))
    }

    pub(crate) fn calm(&self, a: NodeKey, b: NodeKey, since: Instant) -> bool {
        self.hosts(a, b).is_some_and(|(a, b)| self.network.calm(a, b, since))
    }

    pub(crate) fn unbroken(&self, a: NodeKey, b: NodeKey, since: Instant) -> bool {
        self.hosts(a, b).is_some_and(|(a, b)| self.network.unbroken(a, b, since))
    }

    pub(crate) fn first_outage(&self, a: NodeKey, b: NodeKey, since: Instant) -> Option<Instant> {
        self.hosts(a, b).and_then(|(a, b)| self.network.first_outage(a, b, since))
    }

    fn hosts(&self, a: NodeKey, b: NodeKey) -> Option<(Host, Host)> {
        Some((self.get(a)?.host, self.get(b)?.host))
    }
}

impl World {
    pub(crate) fn new(network: Network, traced: bool) -> Arc<Self> {
        let state = State {
            members: Members { network, list: Vec::new() },
            objects: Vec::new(),
            families: Vec::new(),
            holdings: BTreeMap::new(),
            holdings_made: 0,
            calls: Vec::new(),
            violation: None,
            trace: Vec::new(),
            tally: Tally::default(),
        };
        Arc::new(Self { state: Mutex::new(state), traced, began: Instant::now() })
    }

    /// Looks at the model, or changes it. Nothing that a user's code could see happens meanwhile:
    /// what is dropped is handed out first.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.state.lock())
    }

    /// Remembers what happened, where somebody wants to read it.
    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        if self.traced {
            let line = format!("{:>6} ms  {}", self.began.elapsed().as_millis(), what());
            self.state.lock().trace.push(line);
        }
    }

    /// Something is not as it must be.
    pub(crate) fn fail(&self, what: String) {
        self.note(|| format!("WRONG: {what}"));
        self.state.lock().violation.get_or_insert(what);
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.state.lock().violation.clone()
    }

    pub(crate) fn tally(&self) -> Tally {
        self.state.lock().tally
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().trace)
    }

    /// The program is over: nothing of it outlives its runtime.
    pub(crate) fn let_go(&self) {
        let rest = self.with(|state| (std::mem::take(&mut state.holdings), std::mem::take(&mut state.members.list)));
        drop(rest);
    }

    /// An object comes to life.
    pub(crate) fn create(self: &Arc<Self>, node: NodeKey) {
        let object = self.with(|state| ObjectKey(state.objects.len()));
        let remote = Remote::<dyn Thing>::new(Servant::new(self, node, Some(object)));
        self.note(|| format!("{object:?} is created at {node:?}"));
        self.with(|state| {
            let id = Remote::id(&remote);
            state.tally.objects += 1;
            state.objects.push(Object { owner: node, id, dropped: false, unheld: None });
            let family = state.enter(Path::own(object, node));
            state.hold(node, family, remote);
        });
    }

    /// References arrived with a call, or with its result, and are held from now on.
    pub(crate) fn take_in(&self, tag: Tag, node: NodeKey, given: Vec<Remote<dyn Thing>>) -> Vec<HoldingKey> {
        let now = Instant::now();
        let mut wrong = Vec::new();
        let mut refused = Vec::new();
        let taken = self.with(|state| {
            let Some(call) = state.calls.get(tag.index()) else { return Vec::new() };
            let (passed, began, relays) = (call.passed.clone(), call.began, state.relays(call, node));
            if passed.len() != given.len() {
                wrong.push(format!("{tag:?} carried {} references, and {} arrived", passed.len(), given.len()));
            }
            let mut taken = Vec::new();
            for (path, remote) in passed.into_iter().zip(given) {
                let stops = relays.iter().copied().chain([node]);
                let path = stops.fold(path, |path, stop| path.extended(stop, began, &state.members));
                wrong.extend(state.look_at_arrival(tag, &path, &remote));
                if state.members.is_up(node) {
                    let family = state.enter(path);
                    taken.push(state.hold(node, family, remote));
                } else {
                    refused.push(remote);
                }
            }
            taken
        });
        drop(refused);
        self.note(|| format!("{tag:?} leaves {taken:?} with {node:?} at {now:?}", now = now - self.began));
        wrong.into_iter().for_each(|what| self.fail(what));
        taken
    }

    /// The references that a call asks for, as far as they are still held.
    pub(crate) fn hand_out(&self, tag: Tag, node: NodeKey) -> Vec<Remote<dyn Thing>> {
        self.with(|state| {
            let State { calls, holdings, families, .. } = state;
            let Some(call) = calls.get_mut(tag.index()) else { return Vec::new() };
            let found = call.wanted.iter().filter_map(|wanted| holdings.get(wanted)).filter(|found| found.node == node);
            let found: Vec<_> = found.map(|found| (found.family, found.remote.clone())).collect();
            call.passed = found
                .iter()
                .filter_map(|(family, _)| families.get(family.0))
                .map(|family| family.path.clone())
                .collect();
            found.into_iter().map(|(_, remote)| remote).collect()
        })
    }

    pub(crate) fn held(&self, holding: HoldingKey) -> Option<(FamilyKey, Remote<dyn Thing>)> {
        self.with(|state| state.holdings.get(&holding).map(|held| (held.family, held.remote.clone())))
    }

    pub(crate) fn release(&self, holding: HoldingKey) {
        let released = self.with(|state| state.holdings.remove(&holding));
        if let Some(released) = &released {
            self.note(|| format!("{:?} drops {holding:?} of {:?}", released.node, released.family));
        }
        drop(released);
    }

    /// An object is dropped: nobody may hold it for certain.
    pub(crate) fn handle_dropped(&self, object: ObjectKey) {
        let wrong = self.with(|state| {
            if let Some(found) = state.objects.get_mut(object.0) {
                found.dropped = true;
            }
            state.firm_holder(object)
        });
        self.note(|| format!("{object:?} is dropped"));
        if let Some((node, path)) = wrong {
            self.fail(format!("{object:?} was dropped while {node:?} held it: {path:?}"));
        }
    }
}

impl Tag {
    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl State {
    pub(crate) fn enter(&mut self, path: Path) -> FamilyKey {
        self.families.push(Family { path, made: 0, begun: 0 });
        FamilyKey(self.families.len() - 1)
    }

    pub(crate) fn hold(&mut self, node: NodeKey, family: FamilyKey, remote: Remote<dyn Thing>) -> HoldingKey {
        let key = HoldingKey(self.holdings_made);
        self.holdings_made += 1;
        self.holdings.insert(key, Holding { node, family, remote });
        key
    }

    pub(crate) fn family(&mut self, family: FamilyKey) -> Option<&mut Family> {
        self.families.get_mut(family.0)
    }

    /// The nodes that relay what a call, or its result, brings to this node, in turn: it is held through
    /// them.
    fn relays(&self, call: &Call, to: NodeKey) -> Vec<NodeKey> {
        let Target::Family(family) = call.target else { return Vec::new() };
        let relays = self.families.get(family.0).map(|family| family.path.relays(&self.members));
        let mut relays = relays.unwrap_or_default();
        if to == call.caller {
            relays.reverse();
        }
        relays
    }

    /// A call of this family that was made at `began` has been answered.
    pub(crate) fn handle_called(&mut self, family: FamilyKey, began: Instant) {
        if let Some(family) = self.families.get_mut(family.0) {
            family.path.handle_called(began, &self.members);
        }
    }

    fn look_at_arrival(&self, tag: Tag, path: &Path, remote: &Remote<dyn Thing>) -> Option<String> {
        let object = self.objects.get(path.object.0)?;
        let firm = path.is_firm(&self.members);
        if Remote::id(remote) != object.id && firm {
            return Some(format!("{tag:?} carried {:?}, and another object arrived: {remote:?}", path.object));
        }
        if firm && object.dropped {
            return Some(format!(
                "{:?} was dropped while its reference was under way in {tag:?}: {path:?}",
                path.object
            ));
        }
        if firm && path.holder == path.owner() && !Remote::is_local(remote) {
            return Some(format!("{:?} came home in {tag:?}, and is not the object itself", path.object));
        }
        None
    }

    /// A node that holds an object for certain.
    fn firm_holder(&self, object: ObjectKey) -> Option<(NodeKey, Path)> {
        let holders =
            self.holdings.values().filter_map(|held| Some((held.node, &self.families.get(held.family.0)?.path)));
        let firm = holders.filter(|(_, path)| path.object == object).find(|(_, path)| path.is_firm(&self.members));
        firm.map(|(node, path)| (node, path.clone()))
    }

    /// Notes which objects nobody references, and finds those that should be gone.
    pub(crate) fn overdue(&mut self, now: Instant, disturbed: bool) -> Option<String> {
        let mut held: Vec<ObjectKey> = Vec::new();
        let object_of = |family: FamilyKey| self.families.get(family.0).map(|family| family.path.object);
        held.extend(self.holdings.values().filter_map(|holding| object_of(holding.family)));
        for call in self.calls.iter().filter(|call| call.end.is_none()) {
            held.extend(call.object);
            held.extend(call.passed.iter().map(|path| path.object));
        }
        let bound = if disturbed { rules::GONE_AT_LAST } else { rules::GONE_SOON };
        for (key, object) in self.objects.iter_mut().enumerate() {
            let key = ObjectKey(key);
            let phase = self.members.list.get(object.owner.0).map(|owner| owner.phase);
            if object.dropped || phase == Some(Phase::Crashed) || held.contains(&key) {
                object.unheld = None;
            } else if now > *object.unheld.get_or_insert(now) + bound {
                return Some(format!("{key:?} lives on, although nobody references it for more than {bound:?}"));
            }
        }
        None
    }

    /// Whether the call of this family may be claimed to begin behind the one before.
    pub(crate) fn begins_in_order(&mut self, tag: Tag) -> Option<String> {
        let call = self.calls.get(tag.index())?;
        let Target::Family(family) = call.target else { return None };
        let (place, caller, callee, began) = (call.place, call.caller, call.callee, call.began);
        let found = self.families.get_mut(family.0)?;
        let before = found.begun;
        found.begun = before.max(place);
        let claimed = rules::ORDERED_THROUGH_LOSS || self.members.calm(caller, callee, began - rules::CALM_AFTER);
        (place < before && claimed).then(|| format!("{tag:?}, call {place} of {family:?}, began behind call {before}"))
    }
}

impl Family {
    /// The place of a call that is made now.
    pub(crate) fn next_place(&mut self) -> u64 {
        self.made += 1;
        self.made
    }
}

//! The end of a program: what must be true once all is healed, and once nothing is held.

use std::time::Duration;

use rmi_core::{Node, NodeStats};
use tokio::time::{Instant, sleep};

use super::Simulation;
use crate::{
    call::{Errand, Target},
    network::NodeKey,
    rules,
    world::Phase,
};

/// Looks at a condition that is awaited, first often and then seldom.
const GLANCES: [u64; 8] = [0, 5, 20, 50, 100, 200, 500, 1000];

impl Simulation {
    /// Lets the network be well, and looks whether what is held can be called, whether all is gone
    /// once it is held no more, and whether nothing is left in any table.
    pub(crate) async fn rest(&mut self) -> Result<(), String> {
        self.world.note(|| "all is healed".to_owned());
        self.network.heal_all();
        if self.disturbed {
            sleep(rules::CALM_AFTER + rules::SILENCE + Duration::from_millis(100)).await;
            // What nobody calls has to outlive the leases of those that are lost, too.
            if self.patient {
                sleep(rules::LEASE + rules::SILENCE).await;
            }
        }
        self.until("a call has not ended", |simulation| simulation.calls.iter().all(|(_, call)| call.is_finished()))
            .await?;
        let held: Vec<_> = self
            .world
            .with(|state| state.holdings.values().map(|held| (held.node, held.family, held.remote.clone())).collect());
        for (node, family, remote) in held {
            self.spawn_call(node, Target::Family(family), remote, Errand::Touch);
        }
        self.until("a call has not ended", |simulation| simulation.calls.iter().all(|(_, call)| call.is_finished()))
            .await?;
        self.calls.clear();
        self.world.note(|| "everything is dropped".to_owned());
        self.until("objects live on", Self::nothing_lives).await?;
        self.until("something is left in the tables", |simulation| simulation.left_over().is_empty()).await
    }

    /// Shuts all nodes down, which leaves nothing at all.
    pub(crate) async fn end(&mut self) -> Result<(), String> {
        for at in 0..self.hosts.len() {
            if let Some(node) = u8::try_from(at).ok().and_then(|at| self.up(at)) {
                self.shut_down(node);
            }
        }
        for leaving in std::mem::take(&mut self.leaving) {
            leaving.await.map_err(|error| format!("a shutdown panicked: {error}"))?;
        }
        // A dial that was under way may end behind the shutdown, and its link then.
        self.until("nodes that have shut down still hold something", |simulation| simulation.left_behind().is_empty())
            .await
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<(), String> {
        let bound = if self.disturbed { rules::GONE_AT_LAST } else { rules::GONE_SOON };
        let began = Instant::now();
        let mut glances = GLANCES.into_iter();
        let mut pause = 0;
        loop {
            self.check()?;
            if holds(self) {
                return Ok(());
            }
            if began.elapsed() > bound {
                return Err(format!("{what} after {bound:?}: {:?} {:?}", self.left_over(), self.left_behind()));
            }
            pause = glances.next().unwrap_or(pause);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Drops everything, and looks whether that was all. Calls whose callers are gone may bring more.
    fn nothing_lives(&self) -> bool {
        let held = self.world.with(|state| std::mem::take(&mut state.holdings));
        drop(held);
        self.world.with(|state| {
            let owned_by_living =
                |owner: NodeKey| state.members.list.get(owner.0).is_some_and(|member| member.phase != Phase::Crashed);
            state.objects.iter().all(|object| object.dropped || !owned_by_living(object.owner))
        })
    }

    /// What nodes that have shut down hold.
    fn left_behind(&self) -> Vec<NodeStats> {
        let nodes: Vec<_> = self.world.with(|state| {
            let left = state.members.list.iter().filter(|member| member.phase == Phase::Left);
            left.map(|member| member.node.clone()).collect()
        });
        nodes.iter().map(Node::stats).filter(|stats| *stats != NodeStats::default()).collect()
    }

    /// The tables that should hold nothing but the door and some connections.
    fn left_over(&self) -> Vec<(usize, NodeStats)> {
        let nodes: Vec<_> = self.world.with(|state| {
            let up = state.members.list.iter().enumerate().filter(|(_, member)| member.phase == Phase::Up);
            up.map(|(key, member)| (key, member.node.clone())).collect()
        });
        // Two nodes may have dialled each other.
        let connections_max = 2 * (self.hosts.len() - 1);
        let stats = nodes.into_iter().map(|(key, node)| (key, node.stats()));
        let is_left = |stats: &NodeStats| {
            stats.exported_objects > 1
                || stats.imported_references + stats.calls_in_flight + stats.leases > 0
                || stats.connections > connections_max
        };
        stats.filter(|(_, stats)| is_left(stats)).collect()
    }
}

//! The links of a node, and those of them that are looked for: peers come and go by the thousand, and none of them is
//! to cost a look at all others.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{connection::Link, id::NodeId, referent::Referent, wire::LinkId};

/// All links of a node, by their numbers.
#[derive(Default)]
pub(super) struct Links {
    all: BTreeMap<u64, Arc<Link<Referent>>>,
    by_peer: HashMap<NodeId, BTreeSet<u64>>,
    /// Those that were accepted, by the id that this node gave them.
    accepted: HashMap<LinkId, u64>,
    /// Those whose peers were given objects of other nodes.
    relaying: BTreeSet<u64>,
}

impl Links {
    pub(super) fn insert(&mut self, link: &Arc<Link<Referent>>) {
        let number = link.number();
        self.by_peer.entry(link.peer().node).or_default().insert(number);
        if let Some(id) = accepted(link) {
            self.accepted.insert(id, number);
        }
        self.all.insert(number, link.clone());
    }

    pub(super) fn remove(&mut self, link: &Link<Referent>) {
        let (number, peer) = (link.number(), link.peer().node);
        if let Some(links) = self.by_peer.get_mut(&peer) {
            links.remove(&number);
            if links.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
        if let Some(id) = accepted(link) {
            self.accepted.remove(&id);
        }
        self.relaying.remove(&number);
        self.all.remove(&number);
    }

    pub(super) fn all(&self) -> Vec<Arc<Link<Referent>>> {
        self.all.values().cloned().collect()
    }

    pub(super) fn of_peer(&self, peer: NodeId) -> Vec<Arc<Link<Referent>>> {
        self.found(self.by_peer.get(&peer).into_iter().flatten())
    }

    /// The link that this node has accepted under this id.
    pub(super) fn accepted(&self, id: LinkId) -> Option<Arc<Link<Referent>>> {
        self.all.get(self.accepted.get(&id)?).cloned()
    }

    /// The peer of a link is given an object of another node. One that has ended is left alone.
    pub(super) fn relay(&mut self, link: &Link<Referent>) {
        if self.all.contains_key(&link.number()) {
            self.relaying.insert(link.number());
        }
    }

    /// The links whose peers may hold objects of other nodes through this one.
    pub(super) fn relaying(&self) -> Vec<Arc<Link<Referent>>> {
        self.found(&self.relaying)
    }

    fn found<'a>(&self, numbers: impl IntoIterator<Item = &'a u64>) -> Vec<Arc<Link<Referent>>> {
        numbers.into_iter().filter_map(|number| self.all.get(number).cloned()).collect()
    }
}

fn accepted(link: &Link<Referent>) -> Option<LinkId> {
    link.id().filter(|_| link.dialled().is_none())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::node::Node;

    /// Each link that ended locked and asked all others: with thousands of lost ones, who only came and went cost the
    /// node a millisecond.
    #[test]
    fn a_link_comes_and_goes_without_a_look_at_the_others() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        let (server, resting) = runtime.block_on(async {
            let server = Node::builder().listen("mem://links").start().await.unwrap();
            let resting = Node::builder().start().await.unwrap();
            resting.link_at(&server.endpoints()[0]).await.unwrap();
            server.0.open.subscribe().wait_for(|open| *open == 1).await.unwrap();
            (server, resting)
        });
        let comes_and_goes = async || {
            let mut open = server.0.open.subscribe();
            let client = Node::builder().start().await.unwrap();
            let link = client.link_at(&server.endpoints()[0]).await.unwrap();
            open.wait_for(|open| *open == 2).await.unwrap();
            link.leave(true);
            open.wait_for(|open| *open == 1).await.unwrap();
        };
        let other = server.links().remove(0);
        // Once with nothing held up: the other link's driver has had its first turn then. A worker that it blocked would
        // keep what it was to run next.
        runtime.block_on(comes_and_goes());
        let ended = other.hold_up(|| {
            runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), comes_and_goes()).await })
        });
        ended.expect("the end of one link waited for another");
        runtime.block_on(async { tokio::join!(server.shutdown(), resting.shutdown()) });
    }
}

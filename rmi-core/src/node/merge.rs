//! Two links between two nodes that dialled each other become one.
//!
//! The link that the lower node id dialled stays. That node says so over the other one, which the
//! higher id dialled and which therefore leads to the node that it claims: by that the higher one knows
//! that the link which stays, and which it only accepted, comes from there too. Both then move what they
//! hold over the other link, each reference behind a fence, and the side that dialled it ends it once
//! nothing is left.

use std::{sync::Arc, time::Duration};

use super::{Node, WeakNode};
use crate::{connection::Link, id::NodeId, referent::Referent, wire::LinkId};

/// The first pause between two looks at a link that comes to its end, and the longest.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Node {
    /// A link to this peer has begun, or has a connection again: if the peer has dialled this node
    /// too, and this one has the lower id, its own link is to stay.
    pub(super) fn merge_twins(&self, peer: NodeId) {
        if self.id() >= peer {
            return;
        }
        let links: Vec<_> = self.0.links.lock().of_peer(peer).into_iter().filter(|link| link.is_connected()).collect();
        let Some(stays) = links.iter().find(|link| link.dialled().is_some() && link.id().is_some()) else { return };
        // One at a time: anybody may claim to be the peer.
        if links.iter().any(|link| link.dialled().is_none() && link.is_retired()) {
            return;
        }
        // Calls that come over another link come from another principal, where that is not the same.
        let is_same = |link: &&Arc<Link<Referent>>| link.dialled().is_none() && link.principal() == stays.principal();
        for twin in links.iter().filter(is_same) {
            if let Some(id) = stays.id()
                && twin.retire()
            {
                twin.merge_into(id);
                self.spawn(drain(self.downgrade(), twin.clone(), stays.clone()));
            }
        }
    }

    /// The peer that this side has dialled over `twin` says that it has dialled the link of this id.
    pub(super) fn merge(&self, twin: &Arc<Link<Referent>>, by: LinkId) {
        let peer = twin.peer().node;
        let is_same = |stays: &Arc<Link<Referent>>| stays.peer().node == peer && stays.principal() == twin.principal();
        let stays = self.link_of(by).filter(is_same);
        // Only what this side has dialled is known to come from the node that it claims.
        let Some(stays) = stays.filter(|_| twin.dialled().is_some() && self.id() > peer) else { return };
        tracing::debug!(peer = %stays.describe_peer(), "two links become one");
        // First, so that a dial that is about to make the twin known sees that it is not to.
        let is_news = twin.retire();
        self.0.dials.replace(twin, &stays);
        if is_news {
            self.spawn(drain(self.downgrade(), twin.clone(), stays));
        }
    }
}

/// Moves what is held over a link to another one, until nothing is left of it.
async fn drain(node: WeakNode, twin: Arc<Link<Referent>>, stays: Arc<Link<Referent>>) {
    let mut pause = PAUSE;
    while twin.ended().is_none() && stays.ended().is_none() {
        // Neither a fence nor an acquire is to wait for a connection.
        if twin.is_connected() && stays.is_connected() {
            let Some(held) = node.upgrade().map(|node| node.held_over(&twin)) else { return };
            for import in held {
                if let Err(error) = import.move_to(&twin, &stays).await {
                    tracing::debug!(object = %import.id(), %error, "a reference stays on its link for now");
                }
            }
            if twin.dialled().is_some() && twin.leave_if_idle() {
                return;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    // Another link to the peer may take its place later.
    twin.unretire();
}

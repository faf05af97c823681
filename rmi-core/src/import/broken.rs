//! When an object is gone for good.

use std::sync::{Arc, Weak};

use super::Import;
use crate::{
    connection::{Ended, Link},
    error::{Certainty, ErrorKind, RemoteError},
    referent::Referent,
};

impl Import {
    /// Waits until the object is gone for good: its node went away or unexported it, or the link to it
    /// was lost, not resumed within the lease, and not replaced either. Keeps nothing meanwhile: a
    /// reference that this node drops is gone too.
    pub(crate) async fn broken(import: Weak<Self>) -> RemoteError {
        let gone = || RemoteError::new(ErrorKind::Cancelled, "this node has dropped the reference");
        let Some(node) = import.upgrade().map(|import| import.node.clone()) else { return gone() };
        loop {
            // Listens before it looks, so that no death is missed.
            let mut death = std::pin::pin!(node.deaths().notified());
            death.as_mut().enable();
            let link = match import.upgrade().map(|import| import.living_link()) {
                Some(Ok(link)) => link,
                Some(Err(dead)) => return dead,
                None => return gone(),
            };
            let ended = tokio::select! {
                biased;
                ended = link.wait_ended() => ended,
                () = death => continue,
            };
            let Some(held) = import.upgrade() else { continue };
            if let Some(cause) = held.handle_link_ended(&link, &ended).await {
                return cause;
            }
        }
    }

    /// The link that the object was held over has ended. Asks the owner for it once, if it can be dialled
    /// and may still have it. Returns why the object is gone, if it is.
    async fn handle_link_ended(self: Arc<Self>, link: &Arc<Link<Referent>>, ended: &Ended) -> Option<RemoteError> {
        let direct = link.peer().node == self.owner();
        if direct && ended.goodbye {
            return Some(ended.cause.clone());
        }
        match self.leave_giver().await {
            // Asked: the answer decides. Should the owner refuse for now, it is not asked on and on.
            Ok(()) => {
                drop(self);
                tokio::time::sleep(link.peer().lease / 6).await;
                None
            }
            Err(error) if error.kind() == ErrorKind::NoSuchObject => Some(error),
            Err(error) => Some(ended.cause.clone().with_source(&error)),
        }
    }

    /// The link that the object is held over, unless the object is known to be gone.
    fn living_link(&self) -> Result<Arc<Link<Referent>>, RemoteError> {
        let (link, slot) = {
            let way = self.way.lock();
            (way.link().map_err(Clone::clone)?.clone(), way.hold().map(|hold| hold.slot))
        };
        if slot.is_some_and(|slot| link.is_revoked(slot)) {
            let error =
                RemoteError::new(ErrorKind::NoSuchObject, "the object was unexported, or its node has gone away");
            return Err(error.with_certainty(Certainty::NotSent));
        }
        Ok(link)
    }
}

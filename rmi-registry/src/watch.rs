//! Names that are watched, as their user sees it.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use rmi_core::Node;
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

use crate::{error::RegistryError, follower::follow, kept::KeptKey, places::Places, service::Entry, watchers::Scope};

/// How many events wait for the user before the registry's changes do.
const EVENTS_MAX: usize = 64;

/// What has happened to the names of a registry.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A name is bound: already when the watch began, or since.
    Bound(Entry),
    /// A name is bound to another object.
    Rebound(Entry),
    /// Objects have joined a name or left it: so many are its members now.
    Members(Entry),
    /// A name was unbound, or is missing at a registry that has restarted.
    Unbound {
        /// The name.
        name: String,
    },
    /// A name went with its server.
    Expired {
        /// The name.
        name: String,
    },
    /// All that is bound has been told; what follows is news.
    Current,
    /// Changes may have been missed, because the watch fell behind or the registry was out of
    /// reach: what differs now is told next, up to [`Current`](Self::Current).
    Missed,
}

/// The names of a registry that begin with a prefix, and what happens to them: a stream of
/// [`Event`]s, from [`Registry::watch`](crate::Registry::watch).
///
/// It begins with what is bound, in order, and goes on with every change in the order in which the
/// changes were made. Memory is bounded for one who reads slowly: too much unread, and the watch
/// leaves out changes, says so by [`Event::Missed`], and goes on with what differs. The same where
/// the registry restarts or is out of reach: the watch waits for it. It ends with the node, or with
/// an error: where no registry answers at first, or one refuses.
#[must_use = "a watch ends when it is dropped"]
pub struct Watch {
    node: Node,
    key: KeptKey,
    events: mpsc::Receiver<Result<Event, RegistryError>>,
    follower: AbortHandle,
}

impl Watch {
    pub(crate) fn start(node: &Node, places: &Places, prefix: &str) -> Self {
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        // The node ends the watch by dropping this.
        let (alive, ended) = oneshot::channel::<()>();
        let key = KeptKey::new("watch");
        key.keep(node, Arc::new(alive));
        let (places, scope) = (places.clone(), Scope::Below(prefix.to_owned()));
        let following = tokio::spawn(async move {
            tokio::select! {
                () = follow(&places, &scope, &tell) => {}
                _ = ended => {}
            }
        });
        Self { node: node.clone(), key, events, follower: following.abort_handle() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.follower.abort();
        self.key.let_go(&self.node);
    }
}

impl Stream for Watch {
    type Item = Result<Event, RegistryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(cx)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("node", &self.node).finish_non_exhaustive()
    }
}

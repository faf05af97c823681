//! How a link ends: by the wish of this node, for another link, or for the loss of its connection.

use std::sync::atomic::Ordering;

use super::{Kept, Link};
use crate::{
    error::{ErrorKind, RemoteError},
    time::Time,
    wire::LinkId,
};

/// How a link ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// What the calls on it ended with.
    pub(crate) cause: RemoteError,
    /// Whether the peer's node has gone away, rather than the link.
    pub(crate) goodbye: bool,
    /// When its last connection was lost; `None` where this node ended it.
    pub(crate) lost: Option<Time>,
}

/// How far this node is with closing a link.
#[derive(Clone, Copy, Debug)]
pub(super) enum Close {
    /// No more calls are taken; those taken are answered.
    Draining,
    /// It ends as soon as all is written.
    Leaving {
        /// Whether the peer is told that this node is gone for good.
        goodbye: bool,
    },
}

impl<O: Kept> Link<O> {
    /// Takes no more calls from the peer; those that it took are answered.
    pub(crate) fn close(&self) {
        self.step(|locked| {
            locked.closing.get_or_insert(Close::Draining);
            locked.session.close();
        });
        self.driver.wake();
    }

    /// Ends as soon as all is written. Without a goodbye the peer keeps what this node holds for
    /// its lease.
    pub(crate) fn leave(&self, goodbye: bool) {
        self.step(|locked| locked.closing = Some(Close::Leaving { goodbye }));
        self.driver.wake();
    }

    /// Another link takes its place. Whether that is news.
    pub(crate) fn retire(&self) -> bool {
        !self.retired.swap(true, Ordering::AcqRel)
    }

    /// What was to take its place has ended.
    pub(crate) fn unretire(&self) {
        self.retired.store(false, Ordering::Release);
    }

    /// Whether another link takes its place.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Ends it without a goodbye if nothing is held or under way over it; no call begins then. Whether it
    /// does.
    pub(crate) fn leave_if_idle(&self) -> bool {
        let leaves = self.step(|locked| {
            let leaves = locked.session.is_idle() && !locked.session.has_output();
            if leaves {
                locked.session.stop_calling();
                locked.closing = Some(Close::Leaving { goodbye: false });
            }
            leaves
        });
        if leaves {
            self.driver.wake();
        }
        leaves
    }

    /// Tells the peer which link takes the place of this one.
    pub(crate) fn merge_into(&self, link: LinkId) {
        self.act(|session| session.merge_into(link));
    }

    /// Why it ended, if it has.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.get()
    }

    /// Waits until it has ended.
    pub(crate) async fn wait_ended(&self) -> Ended {
        let mut end = self.end.subscribe();
        loop {
            if let Some(ended) = self.ended.get() {
                return ended.clone();
            }
            if end.changed().await.is_err() {
                // The sender is this link's own: it cannot be gone while the link is here.
                return Ended { cause: RemoteError::new(ErrorKind::ConnectionLost, ""), goodbye: false, lost: None };
            }
        }
    }

    pub(super) fn set_ended(&self, ended: Ended) {
        if self.ended.set(ended).is_ok() {
            self.end.send_replace(true);
            self.room.notify_waiters();
        }
    }
}

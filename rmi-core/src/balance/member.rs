//! A member of a group, and the calls that it has in flight.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{choice::Candidate, health::Health};
use crate::{
    error::{ErrorKind, RemoteError},
    import::Import,
    time::Time,
};

/// An object of another node that is joined under a name, as this node sees it.
pub(super) struct Member {
    /// The name of its group.
    group: Arc<str>,
    number: u64,
    import: Arc<Import>,
    in_flight: AtomicUsize,
    health: Health,
}

impl Member {
    pub(super) fn new(group: &Arc<str>, number: u64, import: Arc<Import>) -> Arc<Self> {
        let (in_flight, health) = (AtomicUsize::new(0), Health::default());
        Arc::new(Self { group: group.clone(), number, import, in_flight, health })
    }

    pub(super) fn import(&self) -> &Arc<Import> {
        &self.import
    }

    /// Whether a call can go to it; `false` where another one ought to be chosen.
    pub(super) fn may_take_call(self: &Arc<Self>, now: Time) -> bool {
        // All are avoided, and this one for the shortest time.
        let as_the_last = self.health.avoided_until() > now;
        if as_the_last || self.import.is_connected() {
            self.health.try_again(now);
            return true;
        }
        // No call waits for the way to it: it is looked for beside the calls.
        self.health.fail(now);
        let member = self.clone();
        self.import.node().spawn(async move {
            if member.import.start(|_| ()).await.is_ok() && member.import.is_connected() {
                member.health.recover();
            }
        });
        false
    }
}

impl Candidate for Arc<Member> {
    fn number(&self) -> u64 {
        self.number
    }

    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn avoided_until(&self) -> Time {
        self.health.avoided_until()
    }
}

/// A call of a member, which counts as one in flight until it is over. A clone only names the member.
pub(crate) struct Turn {
    member: Arc<Member>,
    counts: bool,
}

impl Turn {
    pub(super) fn new(member: &Arc<Member>) -> Self {
        member.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { member: member.clone(), counts: true }
    }

    pub(crate) fn import(&self) -> &Arc<Import> {
        &self.member.import
    }

    /// The object and its group, for messages.
    pub(crate) fn describe_object(&self) -> String {
        format!("{} of {}", self.member.import.id(), self.member.group)
    }

    /// It was answered, in whatever way.
    pub(crate) fn handle_answer(&self) {
        self.member.health.recover();
    }

    /// It is over without an answer: where that is the member's fault, others are called for a while.
    pub(crate) fn handle_failure(&mut self, error: &RemoteError, now: Time) {
        self.end();
        if cannot_be_called(error) {
            self.member.health.fail(now);
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.counts) {
            self.member.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Whether it is the member's fault that it was not called, so that another one may do better.
pub(super) fn cannot_be_called(error: &RemoteError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionLost
            | ErrorKind::NoSuchObject
            | ErrorKind::Overloaded
            | ErrorKind::Shutdown
            | ErrorKind::Unreachable
    )
}

impl Clone for Turn {
    fn clone(&self) -> Self {
        Self { member: self.member.clone(), counts: false }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object {} of node {}", self.import.id(), self.import.owner())
    }
}

//! References to a name that several objects are joined under: each call goes to one of them.
//!
//! ```text
//! Remote ─▶ Balanced: how it chooses ─▶ Group: the members, shared by all references to the name
//! Remote ─▶ Balanced ──────────────────────┘   └▶ Member: an import, its calls in flight, its health
//! ```
//!
//! A member that fails is avoided for a while, and a call that certainly did not run goes to another
//! one: the rest is what `retry.rs` says of all calls.

mod choice;
mod group;
mod health;
mod member;

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;

pub(crate) use self::member::Turn;
pub use self::{choice::Balance, group::Group};
use self::{choice::Chooser, member::Member};
use crate::{
    error::{Certainty, RemoteError},
    import::Import,
};

/// A reference to a group. Clones, and the same reference with other options, choose together.
pub(crate) struct Balanced {
    group: Arc<Group>,
    chooser: Mutex<Chooser>,
}

impl Balanced {
    pub(crate) fn new(group: Arc<Group>, balance: Balance) -> Arc<Self> {
        let chooser = Mutex::new(Chooser::new(balance, fastrand::Rng::new()));
        Arc::new(Self { group, chooser })
    }

    pub(crate) fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Whom the next call goes to; `None` where the group has no member.
    pub(crate) fn choose(&self) -> Option<Turn> {
        self.pick().map(|member| Turn::new(&member))
    }

    /// What is passed on in place of the reference.
    pub(crate) fn current(&self) -> Result<Arc<Import>, RemoteError> {
        self.pick().map(|member| member.import().clone()).ok_or_else(|| self.nobody())
    }

    fn pick(&self) -> Option<Arc<Member>> {
        let (members, now) = (self.group.members(), self.group.node().now());
        let mut chooser = self.chooser.lock();
        let mut chosen = chooser.choose(&members, now)?;
        // One that cannot be called at once is avoided from now on, so that this comes to an end.
        for _ in 0..members.len() {
            if chosen.may_take_call(now) {
                break;
            }
            chosen = chooser.choose(&members, now)?;
        }
        Some(chosen.clone())
    }

    /// That there is nobody to call.
    pub(crate) fn nobody(&self) -> RemoteError {
        group::nobody(self.group.name())
    }

    /// How many other members a call can go to that one has not taken.
    pub(crate) fn others(&self) -> u32 {
        u32::try_from(self.group.members().len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// Waits before a call goes again, to whomever there is then.
    pub(crate) async fn wait(&self, pause: Duration) {
        if self.group.members().is_empty() {
            self.group.wait_for_somebody(pause).await;
        } else {
            tokio::time::sleep(pause).await;
        }
    }

    /// The error of a call that was given up: where no member has taken it, it says so.
    pub(crate) fn give_up(&self, error: RemoteError) -> RemoteError {
        let count = self.group.members().len();
        let did_not_run = matches!(error.certainty(), Certainty::NotSent | Certainty::NotExecuted);
        if count == 0 || !did_not_run || !member::cannot_be_called(&error) {
            return error;
        }
        let given_up = RemoteError::new(error.kind(), format!("none of its {count} members can be called"));
        let given_up = given_up.with_certainty(error.certainty()).with_object(self.group.name());
        let named = error.method().map(str::to_owned);
        let given_up = given_up.with_source(&error);
        named.into_iter().fold(given_up, RemoteError::with_method)
    }

    /// Ends when the group has no member any more.
    pub(crate) fn broken(&self) -> impl Future<Output = RemoteError> + Send + use<> {
        self.group.emptied()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.group.members().iter().any(|member| member.import().is_connected())
    }
}

impl PartialEq for Balanced {
    /// By the name, and where it is known.
    fn eq(&self, other: &Self) -> bool {
        self.group.name() == other.group.name()
    }
}

impl fmt::Debug for Balanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.group.fmt(f)
    }
}

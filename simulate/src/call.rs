//! A call as the model knows it.

use std::{fmt, time::Duration};

use rmi_core::{Certainty, ErrorKind, Remote, RemoteError};
use tokio::time::Instant;

use crate::{
    network::NodeKey,
    path::Path,
    thing::Thing,
    world::{FamilyKey, HoldingKey, ObjectKey},
};

/// The number of a call, which it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag(pub(crate) u64);

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// An object, through a reference and its clones.
    Family(FamilyKey),
    /// The object that a node serves by name.
    Door(NodeKey),
}

/// What is called for.
pub(crate) enum Errand {
    Touch,
    Linger(Duration),
    Put(Vec<(FamilyKey, Remote<dyn Thing>)>),
    Get(Vec<HoldingKey>),
    Nest(FamilyKey, Remote<dyn Thing>),
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Touch => f.write_str("touch"),
            Self::Linger(time) => write!(f, "linger({time:?})"),
            Self::Put(given) => write!(f, "put({:?})", given.iter().map(|(family, _)| family).collect::<Vec<_>>()),
            Self::Get(wanted) => write!(f, "get({wanted:?})"),
            Self::Nest(family, _) => write!(f, "nest({family:?})"),
        }
    }
}

/// A call from its beginning to the end of the program.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) caller: NodeKey,
    pub(crate) callee: NodeKey,
    pub(crate) target: Target,
    pub(crate) object: Option<ObjectKey>,
    pub(crate) began: Instant,
    /// Its place among the calls of its family.
    pub(crate) place: u64,
    /// Whether its method calls others, whose time is its own.
    pub(crate) nests: bool,
    /// Whether both nodes are up since it began.
    pub(crate) undisturbed: bool,
    /// How often its method began.
    pub(crate) ran: u32,
    pub(crate) end: Option<End>,
    /// The references that it carries, or that its result does.
    pub(crate) passed: Vec<Path>,
    /// The references that it asks for.
    pub(crate) wanted: Vec<HoldingKey>,
}

/// How a call ended for its caller.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Answered,
    Failed(RemoteError),
    /// The caller went away.
    Dropped,
}

impl Call {
    /// What its end claims wrongly.
    pub(crate) fn lie(&self) -> Option<String> {
        match &self.end {
            Some(End::Answered) if self.ran != 1 => Some(format!("an answered call ran {} times", self.ran)),
            Some(End::Failed(error)) => match error.certainty() {
                Certainty::NotSent | Certainty::NotExecuted if self.ran > 0 => {
                    Some(format!("a call ran whose error says {:?}: {error}", error.certainty()))
                }
                Certainty::Executed if self.ran == 0 => {
                    Some(format!("a call did not run whose error says that it did: {error}"))
                }
                _ => None,
            },
            _ if self.ran > 1 => Some(format!("a call ran {} times", self.ran)),
            _ => None,
        }
    }

    /// Whether the failure is what the time that it had explains.
    pub(crate) fn ran_out_of_time(&self, error: &RemoteError, call_timeout: Duration) -> bool {
        error.kind() == ErrorKind::DeadlineExceeded
            && self.nests
            && self.began.elapsed() + Duration::from_secs(1) > call_timeout
    }
}

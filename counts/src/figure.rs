//! A figure: the instructions of one call, on one side.

use std::fmt;

use crate::case::Case;

/// Who spends the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The process that calls.
    Client,
    /// The process that holds the object.
    Server,
}

/// What one call costs one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) case: Case,
    pub(crate) side: Side,
    pub(crate) instructions: u64,
}

impl Side {
    pub(crate) const ALL: [Self; 2] = [Self::Client, Self::Server];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

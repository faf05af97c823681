//! What bytes from a peer can be wrong with.

use super::{codec::DecodeError, frame::Kind, varint::VarintError};
use crate::{ErrorKind, RemoteError};

/// Bytes that are not the protocol. Whoever sent them loses the connection, and nothing else.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A message ends within a field.
    #[error("a message ends within {0}")]
    Truncated(&'static str),
    /// A message goes on after its last field.
    #[error("{0} bytes follow the end of a message")]
    Trailing(usize),
    /// A frame of a kind that this version does not know.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// A frame of a kind that this version did not offer.
    #[error("a frame of kind {0:?}, which was not offered")]
    NotOffered(Kind),
    /// A tag or a set of flags that this version does not know.
    #[error("unknown {what} {tag:#x}")]
    UnknownTag {
        /// What the tag selects.
        what: &'static str,
        /// The tag.
        tag: u64,
    },
    /// A frame whose length cannot be.
    #[error("a frame claims {0} bytes; frames hold 1 to 65536, longer messages travel in chunks")]
    BadLength(u32),
    /// The peer speaks another protocol.
    #[error("peer does not speak rmi: it sent {0}")]
    NotRmi(String),
    /// Something exceeds a limit of this node.
    #[error("{what}: {size} exceeds the limit of {limit}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        size: u64,
        /// How large it may be.
        limit: u64,
    },
    /// Text that is not UTF-8.
    #[error("{0} is not valid UTF-8")]
    Utf8(&'static str),
    /// A field whose value cannot be.
    #[error("{what}: {problem}")]
    BadValue {
        /// The field.
        what: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A message that is well formed and that the state of the link does not allow.
    #[error("the peer {0}")]
    Broken(&'static str),
    /// The two nodes have no version in common.
    #[error(
        "no common version: this node speaks {} to {}, the peer {} to {}",
        ours.0, ours.1, theirs.0, theirs.1
    )]
    Versions {
        /// The least and the greatest version of this node.
        ours: (u32, u32),
        /// The least and the greatest version of the peer.
        theirs: (u32, u32),
    },
    /// A value within a message could not be decoded.
    #[error(transparent)]
    Value(#[from] DecodeError),
}

impl WireError {
    pub(crate) const fn varint(error: VarintError, what: &'static str) -> Self {
        match error {
            VarintError::Truncated => Self::Truncated(what),
            VarintError::TooWide => Self::BadValue { what, problem: "the integer is too wide" },
        }
    }
}

impl From<WireError> for RemoteError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Value(error) => error.into(),
            WireError::Limit { .. } => Self::new(ErrorKind::TooLarge, error.to_string()),
            _ => Self::new(ErrorKind::Protocol, error.to_string()),
        }
    }
}

//! Who a peer is.

use std::{fmt, sync::Arc};

/// Who a peer is, as far as it has proved it. What a node claims of itself, its id, is no proof.
///
/// Written as policies name it: `anonymous`, `cert:bank.example`, `uid:1000`, `token:alice`.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Principal {
    /// It has proved nothing.
    #[default]
    Anonymous,
    /// The owner of a certificate that an authority has signed whom this node believes: the first of the certificate's
    /// alternative names, else its common name.
    Certificate(Arc<str>),
    /// A user of this host, whom the system vouches for over a unix socket.
    User {
        /// The number of the user.
        uid: u32,
    },
    /// The bearer of a token, by the word of the node's [`Authenticator`](crate::Authenticator).
    Token(Arc<str>),
}

impl Principal {
    /// The bearer of a token that stands for this name.
    #[must_use]
    pub fn token(name: impl Into<Arc<str>>) -> Self {
        Self::Token(name.into())
    }

    /// Whether it has proved nothing.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        *self == Self::Anonymous
    }
}

/// Without characters that would confuse a log.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Certificate(name) => write!(f, "cert:{}", name.escape_debug()),
            Self::User { uid } => write!(f, "uid:{uid}"),
            Self::Token(name) => write!(f, "token:{}", name.escape_debug()),
        }
    }
}

//! Whom a node takes its peers for, and what they may call.

mod policy;
mod tokens;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

pub use self::policy::{Policy, PolicyError};
pub(crate) use self::tokens::{Place, TokenSource, Tokens};
use crate::{
    error::{Certainty, ErrorKind, RemoteError},
    id::{NodeId, ObjectId},
    principal::Principal,
    transport::PeerAddr,
};

/// Decides who the nodes are that dial this one, in their handshake.
///
/// Without one a peer is whom its transport has [proof](Principal) of, and tokens are not looked at.
///
/// ```
/// use rmi_core::{Authenticator, Credentials, ErrorKind, Principal, RemoteError, async_trait};
///
/// /// Takes nobody without a token.
/// struct Guests;
///
/// #[async_trait]
/// impl Authenticator for Guests {
///     async fn authenticate(&self, shown: &Credentials<'_>) -> rmi_core::Result<Principal> {
///         // Ask whom you like: the dialler waits, and no other peer does.
///         match shown.token() {
///             Some(token) if token_of_alice(token) => Ok(Principal::token("alice")),
///             Some(_) => Err(RemoteError::new(ErrorKind::AccessDenied, "nobody knows the token: ask for a new one")),
///             None => Err(RemoteError::new(ErrorKind::AccessDenied, "show a token: NodeBuilder::token")),
///         }
///     }
/// }
/// # fn token_of_alice(_: &[u8]) -> bool { true }
/// ```
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Who the peer is. It has the time of the handshake for that
    /// ([`Limits::connect_timeout`](crate::Limits::connect_timeout)). A link is resumed only by whom it was opened.
    ///
    /// # Errors
    ///
    /// Where the node takes no link of this peer, who is told the kind and the message: say what to do.
    async fn authenticate(&self, shown: &Credentials<'_>) -> Result<Principal, RemoteError>;
}

/// What a peer that dialled shows of itself.
pub struct Credentials<'a> {
    pub(crate) token: Option<&'a [u8]>,
    pub(crate) principal: &'a Principal,
    pub(crate) peer_addr: &'a PeerAddr,
}

impl Credentials<'_> {
    /// The token that it was given with [`NodeBuilder::token`](crate::NodeBuilder::token) for this node; at most 16 KiB.
    /// Compare it in constant time, or look its hash up: how long a comparison takes tells how much of a guess is right.
    #[must_use]
    pub fn token(&self) -> Option<&[u8]> {
        self.token
    }

    /// Who it is by its certificate, or by the word of the system.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        self.principal
    }

    /// Where it was seen.
    #[must_use]
    pub fn peer_addr(&self) -> &PeerAddr {
        self.peer_addr
    }
}

/// Without the token, which is a secret.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token", &self.token.map(|_| ".."))
            .field("principal", self.principal)
            .field("peer_addr", self.peer_addr)
            .finish()
    }
}

/// Decides for each call that arrives whether its caller may make it. [`Policy`] is one that is read from a file.
///
/// What is forbidden, what does not exist and what the object has no method for look alike to who may not call it: all
/// are [`ErrorKind::AccessDenied`].
pub trait Authorizer: Send + Sync + 'static {
    /// Whether the call may be made. Asked before its arguments are decoded, where they are read: do not wait here. A panic
    /// forbids the call.
    fn may_call(&self, access: &Access<'_>) -> bool;

    /// Whether a call that may be made may be for this name. Asked by services that have names, such as the registry.
    fn may_name(&self, access: &Access<'_>, name: &str) -> bool {
        let _ = (access, name);
        true
    }
}

/// A call that somebody makes.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Access<'a> {
    /// Who calls.
    pub principal: &'a Principal,
    /// The node by which it calls, as that says of itself: no proof of anything.
    pub peer: NodeId,
    /// Where that was seen.
    pub peer_addr: &'a PeerAddr,
    /// The interface of the method, such as `bank.Account`; empty where the object has no such method, or is unknown.
    pub interface: &'a str,
    /// The method, such as `open`; empty likewise.
    pub method: &'a str,
    /// The object; `None` where there is none.
    pub object: Option<ObjectId>,
    /// The name of the service that is called, such as `registry`, where it was called by that.
    pub service: Option<&'a str>,
}

impl<'a> Access<'a> {
    /// A call by this peer of what does not exist, for tests of authorizers.
    #[must_use]
    pub fn new(principal: &'a Principal, peer: NodeId, peer_addr: &'a PeerAddr) -> Self {
        Self { principal, peer, peer_addr, interface: "", method: "", object: None, service: None }
    }

    /// The same of this method.
    #[must_use]
    pub fn of(self, interface: &'a str, method: &'a str) -> Self {
        Self { interface, method, ..self }
    }
}

/// What a node believes, and shows.
#[derive(Default)]
pub(crate) struct Trust {
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) authorizer: Option<Arc<dyn Authorizer>>,
    pub(crate) tokens: Tokens,
}

impl Trust {
    /// Who the peer is that dialled.
    pub(crate) async fn authenticate(
        &self,
        token: Option<&Bytes>,
        principal: Principal,
        peer_addr: &PeerAddr,
    ) -> Result<Principal, RemoteError> {
        let Some(authenticator) = &self.authenticator else { return Ok(principal) };
        let shown = Credentials { token: token.map(|token| &**token), principal: &principal, peer_addr };
        authenticator.authenticate(&shown).await
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("authenticator", &self.authenticator.is_some())
            .field("authorizer", &self.authorizer.is_some())
            .field("tokens", &self.tokens)
            .finish()
    }
}

/// What all get who may not call what they called, whether it exists or not.
pub(crate) fn denied(principal: &Principal) -> RemoteError {
    let message = format!("there is no such object and method, or the caller, {principal}, may not call it");
    RemoteError::new(ErrorKind::AccessDenied, message).with_certainty(Certainty::NotExecuted)
}

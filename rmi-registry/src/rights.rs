//! Who may do what with which name.

use std::sync::Arc;

use rmi_core::{Access, Authorizer, Context, Principal, transport::PeerAddr};
use tracing::info;

use crate::{
    error::RegistryError,
    service::{INTERFACE, SUBSCRIPTION},
};

/// What somebody does with a name, as policies call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Bind,
    Rebind,
    Unbind,
    Join,
    Leave,
    Lookup,
    List,
}

impl Right {
    const ALL: [Self; 7] = [Self::Bind, Self::Rebind, Self::Unbind, Self::Join, Self::Leave, Self::Lookup, Self::List];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Rebind => "rebind",
            Self::Unbind => "unbind",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Lookup => "lookup",
            Self::List => "list",
        }
    }

    /// Any of these lets a method of the registry be called.
    fn of(method: &str) -> &'static [Self] {
        match method {
            "bind" => &[Self::Bind],
            "rebind" => &[Self::Rebind],
            "unbind" => &[Self::Unbind],
            "join" => &[Self::Join],
            "leave" => &[Self::Leave],
            "lookup" | "find" | "watch_name" => &[Self::Lookup],
            "list" | "watch" => &[Self::List],
            "reconcile" => &[Self::Bind, Self::Rebind, Self::Unbind, Self::Join, Self::Leave],
            "attend" => &Self::ALL,
            _ => &[],
        }
    }

    const fn changes(self) -> bool {
        !matches!(self, Self::Lookup | Self::List)
    }
}

/// Sees that the caller may do one of these with the name, or with all names that begin so.
///
/// # Errors
///
/// Where it may not: by the policy of the registry, else because it is on another host and would change the name.
pub(crate) fn permit(rights: &[Right], name: &str) -> Result<(), RegistryError> {
    // Without a context the call comes from this process.
    let Some(context) = Context::current() else { return Ok(()) };
    let by_policy = |right: &Right| context.may_name(INTERFACE, right.as_str(), name);
    let policy = rights.iter().map(by_policy).collect::<Option<Vec<bool>>>().map(|may| may.contains(&true));
    if policy.unwrap_or_else(|| may_by_default(rights, &context.peer_addr())) {
        return Ok(());
    }
    let denied = policy.and_then(|_| rights.first()).map(|right| right.as_str().to_owned());
    let peer = match context.principal() {
        Principal::Anonymous => context.peer_addr().to_string(),
        principal => format!("{principal} ({})", context.peer_addr()),
    };
    info!(?name, %peer, right = denied.as_deref(), "refused");
    Err(RegistryError::AccessDenied { name: name.to_owned(), peer, registry: String::new(), denied })
}

/// The policy of a registry that was given none.
pub(crate) struct OwnHost;

impl Authorizer for OwnHost {
    fn may_call(&self, access: &Access<'_>) -> bool {
        let right = Right::ALL.into_iter().find(|right| right.as_str() == access.method);
        access.interface != INTERFACE || right.is_some_and(|right| may_by_default(&[right], access.peer_addr))
    }

    fn may_name(&self, access: &Access<'_>, _: &str) -> bool {
        self.may_call(access)
    }
}

/// All may look up, and this host may bind.
fn may_by_default(rights: &[Right], peer: &PeerAddr) -> bool {
    peer.same_host() || !rights.iter().any(|right| right.changes())
}

/// An authorizer that is asked for the rights which the calls of a registry need.
pub(crate) struct ByRight(pub(crate) Arc<dyn Authorizer>);

impl Authorizer for ByRight {
    fn may_call(&self, access: &Access<'_>) -> bool {
        match access.interface {
            INTERFACE => Right::of(access.method).iter().any(|right| {
                let mut access = access.clone();
                access.method = right.as_str();
                self.0.may_call(&access)
            }),
            // The registry's own, of which each watcher is given one.
            SUBSCRIPTION => true,
            _ => self.0.may_call(access),
        }
    }

    fn may_name(&self, access: &Access<'_>, name: &str) -> bool {
        self.0.may_name(access, name)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rmi_core::{NodeId, interface::Interface};

    use super::*;
    use crate::service::{NameService, Subscription};

    #[test]
    fn names_are_changed_only_from_the_same_host() {
        let seen = |peer: &str, own: &str| PeerAddr::tcp(peer.parse::<SocketAddr>().unwrap(), own.parse().unwrap());
        let unix = PeerAddr::Unix { uid: Some(7), pid: None };
        for same in [
            seen("127.0.0.1:7", "127.0.0.1"),
            seen("10.0.0.1:7", "10.0.0.1"),
            seen("[::ffff:10.0.0.1]:7", "10.0.0.1"),
            unix,
            PeerAddr::Memory,
        ] {
            assert!(Right::ALL.iter().all(|right| may_by_default(&[*right], &same)), "{same}");
        }
        for other in [seen("10.0.0.2:7", "10.0.0.1"), PeerAddr::Other("by pigeon".into())] {
            let may: Vec<_> = Right::ALL.into_iter().filter(|right| may_by_default(&[*right], &other)).collect();
            assert_eq!(may, [Right::Lookup, Right::List], "{other}");
        }
    }

    #[test]
    fn every_method_needs_a_right() {
        let registry = <dyn NameService as Interface>::descriptor();
        assert_eq!(registry.name.to_string(), INTERFACE);
        assert_eq!(<dyn Subscription as Interface>::descriptor().name.to_string(), SUBSCRIPTION);
        for method in registry.methods {
            assert!(!Right::of(method.name).is_empty(), "{} can be called by nobody", method.name);
        }
    }

    #[test]
    fn an_authorizer_is_asked_for_rights() {
        /// Lets all bind, and do nothing else.
        struct Bank;

        impl Authorizer for Bank {
            fn may_call(&self, access: &Access<'_>) -> bool {
                (access.interface, access.method) == (INTERFACE, "bind")
            }
        }

        let (principal, peer_addr) = (&Principal::Anonymous, &PeerAddr::Memory);
        let may = |interface, method| {
            let access = Access::new(principal, NodeId::from_bytes([1; 16]), peer_addr).of(interface, method);
            ByRight(Arc::new(Bank)).may_call(&access)
        };
        for (interface, method, allowed) in [
            (INTERFACE, "bind", true),
            (INTERFACE, "reconcile", true),
            (INTERFACE, "attend", true),
            (INTERFACE, "lookup", false),
            (INTERFACE, "find", false),
            (INTERFACE, "", false),
            (SUBSCRIPTION, "is_live", true),
            ("bank.Account", "bind", false),
        ] {
            assert_eq!(may(interface, method), allowed, "{interface} {method}");
        }
    }
}

//! What an operation on a registry can fail with.

use rmi_core::{Certainty, ErrorKind, RemoteError};
use serde::{Deserialize, Serialize};

/// Why an operation on a registry failed.
///
/// Every message says what to do. The field `registry` is the URL of the registry as the caller
/// wrote it, and empty in errors that have not left the registry yet.
// It travels by the order of its variants: new ones go to the end.
#[non_exhaustive]
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum RegistryError {
    /// Nothing is bound to the name.
    #[error("{name:?} is not bound{}; bind it there first, or list the names that are", at(registry))]
    NotBound {
        /// The name looked up or unbound.
        name: String,
        /// The registry's URL.
        registry: String,
    },
    /// Another object is bound to the name.
    #[error("{name:?} is bound already{}; unbind it first, or use rebind to replace it", at(registry))]
    AlreadyBound {
        /// The name that was to be bound.
        name: String,
        /// The registry's URL.
        registry: String,
    },
    /// The text is not a name.
    #[error("{name:?} is not a name: {reason}")]
    InvalidName {
        /// The text given for a name.
        name: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The object bound to the name does not implement the interface asked for, or those that are joined
    /// under it have other interfaces than the one to be joined.
    #[error("{name:?}{} is not a {wanted}: it implements {}", at(registry), list(found))]
    WrongInterface {
        /// The name looked up or to be joined under.
        name: String,
        /// The interface asked for, or those of the object to be joined.
        wanted: String,
        /// The interfaces that the object bound to the name implements.
        found: Vec<String>,
        /// The registry's URL.
        registry: String,
    },
    /// The caller may not do this with the name.
    #[error("{}", why_denied(name, peer, registry, denied.as_deref()))]
    AccessDenied {
        /// The name, or the beginning of the names to be listed; empty where the caller may do so with none.
        name: String,
        /// The caller as the registry knows it: who it is, and the address that it was seen at.
        peer: String,
        /// The registry's URL.
        registry: String,
        /// What the registry's policy forbids, such as `bind`; `None` where it has none, and takes changes only from
        /// its own host.
        denied: Option<String>,
    },
    /// The call itself failed.
    #[error(transparent)]
    Remote(RemoteError),
    /// The text is not the URL of a registry, or not one that can be used here.
    #[error("cannot use the URL {url:?}: {reason}")]
    InvalidUrl {
        /// The URL given.
        url: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A local object was to be bound whose node listens nowhere, so that nobody could call it.
    #[error(
        "{name:?} cannot be bound{}: its node listens nowhere, so nobody could call it; start the node with \
         Node::builder().listen(\"tcp://0.0.0.0:0\") and use Registry::connect_with(&node, url)",
        at(registry)
    )]
    NotListening {
        /// The name that was to be bound.
        name: String,
        /// The registry's URL.
        registry: String,
    },
    /// A registry was not started.
    #[error("the registry cannot start: {reason}")]
    NotStarted {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// None of several registries has answered.
    #[error("none of the registries of {registry} answers: {}", each(reasons))]
    NoAnswer {
        /// The URL that names them.
        registry: String,
        /// The URL of each, and why the call of it failed.
        reasons: Vec<(String, RemoteError)>,
    },
    /// As many objects are joined under the name as there may be.
    #[error(
        "{name:?}{} has {limit} members and takes no more; let some leave, or join under another name",
        at(registry)
    )]
    TooManyMembers {
        /// The name to join under.
        name: String,
        /// How many members it may have.
        limit: u32,
        /// The registry's URL.
        registry: String,
    },
}

impl RegistryError {
    /// The same error, naming the registry at `url`.
    #[must_use]
    pub(crate) fn at(mut self, url: &str) -> Self {
        match &mut self {
            Self::NotBound { registry, .. }
            | Self::AlreadyBound { registry, .. }
            | Self::WrongInterface { registry, .. }
            | Self::AccessDenied { registry, .. }
            | Self::NotListening { registry, .. }
            | Self::TooManyMembers { registry, .. } => url.clone_into(registry),
            Self::InvalidName { .. }
            | Self::InvalidUrl { .. }
            | Self::Remote(_)
            | Self::NotStarted { .. }
            | Self::NoAnswer { .. } => {}
        }
        self
    }
}

fn at(registry: &str) -> String {
    if registry.is_empty() { String::new() } else { format!(" at {registry}") }
}

impl From<RemoteError> for RegistryError {
    fn from(error: RemoteError) -> Self {
        // Refused before the registry looked at any name.
        if error.kind() == ErrorKind::AccessDenied && error.certainty() == Certainty::NotExecuted {
            let deed = error.method().and_then(|method| method.rsplit('.').next()).unwrap_or("change");
            let (name, peer, registry) = (String::new(), String::from("this node"), String::new());
            return Self::AccessDenied { name, peer, registry, denied: Some(deed.to_owned()) };
        }
        Self::Remote(error)
    }
}

fn why_denied(name: &str, peer: &str, registry: &str, denied: Option<&str>) -> String {
    let at = at(registry);
    match denied {
        Some(deed) if name.is_empty() => format!(
            "the registry{at} does not let {peer} {deed} any name: without a policy only its own host changes names, and              with one a rule has to allow it"
        ),
        Some(deed) => {
            format!("the policy of the registry{at} does not let {peer} {deed} {name:?}; have a rule added for it")
        }
        None => format!(
            "{name:?} may be changed only from the registry's own host{at}, and this came from {peer}; run the server \
             on that host, or start a registry beside the server"
        ),
    }
}

fn list(interfaces: &[String]) -> String {
    if interfaces.is_empty() { "no interface known here".into() } else { interfaces.join(", ") }
}

fn each(reasons: &[(String, RemoteError)]) -> String {
    reasons.iter().map(|(url, error)| format!("{url}: {error}")).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<RegistryError> {
        let (name, registry) = (String::from("bank"), String::new());
        vec![
            RegistryError::NotBound { name: name.clone(), registry: registry.clone() },
            RegistryError::AlreadyBound { name: name.clone(), registry: registry.clone() },
            RegistryError::InvalidName { name: name.clone(), reason: "of its age".into() },
            RegistryError::WrongInterface {
                name: name.clone(),
                wanted: "demo.Bank".into(),
                found: vec!["demo.Shop".into(), "demo.Till".into()],
                registry: registry.clone(),
            },
            RegistryError::AccessDenied {
                name: name.clone(),
                peer: "10.0.0.7:4242".into(),
                registry: registry.clone(),
                denied: None,
            },
            RegistryError::Remote(RemoteError::new(ErrorKind::Unreachable, "no answer")),
            RegistryError::InvalidUrl { url: "x".into(), reason: "it is short".into() },
            RegistryError::NotListening { name: name.clone(), registry: registry.clone() },
            RegistryError::NotStarted { reason: "the port is taken".into() },
            RegistryError::NoAnswer {
                registry: "rmi://h:1,i:2".into(),
                reasons: ["rmi://h:1", "rmi://i:2"]
                    .map(|url| (url.into(), RemoteError::new(ErrorKind::Unreachable, "no answer")))
                    .into(),
            },
            RegistryError::TooManyMembers { name, limit: 256, registry },
        ]
    }

    #[test]
    fn messages_name_the_registry_and_say_what_to_do() {
        let messages: Vec<_> = all().into_iter().map(|error| error.at("rmi://h:1099").to_string()).collect();
        assert_eq!(
            messages,
            [
                "\"bank\" is not bound at rmi://h:1099; bind it there first, or list the names that are",
                "\"bank\" is bound already at rmi://h:1099; unbind it first, or use rebind to replace it",
                "\"bank\" is not a name: of its age",
                "\"bank\" at rmi://h:1099 is not a demo.Bank: it implements demo.Shop, demo.Till",
                "\"bank\" may be changed only from the registry's own host at rmi://h:1099, and this came from \
                 10.0.0.7:4242; run the server on that host, or start a registry beside the server",
                "unreachable: no answer",
                "cannot use the URL \"x\": it is short",
                "\"bank\" cannot be bound at rmi://h:1099: its node listens nowhere, so nobody could call it; start \
                 the node with Node::builder().listen(\"tcp://0.0.0.0:0\") and use Registry::connect_with(&node, url)",
                "the registry cannot start: the port is taken",
                "none of the registries of rmi://h:1,i:2 answers: rmi://h:1: unreachable: no answer; rmi://i:2: \
                 unreachable: no answer",
                "\"bank\" at rmi://h:1099 has 256 members and takes no more; let some leave, or join under another name",
            ]
        );
    }

    #[test]
    fn a_policy_is_told_apart_from_the_rule_of_the_host() {
        let denied = |registry: &str| RegistryError::AccessDenied {
            name: "bank".into(),
            peer: "cert:eve".into(),
            registry: registry.into(),
            denied: Some("bind".into()),
        };
        assert_eq!(
            denied("rmis://h:1099").to_string(),
            "the policy of the registry at rmis://h:1099 does not let cert:eve bind \"bank\"; have a rule added for it"
        );
        assert!(denied("").to_string().starts_with("the policy of the registry does not let"));
    }

    #[test]
    fn a_message_without_a_registry_reads_well() {
        let messages: Vec<_> = all().into_iter().map(|error| error.to_string()).collect();
        assert_eq!(messages[0], "\"bank\" is not bound; bind it there first, or list the names that are");
        assert!(messages.iter().all(|message| !message.contains(" at ;") && !message.contains("  ")), "{messages:?}");
    }

    #[test]
    fn every_error_travels_and_keeps_its_number() {
        for (number, error) in all().into_iter().enumerate() {
            let bytes = postcard::to_stdvec(&error).unwrap();
            assert_eq!(usize::from(bytes[0]), number, "{error:?}");
            let back: RegistryError = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(back.to_string(), error.to_string());
        }
    }
}

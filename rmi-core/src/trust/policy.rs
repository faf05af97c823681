//! A policy that is read from a file.

#[cfg(feature = "policy")]
use std::path::Path;
use std::{fmt, io, path::PathBuf, sync::Arc};

use parking_lot::RwLock;
use serde::Deserialize;

use super::{Access, Authorizer};
use crate::principal::Principal;

/// Who may call what: an [`Authorizer`] made of rules, each of which allows something. What no rule allows is forbidden.
///
/// With the feature `policy` it is read from TOML:
///
/// ```toml
/// # All may look names up, and call what they find.
/// [[allow]]
/// principals = ["anyone"]
/// interfaces = ["rmi.Registry"]
/// methods = ["lookup", "list"]
///
/// [[allow]]
/// principals = ["cert:*.bank.example", "token:alice"]
/// interfaces = ["bank.*"]
///
/// # The bank's servers, and users of this host, may bind what begins so.
/// [[allow]]
/// principals = ["cert:server.bank.example", "same-host"]
/// interfaces = ["rmi.Registry"]
/// methods = ["bind", "rebind", "unbind"]
/// names = ["bank/"]
/// ```
///
/// | key | what it lists | where it is left out |
/// |---|---|---|
/// | `principals` | `anyone`, `same-host`, or [principals](Principal) such as `cert:..`, `uid:..`, `token:..`, `anonymous` | has to be there |
/// | `interfaces` | names such as `bank.Account` | all |
/// | `methods` | names such as `open` | all |
/// | `names` | beginnings of names, where the call is for a name | all |
///
/// A `*` in a principal, an interface or a method stands for any text. `same-host` trusts the address of the peer: where
/// a proxy or a tunnel of this host passes strangers on, they look so too.
///
/// Clones are one: what `reload` reads counts for all.
#[derive(Clone, Default)]
pub struct Policy(Arc<Inner>);

#[derive(Default)]
struct Inner {
    file: Option<PathBuf>,
    rules: RwLock<Rules>,
}

/// What the file says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(default)]
    allow: Vec<Rule>,
}

/// Something that is allowed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    principals: Vec<Who>,
    interfaces: Option<Vec<Pattern>>,
    methods: Option<Vec<Pattern>>,
    names: Option<Vec<String>>,
}

/// Who is meant by a rule.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum Who {
    Anyone,
    SameHost,
    Anonymous,
    Certificate(Pattern),
    User(u32),
    Token(Pattern),
}

/// A text in which the first `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
struct Pattern {
    head: String,
    /// What comes behind the star, if there is one.
    tail: Option<String>,
}

/// Why a policy cannot be used.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Its file cannot be read.
    #[error("cannot read the policy {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no policy.
    #[error("{place} is no policy: {problem}")]
    Invalid {
        /// Where it stands.
        place: String,
        /// What is wrong, and on which line.
        problem: String,
    },
}

#[cfg(feature = "policy")]
impl Policy {
    /// The policy in this file.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or is no policy.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, PolicyError> {
        let path = path.as_ref();
        Ok(Self(Arc::new(Inner { file: Some(path.to_owned()), rules: RwLock::new(read(path)?) })))
    }

    /// The policy that this text in TOML is.
    ///
    /// # Errors
    ///
    /// Where it is none; the error names the line.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        Ok(Self(Arc::new(Inner { file: None, rules: RwLock::new(parse(text, "the text")?) })))
    }

    /// Reads its file again: for calls from now on. A policy that is no file's stays as it is.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, or is no policy any more; then all stays as it was.
    pub fn reload(&self) -> Result<(), PolicyError> {
        if let Some(path) = &self.0.file {
            let rules = read(path)?;
            *self.0.rules.write() = rules;
        }
        Ok(())
    }
}

#[cfg(feature = "policy")]
fn read(path: &Path) -> Result<Rules, PolicyError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| PolicyError::Unreadable { path: path.to_owned(), source })?;
    parse(&text, &path.display().to_string())
}

#[cfg(feature = "policy")]
fn parse(text: &str, place: &str) -> Result<Rules, PolicyError> {
    toml::from_str(text).map_err(|error| PolicyError::Invalid {
        place: place.to_owned(),
        problem: error.to_string().trim_end().to_owned(),
    })
}

impl Policy {
    fn allows(&self, access: &Access<'_>, name: Option<&str>) -> bool {
        self.0.rules.read().allow.iter().any(|rule| rule.allows(access, name))
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("file", &self.0.file).field("rules", &self.0.rules.read().allow.len()).finish()
    }
}

impl Authorizer for Policy {
    fn may_call(&self, access: &Access<'_>) -> bool {
        self.allows(access, None)
    }

    fn may_name(&self, access: &Access<'_>, name: &str) -> bool {
        self.allows(access, Some(name))
    }
}

impl Rule {
    fn allows(&self, access: &Access<'_>, name: Option<&str>) -> bool {
        let is_one = |of: &Option<Vec<Pattern>>, text: &str| {
            of.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.fits(text)))
        };
        self.principals.iter().any(|who| who.is(access))
            && is_one(&self.interfaces, access.interface)
            && is_one(&self.methods, access.method)
            && match (&self.names, name) {
                (Some(beginnings), Some(name)) => beginnings.iter().any(|beginning| name.starts_with(beginning)),
                _ => true,
            }
    }
}

impl Who {
    fn is(&self, access: &Access<'_>) -> bool {
        match (self, access.principal) {
            (Self::Anyone, _) | (Self::Anonymous, Principal::Anonymous) => true,
            (Self::SameHost, _) => access.peer_addr.same_host(),
            (Self::Certificate(pattern), Principal::Certificate(name))
            | (Self::Token(pattern), Principal::Token(name)) => pattern.fits(name),
            (Self::User(uid), Principal::User { uid: found }) => uid == found,
            _ => false,
        }
    }
}

impl TryFrom<String> for Who {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "anyone" => Ok(Self::Anyone),
            None if text == "same-host" => Ok(Self::SameHost),
            None if text == "anonymous" => Ok(Self::Anonymous),
            Some(("cert", name)) => Ok(Self::Certificate(name.to_owned().into())),
            Some(("token", name)) => Ok(Self::Token(name.to_owned().into())),
            Some(("uid", number)) => {
                number.parse().map(Self::User).map_err(|_| format!("{text:?}: a uid is a number, as in uid:1000"))
            }
            _ => Err(format!(
                "{text:?} is no principal: write anyone, same-host, anonymous, cert:NAME, uid:NUMBER or token:NAME"
            )),
        }
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        match text.split_once('*') {
            Some((head, tail)) => Self { head: head.to_owned(), tail: Some(tail.to_owned()) },
            None => Self { head: text, tail: None },
        }
    }
}

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        match &self.tail {
            None => text == self.head,
            Some(tail) => text.strip_prefix(self.head.as_str()).is_some_and(|rest| rest.ends_with(tail.as_str())),
        }
    }
}

#[cfg(all(test, feature = "policy"))]
mod tests {
    use super::*;
    use crate::{id::NodeId, transport::PeerAddr};

    const POLICY: &str = r#"
        [[allow]]
        principals = ["anyone"]
        interfaces = ["rmi.Registry"]
        methods = ["lookup", "list"]

        [[allow]]
        principals = ["cert:*.bank.example", "token:alice", "uid:1000"]
        interfaces = ["bank.*"]

        [[allow]]
        principals = ["cert:server.bank.example", "same-host"]
        interfaces = ["rmi.Registry"]
        methods = ["bind"]
        names = ["bank/", "shop/"]
    "#;

    fn ask<R>(principal: &Principal, call: &str, far: bool, then: impl FnOnce(&Access<'_>) -> R) -> R {
        let own = [10, 0, 0, 1];
        let peer = if far { [10, 0, 0, 2] } else { own };
        let peer_addr = &PeerAddr::tcp((peer, 7).into(), own.into());
        let (interface, method) = call.rsplit_once('.').unwrap_or_default();
        then(&Access::new(principal, NodeId::from_bytes([1; 16]), peer_addr).of(interface, method))
    }

    #[test]
    fn what_no_rule_allows_is_forbidden() {
        let policy = Policy::from_toml(POLICY).unwrap();
        let cert = |name: &str| Principal::Certificate(name.into());
        for (principal, call, allowed) in [
            (Principal::Anonymous, "rmi.Registry.lookup", true),
            (Principal::Anonymous, "rmi.Registry.bind", false),
            (Principal::Anonymous, "bank.Account.open", false),
            (Principal::Anonymous, "", false),
            (cert("server.bank.example"), "rmi.Registry.bind", true),
            (cert("client.bank.example"), "bank.Account.open", true),
            (cert("bank.example"), "bank.Account.open", false),
            (cert("client.bank.example.evil"), "bank.Account.open", false),
            (cert("alice"), "bank.Account.open", false),
            (Principal::token("alice"), "bank.Account.open", true),
            (Principal::token("server.bank.example"), "rmi.Registry.bind", false),
            (Principal::token("alice"), "banker.Account.open", false),
            (Principal::User { uid: 1000 }, "bank.Account.open", true),
            (Principal::User { uid: 0 }, "bank.Account.open", false),
        ] {
            assert_eq!(ask(&principal, call, true, |access| policy.may_call(access)), allowed, "{principal} {call}");
        }
        assert!(ask(&Principal::Anonymous, "rmi.Registry.bind", false, |access| policy.may_call(access)), "same host");
    }

    #[test]
    fn a_rule_for_names_is_for_no_others() {
        let policy = Policy::from_toml(POLICY).unwrap();
        for (call, name, allowed) in [
            ("rmi.Registry.bind", "bank/accounts", true),
            ("rmi.Registry.bind", "shop/", true),
            ("rmi.Registry.bind", "bank", false),
            ("rmi.Registry.bind", "x/bank/", false),
            ("rmi.Registry.lookup", "anything", true),
            ("rmi.Registry.unbind", "bank/accounts", false),
        ] {
            let may = ask(&Principal::Anonymous, call, false, |access| policy.may_name(access, name));
            assert_eq!(may, allowed, "{call} {name}");
        }
    }

    #[test]
    fn an_empty_policy_allows_nothing() {
        let policy = Policy::from_toml("").unwrap();
        assert!(!ask(&Principal::User { uid: 0 }, "bank.Account.open", false, |access| policy.may_call(access)));
    }

    #[test]
    fn what_is_no_policy_is_refused_with_its_line_and_what_to_write() {
        for (text, told) in [
            ("[[allow]]\nprincipals = [\"alice\"]", "\"alice\" is no principal: write anyone, same-host"),
            ("[[allow]]\nprincipals = [\"uid:root\"]", "a uid is a number"),
            ("[[allow]]\nprincipals = [\"anyone\"]\nmethod = [\"x\"]", "unknown field `method`"),
            ("[[allow]]\ninterfaces = [\"x\"]", "missing field `principals`"),
            ("[[deny]]\nprincipals = [\"anyone\"]", "unknown field `deny`"),
            ("allow =", "line 1"),
        ] {
            let error = Policy::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains("line "), "{text}: {error}");
        }
        let path = std::env::temp_dir().join(format!("rmi-policy-{}.toml", uuid::Uuid::new_v4().simple()));
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("[[allow]]\nprincipals = [\"anyone\"]");
        let policy = Policy::from_file(&path).unwrap();
        let may = || ask(&Principal::Anonymous, "bank.Account.open", true, |access| policy.may_call(access));
        assert!(may());
        write("[[allow]]\nprincipals = [\"any\"]");
        let error = policy.clone().reload().unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()) && may(), "it stays as it was: {error}");
        write("");
        policy.clone().reload().unwrap();
        assert!(!may());
        std::fs::remove_file(&path).unwrap();
        let missing = Policy::from_file("no/such/policy.toml").unwrap_err().to_string();
        assert!(missing.contains("cannot read the policy no/such/policy.toml"), "{missing}");
    }
}

//! Where a registry is, and a name in it: `rmi://host:port/name`, over TLS `rmis://`, or a plain endpoint URL.
//!
//! ```text
//! url   = "rmi" ["s"] "://" place *("," place) ["/" name]  |  endpoint URL (tcp, tls, unix, mem, ..)
//! place = host [":" port]            host = DNS name | IPv4 | "[" IPv6 "]"        port = 0..65535
//! name  = all after the first "/", percent-decoded
//! ```

use std::{fmt, str::FromStr};

use rmi_core::endpoint::{Endpoint, EndpointError};

use crate::{error::RegistryError, name::Name};

/// The port of a registry whose URL names none.
const DEFAULT_PORT: u16 = 1099;

/// A registry, and perhaps a name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegistryUrl {
    /// At least one.
    endpoints: Vec<Endpoint>,
    name: Option<Name>,
}

impl RegistryUrl {
    /// The URL under which a registry that listens at `endpoint` is found from its own host: the
    /// loopback address stands for a wildcard one.
    pub(crate) fn on_this_host(mut endpoint: Endpoint) -> Self {
        if let Endpoint::Tcp { host, .. } | Endpoint::Tls { host, .. } = &mut endpoint {
            match host.as_str() {
                "0.0.0.0" => "127.0.0.1".clone_into(host),
                "::" => "::1".clone_into(host),
                _ => {}
            }
        }
        Self { endpoints: vec![endpoint], name: None }
    }

    /// The registry's URL and the name in it.
    pub(crate) fn split(self) -> (Self, Option<Name>) {
        (Self { endpoints: self.endpoints, name: None }, self.name)
    }

    /// The registry's URL and the name that it must hold.
    pub(crate) fn split_named(self) -> Result<(Self, Name), RegistryError> {
        match self.split() {
            (registry, Some(name)) => Ok((registry, name)),
            (registry, None) if registry.to_string().starts_with("rmi") => {
                Err(registry.invalid(format!("it names no object; write {registry}/name")))
            }
            (registry, None) => {
                Err(registry.invalid("only an rmi:// URL names an object; use Registry::connect(url) and lookup(name)"))
            }
        }
    }

    /// The endpoints to dial, each with the URL of the registry there.
    pub(crate) fn dialled(&self) -> Result<Vec<(String, Endpoint)>, RegistryError> {
        let is_any =
            |endpoint: &Endpoint| matches!(endpoint, Endpoint::Tcp { port: 0, .. } | Endpoint::Tls { port: 0, .. });
        if self.endpoints.iter().any(is_any) {
            return Err(self.invalid("port 0 means any free port and is only for listening; name the registry's port"));
        }
        let alone = |endpoint: &Endpoint| Self { endpoints: vec![endpoint.clone()], name: None }.to_string();
        let mut dialled: Vec<(String, Endpoint)> = Vec::new();
        for endpoint in &self.endpoints {
            if dialled.iter().any(|(_, known)| known == endpoint) {
                return Err(self.invalid(format!("it names {} twice; leave out one", alone(endpoint))));
            }
            dialled.push((alone(endpoint), endpoint.clone()));
        }
        Ok(dialled)
    }

    /// The endpoint to listen at; port 0 takes any free one.
    pub(crate) fn listened(&self) -> Result<Endpoint, RegistryError> {
        if let Some(name) = &self.name {
            return Err(self.invalid(format!("a registry listens without a name; leave out /{name}")));
        }
        match self.endpoints.as_slice() {
            [endpoint] => Ok(endpoint.clone()),
            _ => Err(self.invalid("each place to listen at takes a URL of its own; give them one by one")),
        }
    }

    /// That this URL cannot be used, and why.
    pub(crate) fn invalid(&self, reason: impl Into<String>) -> RegistryError {
        RegistryError::InvalidUrl { url: self.to_string(), reason: reason.into() }
    }
}

impl FromStr for RegistryUrl {
    type Err = RegistryError;

    fn from_str(url: &str) -> Result<Self, RegistryError> {
        parse(url).map_err(|fault| match fault {
            Fault::Url(reason) => RegistryError::InvalidUrl { url: url.to_owned(), reason },
            Fault::Name { name, reason } => RegistryError::InvalidName { name, reason },
        })
    }
}

impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            let url = endpoint.to_string();
            match (url.split_once("://"), at) {
                (Some(("tcp", place)), 0) => write!(f, "rmi://{place}")?,
                (Some(("tls", place)), 0) => write!(f, "rmis://{place}")?,
                (Some((_, place)), 1..) => write!(f, ",{place}")?,
                _ => f.write_str(&url)?,
            }
        }
        self.name.as_ref().map_or(Ok(()), |name| write!(f, "/{}", name.percent_encoded()))
    }
}

/// What is wrong with a URL, or with the name in it.
enum Fault {
    Url(String),
    Name { name: String, reason: String },
}

fn parse(url: &str) -> Result<RegistryUrl, Fault> {
    let Some((scheme, rest)) = url.split_once("://") else {
        let example = url.trim_start_matches('/');
        let example = if example.is_empty() { "localhost/name" } else { example };
        return Err(Fault::Url(format!("it has no scheme; write rmi://{example}")));
    };
    let (transport, scheme) = match scheme.to_ascii_lowercase().as_str() {
        "rmi" => ("tcp", "rmi"),
        "rmis" => ("tls", "rmis"),
        "tcp" | "tls" | "unix" | "mem" => {
            let endpoint = url.parse().map_err(|error: EndpointError| Fault::Url(error.to_string()))?;
            return Ok(RegistryUrl { endpoints: vec![endpoint], name: None });
        }
        _ => {
            let problem = format!("a registry's URL begins with rmi:// or rmis://, not with {scheme}://");
            return Err(Fault::Url(problem));
        }
    };
    let (places, name) = match rest.split_once('/') {
        Some((places, name)) if !name.is_empty() => (places, Some(name)),
        Some((places, _)) => (places, None),
        None => (rest, None),
    };
    let endpoints = places.split(',').map(|place| endpoint_of((transport, scheme), place)).collect::<Result<_, _>>();
    let name = name
        .map(|name| Name::from_percent_encoded(name).map_err(|reason| Fault::Name { name: name.to_owned(), reason }))
        .transpose();
    Ok(RegistryUrl { endpoints: endpoints.map_err(Fault::Url)?, name: name? })
}

/// The endpoint of `host` or `host:port`.
fn endpoint_of((transport, scheme): (&str, &str), place: &str) -> Result<Endpoint, String> {
    if place.contains('@') {
        return Err("it takes no user name; leave out all up to the @".into());
    }
    let after_brackets = place.rsplit(']').next().unwrap_or(place);
    let url = if after_brackets.contains(':') {
        format!("{transport}://{place}")
    } else {
        format!("{transport}://{place}:{DEFAULT_PORT}")
    };
    url.parse().map_err(|error| match error {
        EndpointError::Host { problem, .. } => {
            format!("{problem}; write {scheme}://localhost/name, or an IPv6 address as {scheme}://[::1]/name")
        }
        EndpointError::Port { problem, .. } => format!("{problem}; write {scheme}://localhost:{DEFAULT_PORT}/name"),
        error => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    fn parsed(url: &str) -> RegistryUrl {
        url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    fn reason(url: &str) -> String {
        match url.parse::<RegistryUrl>() {
            Err(RegistryError::InvalidUrl { url: named, reason }) => {
                assert_eq!(named, url);
                reason
            }
            other => panic!("{url} gave {other:?}"),
        }
    }

    #[test]
    fn a_url_is_hosts_and_a_name() {
        for (url, endpoint, name) in [
            ("rmi://localhost", "tcp://localhost:1099", None),
            ("rmi://localhost/", "tcp://localhost:1099", None),
            ("RMI://localhost:7/a", "tcp://localhost:7", Some("a")),
            ("rmi://10.0.0.1:65535/a/b//c", "tcp://10.0.0.1:65535", Some("a/b//c")),
            ("rmi://h//a", "tcp://h:1099", Some("/a")),
            ("rmi://h/a:1?b#c,d@e_f", "tcp://h:1099", Some("a:1?b#c,d@e_f")),
            ("rmi://h/%D0%91 банк", "tcp://h:1099", Some("Б банк")),
            ("rmi://h/rmi://x/y", "tcp://h:1099", Some("rmi://x/y")),
            ("rmi://[::1]", "tcp://[::1]:1099", None),
            ("rmi://[0:0::1]:2/a", "tcp://[::1]:2", Some("a")),
            ("rmi://My_host-1.example.:3/x", "tcp://my_host-1.example.:3", Some("x")),
            ("rmis://bank.example", "tls://bank.example:1099", None),
            ("RMIS://[::1]:2/a", "tls://[::1]:2", Some("a")),
            ("tcp://h:1", "tcp://h:1", None),
            ("tls://h:1", "tls://h:1", None),
            ("unix:///run/rmi.sock", "unix:///run/rmi.sock", None),
            ("mem://names", "mem://names", None),
        ] {
            let (registry, found) = parsed(url).split();
            let dialled: Vec<_> =
                registry.dialled().unwrap().into_iter().map(|(_, dialled)| dialled.to_string()).collect();
            assert_eq!(dialled, [endpoint], "{url}");
            assert_eq!(found.as_ref().map(Name::as_str), name, "{url}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_with_what_to_write() {
        for (url, expected) in [
            ("", "it has no scheme; write rmi://localhost/name"),
            ("//", "it has no scheme; write rmi://localhost/name"),
            ("//h/bank", "it has no scheme; write rmi://h/bank"),
            ("h:1/bank", "it has no scheme; write rmi://h:1/bank"),
            ("http://h/bank", "a registry's URL begins with rmi:// or rmis://, not with http://"),
            (" rmi://h", "a registry's URL begins with rmi:// or rmis://, not with  rmi://"),
            ("rmi:///bank", "the host is missing; "),
            ("rmis:///bank", "the host is missing; write rmis://localhost/name"),
            ("rmis://h:x", "the port is not a number; write rmis://localhost:1099/name"),
            ("rmi://:1099/bank", "the host is missing; "),
            ("rmi://a,,b/x", "the host is missing; "),
            ("rmi://me@h/bank", "it takes no user name; leave out all up to the @"),
            ("rmi://h:/bank", "the port is not a number; "),
            ("rmi://h:65536", "the port is above 65535; "),
            ("rmi://h:+1", "the port is not a number; "),
            ("rmi://h:1 /x", "the port is not a number; "),
            ("rmi://::1/x", "an IPv6 address needs brackets; "),
            ("rmi://[::1/x", "a bracket is not closed; "),
            ("rmi://[1.2.3.4]/x", "the brackets hold no IPv6 address; "),
            ("rmi://[::1]1099/x", "the port is missing; "),
            ("rmi://a b/x", "the host has characters that no host has; "),
            ("rmi://h\n/x", "the host has characters that no host has; "),
            ("rmi://127.1/x", "the host is neither a name nor an IPv4 address; "),
            ("unix://x", "\"unix://x\": the path is not absolute: write unix:///"),
            ("mem://", "\"mem://\": the name is missing: write mem://"),
        ] {
            assert!(reason(url).starts_with(expected), "{url}: {}", reason(url));
        }
    }

    #[test]
    fn a_wrong_name_is_told_apart_from_a_wrong_url() {
        let error = "rmi://h/100%".parse::<RegistryUrl>().unwrap_err();
        let RegistryError::InvalidName { name, reason } = error else { panic!("{error:?}") };
        assert_eq!(name, "100%");
        assert!(reason.contains("%25"), "{reason}");
        assert!(matches!("rmi://h/%00".parse::<RegistryUrl>(), Err(RegistryError::InvalidName { .. })));
    }

    #[test]
    fn several_registries_are_dialled_one_by_one() {
        let several = parsed("rmi://a:1,[::2]/x");
        assert_eq!(several.to_string(), "rmi://a:1,[::2]:1099/x");
        let dialled = several.dialled().unwrap().into_iter().map(|(url, endpoint)| format!("{url} {endpoint}"));
        assert_eq!(dialled.collect::<Vec<_>>(), ["rmi://a:1 tcp://a:1", "rmi://[::2]:1099 tcp://[::2]:1099"]);
        assert!(parsed("rmi://a,b,a").dialled().unwrap_err().to_string().contains("names rmi://a:1099 twice"));
        assert!(parsed("rmi://a,b").listened().unwrap_err().to_string().contains("one by one"));
    }

    #[test]
    fn what_names_no_object_says_how_to_name_one() {
        let (registry, name) = parsed("rmi://h/a b").split_named().unwrap();
        assert_eq!((registry.to_string().as_str(), name.as_str()), ("rmi://h:1099", "a b"));
        let told = |url| parsed(url).split_named().unwrap_err().to_string();
        assert!(told("rmi://h/").ends_with("it names no object; write rmi://h:1099/name"));
        assert!(told("mem://h").ends_with("use Registry::connect(url) and lookup(name)"));
    }

    #[test]
    fn port_0_is_only_for_listening() {
        assert_eq!(parsed("rmi://127.0.0.1:0").listened().unwrap().to_string(), "tcp://127.0.0.1:0");
        assert!(parsed("rmi://127.0.0.1:0").dialled().unwrap_err().to_string().contains("only for listening"));
        assert!(parsed("rmi://127.0.0.1/x").listened().unwrap_err().to_string().contains("leave out /x"));
    }

    #[test]
    fn a_registrys_url_can_be_used_on_its_host() {
        for (endpoint, url) in [
            ("tcp://127.0.0.1:1099", "rmi://127.0.0.1:1099"),
            ("tcp://0.0.0.0:5", "rmi://127.0.0.1:5"),
            ("tcp://[::]:5", "rmi://[::1]:5"),
            ("tcp://example.org:5", "rmi://example.org:5"),
            ("tls://0.0.0.0:5", "rmis://127.0.0.1:5"),
            ("tls://example.org:5", "rmis://example.org:5"),
            ("unix:///a/b", "unix:///a/b"),
            ("mem://x", "mem://x"),
        ] {
            assert_eq!(RegistryUrl::on_this_host(endpoint.parse().unwrap()).to_string(), url);
        }
    }

    proptest! {
        #[test]
        fn a_url_survives_being_written(
            scheme in prop_oneof!["rmi", "rmis"],
            host in prop_oneof!["[a-z][a-z.-]{0,20}", any::<Ipv6Addr>().prop_map(|ip| format!("[{ip}]"))],
            port: u16,
            name in any::<String>().prop_filter_map("not a name", |text| Name::new(text).ok()),
        ) {
            let written = format!("{scheme}://{host}:{port}/{}", name.percent_encoded());
            let url: RegistryUrl = written.parse().unwrap();
            prop_assert_eq!(url.to_string(), written);
            prop_assert_eq!(url.split().1, Some(name));
        }

        #[test]
        fn no_text_is_worse_than_refused(text in "(rmis?://)?[a:0-9./%,\\[\\]@é ]{0,16}") {
            if let Ok(url) = text.parse::<RegistryUrl>() {
                prop_assert_eq!(url.to_string().parse::<RegistryUrl>().unwrap(), url);
            }
        }
    }
}

//! Endpoints: where a node listens.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// Where a node listens, written as a URL.
///
/// ```
/// use rmi_core::endpoint::Endpoint;
/// let endpoint: Endpoint = "tcp://[::1]:1099".parse().unwrap();
/// assert_eq!(endpoint.to_string(), "tcp://[::1]:1099");
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `tcp://host:port`
    Tcp {
        /// A name or an address, an IPv6 one without its brackets.
        host: String,
        /// The port; 0 lets the system choose when listening.
        port: u16,
    },
    /// `tls://host:port`
    Tls {
        /// A name or an address, an IPv6 one without its brackets.
        host: String,
        /// The port; 0 lets the system choose when listening.
        port: u16,
    },
    /// `unix:///path`
    Unix {
        /// The absolute path of the socket.
        path: String,
    },
    /// `mem://name`, within the process.
    Mem {
        /// The name.
        name: String,
    },
}

/// Why a text is not an endpoint.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It does not begin with a transport.
    #[error("{url:?} names no transport: write tcp://host:port, tls://host:port, unix:///path or mem://name")]
    NoTransport {
        /// The text.
        url: String,
    },
    /// It begins with a transport that does not exist.
    #[error("{url:?} names an unknown transport: write tcp://host:port, tls://host:port, unix:///path or mem://name")]
    UnknownTransport {
        /// The text.
        url: String,
    },
    /// Its host cannot be one.
    #[error("{url:?}: {problem}: write {scheme}://host:port, an IPv6 address as {scheme}://[::1]:port")]
    Host {
        /// The text.
        url: String,
        /// The transport.
        scheme: &'static str,
        /// What is wrong with the host.
        problem: &'static str,
    },
    /// It has no port, or not a number up to 65535.
    #[error("{url:?}: {problem}: write {scheme}://host:1099, or port 0 to listen on any free port")]
    Port {
        /// The text.
        url: String,
        /// The transport.
        scheme: &'static str,
        /// What is wrong with the port.
        problem: &'static str,
    },
    /// Its path cannot be one.
    #[error("{url:?}: {problem}: write unix:///run/bank.sock")]
    Path {
        /// The text.
        url: String,
        /// What is wrong with the path.
        problem: &'static str,
    },
    /// Its name cannot be one.
    #[error("{url:?}: {problem}: write mem://bank")]
    Name {
        /// The text.
        url: String,
        /// What is wrong with the name.
        problem: &'static str,
    },
    /// It is too long.
    #[error("an endpoint of {len} bytes: at most 1024 are allowed")]
    TooLong {
        /// Its length.
        len: usize,
    },
}

impl Endpoint {
    /// Longest URL of an endpoint, in bytes.
    pub const LEN_MAX: usize = 1024;

    /// The TCP endpoint of an address.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Self {
        Self::Tcp { host: address.ip().to_string(), port: address.port() }
    }

    /// The part of the URL before `://`: the transport.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        match self {
            Self::Tcp { .. } => "tcp",
            Self::Tls { .. } => "tls",
            Self::Unix { .. } => "unix",
            Self::Mem { .. } => "mem",
        }
    }

    /// Whether it leads nowhere from another host: a loopback, wildcard or link-local address, a
    /// unix socket, or within the process. A name may still resolve to such an address; see
    /// [`is_local_only_address`].
    #[must_use]
    pub fn is_local_only(&self) -> bool {
        match self {
            Self::Tcp { host, .. } | Self::Tls { host, .. } => match address_of(host) {
                Some(address) => is_local_only_address(address),
                None => is_localhost(host),
            },
            Self::Unix { .. } | Self::Mem { .. } => true,
        }
    }

    /// The endpoint as it is reached by a peer that sees its node at `seen`: that address stands in
    /// for a wildcard or loopback host.
    #[must_use]
    pub fn seen_from(&self, seen: Option<IpAddr>) -> Self {
        let host_seen = |host: &str| {
            let stands_for_node = match address_of(host) {
                Some(address) => address.is_unspecified() || address.is_loopback(),
                None => is_localhost(host),
            };
            seen.filter(|_| stands_for_node).map(|address| address.to_canonical().to_string())
        };
        match self {
            Self::Tcp { host, port } => {
                Self::Tcp { host: host_seen(host).unwrap_or_else(|| host.clone()), port: *port }
            }
            Self::Tls { host, port } => {
                Self::Tls { host: host_seen(host).unwrap_or_else(|| host.clone()), port: *port }
            }
            Self::Unix { .. } | Self::Mem { .. } => self.clone(),
        }
    }
}

/// Whether an address leads nowhere from another host: loopback, wildcard or link-local.
#[must_use]
pub fn is_local_only_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.octets().starts_with(&[0]),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local(),
    }
}

fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost")
}

/// The address that a host is, if it is not a name. An IPv6 zone does not matter.
fn address_of(host: &str) -> Option<IpAddr> {
    let without_zone = host.split_once('%').map_or(host, |(address, _)| address);
    without_zone.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme();
        match self {
            Self::Tcp { host, port } | Self::Tls { host, port } if host.contains(':') => {
                write!(f, "{scheme}://[{host}]:{port}")
            }
            Self::Tcp { host, port } | Self::Tls { host, port } => write!(f, "{scheme}://{host}:{port}"),
            Self::Unix { path } => write!(f, "{scheme}://{path}"),
            Self::Mem { name } => write!(f, "{scheme}://{name}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        if url.len() > Self::LEN_MAX {
            return Err(EndpointError::TooLong { len: url.len() });
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(EndpointError::NoTransport { url: url.to_owned() });
        };
        match scheme {
            "tcp" => host_and_port(url, "tcp", rest).map(|(host, port)| Self::Tcp { host, port }),
            "tls" => host_and_port(url, "tls", rest).map(|(host, port)| Self::Tls { host, port }),
            "unix" => path(url, rest).map(|path| Self::Unix { path }),
            "mem" => name(url, rest).map(|name| Self::Mem { name }),
            _ => Err(EndpointError::UnknownTransport { url: url.to_owned() }),
        }
    }
}

fn host_and_port(url: &str, scheme: &'static str, text: &str) -> Result<(String, u16), EndpointError> {
    let bad_host = |problem| EndpointError::Host { url: url.to_owned(), scheme, problem };
    let bad_port = |problem| EndpointError::Port { url: url.to_owned(), scheme, problem };
    if text.contains(['/', '?', '#', '@']) {
        return Err(bad_host("there is nothing but a host and a port"));
    }
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']').ok_or_else(|| bad_host("a bracket is not closed"))?;
        let host = ipv6(address).ok_or_else(|| bad_host("the brackets hold no IPv6 address"))?;
        (host, port.strip_prefix(':').ok_or_else(|| bad_port("the port is missing"))?)
    } else {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| bad_port("the port is missing"))?;
        if host.contains(':') {
            return Err(bad_host("an IPv6 address needs brackets"));
        }
        (name_or_ipv4(host).map_err(bad_host)?, port)
    };
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad_port("the port is not a number"));
    }
    let port = port.parse().map_err(|_| bad_port("the port is above 65535"))?;
    Ok((host, port))
}

/// An IPv6 address in its one way of writing, with its zone.
fn ipv6(text: &str) -> Option<String> {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    let address: Ipv6Addr = address.parse().ok()?;
    match zone {
        None => Some(address.to_string()),
        Some(zone) if is_plain(zone) => Some(format!("{address}%{zone}")),
        Some(_) => None,
    }
}

fn name_or_ipv4(host: &str) -> Result<String, &'static str> {
    if host.is_empty() {
        return Err("the host is missing");
    }
    if !is_plain(host) {
        return Err("the host has characters that no host has");
    }
    // Resolvers take 127.1, 0x7f.1 and 2130706433 for addresses.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_number = match last.strip_prefix("0x").or_else(|| last.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    if is_number && host.parse::<Ipv4Addr>().is_err() {
        return Err("the host is neither a name nor an IPv4 address");
    }
    Ok(host.to_lowercase())
}

fn path(url: &str, path: &str) -> Result<String, EndpointError> {
    let bad = |problem| EndpointError::Path { url: url.to_owned(), problem };
    if !path.starts_with('/') {
        return Err(bad("the path is not absolute"));
    }
    if path.chars().any(char::is_control) {
        return Err(bad("the path has control characters"));
    }
    Ok(path.to_owned())
}

fn name(url: &str, name: &str) -> Result<String, EndpointError> {
    let bad = |problem| EndpointError::Name { url: url.to_owned(), problem };
    if name.is_empty() {
        return Err(bad("the name is missing"));
    }
    if !is_plain(name) {
        return Err(bad("a name has letters, digits, '-', '.' and '_' only"));
    }
    Ok(name.to_owned())
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_alphanumeric() || matches!(char, '-' | '.' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Endpoint {
        url.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn urls_are_parsed_and_shown() {
        for url in [
            "tcp://127.0.0.1:0",
            "tcp://bank.example.com:1099",
            "tcp://[::1]:99",
            "tcp://[fe80::1%eth0]:65535",
            "tls://bank_2.example.com.:1099",
            "tcp://3f2a9c1b04de:1099",
            "unix:///run/the bank.sock",
            "mem://bank-1",
        ] {
            assert_eq!(parse(url).to_string(), url);
        }
        assert_eq!(parse("tcp://[::1]:99"), Endpoint::Tcp { host: "::1".to_owned(), port: 99 });
        assert_eq!(parse("unix:///a"), Endpoint::Unix { path: "/a".to_owned() });
        assert_eq!(parse("mem://a").scheme(), "mem");
        assert_eq!(Endpoint::tcp("[::1]:7".parse().unwrap()).to_string(), "tcp://[::1]:7");
    }

    #[test]
    fn one_host_has_one_spelling() {
        assert_eq!(parse("tcp://[0:0:0::1]:7"), parse("tcp://[::1]:7"));
        assert_eq!(parse("tcp://Bank.Example:7"), parse("tcp://bank.example:7"));
    }

    #[test]
    fn what_is_no_endpoint_is_told_what_one_looks_like() {
        for (url, said) in [
            ("127.0.0.1:80", "names no transport: write tcp://host:port"),
            ("http://a:80", "names an unknown transport: write tcp://host:port"),
            ("tcp://a", "the port is missing: write tcp://host:1099, or port 0 to listen on any free port"),
            ("tcp://a:", "the port is not a number"),
            ("tcp://a:+1", "the port is not a number"),
            ("tcp://a:65536", "the port is above 65535"),
            ("tcp://:80", "the host is missing"),
            ("tls://a b:80", "the host has characters that no host has: write tls://host:port"),
            (
                "tcp://::1:80",
                "an IPv6 address needs brackets: write tcp://host:port, an IPv6 address as tcp://[::1]:port",
            ),
            ("tcp://[::1:80", "a bracket is not closed"),
            ("tcp://[a]:80", "the brackets hold no IPv6 address"),
            ("tcp://[::1%]:80", "the brackets hold no IPv6 address"),
            ("tcp://[::1]", "the port is missing"),
            ("tcp://a:80/", "there is nothing but a host and a port"),
            ("tcp://me@a:80", "there is nothing but a host and a port"),
            ("tcp://127.1:80", "the host is neither a name nor an IPv4 address"),
            ("tcp://0x7f000001:80", "the host is neither a name nor an IPv4 address"),
            ("tcp://2130706433:80", "the host is neither a name nor an IPv4 address"),
            ("tcp://1.2.3.4.5:80", "the host is neither a name nor an IPv4 address"),
            ("unix://run/bank", "the path is not absolute: write unix:///run/bank.sock"),
            ("unix:///a\nb", "the path has control characters"),
            ("mem://", "the name is missing: write mem://bank"),
            ("mem://a/b", "a name has letters"),
        ] {
            let error = url.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(&format!("{url:?}")), "{error}");
        }
        let long = format!("mem://{}", "a".repeat(1024));
        assert_eq!(long.parse::<Endpoint>(), Err(EndpointError::TooLong { len: 1030 }));
    }

    #[test]
    fn local_endpoints_are_known_in_every_disguise() {
        for url in [
            "tcp://127.8.0.1:1",
            "tcp://localhost:1",
            "tcp://LocalHost.:1",
            "tcp://a.localhost:1",
            "tcp://0.0.0.0:1",
            "tcp://0.1.2.3:1",
            "tcp://[::]:1",
            "tls://[::1]:1",
            "tcp://[::ffff:127.0.0.1]:1",
            "tcp://169.254.169.254:1",
            "tcp://[fe80::1%eth0]:1",
            "unix:///a",
            "mem://a",
        ] {
            assert!(parse(url).is_local_only(), "{url}");
        }
        for url in ["tcp://10.0.0.1:1", "tcp://[2001:db8::1]:1", "tls://bank.example:1", "tcp://localhost.example:1"] {
            assert!(!parse(url).is_local_only(), "{url}");
        }
    }

    #[test]
    fn the_address_seen_stands_in_for_hosts_that_name_none() {
        let seen = Some("10.0.0.7".parse().unwrap());
        for host in ["0.0.0.0", "[::]", "127.0.0.1", "127.0.1.1", "[::1]", "localhost"] {
            assert_eq!(parse(&format!("tcp://{host}:9")).seen_from(seen).to_string(), "tcp://10.0.0.7:9");
            assert_eq!(parse(&format!("tls://{host}:9")).seen_from(seen).to_string(), "tls://10.0.0.7:9");
            assert_eq!(parse(&format!("tcp://{host}:9")).seen_from(None), parse(&format!("tcp://{host}:9")));
        }
        for url in ["tcp://10.0.0.8:9", "tcp://bank.example:9", "unix:///a", "mem://a"] {
            assert_eq!(parse(url).seen_from(seen), parse(url));
        }
        let mapped = Some("::ffff:10.0.0.7".parse().unwrap());
        assert_eq!(parse("tcp://[::]:9").seen_from(mapped).to_string(), "tcp://10.0.0.7:9");
        let v6 = Some("2001:db8::7".parse().unwrap());
        assert_eq!(parse("tcp://0.0.0.0:9").seen_from(v6).to_string(), "tcp://[2001:db8::7]:9");
    }
}

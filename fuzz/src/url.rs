//! What reads as a URL is written as one that reads as the same.

use std::net::IpAddr;

use rmi_core::endpoint::Endpoint;
use rmi_registry::fuzz::Url;

use crate::{Seed, memory::within};

const MEMORY_PER_BYTE: usize = 160;
const MEMORY_LEAST: usize = 4 << 10;

/// Reads a text as the URL of an endpoint, and of a registry.
pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let memory_max = MEMORY_LEAST + MEMORY_PER_BYTE * text.len();
    match within(memory_max, || text.parse::<Endpoint>()) {
        Ok(endpoint) => check_endpoint(&endpoint),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match within(memory_max, || text.parse::<Url>()) {
        Ok(url) => check_url(&url),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check_endpoint(endpoint: &Endpoint) {
    let written = endpoint.to_string();
    assert!(written.len() <= Endpoint::LEN_MAX, "{} bytes are no endpoint to a peer", written.len());
    assert!(written.starts_with(endpoint.scheme()));
    assert_eq!(written.parse::<Endpoint>().as_ref(), Ok(endpoint), "{written}");
    assert_eq!(endpoint.seen_from(None), *endpoint);
    for seen in ["10.0.0.7", "2001:db8::7", "::ffff:10.0.0.7"] {
        let seen: Option<IpAddr> = seen.parse().ok();
        let there = endpoint.seen_from(seen);
        assert_eq!(there.to_string().parse::<Endpoint>().as_ref(), Ok(&there));
        assert_eq!(there.seen_from(seen), there, "it is seen from there already");
        assert!(there == *endpoint || endpoint.is_local_only() && !there.is_local_only());
    }
}

fn check_url(url: &Url) {
    let written = url.to_string();
    match written.parse::<Url>() {
        Ok(again) => assert_eq!(again, *url, "{written}"),
        Err(error) => panic!("{written} is written and not read: {error}"),
    }
    if let Ok(dialled) = url.dialled() {
        assert!(!dialled.is_empty());
        for (place, endpoint) in dialled {
            assert!(place.parse::<Url>().is_ok_and(|place| place.dialled().is_ok_and(|alone| alone.len() == 1)));
            check_endpoint(&endpoint);
        }
    }
    if let Ok(listened) = url.listened() {
        assert_eq!(url.name(), None);
        check_endpoint(&listened);
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |name, url: &str| (name, url.as_bytes().to_vec());
    vec![
        seed("tcp", "tcp://127.0.0.1:0"),
        seed("tcp-v6", "tcp://[fe80::1%eth0]:65535"),
        seed("tls", "tls://bank_2.example.com.:1099"),
        seed("unix", "unix:///run/the bank.sock"),
        seed("mem", "mem://bank-1"),
        seed("registry", "rmi://localhost/a%20b/c"),
        seed("registries", "rmi://a:1,[::2],10.0.0.1:65535/com.example:Bank"),
        seed("registry-tls", "rmis://My_host-1.example.:3/%D0%91"),
        seed("wildcard", "rmi://[::]:5"),
        seed("not-a-port", "rmi://h:65536/%zz"),
        seed("user", "rmi://me@h/bank"),
        seed("decimal", "tcp://0x7f.1:80"),
    ]
}

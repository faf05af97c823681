//! URLs that lead nowhere, and places that cannot be listened at.

use std::error::Error as _;

use rmi_core::{ErrorKind, Node};
use rmi_registry::{Registry, RegistryError, RegistryServer};
use tokio::net::TcpListener;

use crate::greeter::{Greeter, mem};

#[tokio::test]
async fn a_url_that_is_none_is_refused_at_once() {
    for url in ["", "localhost", "http://localhost/x", "rmi://a,a", "rmi://localhost:0", "tcp://"] {
        let error = Registry::connect(url).await.unwrap_err();
        assert!(matches!(error, RegistryError::InvalidUrl { .. }), "{url}: {error:?}");
        let error = RegistryServer::builder().listen(url).start().await;
        assert_eq!(error.is_ok(), url == "rmi://localhost:0", "{url}");
    }
    let error = Registry::connect("rmi://localhost/bank").await.unwrap_err();
    assert!(error.to_string().contains("without /bank"), "{error}");
    for url in ["rmi://localhost", "rmi://localhost/", "mem://x"] {
        let error = rmi_registry::lookup::<dyn Greeter>(url).await.unwrap_err();
        assert!(matches!(error, RegistryError::InvalidUrl { .. }), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn a_registry_that_is_down_is_unreachable_by_its_address() {
    let port = free_port().await;
    let error = Registry::connect(&format!("rmi://127.0.0.1:{port}")).await.unwrap_err();
    let RegistryError::Remote(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[tokio::test]
async fn a_node_without_a_registry_says_so() {
    let node = Node::builder().listen(mem("plain")).start().await.unwrap();
    let url = node.endpoints().first().unwrap().to_string();
    let client = Node::builder().start().await.unwrap();
    let error = Registry::connect_with(&client, &url).await.unwrap_err();
    let RegistryError::Remote(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), ErrorKind::NoSuchObject);
    assert!(error.to_string().contains("registry"), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = RegistryServer::builder().listen(format!("rmi://{address}")).start().await.unwrap_err();
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let told = causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"));
    assert!(told.contains(&address.to_string()), "{told}");
    assert!(told.to_lowercase().contains("in use"), "{told}");
}

#[tokio::test]
async fn a_server_that_makes_no_sense_is_refused() {
    let deaf = Node::builder().start().await.unwrap();
    let error = RegistryServer::builder().node(&deaf).start().await.unwrap_err();
    assert!(error.to_string().contains("listens nowhere"), "{error}");
    let node = Node::builder().listen(mem("node")).start().await.unwrap();
    let error = RegistryServer::builder().node(&node).listen(mem("other")).start().await.unwrap_err();
    assert!(error.to_string().contains("leave those out"), "{error}");
}

/// A port at which nobody listens: it was free a moment ago, and the system hands out others first.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

//! Whole nodes over TLS.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rmi::{Context, ErrorKind, Node, Remote, remote};
use rmi_core::tls::{Pem, Tls};

use crate::common::{Board, Shelf, Tally, at_rest, serve, soon};

/// Certificates for two nodes of this host, which believe each other: the first listens, and asks who dials.
fn believed() -> (Tls, Tls) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let roots = || Pem::text(authority.pem());
    let identity = |name: &str| {
        let (key, params) = (KeyPair::generate().unwrap(), CertificateParams::new([name.to_owned()]).unwrap());
        let certificate = params.signed_by(&key, &authority).unwrap();
        Tls::builder().identity(Pem::text(certificate.pem()), Pem::text(key.serialize_pem())).roots(roots())
    };
    (identity("127.0.0.1").clients(roots()).build().unwrap(), identity("alice").build().unwrap())
}

#[tokio::test]
async fn calls_callbacks_and_references_travel_encrypted() {
    let (of_server, of_client) = believed();
    let server = Node::builder().tls(of_server).listen("tls://127.0.0.1:0").start().await.unwrap();
    let client = Node::builder().tls(of_client).start().await.unwrap();
    assert!(server.endpoints()[0].to_string().starts_with("tls://127.0.0.1:"));
    let board = Arc::new(Board::default());
    let shelf = serve(&server, &client, &Remote::<dyn Shelf>::from_arc(board));
    let counter = soon(shelf.make()).await.unwrap();
    assert_eq!(soon(counter.add(2)).await.unwrap(), 2);
    let (mine, _life) = Tally::mortal();
    soon(shelf.put(mine.clone())).await.unwrap();
    assert_eq!(soon(shelf.add(5)).await.unwrap(), 5);
    assert_eq!(soon(mine.total()).await.unwrap(), 5, "the server called back over the client's connection");
    soon(shelf.clear()).await.unwrap();
    drop((counter, mine, shelf));
    at_rest(&[&client]).await;
    assert_eq!(client.stats().connections, 1);
}

#[tokio::test]
async fn a_node_that_is_not_believed_is_not_called_and_says_why() {
    let ((of_server, _), (_, of_stranger)) = (believed(), believed());
    let server = Node::builder().tls(of_server).listen("tls://127.0.0.1:0").start().await.unwrap();
    let strangers = Node::builder().tls(of_stranger).start().await.unwrap();
    let none = Node::builder().start().await.unwrap();
    for (client, why) in [(&strangers, "name its authority as a root"), (&none, "no transport for `tls`")] {
        let counter = serve(&server, client, &Tally::mortal().0);
        let error = soon(counter.add(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(client.stats().connections, 0);
    }
}

/// Tells who calls.
#[remote]
trait Doorman {
    async fn who(&self) -> rmi::Result<String>;
    /// Asks the caller's own doorman who this side is.
    async fn and_who_am_i(&self, other: Remote<dyn Doorman>) -> rmi::Result<String>;
}

struct Porter;

#[remote]
impl Doorman for Porter {
    async fn who(&self) -> rmi::Result<String> {
        Ok(Context::current().expect("a remote call").principal().to_string())
    }
    async fn and_who_am_i(&self, other: Remote<dyn Doorman>) -> rmi::Result<String> {
        other.who().await
    }
}

#[tokio::test]
async fn both_sides_are_whom_their_certificates_name() {
    let (of_server, of_client) = believed();
    let server = Node::builder().tls(of_server).listen("tls://127.0.0.1:0").start().await.unwrap();
    let client = Node::builder().tls(of_client).start().await.unwrap();
    let doorman = serve(&server, &client, &Remote::<dyn Doorman>::new(Porter));
    assert_eq!(soon(doorman.who()).await.unwrap(), "cert:alice");
    let mine = Remote::<dyn Doorman>::new(Porter);
    assert_eq!(soon(doorman.and_who_am_i(mine)).await.unwrap(), "cert:127.0.0.1");
}

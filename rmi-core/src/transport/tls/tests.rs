//! Two ends that believe each other, and all that keeps them from it.

use std::{future::poll_fn, sync::OnceLock, time::Duration};

use bytes::BytesMut;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};

use super::*;
use crate::transport::TcpTransport;

/// Signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate to be signed.
#[derive(Clone, Copy)]
struct Paper {
    name: &'static str,
    serial: u64,
    years: (i32, i32),
}

impl Default for Paper {
    fn default() -> Self {
        Self { name: "127.0.0.1", serial: 7, years: (2020, 4000) }
    }
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another of the same name would have signed wrongly, instead of being unknown.
        params.distinguished_name.push(DnType::CommonName, uuid::Uuid::new_v4().to_string());
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn roots(&self) -> Pem {
        Pem::text(self.0.pem())
    }

    /// A certificate and its key.
    fn sign(&self, paper: Paper) -> (Pem, Pem) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([paper.name.to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(paper.serial));
        params.not_before = date_time_ymd(paper.years.0, 1, 1);
        params.not_after = date_time_ymd(paper.years.1, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (Pem::text(certificate.pem()), Pem::text(key.serialize_pem()))
    }

    /// The list of what it has revoked.
    fn revoke(&self, serial: u64) -> Pem {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(4000, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Pem::text(list.signed_by(&self.0).unwrap().pem().unwrap())
    }

    fn identity(&self, paper: Paper) -> TlsBuilder {
        let (certificate, key) = self.sign(paper);
        Tls::builder().identity(certificate, key)
    }
}

/// What the stories of all transports are told with.
pub(in crate::transport) fn of_this_host() -> Tls {
    static TLS: OnceLock<Tls> = OnceLock::new();
    let made = || {
        let authority = Authority::new();
        authority.identity(Paper::default()).roots(authority.roots()).build().unwrap()
    };
    TLS.get_or_init(made).clone()
}

/// How a meeting of both ended at each: what it has read, or why it has not.
type Ends = (Result<Vec<u8>, String>, Result<Vec<u8>, String>);

/// A client dials a server by this name; each says four bytes, and hears those of the other.
async fn meet(server: &dyn Transport, client: &dyn Transport, at: Endpoint, to: impl Fn(u16) -> Endpoint) -> Ends {
    let listener = server.listen(&at).await.unwrap();
    let (Endpoint::Tls { port, .. } | Endpoint::Tcp { port, .. }) = listener.endpoint() else { unreachable!() };
    let to = to(port);
    let serving = async {
        let socket = listener.accept().await.unwrap();
        let heard = talk(&*socket).await;
        if heard.is_err() {
            socket.shutdown();
        }
        heard
    };
    let calling = async {
        let socket = client.dial(&to).await.map_err(|error| error.to_string())?;
        talk(&*socket).await
    };
    tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(serving, calling) }).await.expect("in time")
}

async fn talk(socket: &dyn Socket) -> Result<Vec<u8>, String> {
    let (mut read, mut sent) = (BytesMut::new(), false);
    loop {
        if !sent {
            match socket.try_write(&[io::IoSlice::new(b"four")]) {
                Ok(len) => sent = len == 4,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        poll_fn(|cx| socket.poll_read_ready(cx)).await.map_err(|error| error.to_string())?;
        match socket.try_read(&mut read, 4) {
            Ok(0) => return Err("the end".to_owned()),
            Ok(_) if read.len() == 4 => return Ok(read.to_vec()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn tls_at(host: &str, port: u16) -> Endpoint {
    Endpoint::Tls { host: host.to_owned(), port }
}

async fn meet_over_tls(server: TlsBuilder, client: TlsBuilder) -> Ends {
    let (server, client) = (TlsTransport::new(server.build().unwrap()), TlsTransport::new(client.build().unwrap()));
    meet(&server, &client, tls_at("127.0.0.1", 0), |port| tls_at("127.0.0.1", port)).await
}

#[track_caller]
fn failed(ends: Ends, at_server: &str, at_client: &str) {
    let (server, client) = (ends.0.unwrap_err(), ends.1.unwrap_err());
    assert!(server.contains(at_server), "the server says: {server}");
    assert!(client.contains(at_client), "the client says: {client}");
}

#[tokio::test]
async fn both_believe_each_other() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let server = servers.identity(Paper::default()).clients(clients.roots()).revoked(clients.revoke(8));
    let client = clients.identity(Paper { name: "alice", ..Paper::default() }).roots(servers.roots());
    let ends = meet_over_tls(server, client).await;
    assert_eq!(ends, (Ok(b"four".to_vec()), Ok(b"four".to_vec())));
}

#[tokio::test]
async fn a_server_whose_certificate_is_wrong_is_not_spoken_to() {
    let (authority, other) = (Authority::new(), Authority::new());
    let client = || Tls::builder().roots(authority.roots());
    let of = |paper| authority.identity(paper);
    let expired = Paper { years: (2020, 2021), ..Paper::default() };
    failed(meet_over_tls(of(expired), client()).await, "has expired", "has expired: have it renewed");
    let early = Paper { years: (3999, 4000), ..Paper::default() };
    failed(
        meet_over_tls(of(early), client()).await,
        "expired, or is not valid yet",
        "is not valid yet: compare the clocks",
    );
    let named = Paper { name: "bank.example", ..Paper::default() };
    failed(meet_over_tls(of(named), client()).await, "does not believe", "bank.example; dial it by one of these");
    let strange = other.identity(Paper::default());
    failed(meet_over_tls(strange, client()).await, "does not believe who signed", "name its authority as a root");
    let revoked = client().revoked(authority.revoke(7));
    failed(meet_over_tls(of(Paper::default()), revoked).await, "has been revoked", "has been revoked");
}

#[tokio::test]
async fn a_client_whose_certificate_is_wrong_is_not_listened_to() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = || authority.identity(Paper::default()).clients(authority.roots());
    let client = |tls: TlsBuilder| tls.roots(authority.roots());
    failed(meet_over_tls(server(), client(Tls::builder())).await, "shows no certificate", "asks for a certificate");
    let strange = client(other.identity(Paper::default()));
    failed(meet_over_tls(server(), strange).await, "name its authority as a root", "does not believe who signed");
    let expired = client(authority.identity(Paper { years: (2020, 2021), ..Paper::default() }));
    failed(meet_over_tls(server(), expired).await, "has expired: have it renewed", "has expired");
    let revoked = server().revoked(authority.revoke(9));
    let of_nine = client(authority.identity(Paper { serial: 9, ..Paper::default() }));
    failed(meet_over_tls(revoked, of_nine).await, "has been revoked", "has been revoked");
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_apart() {
    let tls = TlsTransport::new(of_this_host());
    let tcp_at = |port| Endpoint::Tcp { host: "127.0.0.1".to_owned(), port };
    let ends = meet(&tls, &TcpTransport, tls_at("127.0.0.1", 0), tcp_at).await;
    assert!(ends.0.as_ref().unwrap_err().contains("speaks no TLS: is it tcp:// there?"), "{ends:?}");
    // An alert of TLS, by which the frames of a plain peer know what they have met.
    assert_eq!(ends.1.as_deref(), Ok(&[0x15, 3, 3, 0][..]), "{ends:?}");
    let ends = meet(&TcpTransport, &tls, tcp_at(0), |port| tls_at("127.0.0.1", port)).await;
    assert!(ends.1.as_ref().unwrap_err().contains("speaks no TLS: is it tcp:// there?"), "{ends:?}");
}

#[tokio::test]
async fn new_connections_show_what_was_loaded_anew() {
    let authority = Authority::new();
    let directory = std::env::temp_dir().join(format!("rmi-tls-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&directory).unwrap();
    let (certificate_path, key_path) = (directory.join("node.pem"), directory.join("node.key"));
    let write = |paper| {
        let (certificate, key) = authority.sign(paper);
        for (path, pem) in [(&certificate_path, certificate), (&key_path, key)] {
            let Source::Text(text) = pem.0 else { unreachable!() };
            std::fs::write(path, text).unwrap();
        }
    };
    write(Paper { years: (2020, 2021), ..Paper::default() });
    let files = Tls::builder().identity(Pem::file(&certificate_path), Pem::file(&key_path));
    let tls = files.roots(authority.roots()).build().unwrap();
    let transport = TlsTransport::new(tls.clone());
    let again = async || meet(&transport, &transport, tls_at("127.0.0.1", 0), |port| tls_at("127.0.0.1", port)).await;
    failed(again().await, "has expired", "has expired");
    write(Paper::default());
    tls.reload().unwrap();
    assert_eq!(again().await, (Ok(b"four".to_vec()), Ok(b"four".to_vec())));
    // What cannot be used changes nothing.
    std::fs::write(&key_path, "no key").unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("no private key in") && error.contains("node.key"), "{error}");
    assert_eq!(again().await, (Ok(b"four".to_vec()), Ok(b"four".to_vec())));
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_says_what_to_do() {
    let authority = Authority::new();
    let text = |error: TlsError| error.to_string();
    let missing = Tls::builder().roots(Pem::file("/nowhere/roots.pem")).build().unwrap_err();
    assert!(text(missing).starts_with("cannot read /nowhere/roots.pem"), "it names the file");
    let empty = Tls::builder().roots(Pem::text("")).build().unwrap_err();
    assert_eq!(text(empty), "there is no certificate in the PEM text: it has to be PEM");
    let ((certificate, _), (_, key)) = (authority.sign(Paper::default()), authority.sign(Paper::default()));
    let mixed = text(Tls::builder().identity(certificate, key).build().unwrap_err());
    assert!(mixed.contains("cannot be used"), "{mixed}");
    let shy = TlsTransport::new(Tls::builder().roots(authority.roots()).build().unwrap());
    let error = shy.listen(&tls_at("127.0.0.1", 0)).await.unwrap_err().to_string();
    assert_eq!(error, "a node that listens at tls://127.0.0.1:0 shows a certificate: give its TLS an identity");
}

//! Streams of TLS over IP, by rustls.

mod owner;
mod socket;
mod trouble;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::RwLock;
use rustls::{
    ClientConfig, Connection, RootCertStore, ServerConfig, ServerConnection,
    client::{ClientConnection, WebPkiServerVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
    server::WebPkiClientVerifier,
};
use tokio::net::{TcpListener, TcpStream};

use self::socket::TlsSocket;
use super::{
    Listener, Socket, Transport, concerns_the_peer, misdirected,
    tcp::{bind, unbound},
    undialled,
};
use crate::endpoint::Endpoint;

/// What both sides say that they speak: another protocol over TLS is refused in the handshake.
const ALPN: &[u8] = b"rmi/1";

/// Where certificates and keys are: PEM, in a file that is read again by [`Tls::reload`], or as text.
#[derive(Clone)]
pub struct Pem(Source);

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Text(Arc<[u8]>),
}

impl Pem {
    /// A file.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self(Source::File(path.as_ref().to_owned()))
    }

    /// The text itself.
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Self(Source::Text(text.as_ref().into()))
    }

    /// All that is of this kind.
    fn all<T: PemObject>(&self, what: &'static str) -> Result<Vec<T>, TlsError> {
        let all: Result<Vec<T>, pem::Error> = match &self.0 {
            Source::File(path) => T::pem_file_iter(path).and_then(Iterator::collect),
            Source::Text(text) => T::pem_slice_iter(text).collect(),
        };
        match all {
            Ok(all) if all.is_empty() => Err(TlsError::Empty { place: self.to_string(), what }),
            Ok(all) => Ok(all),
            Err(source) => Err(TlsError::Pem { place: self.to_string(), source }),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let key = match &self.0 {
            Source::File(path) => PrivateKeyDer::from_pem_file(path),
            Source::Text(text) => PrivateKeyDer::from_pem_slice(text),
        };
        key.map_err(|source| match source {
            pem::Error::NoItemsFound => TlsError::Empty { place: self.to_string(), what: "private key" },
            source => TlsError::Pem { place: self.to_string(), source },
        })
    }
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => path.display().fmt(f),
            Source::Text(_) => f.write_str("the PEM text"),
        }
    }
}

/// Not what it holds: keys stay out of logs.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({self})")
    }
}

/// Why certificates or keys cannot be used.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// They cannot be read, or are no PEM.
    #[error("cannot read {place}: {source}")]
    Pem {
        /// Where they should be.
        place: String,
        /// What is wrong.
        source: pem::Error,
    },
    /// There are none.
    #[error("there is no {what} in {place}: it has to be PEM")]
    Empty {
        /// Where they should be.
        place: String,
        /// What should be there.
        what: &'static str,
    },
    /// rustls takes them for wrong: a key of another certificate, a root that is none.
    #[error("{place} cannot be used: {source}")]
    Unusable {
        /// Where they are.
        place: String,
        /// What is wrong.
        source: rustls::Error,
    },
    /// They say nothing about whom to believe.
    #[error("{place} cannot tell whom to believe: {source}")]
    Verifier {
        /// Where they are.
        place: String,
        /// What is wrong.
        source: rustls::server::VerifierBuilderError,
    },
}

/// How a node shows who it is over TLS, and whom it believes. Clones are one: [`reload`](Self::reload) concerns all.
///
/// ```no_run
/// # use rmi_core::{Node, tls::{Pem, Tls}};
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::builder()
///     .identity(Pem::file("bank.pem"), Pem::file("bank.key"))
///     .roots(Pem::file("authority.pem"))
///     .build()?;
/// let node = Node::builder().tls(tls.clone()).listen("tls://0.0.0.0:1100").start().await?;
/// tls.reload()?; // once the certificate has been renewed
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    builder: TlsBuilder,
    configs: RwLock<Configs>,
}

/// What new connections are made with.
#[derive(Clone)]
struct Configs {
    /// `None` where neither roots are named nor the host has some: such a node dials nobody over TLS.
    client: Option<Arc<ClientConfig>>,
    /// `None` without an identity: such a node listens nowhere over TLS.
    server: Option<Arc<ServerConfig>>,
}

impl Tls {
    /// Begins.
    pub fn builder() -> TlsBuilder {
        TlsBuilder { roots: Vec::new(), identity: None, clients: Vec::new(), revoked: Vec::new() }
    }

    /// Reads all files again: for connections from now on. Those that are open stay as they are.
    ///
    /// # Errors
    ///
    /// Where what the files hold now cannot be used; then all stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let configs = self.0.builder.configs()?;
        *self.0.configs.write() = configs;
        Ok(())
    }

    fn configs(&self) -> Configs {
        self.0.configs.read().clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.builder, f)
    }
}

/// What a node's TLS is made of.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct TlsBuilder {
    roots: Vec<Pem>,
    identity: Option<(Pem, Pem)>,
    clients: Vec<Pem>,
    revoked: Vec<Pem>,
}

impl TlsBuilder {
    /// Believes servers whose certificates these authorities have signed, and no others. The host's own roots are
    /// believed where none is named.
    pub fn roots(mut self, roots: Pem) -> Self {
        self.roots.push(roots);
        self
    }

    /// Shows this certificate, with those between it and its root behind it, to clients, and to servers that ask for one.
    pub fn identity(mut self, certificates: Pem, key: Pem) -> Self {
        self.identity = Some((certificates, key));
        self
    }

    /// Asks each client for a certificate that one of these authorities has signed, and takes none without.
    pub fn clients(mut self, roots: Pem) -> Self {
        self.clients.push(roots);
        self
    }

    /// Believes no certificate that is in these lists (CRL) of what their authorities have revoked. Each authority
    /// of an end certificate then has to have a list.
    pub fn revoked(mut self, lists: Pem) -> Self {
        self.revoked.push(lists);
        self
    }

    /// Reads what was named.
    ///
    /// # Errors
    ///
    /// Where it is not there, or cannot be used: a key of another certificate, a file without certificates.
    pub fn build(self) -> Result<Tls, TlsError> {
        let configs = RwLock::new(self.configs()?);
        Ok(Tls(Arc::new(Inner { builder: self, configs })))
    }

    fn configs(&self) -> Result<Configs, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let identity = self.identity.as_ref().map(|(certificates, key)| {
            let chain = certificates.all::<CertificateDer<'static>>("certificate")?;
            Ok::<_, TlsError>((chain, key.key()?, certificates.to_string()))
        });
        let identity = identity.transpose()?;
        let roots = if self.roots.is_empty() { native_roots() } else { Some(store(&self.roots)?) };
        let client = roots.map(|roots| self.client(&provider, roots, identity.as_ref())).transpose()?;
        let server = identity.map(|identity| self.server(&provider, identity)).transpose()?;
        Ok(Configs { client, server })
    }

    fn client(
        &self,
        provider: &Arc<CryptoProvider>,
        (roots, place): Roots,
        identity: Option<&Identity>,
    ) -> Result<Arc<ClientConfig>, TlsError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let verifier = verifier.with_crls(self.lists()?).only_check_end_entity_revocation().build();
        let verifier = verifier.map_err(|source| TlsError::Verifier { place, source })?;
        let config = ClientConfig::builder_with_provider(provider.clone());
        let config = config.with_safe_default_protocol_versions().map_err(unusable("the provider"))?;
        let config = config.with_webpki_verifier(verifier);
        let mut config = match identity {
            Some((chain, key, place)) => {
                config.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(unusable(place))?
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(config))
    }

    fn server(
        &self,
        provider: &Arc<CryptoProvider>,
        (chain, key, place): Identity,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let config = ServerConfig::builder_with_provider(provider.clone());
        let config = config.with_safe_default_protocol_versions().map_err(unusable("the provider"))?;
        let config = if self.clients.is_empty() {
            config.with_no_client_auth()
        } else {
            let (roots, place) = store(&self.clients)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            let verifier = verifier.with_crls(self.lists()?).only_check_end_entity_revocation().build();
            config.with_client_cert_verifier(verifier.map_err(|source| TlsError::Verifier { place, source })?)
        };
        let mut config = config.with_single_cert(chain, key).map_err(unusable(&place))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Links last: a session of TLS is never taken up again, and what it would need is not sent.
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    fn lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        let lists = self.revoked.iter().map(|lists| lists.all("list of revoked certificates"));
        Ok(lists.collect::<Result<Vec<_>, _>>()?.concat())
    }
}

/// Certificates, the key of the first, and where they are.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, String);

fn unusable(place: &str) -> impl FnOnce(rustls::Error) -> TlsError {
    let place = place.to_owned();
    |source| TlsError::Unusable { place, source }
}

/// Whom to believe, and where that stands.
type Roots = (RootCertStore, String);

fn store(roots: &[Pem]) -> Result<Roots, TlsError> {
    let mut store = RootCertStore::empty();
    for pem in roots {
        for root in pem.all::<CertificateDer<'static>>("certificate")? {
            store.add(root).map_err(unusable(&pem.to_string()))?;
        }
    }
    Ok((store, roots.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")))
}

fn native_roots() -> Option<Roots> {
    let mut store = RootCertStore::empty();
    // Some hosts have roots that no library can read, beside those that it can.
    let (added, _) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    (added > 0).then(|| (store, "the roots of this host".to_owned()))
}

/// Streams of TLS: `tls://host:port`, port 0 for any free one when listening.
#[derive(Clone, Debug)]
pub struct TlsTransport(Tls);

impl TlsTransport {
    /// With these certificates.
    #[must_use]
    pub fn new(tls: Tls) -> Self {
        Self(tls)
    }

    fn address<'a>(&self, endpoint: &'a Endpoint) -> io::Result<(&'a str, u16)> {
        match endpoint {
            Endpoint::Tls { host, port } => Ok((host, *port)),
            other => Err(misdirected(self, other)),
        }
    }
}

#[async_trait]
impl Transport for TlsTransport {
    fn scheme(&self) -> &'static str {
        "tls"
    }

    async fn listen(&self, at: &Endpoint) -> io::Result<Box<dyn Listener>> {
        let (host, port) = self.address(at)?;
        if self.0.configs().server.is_none() {
            let text = format!("a node that listens at {at} shows a certificate: give its TLS an identity");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let listener = bind(host, port).await.map_err(|cause| unbound(at, cause))?;
        let port = listener.local_addr()?.port();
        let endpoint = Endpoint::Tls { host: host.to_owned(), port };
        Ok(Box::new(OpenTlsListener { listener, endpoint, tls: self.0.clone() }))
    }

    async fn dial(&self, to: &Endpoint) -> io::Result<Arc<dyn Socket>> {
        let (host, port) = self.address(to)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            let text = format!("{to} names no host that a certificate can be for");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let config = self.0.configs().client.ok_or_else(|| {
            let text = format!("nobody is believed at {to}: name roots, since this host has none of its own");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let stream = TcpStream::connect((host, port)).await.map_err(|cause| undialled(to, cause))?;
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let socket = TlsSocket::new(stream, Connection::Client(connection), Some(&to.to_string()))?;
        socket.shake_hands().await?;
        Ok(socket)
    }
}

#[derive(Debug)]
struct OpenTlsListener {
    listener: TcpListener,
    endpoint: Endpoint,
    tls: Tls,
}

#[async_trait]
impl Listener for OpenTlsListener {
    async fn accept(&self) -> io::Result<Arc<dyn Socket>> {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) if concerns_the_peer(&error) => continue,
                Err(error) => return Err(error),
            };
            // It cannot be missing: without it nobody listens, and a reload keeps what was there.
            let Some(server) = self.tls.configs().server else { continue };
            let connection = ServerConnection::new(server).map_err(io::Error::other)?;
            // A socket that cannot be opened has been left by its peer already.
            if let Ok(socket) = TlsSocket::new(stream, Connection::Server(connection), None) {
                return Ok(socket);
            }
        }
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }
}

#[cfg(test)]
pub(super) mod tests;

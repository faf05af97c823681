//! How bytes get from one node to another: a [`Transport`] listens and dials, a [`Socket`] is one
//! open stream of bytes. Nothing here knows what the bytes mean.

mod memory;
mod tcp;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(unix)]
mod unix;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    io::{self, ErrorKind, IoSlice},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::BytesMut;

use crate::{endpoint::Endpoint, principal::Principal};

pub use memory::MemoryTransport;
pub use tcp::TcpTransport;
#[cfg(unix)]
pub use unix::UnixTransport;

/// How long an accept loop pauses after [`Listener::accept`] failed, before it tries again.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One open byte stream, used through a shared reference: one task waits for readiness, any thread
/// may read or write what is possible at once.
pub trait Socket: Send + Sync + fmt::Debug + 'static {
    /// Waits until [`try_read`](Self::try_read) is worth trying, which the end of the stream is
    /// too. Only the task that asked last is woken.
    ///
    /// # Errors
    /// The runtime is shutting down.
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Appends what has arrived to the spare capacity of `into`, `len_max` bytes at most, and returns
    /// how much that was; 0 is the end of the stream. A full buffer is grown by a few bytes, so reserve
    /// before.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when nothing has arrived; any other error ends the stream.
    fn try_read(&self, into: &mut BytesMut, len_max: usize) -> io::Result<usize>;

    /// Waits until [`try_write`](Self::try_write) is worth trying, which an error is too. Only the
    /// task that asked last is woken.
    ///
    /// # Errors
    /// The runtime is shutting down.
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Writes the beginning of these buffers, as one stream, and returns how many bytes it took.
    /// Two threads that write at once need an order of their own.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when there is no room; any other error ends the stream.
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ends the stream for both sides, after the bytes already written. Whoever waits for
    /// readiness on either side is woken. May be called again.
    ///
    /// Over IP, a socket dropped with bytes unread may take back bytes written: where the last
    /// words matter, read to the end before.
    fn shutdown(&self);

    /// Where the peer was seen.
    fn peer(&self) -> PeerAddr;

    /// Who the peer is, as far as the transport has proof of it. Asked once the peer's first bytes have arrived.
    fn principal(&self) -> Principal {
        Principal::Anonymous
    }

    /// Writes these bytes if there is room, and needs no runtime for it: for the one goodbye of a
    /// process that ends.
    fn write_at_exit(&self, bytes: &[u8]) {
        // Nobody is left to be told of a failure.
        drop(self.try_write(&[IoSlice::new(bytes)]));
    }
}

/// A way to reach other nodes, chosen by the scheme of an endpoint.
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// The scheme of the endpoints it serves, such as `tcp`.
    fn scheme(&self) -> &'static str;

    /// Opens an endpoint to peers.
    ///
    /// # Errors
    /// The endpoint is in use, or is none of this host. The message names it and says what to do.
    async fn listen(&self, at: &Endpoint) -> io::Result<Box<dyn Listener>>;

    /// Connects to a listener. It has no time-out of its own.
    ///
    /// # Errors
    /// Nobody listens there, or the way there is barred. The message names the endpoint.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the attempt.
    async fn dial(&self, to: &Endpoint) -> io::Result<Arc<dyn Socket>>;
}

/// An endpoint open to peers, until it is dropped.
#[async_trait]
pub trait Listener: Send + Sync + fmt::Debug + 'static {
    /// The next peer. One task at a time may wait.
    ///
    /// # Errors
    /// The host is short of something, such as file descriptors. The listener stays open: pause
    /// for [`ACCEPT_PAUSE`] and accept again. Peers that vanished while they waited are skipped.
    ///
    /// # Cancel safety
    /// Dropping the future loses no peer.
    async fn accept(&self) -> io::Result<Arc<dyn Socket>>;

    /// The endpoint listened at, with its real port.
    fn endpoint(&self) -> Endpoint;
}

/// Where a peer was seen.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddr {
    /// Over IP.
    Tcp {
        /// The peer's address.
        peer: SocketAddr,
        /// The address of this node that the peer is connected to.
        own: IpAddr,
    },
    /// In another process of this host, as the system tells of it.
    Unix {
        /// Its user, where the system tells.
        uid: Option<u32>,
        /// Its number, where the system tells.
        pid: Option<u32>,
    },
    /// In this process.
    Memory,
    /// Over a transport that users added, in its own words. Never taken for the same host.
    Other(Cow<'static, str>),
}

impl PeerAddr {
    /// A peer seen over IP; IPv4 addresses in IPv6 clothes become IPv4.
    #[must_use]
    pub fn tcp(peer: SocketAddr, own: IpAddr) -> Self {
        let peer = match peer.ip().to_canonical() {
            IpAddr::V4(ip) => SocketAddr::from((ip, peer.port())),
            IpAddr::V6(_) => peer,
        };
        Self::Tcp { peer, own: own.to_canonical() }
    }

    /// The peer's address, if it was seen over IP.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp { peer, .. } => Some(peer.ip()),
            Self::Unix { .. } | Self::Memory | Self::Other(_) => None,
        }
    }

    /// Whether the peer is on this host: its address is the socket's own. A proxy or a tunnel on
    /// this host makes strangers look so too.
    #[must_use]
    pub fn same_host(&self) -> bool {
        match self {
            Self::Tcp { peer, own } => peer.ip().is_loopback() || peer.ip() == *own,
            Self::Unix { .. } | Self::Memory => true,
            Self::Other(_) => false,
        }
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { peer, .. } => write!(f, "tcp://{peer}"),
            Self::Unix { pid: Some(pid), .. } => write!(f, "process {pid} over a unix socket"),
            Self::Unix { .. } => f.write_str("a unix socket"),
            Self::Memory => f.write_str("this process"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

/// The transports of a node, by scheme; `tcp`, `unix` and `mem` unless others are added.
#[derive(Clone, Debug)]
pub struct Transports(BTreeMap<&'static str, Arc<dyn Transport>>);

impl Default for Transports {
    fn default() -> Self {
        let mut transports = Self(BTreeMap::new());
        transports.add(TcpTransport);
        #[cfg(unix)]
        transports.add(UnixTransport);
        transports.add(MemoryTransport);
        transports
    }
}

impl Transports {
    /// Adds a transport, in place of one of the same scheme.
    pub fn add(&mut self, transport: impl Transport) {
        self.0.insert(transport.scheme(), Arc::new(transport));
    }

    /// Opens an endpoint to peers.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when no transport has the endpoint's scheme, else as
    /// [`Transport::listen`].
    pub async fn listen(&self, at: &Endpoint) -> io::Result<Box<dyn Listener>> {
        self.of(at)?.listen(at).await
    }

    /// Connects to a listener.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when no transport has the endpoint's scheme, else as
    /// [`Transport::dial`].
    ///
    /// # Cancel safety
    /// Dropping the future gives up the attempt.
    pub async fn dial(&self, to: &Endpoint) -> io::Result<Arc<dyn Socket>> {
        self.of(to)?.dial(to).await
    }

    fn of(&self, endpoint: &Endpoint) -> io::Result<&dyn Transport> {
        let scheme = endpoint.scheme();
        self.0.get(scheme).map(|transport| &**transport).ok_or_else(|| {
            let known: Vec<_> = self.0.keys().copied().collect();
            let known = known.join(", ");
            let remedy =
                if scheme == "tls" { "; give it certificates, NodeBuilder::tls of the feature `tls`" } else { "" };
            let text = format!("no transport for `{scheme}` of {endpoint}: this node has {known}{remedy}");
            io::Error::new(ErrorKind::Unsupported, text)
        })
    }
}

/// An error that says what was tried, and keeps the cause as its source.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Explained {
    text: String,
    source: io::Error,
}

/// Reads once, and has `attempt` forget that the socket was readable where nothing is left: a read that
/// does not fill its room has taken all there was, as epoll has it, and no second one has to find that
/// out. tokio's own `AsyncRead` does the same; `attempt` is its `try_io`.
fn read_once(
    room: usize,
    read: impl FnOnce() -> io::Result<usize>,
    attempt: impl FnOnce(&mut dyn FnMut() -> io::Result<()>) -> io::Result<()>,
) -> io::Result<usize> {
    let (mut read, mut count) = (Some(read), None);
    let attempted = attempt(&mut || {
        let Some(read) = read.take() else { return Ok(()) };
        let length = read()?;
        count = Some(length);
        let took_all = cfg!(target_os = "linux") && 0 < length && length < room;
        if took_all { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match count {
        Some(length) => Ok(length),
        None => attempted.and_then(|()| Err(ErrorKind::WouldBlock.into())),
    }
}

fn explained(cause: io::Error, text: String) -> io::Error {
    io::Error::new(cause.kind(), Explained { text, source: cause })
}

/// Why a dial failed.
fn undialled(to: &Endpoint, cause: io::Error) -> io::Error {
    let text = match cause.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => format!("nobody listens at {to}"),
        ErrorKind::PermissionDenied => format!("this process may not connect to {to}"),
        _ => format!("cannot connect to {to}"),
    };
    explained(cause, text)
}

/// An endpoint came to a transport of another scheme.
fn misdirected(transport: &impl Transport, endpoint: &Endpoint) -> io::Error {
    let text = format!("the {} transport cannot serve {endpoint}", transport.scheme());
    io::Error::new(ErrorKind::InvalidInput, text)
}

/// Whether an error of accept concerns the peer that was to be accepted, not this host.
fn concerns_the_peer(error: &io::Error) -> bool {
    use ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable,
        TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkDown
            | NetworkUnreachable
            | TimedOut
    )
}

#[cfg(test)]
mod tests;

//! Streams over IP.

use std::{
    io::{self, ErrorKind, IoSlice},
    net::Shutdown,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::{BufMut, BytesMut};
use socket2::SockRef;
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
};

use super::{Listener, PeerAddr, Socket, Transport, concerns_the_peer, explained, misdirected, read_once, undialled};
use crate::endpoint::Endpoint;

/// Connections that the system completes before they are accepted, if it allows as many: with tokio's 128 a dial that
/// meets a burst of others is dropped, and tried again a second later.
const BACKLOG: i32 = 4096;

/// Streams over IP: `tcp://host:port`, port 0 for any free one. The addresses of a host name are
/// tried in turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpTransport;

#[async_trait]
impl Transport for TcpTransport {
    fn scheme(&self) -> &'static str {
        "tcp"
    }

    async fn listen(&self, at: &Endpoint) -> io::Result<Box<dyn Listener>> {
        let (host, port) = self.address(at)?;
        let listener = bind(host, port).await.map_err(|cause| unbound(at, cause))?;
        let port = listener.local_addr()?.port();
        Ok(Box::new(OpenTcpListener { listener, endpoint: Endpoint::Tcp { host: host.to_owned(), port } }))
    }

    async fn dial(&self, to: &Endpoint) -> io::Result<Arc<dyn Socket>> {
        let (host, port) = self.address(to)?;
        let socket = TcpSocket::connect(host, port).await.map_err(|cause| undialled(to, cause))?;
        Ok(Arc::new(socket))
    }
}

impl TcpTransport {
    fn address<'a>(&self, endpoint: &'a Endpoint) -> io::Result<(&'a str, u16)> {
        match endpoint {
            Endpoint::Tcp { host, port } => Ok((host, *port)),
            other => Err(misdirected(self, other)),
        }
    }
}

/// Listens over IP.
pub(super) async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((host, port)).await?;
    // Listening again changes the backlog. Where it does not, tokio's serves.
    drop(SockRef::from(&listener).listen(BACKLOG));
    Ok(listener)
}

/// Why an endpoint could not be opened.
pub(super) fn unbound(at: &Endpoint, cause: io::Error) -> io::Error {
    let text = match cause.kind() {
        ErrorKind::AddrInUse => {
            format!("{at} is in use: stop the program that listens there, or choose another port (0 for any free one)")
        }
        ErrorKind::AddrNotAvailable => format!("{at} is no address of this host: use one of its own, or 0.0.0.0"),
        ErrorKind::PermissionDenied => format!("this process may not listen at {at}: choose a port above 1023"),
        _ => format!("cannot listen at {at}"),
    };
    explained(cause, text)
}

#[derive(Debug)]
struct OpenTcpListener {
    listener: TcpListener,
    endpoint: Endpoint,
}

#[async_trait]
impl Listener for OpenTcpListener {
    async fn accept(&self) -> io::Result<Arc<dyn Socket>> {
        loop {
            match self.listener.accept().await {
                // A socket that cannot be opened has been left by its peer already.
                Ok((stream, _)) => {
                    if let Ok(socket) = TcpSocket::open(stream) {
                        return Ok(Arc::new(socket));
                    }
                }
                Err(error) if concerns_the_peer(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }
}

/// Bytes that the system may hold for a connection beyond those that it has sent already: all of them go
/// ahead of whatever is written next.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_LEN_MAX: u32 = 128 << 10;

#[derive(Debug)]
struct TcpSocket {
    stream: TcpStream,
    peer: PeerAddr,
}

impl TcpSocket {
    async fn connect(host: &str, port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((host, port)).await?;
        // Dialling a free port of this host may pick just that port for itself, and meet itself.
        if stream.local_addr()? == stream.peer_addr()? {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        Self::open(stream)
    }

    fn open(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        #[cfg(any(target_os = "android", target_os = "linux"))]
        // Where it cannot be had, small messages wait longer behind large ones.
        drop(SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_LEN_MAX));
        let peer = PeerAddr::tcp(stream.peer_addr()?, stream.local_addr()?.ip());
        Ok(Self { stream, peer })
    }
}

impl Socket for TcpSocket {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_read_ready(cx)
    }

    fn try_read(&self, into: &mut BytesMut, len_max: usize) -> io::Result<usize> {
        let mut into = into.limit(len_max);
        let room = (into.get_ref().capacity() - into.get_ref().len()).min(len_max);
        read_once(room, || self.stream.try_read_buf(&mut into), |read| self.stream.try_io(Interest::READABLE, read))
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(cx)
    }

    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match bufs {
            [one] => self.stream.try_write(one),
            many => self.stream.try_write_vectored(many),
        }
    }

    fn shutdown(&self) {
        // It fails only where the connection is gone already.
        drop(SockRef::from(&self.stream).shutdown(Shutdown::Both));
    }

    fn peer(&self) -> PeerAddr {
        self.peer.clone()
    }

    fn write_at_exit(&self, bytes: &[u8]) {
        // Nobody is left to be told of a failure.
        drop(SockRef::from(&self.stream).send(bytes));
    }
}

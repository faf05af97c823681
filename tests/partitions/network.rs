//! The simulated network as a transport of nodes.

use std::{
    fmt,
    io::{self, ErrorKind, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use bytes::{BufMut, BytesMut};
use parking_lot::Mutex;
use rmi::{
    Endpoint,
    transport::{Listener, PeerAddr, Socket, Transport},
};
use tokio::io::{AsyncRead, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// Longest segment that is written at once.
const SEGMENT_LEN: usize = 16 << 10;

/// `tcp://host:port` in the simulation, in place of the transport over real sockets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Network {
    /// Every peer looks as if it were on the same host, as behind a proxy: a registry takes names from
    /// such peers only.
    pub(crate) proxied: bool,
}

#[async_trait]
impl Transport for Network {
    fn scheme(&self) -> &'static str {
        "tcp"
    }

    async fn listen(&self, at: &Endpoint) -> io::Result<Box<dyn Listener>> {
        let (host, port) = address(at)?;
        let listener = TcpListener::bind((host, port)).await?;
        let endpoint = Endpoint::Tcp { host: host.to_owned(), port: listener.local_addr()?.port() };
        Ok(Box::new(Open { listener, endpoint, network: *self }))
    }

    async fn dial(&self, to: &Endpoint) -> io::Result<Arc<dyn Socket>> {
        let (host, port) = address(to)?;
        self.socket(TcpStream::connect((host, port)).await?)
    }
}

impl Network {
    fn socket(self, stream: TcpStream) -> io::Result<Arc<dyn Socket>> {
        let peer = stream.peer_addr()?;
        let own = if self.proxied { peer.ip() } else { stream.local_addr()?.ip() };
        let half = Half { stream: Some(stream), reader: None, writer: None };
        Ok(Arc::new(Stream { half: Mutex::new(half), peer: PeerAddr::tcp(peer, own) }))
    }
}

fn address(endpoint: &Endpoint) -> io::Result<(&str, u16)> {
    match endpoint {
        Endpoint::Tcp { host, port } => Ok((host, *port)),
        other => Err(io::Error::new(ErrorKind::InvalidInput, other.to_string())),
    }
}

struct Open {
    listener: TcpListener,
    endpoint: Endpoint,
    network: Network,
}

#[async_trait]
impl Listener for Open {
    async fn accept(&self) -> io::Result<Arc<dyn Socket>> {
        let (stream, _) = self.listener.accept().await?;
        self.network.socket(stream)
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Open({})", self.endpoint)
    }
}

/// A stream of the simulation, used through a shared reference.
#[derive(Debug)]
struct Stream {
    half: Mutex<Half>,
    peer: PeerAddr,
}

/// This side of it.
#[derive(Debug)]
struct Half {
    /// None once it was shut down.
    stream: Option<TcpStream>,
    /// Who waits for readiness: the simulation wakes nobody when this side shuts down.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Socket for Stream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let half = &mut *self.half.lock();
        half.reader = Some(cx.waker().clone());
        match &mut half.stream {
            // What comes of it, the end and errors too, is for `try_read` to say.
            Some(stream) => stream.poll_peek(cx, &mut ReadBuf::new(&mut [0])).map(|_| Ok(())),
            None => Poll::Ready(Ok(())),
        }
    }

    fn try_read(&self, into: &mut BytesMut, len_max: usize) -> io::Result<usize> {
        let half = &mut *self.half.lock();
        let Some(stream) = &mut half.stream else { return Ok(0) };
        let mut segment = [0; 4096];
        into.reserve(1);
        let room = segment.len().min(into.capacity() - into.len()).min(len_max);
        let mut read = ReadBuf::new(&mut segment[..room]);
        // Nobody is to be woken: who finds nothing asks for readiness again.
        match Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut read) {
            Poll::Ready(Ok(())) => {
                into.put_slice(read.filled());
                Ok(read.filled().len())
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let half = &mut *self.half.lock();
        half.writer = Some(cx.waker().clone());
        match &half.stream {
            // An error is for `try_write` to say.
            Some(stream) => pin!(stream.writable()).poll(cx).map(|_| Ok(())),
            None => Poll::Ready(Ok(())),
        }
    }

    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let half = self.half.lock();
        let Some(stream) = &half.stream else { return Err(ErrorKind::BrokenPipe.into()) };
        let segment: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).take(SEGMENT_LEN).collect();
        stream.try_write(&segment)
    }

    fn shutdown(&self) {
        let (stream, wakers) = {
            let half = &mut *self.half.lock();
            (half.stream.take(), [half.reader.take(), half.writer.take()])
        };
        drop(stream);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn peer(&self) -> PeerAddr {
        self.peer.clone()
    }

    /// A host that crashes says nothing.
    fn write_at_exit(&self, _bytes: &[u8]) {}
}

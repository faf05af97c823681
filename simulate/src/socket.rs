//! The simulated network as nodes see it: a transport in the place of TCP's.

use std::{
    future::{pending, poll_fn},
    io::{self, ErrorKind, IoSlice},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::BytesMut;
use parking_lot::Mutex;
use rmi_core::{
    endpoint::Endpoint,
    transport::{Listener, PeerAddr, Socket, Transport},
};
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep},
};

use crate::network::{Host, Network, NodeKey, Readable, Side, WireKey};

/// The port that every node listens at.
const PORT: u16 = 1099;

/// The network as one node sees it, under the scheme `tcp`.
#[derive(Debug)]
pub(crate) struct SimulatedTransport {
    network: Network,
    node: NodeKey,
    host: Host,
}

impl SimulatedTransport {
    pub(crate) fn new(network: Network, node: NodeKey, host: Host) -> Self {
        Self { network, node, host }
    }
}

/// Where a node at this host listens.
pub(crate) fn endpoint_of(host: Host) -> Endpoint {
    Endpoint::Tcp { host: address_of(host).to_string(), port: PORT }
}

fn address_of(host: Host) -> IpAddr {
    let last = u8::try_from(host.0 + 1).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn host_of(endpoint: &Endpoint) -> Option<Host> {
    (0..crate::program::HOSTS_MAX).map(Host).find(|host| endpoint_of(*host) == *endpoint)
}

pub(crate) fn unbound() -> io::Error {
    io::Error::new(ErrorKind::ConnectionRefused, "the endpoint is none of the simulated network")
}

#[async_trait]
impl Transport for SimulatedTransport {
    fn scheme(&self) -> &'static str {
        "tcp"
    }

    async fn listen(&self, at: &Endpoint) -> io::Result<Box<dyn Listener>> {
        let arrivals = self.network.open_door(self.host, self.node)?;
        let arrivals = Mutex::new(arrivals);
        let listener = SimulatedListener {
            network: self.network.clone(),
            node: self.node,
            host: self.host,
            arrivals,
            at: at.clone(),
        };
        Ok(Box::new(listener))
    }

    async fn dial(&self, to: &Endpoint) -> io::Result<Arc<dyn Socket>> {
        let to = host_of(to).ok_or_else(unbound)?;
        Ok(Arc::new(self.network.dial(self.node, self.host, to).await?))
    }
}

#[derive(Debug)]
struct SimulatedListener {
    network: Network,
    node: NodeKey,
    host: Host,
    arrivals: Mutex<mpsc::UnboundedReceiver<SimulatedSocket>>,
    at: Endpoint,
}

#[async_trait]
impl Listener for SimulatedListener {
    async fn accept(&self) -> io::Result<Arc<dyn Socket>> {
        match poll_fn(|cx| self.arrivals.lock().poll_recv(cx)).await {
            Some(socket) => Ok(Arc::new(socket)),
            // The node has crashed: it does nothing any more.
            None => pending().await,
        }
    }

    fn endpoint(&self) -> Endpoint {
        self.at.clone()
    }
}

impl Drop for SimulatedListener {
    fn drop(&mut self) {
        self.network.close_door(self.host, self.node);
    }
}

/// One side of a simulated connection.
#[derive(Debug)]
pub(crate) struct SimulatedSocket {
    network: Network,
    wire: WireKey,
    side: Side,
    own: Host,
    peer: Host,
    /// Wakes the reader when the next piece arrives.
    timer: Mutex<Option<Pin<Box<Sleep>>>>,
}

impl SimulatedSocket {
    pub(crate) fn new(network: Network, wire: WireKey, side: Side, own: Host, peer: Host) -> Self {
        Self { network, wire, side, own, peer, timer: Mutex::new(None) }
    }

    fn poll_arrival(&self, at: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut timer = self.timer.lock();
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx).map(Ok)
    }
}

impl Socket for SimulatedSocket {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.network.poll_readable(self.wire, self.side, cx.waker()) {
            Readable::Now => Poll::Ready(Ok(())),
            Readable::At(at) => self.poll_arrival(at, cx),
            Readable::Never => Poll::Pending,
        }
    }

    fn try_read(&self, into: &mut BytesMut, len_max: usize) -> io::Result<usize> {
        self.network.read(self.wire, self.side, into, len_max)
    }

    /// The network takes whatever is written: programs write little.
    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.network.write(self.wire, self.side, bufs)
    }

    fn shutdown(&self) {
        self.network.close(self.wire, self.side, false);
    }

    fn peer(&self) -> PeerAddr {
        // The side that dialled has some port of its own.
        let port = if self.side.0 { 40_000 } else { PORT };
        PeerAddr::tcp(SocketAddr::from((address_of(self.peer), port)), address_of(self.own))
    }
}

impl Drop for SimulatedSocket {
    fn drop(&mut self) {
        self.network.close(self.wire, self.side, true);
    }
}

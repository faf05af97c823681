//! The dialling side of a node: one link to each node, shared by all who want it.

use std::{collections::HashMap, error::Error, future::poll_fn, io, sync::Arc, time::Duration};

use bytes::BytesMut;
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared},
    stream::FuturesUnordered,
};
use parking_lot::Mutex;

use super::Node;
use crate::{
    connection::Link,
    endpoint::Endpoint,
    error::{Certainty, ErrorKind, RemoteError},
    id::NodeId,
    referent::Referent,
    session::{Established, Handshake, HandshakeError},
    transport::Socket,
    wire::{Hello, split_frame},
};

type NodeLink = Arc<Link<Referent>>;
type Dial = Shared<BoxFuture<'static, Result<NodeLink, RemoteError>>>;

/// Between the starts of dials to several endpoints of one node.
const STAGGER: Duration = Duration::from_millis(100);

/// The links that this node dialled, and those it is dialling.
#[derive(Default)]
pub(super) struct Dials {
    by_node: Mutex<HashMap<NodeId, NodeLink>>,
    by_endpoint: Mutex<HashMap<Endpoint, NodeLink>>,
    under_way: Mutex<HashMap<Destination, Dial>>,
}

/// Who is dialled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Destination {
    Node(NodeId),
    Endpoint(Endpoint),
}

impl Dials {
    /// A link has ended, or takes no more calls.
    pub(super) fn forget(&self, link: &Link<Referent>) {
        self.by_node.lock().retain(|_, known| known.number() != link.number());
        self.by_endpoint.lock().retain(|_, known| known.number() != link.number());
    }
}

impl Node {
    /// The link to the node of this id, dialled at one of these endpoints if there is none.
    ///
    /// # Errors
    ///
    /// Where no endpoint answers, or only other nodes do.
    pub(crate) async fn link_to(&self, owner: NodeId, endpoints: &[Endpoint]) -> Result<NodeLink, RemoteError> {
        let known = self.0.dials.by_node.lock().get(&owner).cloned();
        match known.filter(|link| link.is_open()) {
            Some(link) => Ok(link),
            None => self.dial_shared(Destination::Node(owner), endpoints.to_vec()).await,
        }
    }

    /// The link that this endpoint was dialled for, if it is open.
    pub(crate) fn open_link_at(&self, endpoint: &Endpoint) -> Option<NodeLink> {
        self.0.dials.by_endpoint.lock().get(endpoint).filter(|link| link.is_open()).cloned()
    }

    /// The link to whatever node listens at this endpoint, dialled if there is none.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub(crate) async fn link_at(&self, endpoint: &Endpoint) -> Result<NodeLink, RemoteError> {
        match self.open_link_at(endpoint) {
            Some(link) => Ok(link),
            None => self.dial_shared(Destination::Endpoint(endpoint.clone()), vec![endpoint.clone()]).await,
        }
    }

    /// Dials once for all who ask meanwhile. A task drives the dial, so that nobody's going away
    /// ends it for the others.
    async fn dial_shared(&self, to: Destination, endpoints: Vec<Endpoint>) -> Result<NodeLink, RemoteError> {
        let dial = {
            let mut under_way = self.0.dials.under_way.lock();
            under_way
                .entry(to.clone())
                .or_insert_with(|| {
                    let (node, to) = (self.clone(), to.clone());
                    let dial = async move {
                        let dialled = node.dial(&to, endpoints).await;
                        node.0.dials.under_way.lock().remove(&to);
                        dialled
                    };
                    // On the node's own runtime, whoever asks: the link lives there.
                    let task = self.0.runtime.spawn(dial);
                    let dial = async move { task.await.unwrap_or_else(|_| Err(shut_down())) };
                    dial.boxed().shared()
                })
                .clone()
        };
        dial.await
    }

    async fn dial(&self, to: &Destination, endpoints: Vec<Endpoint>) -> Result<NodeLink, RemoteError> {
        if self.is_closed() {
            return Err(shut_down());
        }
        let expected = match to {
            Destination::Node(owner) => Some(*owner),
            Destination::Endpoint(_) => None,
        };
        let (socket, established, read) = self.race(endpoints, expected).await?;
        let peer = established.peer.node;
        let known = self.0.dials.by_node.lock().get(&peer).filter(|link| link.is_open()).cloned();
        let link = match known {
            // Dialled by id and by endpoint at once: nothing is held over the second yet.
            Some(link) if peer != self.id() => {
                socket.shutdown();
                link
            }
            _ => self.open_link(socket, established, true, read),
        };
        if peer != self.id() {
            self.0.dials.by_node.lock().insert(peer, link.clone());
        }
        if let Destination::Endpoint(endpoint) = to {
            self.0.dials.by_endpoint.lock().insert(endpoint.clone(), link.clone());
        }
        Ok(link)
    }

    /// Dials all endpoints, each a little after the one before, and takes the first that answers
    /// as the expected node.
    async fn race(
        &self,
        endpoints: Vec<Endpoint>,
        expected: Option<NodeId>,
    ) -> Result<(Arc<dyn Socket>, Established, BytesMut), RemoteError> {
        let mut attempts: FuturesUnordered<_> = endpoints
            .iter()
            .zip(0u32..)
            .map(|(endpoint, place)| async move {
                tokio::time::sleep(STAGGER * place).await;
                (endpoint, self.attempt(endpoint, expected).await)
            })
            .collect();
        let mut failures = Vec::new();
        while let Some((endpoint, attempt)) = attempts.next().await {
            match attempt {
                Ok(dialled) => return Ok(dialled),
                Err(error) => failures.push((endpoint, error)),
            }
        }
        Err(why_none_answered(&failures))
    }

    async fn attempt(
        &self,
        endpoint: &Endpoint,
        expected: Option<NodeId>,
    ) -> Result<(Arc<dyn Socket>, Established, BytesMut), RemoteError> {
        let limit = self.limits().connect_timeout;
        let attempt = async {
            let socket = self.0.transports.dial(endpoint).await.map_err(unreachable)?;
            let mut read = BytesMut::new();
            match self.shake_hands(&socket, Some(expected), &mut read).await {
                Ok(established) => Ok((socket, established, read)),
                Err(error) => {
                    socket.shutdown();
                    Err(error)
                }
            }
        };
        match tokio::time::timeout(limit, attempt).await {
            Ok(attempt) => attempt,
            Err(_) => {
                let message = format!("{endpoint} gave no handshake within {} ms", limit.as_millis());
                Err(RemoteError::new(ErrorKind::Unreachable, message))
            }
        }
    }

    /// Exchanges hellos; `dialled` holds the expected node where this side dialled. What arrives
    /// behind the peer's hello is left in `read`.
    pub(super) async fn shake_hands(
        &self,
        socket: &Arc<dyn Socket>,
        dialled: Option<Option<NodeId>>,
        read: &mut BytesMut,
    ) -> Result<Established, RemoteError> {
        let mut hello = Hello::new(self.id(), self.limits(), self.0.lease);
        hello.endpoints = self.endpoints();
        hello.expected = dialled.flatten();
        let handshake = Handshake::new(hello);
        let broken = |error: io::Error| {
            RemoteError::new(ErrorKind::Unreachable, "the peer closed the connection in the handshake")
                .with_source(&error)
        };
        if dialled.is_some() {
            write_all(socket, &handshake.hello()).await.map_err(broken)?;
        }
        let frame = loop {
            if let Some(frame) = split_frame(read)? {
                break frame;
            }
            read_some(socket, read).await.map_err(broken)?;
        };
        let established = handshake.handle_frame(&frame);
        // An acceptor that is not the one wanted says who it is, so that the dialler can tell.
        if dialled.is_none() {
            write_all(socket, &handshake.hello()).await.map_err(broken)?;
        }
        established.map_err(|error| match error {
            HandshakeError::Wire(error) => error.into(),
            HandshakeError::OtherNode { .. } => RemoteError::new(ErrorKind::NoSuchObject, error.to_string()),
        })
    }
}

/// One error for all endpoints: that the node is another counts for more than that it is silent.
fn why_none_answered(failures: &[(&Endpoint, RemoteError)]) -> RemoteError {
    let [(_, only)] = failures else {
        let other_node = failures.iter().any(|(_, error)| error.kind() == ErrorKind::NoSuchObject);
        let kind = if other_node { ErrorKind::NoSuchObject } else { ErrorKind::Unreachable };
        let tried: Vec<_> =
            failures.iter().map(|(endpoint, error)| format!("{endpoint}: {}", error.message())).collect();
        let message = format!("none of its endpoints answers: {}", tried.join("; "));
        return RemoteError::new(kind, message).with_certainty(Certainty::NotSent);
    };
    only.clone().with_certainty(Certainty::NotSent)
}

/// The transport's words are the message, and what the system said is the source.
fn unreachable(error: io::Error) -> RemoteError {
    let told = RemoteError::new(ErrorKind::Unreachable, error.to_string());
    match error.source() {
        Some(cause) => told.with_source(cause),
        None => told,
    }
}

fn shut_down() -> RemoteError {
    RemoteError::new(ErrorKind::Shutdown, "this node has shut down").with_certainty(Certainty::NotSent)
}

async fn write_all(socket: &Arc<dyn Socket>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        poll_fn(|cx| socket.poll_write_ready(cx)).await?;
        match socket.try_write(&[io::IoSlice::new(bytes)]) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads little at a time: a peer that has not said who it is costs no more.
async fn read_some(socket: &Arc<dyn Socket>, read: &mut BytesMut) -> io::Result<()> {
    const STEP: usize = 4 << 10;
    loop {
        poll_fn(|cx| socket.poll_read_ready(cx)).await?;
        read.reserve(STEP);
        match socket.try_read(read) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

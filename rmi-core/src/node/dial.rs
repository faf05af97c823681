//! The dialling side of a node: one link to each node, shared by all who want it.

use std::{collections::HashMap, error::Error, future::poll_fn, io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared},
    stream::FuturesUnordered,
};
use parking_lot::Mutex;

use super::Node;
use crate::{
    connection::{Carrier, From, Link, Unresumed},
    endpoint::Endpoint,
    error::{Certainty, ErrorKind, RemoteError},
    id::NodeId,
    referent::Referent,
    session::{Established, Handshake, HandshakeError},
    transport::Socket,
    wire::{Frame, Hello, Message, Resume, ResumeRefused, WireError, split_frame},
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
    /// Another link goes where this one went.
    pub(super) fn replace(&self, link: &Link<Referent>, by: &NodeLink) {
        let is_meant = |known: &&mut NodeLink| known.number() == link.number();
        self.by_node.lock().values_mut().filter(is_meant).for_each(|known| *known = by.clone());
        self.by_endpoint.lock().values_mut().filter(is_meant).for_each(|known| *known = by.clone());
    }

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
        match known.filter(is_usable) {
            Some(link) => Ok(link),
            None => self.dial_shared(Destination::Node(owner), endpoints.to_vec()).await,
        }
    }

    /// The link that this endpoint was dialled for, if it is open and connected: whoever listens
    /// there now need not be the same node.
    pub(crate) fn open_link_at(&self, endpoint: &Endpoint) -> Option<NodeLink> {
        self.0.dials.by_endpoint.lock().get(endpoint).filter(|link| link.is_connected()).cloned()
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
        let (endpoint, Shaken { socket, established, read }) =
            self.race(endpoints, Dialler { expected, resumes: false }).await?;
        if self.is_closed() {
            socket.shutdown();
            return Err(shut_down());
        }
        let peer = established.peer.node;
        let known = self.0.dials.by_node.lock().get(&peer).cloned();
        let link = match known.filter(is_usable) {
            // Dialled by id and by endpoint at once: nothing is held over the second yet. Or the first has
            // lost its connection, and the peer is there again.
            Some(link) if peer != self.id() => {
                socket.shutdown();
                link.hasten();
                link
            }
            _ => {
                let principal = socket.principal();
                self.open_link(socket, established, principal, Some(endpoint), None, read)
            }
        };
        // The peer may have said already that its own link is to be used instead.
        if peer != self.id() {
            let mut by_node = self.0.dials.by_node.lock();
            if !link.is_retired() {
                by_node.insert(peer, link.clone());
            }
        }
        if let Destination::Endpoint(endpoint) = to {
            let mut by_endpoint = self.0.dials.by_endpoint.lock();
            if !link.is_retired() {
                by_endpoint.insert(endpoint.clone(), link.clone());
            }
        }
        Ok(link)
    }

    /// Dials all endpoints, each a little after the one before, and takes the first that answers
    /// as the expected node.
    async fn race(&self, endpoints: Vec<Endpoint>, dialler: Dialler) -> Result<(Endpoint, Shaken), RemoteError> {
        let mut attempts: FuturesUnordered<_> = endpoints
            .iter()
            .zip(0u32..)
            .map(|(endpoint, place)| async move {
                tokio::time::sleep(STAGGER * place).await;
                (endpoint, self.attempt(endpoint, dialler).await)
            })
            .collect();
        let mut failures = Vec::new();
        while let Some((endpoint, attempt)) = attempts.next().await {
            match attempt {
                Ok(shaken) => return Ok((endpoint.clone(), shaken)),
                Err(error) => failures.push((endpoint, error)),
            }
        }
        Err(why_none_answered(endpoints.first(), &failures))
    }

    async fn attempt(&self, endpoint: &Endpoint, dialler: Dialler) -> Result<Shaken, RemoteError> {
        // One that hangs must not cost the lease of a lost link.
        let hasty = if dialler.resumes { self.0.lease / 4 } else { Duration::MAX };
        let limit = self.limits().connect_timeout.min(hasty);
        let attempt = async {
            let token = self.trust().tokens.of(endpoint)?;
            let socket = self.0.transports.dial(endpoint).await.map_err(unreachable)?;
            let mut read = BytesMut::new();
            match self.greet(&socket, dialler, token, &mut read).await {
                Ok(established) => Ok(Shaken { socket, established, read }),
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

    /// Takes a lost link up again: dials where its peer answered before, and where it says that it
    /// listens.
    pub(super) async fn redial(self, link: NodeLink, resume: Resume) -> Result<Carrier, Unresumed> {
        if self.is_closed() {
            return Err(Unresumed::Refused(shut_down()));
        }
        let mut endpoints: Vec<_> = link.dialled().cloned().into_iter().collect();
        endpoints
            .extend(self.whereabouts(&link).endpoints.iter().filter(|named| link.dialled() != Some(named)).cloned());
        let dialler = Dialler { expected: Some(link.peer().node), resumes: true };
        let Shaken { socket, established, mut read } = match self.race(endpoints, dialler).await {
            Ok((_, shaken)) => shaken,
            // Another node listens there: this one has restarted, or is gone.
            Err(error) if error.kind() == ErrorKind::NoSuchObject => return Err(Unresumed::Refused(error)),
            Err(error) => return Err(Unresumed::Failed(error)),
        };
        let answered = async {
            write_all(&socket, &encoded(&Message::Resume(resume))).await.map_err(broken)?;
            let frame = read_frame(&socket, &mut read).await?;
            Ok::<_, RemoteError>(Message::decode(frame.kind, frame.body, self.limits())?)
        };
        let answer = tokio::time::timeout(self.limits().connect_timeout, answered).await;
        let failure = match answer {
            Ok(Ok(Message::Ack(ack))) => {
                let principal = socket.principal();
                return Ok(Carrier { socket, established, principal, read, from: From::Here(ack) });
            }
            Ok(Ok(Message::ResumeRefused(ResumeRefused { reason }))) => {
                let message = format!("the peer does not take the lost link up again: {reason}");
                Unresumed::Refused(RemoteError::new(ErrorKind::ConnectionLost, message))
            }
            Ok(Ok(_)) => Unresumed::Refused(RemoteError::new(
                ErrorKind::Protocol,
                "the peer answered a resumption with something else",
            )),
            Ok(Err(error)) => Unresumed::Failed(error),
            Err(_) => {
                Unresumed::Failed(RemoteError::new(ErrorKind::Unreachable, "no answer to the resumption in time"))
            }
        };
        socket.shutdown();
        Err(failure)
    }

    /// Exchanges hellos with a node that this side has dialled. What arrives behind its hello is left in `read`.
    async fn greet(
        &self,
        socket: &Arc<dyn Socket>,
        Dialler { expected, resumes }: Dialler,
        token: Option<Bytes>,
        read: &mut BytesMut,
    ) -> Result<Established, RemoteError> {
        let handshake = Handshake::dial(Hello { expected, resumes, token, ..self.hello() });
        write_all(socket, &handshake.hello()).await.map_err(broken)?;
        let frame = read_hello(socket, read).await?;
        handshake.handle_frame(&frame).map_err(RemoteError::from)
    }

    /// What this node says of itself.
    pub(super) fn hello(&self) -> Hello {
        Hello { endpoints: self.endpoints(), ..Hello::new(self.id(), self.limits(), self.0.lease) }
    }
}

impl std::convert::From<HandshakeError> for RemoteError {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Wire(error) => error.into(),
            HandshakeError::OtherNode { .. } => Self::new(ErrorKind::NoSuchObject, error.to_string()),
            HandshakeError::Refused(ref why) => Self::new(why.kind, error.to_string()),
        }
    }
}

/// Whether calls may go over this link. One that this side cannot dial again is of use only while it is
/// connected.
fn is_usable(link: &NodeLink) -> bool {
    if link.dialled().is_some() { link.is_open() } else { link.is_connected() }
}

/// What the side that dials knows of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialler {
    /// The node that it means to reach, where it knows.
    expected: Option<NodeId>,
    /// Whether it takes a lost link up again.
    resumes: bool,
}

/// A connection whose hellos were exchanged.
struct Shaken {
    socket: Arc<dyn Socket>,
    established: Established,
    /// What arrived behind the peer's hello.
    read: BytesMut,
}

pub(super) fn broken(error: io::Error) -> RemoteError {
    // A transport that knows more says so in its own words.
    if error.get_ref().is_some() {
        return unreachable(error);
    }
    RemoteError::new(ErrorKind::Unreachable, "the peer closed the connection in the handshake").with_source(&error)
}

/// One error for all endpoints. That another node answers at the first, where this one was found before,
/// or at all of them, counts for more than that others are silent.
fn why_none_answered(first: Option<&Endpoint>, failures: &[(&Endpoint, RemoteError)]) -> RemoteError {
    let [(_, only)] = failures else {
        let is_other = |error: &RemoteError| error.kind() == ErrorKind::NoSuchObject;
        let other_node = failures.iter().any(|(at, error)| Some(*at) == first && is_other(error))
            || (!failures.is_empty() && failures.iter().all(|(_, error)| is_other(error)));
        // One that answers and refuses tells more than those that are silent.
        let mut kinds = failures.iter().map(|(_, error)| error.kind());
        let refused = kinds.find(|kind| matches!(kind, ErrorKind::Overloaded | ErrorKind::AccessDenied));
        let kind = if other_node { ErrorKind::NoSuchObject } else { refused.unwrap_or(ErrorKind::Unreachable) };
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

pub(super) fn encoded(message: &Message) -> BytesMut {
    let mut out = BytesMut::new();
    message.encode_frame(&mut out);
    out
}

/// The first frame. One of another kind than a hello is refused before its body has arrived.
pub(super) async fn read_hello(socket: &Arc<dyn Socket>, read: &mut BytesMut) -> Result<Frame, RemoteError> {
    loop {
        if let Some(frame) = split_frame(read)? {
            return Ok(frame);
        }
        if !Hello::may_begin(read) {
            return Err(WireError::Broken("did not begin with a hello").into());
        }
        read_some(socket, read).await.map_err(broken)?;
    }
}

/// The next whole frame.
pub(super) async fn read_frame(socket: &Arc<dyn Socket>, read: &mut BytesMut) -> Result<Frame, RemoteError> {
    loop {
        if let Some(frame) = split_frame(read)? {
            return Ok(frame);
        }
        read_some(socket, read).await.map_err(broken)?;
    }
}

pub(super) async fn write_all(socket: &Arc<dyn Socket>, mut bytes: &[u8]) -> io::Result<()> {
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
        match socket.try_read(read, STEP) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

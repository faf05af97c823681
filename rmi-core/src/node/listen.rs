//! The listening side of a node.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::watch;

use super::{
    Node,
    admission::{Place, Shaking},
    dial::{broken, encoded, read_frame, read_hello, write_all},
};
use crate::{
    connection::{Carrier, From},
    endpoint::Endpoint,
    error::{ErrorKind, RemoteError},
    principal::Principal,
    session::{Established, Handshake},
    transport::{ACCEPT_PAUSE, Listener, Socket},
    wire::{Hello, Message, ResumeRefused, Ticket, WireError},
};

/// Where a node listens, and the word to stop.
#[derive(Debug)]
pub(super) struct Listeners {
    endpoints: Vec<Endpoint>,
    closed: watch::Sender<bool>,
}

impl Listeners {
    pub(super) fn new(listeners: &[Box<dyn Listener>]) -> Self {
        let endpoints = listeners.iter().map(|listener| listener.endpoint()).collect();
        Self { endpoints, closed: watch::Sender::new(false) }
    }

    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.endpoints.clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }
}

/// Accepts until the node closes.
pub(super) async fn accept_all(node: Node, listener: Box<dyn Listener>) {
    let mut closed = node.0.listeners.closed.subscribe();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(socket) => {
                let shaking = node.0.admission.enter(&socket.peer());
                node.spawn(accept(node.clone(), socket, shaking));
            }
            Err(error) => {
                tracing::warn!(endpoint = %listener.endpoint(), %error, "cannot accept; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Shakes hands with who dialled, within the time for it and for as long as it has a place.
async fn accept(node: Node, socket: Arc<dyn Socket>, shaking: Shaking) {
    let peer = socket.peer();
    let began = tokio::select! {
        biased;
        began = tokio::time::timeout(node.limits().connect_timeout, begin(&node, &socket, &shaking)) => began,
        () = shaking.gives_way() => {
            tracing::debug!(%peer, "no handshake before others needed its place");
            return socket.shutdown();
        }
    };
    match began {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "handshake failed");
            socket.shutdown();
        }
        Err(_) => {
            tracing::debug!(%peer, "no handshake in time");
            socket.shutdown();
        }
    }
}

/// Exchanges hellos, and begins a link or takes one up.
async fn begin(node: &Node, socket: &Arc<dyn Socket>, shaking: &Shaking) -> Result<(), RemoteError> {
    let mut read = BytesMut::new();
    let Greeted { established, principal, place } = greet(node, socket, shaking, &mut read).await?;
    if node.is_closed() {
        socket.shutdown();
    } else if established.resumes {
        resume(node, socket, established, principal, read).await?;
    } else {
        node.open_link(socket.clone(), established, principal, None, place, read);
    }
    Ok(())
}

/// Who dialled, once hellos were exchanged.
struct Greeted {
    established: Established,
    principal: Principal,
    /// A link that is taken up has one.
    place: Option<Place>,
}

/// Exchanges hellos with who dialled, or says why no link comes of it.
async fn greet(
    node: &Node,
    socket: &Arc<dyn Socket>,
    shaking: &Shaking,
    read: &mut BytesMut,
) -> Result<Greeted, RemoteError> {
    let handshake = Handshake::accept(Hello { ticket: Some(Ticket::random()), ..node.hello() });
    let frame = read_hello(socket, read).await?;
    let established = match handshake.handle_frame(&frame) {
        Ok(established) => established,
        Err(error) => {
            // A node that is not the one wanted says who it is, so that the dialler can tell.
            write_all(socket, &handshake.hello()).await.map_err(broken)?;
            return Err(error.into());
        }
    };
    shaking.heard();
    match admit(node, socket, established).await {
        Ok(greeted) => {
            write_all(socket, &handshake.hello()).await.map_err(broken)?;
            Ok(greeted)
        }
        Err(error) => {
            write_all(socket, &handshake.refusal((&error).into())).await.map_err(broken)?;
            Err(error)
        }
    }
}

/// Sees who it is, and that there is room for it.
async fn admit(node: &Node, socket: &Arc<dyn Socket>, mut established: Established) -> Result<Greeted, RemoteError> {
    let peer = socket.peer();
    // It is a secret, and of no more use.
    let token = established.token.take();
    let principal = node.trust().authenticate(token.as_ref(), socket.principal(), &peer).await?;
    let place = if established.resumes { None } else { Some(node.0.admission.admit(&peer)?) };
    Ok(Greeted { established, principal, place })
}

/// Gives a connection to the lost link that it is to take up, or says why not.
async fn resume(
    node: &Node,
    socket: &Arc<dyn Socket>,
    established: Established,
    principal: Principal,
    mut read: BytesMut,
) -> Result<(), RemoteError> {
    let frame = read_frame(socket, &mut read).await?;
    let Message::Resume(resume) = Message::decode(frame.kind, frame.body, node.limits())? else {
        return Err(WireError::Broken("sent no resumption behind a hello that announced one").into());
    };
    let link = node.link_of(resume.link);
    if let Some(link) = &link
        && let Err(full) = node.0.admission.readmit(link.number(), &socket.peer())
    {
        // Closed without an answer it is lost once more, and dials again.
        return Err(full);
    }
    let carrier = Carrier { socket: socket.clone(), established, principal, read, from: From::Peer(resume) };
    let offered = match &link {
        Some(link) => link.offer(carrier),
        None => Err("the link is not known: its lease is over, or it was ended"),
    };
    if let Err(why) = offered {
        if let Some(link) = link {
            node.give_place_back(&link);
        }
        let refusal = Message::ResumeRefused(ResumeRefused { reason: why.to_owned() });
        write_all(socket, &encoded(&refusal)).await.map_err(broken)?;
        return Err(RemoteError::new(ErrorKind::ConnectionLost, format!("resumption refused: {why}")));
    }
    Ok(())
}

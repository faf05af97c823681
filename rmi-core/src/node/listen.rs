//! The listening side of a node.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::{Semaphore, watch};

use super::{
    Node,
    dial::{broken, encoded, read_frame, write_all},
};
use crate::{
    connection::{Carrier, From},
    endpoint::Endpoint,
    error::RemoteError,
    principal::Principal,
    session::{Established, Handshake},
    transport::{ACCEPT_PAUSE, Listener, Socket},
    wire::{Hello, Message, ResumeRefused, Ticket},
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

/// Accepts until the node closes. At most [`Limits::handshakes`](crate::Limits::handshakes)
/// handshakes are under way at once; the others wait in the listener's backlog.
pub(super) async fn accept_all(node: Node, listener: Box<dyn Listener>) {
    let mut closed = node.0.listeners.closed.subscribe();
    let places = Arc::new(Semaphore::new(node.limits().handshakes.max(1) as usize));
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            accepted = accepted => accepted,
            _ = closed.wait_for(|closed| *closed) => return,
        };
        match accepted {
            Ok(socket) => {
                let accepting = node.clone();
                node.spawn(async move {
                    accept(accepting, socket).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(endpoint = %listener.endpoint(), %error, "cannot accept; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Shakes hands with who dialled, within the time for it.
async fn accept(node: Node, socket: Arc<dyn Socket>) {
    let peer = socket.peer();
    let mut read = BytesMut::new();
    let greeting = greet(&node, &socket, &mut read);
    match tokio::time::timeout(node.limits().connect_timeout, greeting).await {
        Ok(_) if node.is_closed() => socket.shutdown(),
        Ok(Ok((established, principal))) if established.resumes => {
            resume(&node, socket, established, principal, read).await;
        }
        Ok(Ok((established, principal))) => {
            node.open_link(socket, established, principal, None, read);
        }
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

/// Exchanges hellos with who dialled, once it is known who that is.
async fn greet(
    node: &Node,
    socket: &Arc<dyn Socket>,
    read: &mut BytesMut,
) -> Result<(Established, Principal), RemoteError> {
    let handshake = Handshake::accept(Hello { ticket: Some(Ticket::random()), ..node.hello() });
    let frame = read_frame(socket, read).await?;
    let mut established = match handshake.handle_frame(&frame) {
        Ok(established) => established,
        Err(error) => {
            // A node that is not the one wanted says who it is, so that the dialler can tell.
            write_all(socket, &handshake.hello()).await.map_err(broken)?;
            return Err(error.into());
        }
    };
    // It is a secret, and of no more use.
    let token = established.token.take();
    match node.trust().authenticate(token.as_ref(), socket.principal(), &socket.peer()).await {
        Ok(principal) => {
            write_all(socket, &handshake.hello()).await.map_err(broken)?;
            Ok((established, principal))
        }
        Err(error) => {
            write_all(socket, &handshake.refusal((&error).into())).await.map_err(broken)?;
            Err(error)
        }
    }
}

/// Gives a connection to the lost link that it is to take up, or says why not.
async fn resume(
    node: &Node,
    socket: Arc<dyn Socket>,
    established: Established,
    principal: Principal,
    mut read: BytesMut,
) {
    let peer = socket.peer();
    let asked = async {
        let frame = read_frame(&socket, &mut read).await?;
        Ok::<_, RemoteError>(Message::decode(frame.kind, frame.body, node.limits())?)
    };
    let asked = tokio::time::timeout(node.limits().connect_timeout, asked).await;
    let Ok(Ok(Message::Resume(resume))) = asked else {
        tracing::debug!(%peer, "no resumption behind a hello that announced one");
        socket.shutdown();
        return;
    };
    let carrier = Carrier { socket: socket.clone(), established, principal, read, from: From::Peer(resume) };
    let offered = match node.link_of(resume.link) {
        Some(link) => link.offer(carrier),
        None => Err("the link is not known: its lease is over, or it was ended"),
    };
    if let Err(why) = offered {
        tracing::debug!(%peer, why, "resumption refused");
        let refusal = Message::ResumeRefused(ResumeRefused { reason: why.to_owned() });
        // A peer that is gone again needs no answer.
        let refusal = encoded(&refusal);
        let told = tokio::time::timeout(node.limits().connect_timeout, write_all(&socket, &refusal));
        drop(told.await);
        socket.shutdown();
    }
}

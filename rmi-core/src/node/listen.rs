//! The listening side of a node.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::{Semaphore, watch};

use super::Node;
use crate::{
    endpoint::Endpoint,
    transport::{ACCEPT_PAUSE, Listener, Socket},
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
    let handshake = node.shake_hands(&socket, None, &mut read);
    match tokio::time::timeout(node.limits().connect_timeout, handshake).await {
        Ok(Ok(established)) => {
            node.open_link(socket, established, false, read);
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

//! A call, as layers of tower see it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rmi_core::{ErrorKind, Invocation, NodeId, ObjectId, RemoteError, Reply};
use tokio::sync::{mpsc, oneshot};
use tower::Service;

/// Where an attempt tells how it ended.
pub(super) type Tell = oneshot::Sender<Result<TowerEnd, RemoteError>>;

/// A call, as a layer of tower sees it. A clone is the same call, to go again.
#[derive(Clone, Debug)]
pub struct TowerCall {
    name: Arc<str>,
    object: Option<ObjectId>,
    peer: Option<NodeId>,
    request_len: usize,
    is_idempotent: bool,
    /// Asks for the call to go.
    go: mpsc::Sender<Tell>,
}

impl TowerCall {
    pub(super) fn new(call: &Invocation, go: mpsc::Sender<Tell>) -> Self {
        Self {
            name: call.name().into(),
            object: call.object(),
            peer: call.peer(),
            request_len: call.request_len(),
            is_idempotent: call.is_idempotent(),
            go,
        }
    }

    /// Interface and method, as `com.example.Bank.open`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The object that is called; `None` for a service by name, at its caller.
    #[must_use]
    pub fn object(&self) -> Option<ObjectId> {
        self.object
    }

    /// The node at the other side, where it is known before the call goes.
    #[must_use]
    pub fn peer(&self) -> Option<NodeId> {
        self.peer
    }

    /// Bytes of the encoded arguments.
    #[must_use]
    pub fn request_len(&self) -> usize {
        self.request_len
    }

    /// Whether the method may run more than once for one call.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.is_idempotent
    }
}

/// How a call ended whose method has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TowerEnd {
    /// Whether the method has returned an error of its own.
    pub is_error: bool,
    /// Bytes of the encoded result.
    pub response_len: usize,
}

impl TowerEnd {
    pub(super) fn of(reply: &Reply) -> Self {
        Self { is_error: reply.is_error(), response_len: reply.len() }
    }
}

/// What a layer of tower is put around: always ready, it lets calls go.
#[derive(Clone, Debug)]
pub struct TowerService(());

impl TowerService {
    pub(super) fn new() -> Self {
        Self(())
    }
}

impl Service<TowerCall> for TowerService {
    type Response = TowerEnd;
    type Error = RemoteError;
    type Future = Pin<Box<dyn Future<Output = Result<TowerEnd, RemoteError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), RemoteError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: TowerCall) -> Self::Future {
        Box::pin(async move {
            let (tell, told) = oneshot::channel();
            // A layer may hold a call for longer than its caller waits.
            let asked = call.go.send(tell).await.is_ok();
            drop(call);
            let cancelled = || RemoteError::new(ErrorKind::Cancelled, "its caller has gone");
            if asked { told.await.unwrap_or_else(|_| Err(cancelled())) } else { Err(cancelled()) }
        })
    }
}

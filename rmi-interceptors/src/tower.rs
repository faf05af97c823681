//! Layers of tower around calls.

use std::{
    error::Error,
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use rmi_core::{Certainty, ErrorKind, Interceptor, Invocation, Next, ObjectId, RemoteError, Reply, Side};
use tokio::sync::{Mutex, mpsc, oneshot};
use tower::{BoxError, Layer, Service, load_shed::error::Overloaded, timeout::error::Elapsed, util::BoxService};

/// A layer of tower as an interceptor: concurrency and rate limits, time-outs, load shedding, retries, filters.
///
/// One service is made of the layer, and all calls of the node go through it, so that a limit is that of the node.
/// The layer's requests are [`TowerCall`]s and its responses [`TowerEnd`]s: it decides whether, when and how often a
/// call goes, and sees how it ended; arguments and results pass it by. A service that is not ready makes calls wait;
/// put `LoadShedLayer` around it to refuse them instead.
///
/// An error of a layer becomes the call's: tower's `Overloaded` an [`ErrorKind::Overloaded`], its `Elapsed` an
/// [`ErrorKind::DeadlineExceeded`], a [`RemoteError`] itself, and any other an [`ErrorKind::Other`].
///
/// ```
/// use rmi_core::{Node, Side};
/// use rmi_interceptors::TowerLayer;
/// use tower::limit::ConcurrencyLimitLayer;
///
/// let builder = Node::builder().interceptor(TowerLayer::new(Side::Server, ConcurrencyLimitLayer::new(64)));
/// ```
pub struct TowerLayer {
    side: Side,
    /// Locked while a call waits for it to be ready, and then no more.
    service: Mutex<BoxService<TowerCall, TowerEnd, BoxError>>,
}

impl TowerLayer {
    /// Puts a layer around the calls of one side.
    pub fn new<L>(side: Side, layer: L) -> Self
    where
        L: Layer<TowerService>,
        L::Service: Service<TowerCall, Response = TowerEnd> + Send + 'static,
        <L::Service as Service<TowerCall>>::Error: Into<BoxError>,
        <L::Service as Service<TowerCall>>::Future: Send + 'static,
    {
        let service = tower::util::MapErr::new(layer.layer(TowerService(())), Into::into);
        Self { side, service: Mutex::new(BoxService::new(service)) }
    }
}

impl fmt::Debug for TowerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerLayer").field("side", &self.side).finish_non_exhaustive()
    }
}

/// A call, as a layer of tower sees it. A clone is the same call, to go again.
#[derive(Clone, Debug)]
pub struct TowerCall {
    name: Arc<str>,
    object: Option<ObjectId>,
    request_len: usize,
    /// Asks for the call to go.
    go: mpsc::UnboundedSender<oneshot::Sender<Result<TowerEnd, RemoteError>>>,
}

impl TowerCall {
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

    /// Bytes of the encoded arguments.
    #[must_use]
    pub fn request_len(&self) -> usize {
        self.request_len
    }
}

/// How a call ended whose method has returned.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TowerEnd {
    /// Whether the method has returned an error of its own.
    pub is_error: bool,
    /// Bytes of the encoded result.
    pub response_len: usize,
}

/// What a layer of tower is put around: always ready, it lets calls go.
#[derive(Debug)]
pub struct TowerService(());

impl Clone for TowerService {
    fn clone(&self) -> Self {
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
            // Whoever drives the call may have gone: it is cancelled then.
            let _ = call.go.send(tell);
            drop(call);
            told.await.unwrap_or_else(|_| Err(RemoteError::new(ErrorKind::Cancelled, "the call was cancelled")))
        })
    }
}

#[async_trait]
impl Interceptor for TowerLayer {
    async fn intercept(&self, call: &mut Invocation, mut next: Next<'_>) -> Result<Reply, RemoteError> {
        let (go, mut asked) = mpsc::unbounded_channel();
        let (name, object, request_len) = (call.name().into(), call.object(), call.request_len());
        let request = TowerCall { name, object, request_len, go };
        let layered = async {
            let mut service = self.service.lock().await;
            poll_fn(|cx| service.poll_ready(cx)).await?;
            let called = service.call(request);
            drop(service);
            called.await
        };
        let mut layered = pin!(layered);
        let mut last = None;
        loop {
            // The layers lead: what they drop or end is over.
            let tell = tokio::select! {
                biased;
                ended = &mut layered => return end(ended, last),
                Some(tell) = asked.recv() => tell,
            };
            let result = tokio::select! {
                biased;
                ended = &mut layered => return end(ended, last),
                result = next.run(call) => result,
            };
            let seen = match &result {
                Ok(reply) => Ok(TowerEnd { is_error: reply.is_error(), response_len: reply.len() }),
                Err(error) => Err(error.clone()),
            };
            last = Some(result);
            // A layer that does not wait for it has its own answer.
            let _ = tell.send(seen);
        }
    }

    fn sees(&self, side: Side) -> bool {
        side == self.side
    }
}

/// The layers have ended the call: with its own answer, or with an error of theirs.
fn end(ended: Result<TowerEnd, BoxError>, last: Option<Result<Reply, RemoteError>>) -> Result<Reply, RemoteError> {
    let error = match (ended, last) {
        (Ok(_), Some(last)) => return last,
        (Ok(_), None) => RemoteError::new(ErrorKind::Other, "a layer has answered in place of the call"),
        (Err(error), _) => of_layer(error),
    };
    Err(error)
}

fn of_layer(error: BoxError) -> RemoteError {
    let error = match error.downcast::<RemoteError>() {
        Ok(error) => return *error,
        Err(error) => error,
    };
    let kind = if error.is::<Overloaded>() {
        ErrorKind::Overloaded
    } else if error.is::<Elapsed>() {
        ErrorKind::DeadlineExceeded
    } else {
        ErrorKind::Other
    };
    let source: &(dyn Error + 'static) = &*error;
    // The runtime knows better what is true of the call.
    RemoteError::new(kind, "a layer around the call has ended it")
        .with_source(source)
        .with_certainty(Certainty::Unknown)
}

//! Layers of tower around calls.

mod call;

use std::{error::Error, fmt, future::poll_fn, iter::successors, pin::pin};

use async_trait::async_trait;
use rmi_core::{ErrorKind, Interceptor, Invocation, Next, RemoteError, Reply, Side};
use tokio::sync::{Mutex, mpsc};
use tower::{BoxError, Layer, Service, load_shed::error::Overloaded, timeout::error::Elapsed, util::BoxService};

pub use self::call::{TowerCall, TowerEnd, TowerService};

/// A layer of tower as an interceptor: concurrency and rate limits, time-outs, load shedding, retries, filters.
///
/// One service is made of the layer, and all calls of one side of the node go through it, so that a limit is that of the
/// node. The layer's requests are [`TowerCall`]s and its responses [`TowerEnd`]s: it decides whether, when and how often
/// a call goes, and sees how it ended; arguments and results pass it by. A service that is not ready lets calls wait, in
/// the order in which they came; `LoadShedLayer` around it refuses them instead.
///
/// An error of a layer is the call's: tower's `Overloaded` an [`ErrorKind::Overloaded`], its `Elapsed` an
/// [`ErrorKind::DeadlineExceeded`], a [`RemoteError`] itself, and any other an [`ErrorKind::Other`]; each is found below
/// others as well. The error's certainty is that of the call, whatever the layer says. A call of which a layer lets go,
/// as a time-out does, is cancelled.
///
/// ```
/// use std::time::Duration;
///
/// use rmi_core::{Node, Side};
/// use rmi_interceptors::TowerLayer;
/// use tower::{
///     ServiceBuilder,
///     limit::{ConcurrencyLimitLayer, RateLimitLayer},
///     load_shed::LoadShedLayer,
///     timeout::TimeoutLayer,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // 64 calls are served at a time, and others refused.
/// let served = ServiceBuilder::new().layer(LoadShedLayer::new()).layer(ConcurrencyLimitLayer::new(64));
/// // 1000 calls are made in a second, and others wait; each takes at most two seconds once it has gone.
/// let made = ServiceBuilder::new()
///     .layer(RateLimitLayer::new(1000, Duration::from_secs(1)))
///     .layer(TimeoutLayer::new(Duration::from_secs(2)));
/// let builder = Node::builder()
///     .interceptor(TowerLayer::new(Side::Server, served))
///     .interceptor(TowerLayer::new(Side::Client, made));
/// # }
/// ```
///
/// # Calls that go again
///
/// A layer may let a call go again, as `RetryLayer` does, at its caller only, and only where it certainly did not run or
/// its method is idempotent ([`TowerCall::is_idempotent`]). For any other call a second attempt ends at once as the last
/// one did, or, where a layer has let go of that, as an [`ErrorKind::Other`].
pub struct TowerLayer {
    side: Side,
    /// Locked while a call waits for it to be ready, so that the call gets what it waited for; no more while it goes.
    service: Mutex<BoxService<TowerCall, TowerEnd, BoxError>>,
}

impl TowerLayer {
    /// Puts a layer around the calls of one side.
    ///
    /// # Panics
    ///
    /// Where the layer does: those with a timer or a task of their own, such as rate limits and buffers, are to be made
    /// inside of a runtime.
    pub fn new<L>(side: Side, layer: L) -> Self
    where
        L: Layer<TowerService>,
        L::Service: Service<TowerCall, Response = TowerEnd> + Send + 'static,
        <L::Service as Service<TowerCall>>::Error: Into<BoxError>,
        <L::Service as Service<TowerCall>>::Future: Send + 'static,
    {
        let service = tower::util::MapErr::new(layer.layer(TowerService::new()), Into::into);
        Self { side, service: Mutex::new(BoxService::new(service)) }
    }
}

impl fmt::Debug for TowerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerLayer").field("side", &self.side).finish_non_exhaustive()
    }
}

#[async_trait]
impl Interceptor for TowerLayer {
    async fn intercept(&self, call: &mut Invocation, mut next: Next<'_>) -> Result<Reply, RemoteError> {
        // Layers that let a call go more than once at a time wait: one attempt runs after the other.
        let (go, mut asked) = mpsc::channel(1);
        let request = TowerCall::new(call, go);
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
            // The layers come first: what they end is over.
            let mut tell = tokio::select! {
                biased;
                ended = &mut layered => return end(ended, last),
                Some(tell) = asked.recv() => tell,
            };
            if last.is_none() || call.may_go() {
                last = tokio::select! {
                    biased;
                    ended = &mut layered => return end(ended, last),
                    // They have let go of this attempt.
                    () = tell.closed() => continue,
                    result = next.run(call) => Some(result),
                };
            }
            if let Some(result) = &last {
                // A layer that no longer waits for it has an end of its own.
                let _ = tell.send(result.as_ref().map(TowerEnd::of).map_err(Clone::clone));
            }
        }
    }

    fn sees(&self, side: Side) -> bool {
        side == self.side
    }
}

/// The layers have ended the call: as its last attempt did, or with an error of theirs.
fn end(ended: Result<TowerEnd, BoxError>, last: Option<Result<Reply, RemoteError>>) -> Result<Reply, RemoteError> {
    match (ended, last) {
        (Ok(_), Some(last)) => last,
        (Ok(_), None) => Err(RemoteError::new(ErrorKind::Other, "a layer has answered in place of the call")),
        (Err(error), _) => Err(of_layer(&*error)),
    }
}

/// The error of a layer as that of a call, whose certainty the runtime adds.
fn of_layer(error: &(dyn Error + 'static)) -> RemoteError {
    let ended = |kind| RemoteError::new(kind, "a layer around the call has ended it").with_source(error);
    for cause in successors(Some(error), |&cause| cause.source()) {
        if let Some(error) = cause.downcast_ref::<RemoteError>() {
            return error.clone();
        }
        if cause.is::<Overloaded>() {
            return ended(ErrorKind::Overloaded);
        }
        if cause.is::<Elapsed>() {
            return ended(ErrorKind::DeadlineExceeded);
        }
    }
    ended(ErrorKind::Other)
}

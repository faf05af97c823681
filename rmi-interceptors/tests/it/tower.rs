//! Layers of tower around calls.

use std::{
    error::Error,
    fmt,
    future::{Ready, ready},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use rmi::{CallOptions, Certainty, ErrorKind, Node, Remote, RemoteError, Side};
use rmi_interceptors::{TowerCall, TowerEnd, TowerLayer, TowerService};
use tokio::time::Instant;
use tower::{
    BoxError, Layer, Service, ServiceBuilder,
    buffer::BufferLayer,
    layer::layer_fn,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    load_shed::LoadShedLayer,
    retry::{Policy, RetryLayer},
    timeout::{TimeoutLayer, error::Elapsed},
    util::{MapRequestLayer, MapResultLayer, service_fn},
};

use crate::common::{Clerk, Scene, mem, serve, soon, until};

const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// A scene with a layer on one side.
async fn with<L>(side: Side, layer: L) -> Scene
where
    L: Layer<TowerService>,
    L::Service: Service<TowerCall, Response = TowerEnd> + Send + 'static,
    <L::Service as Service<TowerCall>>::Error: Into<BoxError>,
    <L::Service as Service<TowerCall>>::Future: Send + 'static,
{
    Scene::new(side, |builder| builder.interceptor(TowerLayer::new(side, layer))).await
}

#[tokio::test]
async fn so_many_calls_run_at_once_and_cancelled_ones_give_their_places_back() {
    for side in SIDES {
        let scene = with(side, ConcurrencyLimitLayer::new(2)).await;
        let mut running: Vec<_> = (0..2).map(|_| scene.wait()).collect();
        scene.clerk.holds(2).await;
        // Three more wait for a place; the first of them asks the layer, the others wait for their turn.
        let mut queued: Vec<_> = (0..3).map(|_| scene.wait()).collect();
        let in_flight = || scene.client.stats().calls_in_flight.max(scene.server.stats().calls_in_flight);
        match side {
            Side::Client => tokio::task::yield_now().await,
            Side::Server => until("all five have arrived", || in_flight() == 5).await,
        }
        assert_eq!(scene.clerk.held(), 2);
        for cancelled in [queued.remove(0), queued.remove(0)] {
            cancelled.abort();
            assert!(soon(cancelled).await.unwrap_err().is_cancelled());
        }
        assert_eq!(scene.clerk.held(), 2);
        for cancelled in running.drain(..) {
            cancelled.abort();
        }
        // The one that was not cancelled has its turn.
        scene.clerk.holds(1).await;
        // No place was lost: another runs beside it, and no third.
        let others = [scene.wait(), scene.wait()];
        scene.clerk.holds(2).await;
        scene.clerk.open.send_replace(true);
        for waiter in queued.into_iter().chain(others) {
            soon(waiter).await.unwrap().unwrap();
        }
        scene.rests().await;
    }
}

#[tokio::test]
async fn what_is_shed_is_overloaded_and_did_not_run() {
    for (side, certainty) in [(Side::Client, Certainty::NotSent), (Side::Server, Certainty::NotExecuted)] {
        let layers = ServiceBuilder::new().layer(LoadShedLayer::new()).layer(ConcurrencyLimitLayer::new(1));
        let scene = with(side, layers).await;
        let waiter = scene.wait();
        scene.clerk.holds(1).await;
        for _ in 0..3 {
            let error = soon(scene.desk.wait()).await.unwrap_err();
            assert_eq!((error.kind(), error.certainty()), (ErrorKind::Overloaded, certainty), "{error}");
            assert!(error.source().is_some_and(|source| source.to_string().contains("overloaded")), "{error:?}");
        }
        scene.clerk.open.send_replace(true);
        soon(waiter).await.unwrap().unwrap();
        // There is room again.
        soon(scene.desk.wait()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_cancelled() {
    for (side, certainty) in [(Side::Client, Certainty::Unknown), (Side::Server, Certainty::Executed)] {
        let scene = with(side, TimeoutLayer::new(Duration::from_millis(100))).await;
        assert_eq!(soon(scene.desk.ask("what")).await.unwrap(), 4);
        let waiter = scene.wait();
        scene.clerk.holds(1).await;
        let error = soon(waiter).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::DeadlineExceeded, certainty), "{error}");
        scene.clerk.holds(0).await;
        scene.rests().await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_come_at_a_rate() {
    for side in SIDES {
        let scene = with(side, RateLimitLayer::new(2, Duration::from_secs(1))).await;
        let began = Instant::now();
        for _ in 0..6 {
            soon(scene.desk.ask("what")).await.unwrap();
        }
        let took = began.elapsed();
        assert!(Duration::from_secs(2) <= took && took < Duration::from_secs(4), "{took:?}");
        // One that waits for its turn longer than its time ends within that, and did not run.
        soon(scene.desk.ask("what")).await.unwrap();
        soon(scene.desk.ask("what")).await.unwrap();
        let hurried = Remote::with(&scene.desk, CallOptions::new().timeout(Duration::from_millis(10)));
        let error = soon(hurried.ask("what")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        if side == Side::Client {
            assert_eq!(error.certainty(), Certainty::NotSent, "{error}");
        }
        assert_eq!(soon(scene.desk.ask("what")).await.unwrap(), 4);
    }
}

/// Lets calls that failed go again, so many times.
#[derive(Clone)]
struct Again(u32);

impl<E> Policy<TowerCall, TowerEnd, E> for Again {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut TowerCall, end: &mut Result<TowerEnd, E>) -> Option<Ready<()>> {
        let again = end.is_err() && self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        again.then(|| ready(()))
    }

    fn clone_request(&mut self, call: &TowerCall) -> Option<TowerCall> {
        Some(call.clone())
    }
}

#[tokio::test]
async fn an_idempotent_call_goes_again_and_no_other_that_has_run() {
    let scene = with(Side::Client, RetryLayer::new(Again(3))).await;
    soon(scene.desk.try_again()).await.unwrap();
    assert_eq!(scene.clerk.panics.swap(0, Ordering::Relaxed), 2);
    // The layer is told the same end three times more.
    let error = soon(scene.desk.panic()).await.unwrap_err();
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Panicked, Certainty::Executed), "{error}");
    assert_eq!(scene.clerk.panics.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn nothing_that_is_served_runs_twice() {
    let scene = with(Side::Server, RetryLayer::new(Again(3))).await;
    let error = soon(scene.desk.try_again()).await.unwrap_err();
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Panicked, Certainty::Executed), "{error}");
    assert_eq!(scene.clerk.panics.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_its_layer_gave_up_is_cancelled_before_the_next_goes() {
    let time = TimeoutLayer::new(Duration::from_millis(100));
    let layers = ServiceBuilder::new().layer(RetryLayer::new(Again(1))).layer(time);
    let scene = with(Side::Client, layers).await;
    let desk = scene.desk.clone();
    let queued = tokio::spawn(async move { desk.queue().await });
    scene.clerk.holds(1).await;
    let error = soon(queued).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::DeadlineExceeded, Certainty::Unknown), "{error}");
    scene.clerk.holds(0).await;
    assert_eq!(scene.clerk.waited(), 2);
    // One that is not idempotent does not go again, since nobody knows whether it ran.
    let error = soon(scene.desk.wait()).await.unwrap_err();
    assert_eq!(error.certainty(), Certainty::Unknown, "{error}");
    scene.clerk.holds(0).await;
    assert_eq!(scene.clerk.waited(), 3);
}

/// Opens the desk where it has no room, and lets the call go again until it has.
#[derive(Clone)]
struct Opener(Clerk);

impl Policy<TowerCall, TowerEnd, RemoteError> for Opener {
    type Future = Pin<Box<tokio::time::Sleep>>;

    fn retry(&mut self, _: &mut TowerCall, end: &mut Result<TowerEnd, RemoteError>) -> Option<Self::Future> {
        let error = end.as_ref().err()?;
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Overloaded, Certainty::NotExecuted), "{error}");
        self.0.open.send_replace(true);
        Some(Box::pin(tokio::time::sleep(Duration::from_millis(1))))
    }

    fn clone_request(&mut self, call: &TowerCall) -> Option<TowerCall> {
        Some(call.clone())
    }
}

#[tokio::test]
async fn a_call_that_was_shed_goes_again_whatever_its_method_is() {
    let clerk = Clerk::new();
    let shed = ServiceBuilder::new().layer(LoadShedLayer::new()).layer(ConcurrencyLimitLayer::new(1));
    let server = Node::builder().listen(mem()).interceptor(TowerLayer::new(Side::Server, shed));
    let retry = TowerLayer::new(Side::Client, RetryLayer::new(Opener(clerk.clone())));
    let (server, client) = (server.start().await.unwrap(), Node::builder().interceptor(retry).start().await.unwrap());
    let desk = serve(&server, &client, clerk.clone());
    let first = desk.clone();
    let first = tokio::spawn(async move { first.wait().await });
    clerk.holds(1).await;
    soon(desk.wait()).await.unwrap();
    soon(first).await.unwrap().unwrap();
    assert_eq!(clerk.waited(), 2);
}

/// An error of a layer's own.
#[derive(Debug)]
struct Broken(BoxError);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a layer is broken")
    }
}

impl Error for Broken {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// What a layer of its own refuses a call with.
fn denied() -> RemoteError {
    RemoteError::new(ErrorKind::AccessDenied, "not today").with_certainty(Certainty::Executed)
}

#[tokio::test]
async fn an_error_of_a_layer_is_the_calls() {
    let errors: [(fn() -> BoxError, ErrorKind); 4] = [
        (|| denied().into(), ErrorKind::AccessDenied),
        (|| Broken(denied().into()).into(), ErrorKind::AccessDenied),
        (|| Broken(Elapsed::new().into()).into(), ErrorKind::DeadlineExceeded),
        (|| Broken("it is".into()).into(), ErrorKind::Other),
    ];
    for (side, certainty) in [(Side::Client, Certainty::NotSent), (Side::Server, Certainty::NotExecuted)] {
        for (error, kind) in errors {
            let refuses = move |_: TowerCall| ready(Err::<TowerEnd, _>(error()));
            let scene = with(side, layer_fn(move |_: TowerService| service_fn(refuses))).await;
            let error = soon(scene.desk.ask("what")).await.unwrap_err();
            assert_eq!((error.kind(), error.certainty()), (kind, certainty), "{error}");
        }
    }
}

#[tokio::test]
async fn a_layer_that_hides_how_a_call_ended_hides_it_from_itself_alone() {
    // The first answer is kept, and given to all calls.
    let kept = Arc::new(Mutex::new(None));
    let keeps = layer_fn(move |mut service: TowerService| {
        let kept = kept.clone();
        service_fn(move |call: TowerCall| {
            let (kept, called) = (kept.clone(), service.call(call));
            async move {
                let answer: Option<TowerEnd> = *kept.lock();
                if let Some(answer) = answer {
                    return Ok(answer);
                }
                let answer = called.await?;
                *kept.lock() = Some(answer);
                Ok::<_, RemoteError>(answer)
            }
        })
    });
    let scene = with(Side::Server, keeps).await;
    assert_eq!(soon(scene.desk.ask("what")).await.unwrap(), 4);
    let error = soon(scene.desk.ask("what")).await.unwrap_err();
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Other, Certainty::NotExecuted), "{error}");
    assert!(error.message().contains("in place of the call"), "{error}");
}

#[tokio::test]
async fn layers_that_need_a_buffer_have_one() {
    for side in SIDES {
        let layers = ServiceBuilder::new().layer(BufferLayer::new(8)).layer(ConcurrencyLimitLayer::new(1));
        let scene = with(side, layers).await;
        let waiters: Vec<_> = (0..3).map(|_| scene.wait()).collect();
        scene.clerk.holds(1).await;
        scene.clerk.open.send_replace(true);
        for waiter in waiters {
            soon(waiter).await.unwrap().unwrap();
        }
        let error = soon(scene.desk.panic()).await.unwrap_err();
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Panicked, Certainty::Executed), "{error}");
    }
}

#[tokio::test]
async fn a_layer_sees_what_is_called_and_how_it_ends() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let calls = seen.clone();
    let requests = MapRequestLayer::new(move |call: TowerCall| {
        let peer = call.peer().is_some();
        let told = format!("{} {} {peer} {}", call.name(), call.request_len(), call.is_idempotent());
        calls.lock().push((told, call.object()));
        call
    });
    let ends = Arc::new(Mutex::new(Vec::new()));
    let noted = ends.clone();
    let answers = MapResultLayer::new(move |end: Result<TowerEnd, RemoteError>| {
        noted.lock().push(end.as_ref().map(|end| (end.is_error, end.response_len > 0)).map_err(RemoteError::kind));
        end
    });
    let scene = with(Side::Server, ServiceBuilder::new().layer(requests).layer(answers)).await;
    soon(scene.desk.ask("what")).await.unwrap();
    soon(scene.desk.fail()).await.unwrap_err();
    soon(scene.desk.panic()).await.unwrap_err();
    scene.clerk.panics.store(1, Ordering::Relaxed);
    soon(scene.desk.try_again()).await.unwrap();
    let (told, objects): (Vec<_>, Vec<_>) = seen.lock().iter().cloned().unzip();
    assert_eq!(told[0], "test.Desk.ask 5 true false");
    assert_eq!(told[3], "test.Desk.try_again 0 true true");
    assert!(objects.iter().all(|object| object.is_some() && *object == objects[0]), "{objects:?}");
    assert_eq!(*ends.lock(), [Ok((false, true)), Ok((true, true)), Err(ErrorKind::Panicked), Ok((false, false))]);
}

//! Layers of tower around calls.

mod common;

use std::{future::Ready, time::Duration};

use rmi::{Certainty, ErrorKind, RemoteError, Side};
use rmi_interceptors::{TowerCall, TowerEnd, TowerLayer};
use tokio::time::Instant;
use tower::{
    ServiceBuilder,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    load_shed::LoadShedLayer,
    retry::{Policy, RetryLayer},
    timeout::TimeoutLayer,
};

use crate::common::{Scene, soon};

#[tokio::test]
async fn so_many_calls_run_at_once_and_a_cancelled_one_gives_its_place_back() {
    for side in [Side::Server, Side::Client] {
        let scene = Scene::new(side, TowerLayer::new(side, ConcurrencyLimitLayer::new(2))).await;
        let waiters: Vec<_> = (0..3).map(|_| scene.wait()).collect();
        scene.waits(2).await;
        for waiter in waiters.iter().take(2) {
            waiter.abort();
        }
        scene.waits(1).await;
        scene.clerk.open.send_replace(true);
        for waiter in waiters.into_iter().skip(2) {
            soon(waiter).await.unwrap().unwrap();
        }
        scene.rests().await;
        // No place was lost.
        assert_eq!(soon(scene.desk.ask("what")).await.unwrap(), 4);
    }
}

#[tokio::test]
async fn what_is_shed_is_overloaded_and_did_not_run() {
    for (side, certainty) in [(Side::Server, Certainty::NotExecuted), (Side::Client, Certainty::NotSent)] {
        let layers = ServiceBuilder::new().layer(LoadShedLayer::new()).layer(ConcurrencyLimitLayer::new(1));
        let scene = Scene::new(side, TowerLayer::new(side, layers)).await;
        let waiter = scene.wait();
        scene.waits(1).await;
        let error = soon(scene.desk.wait()).await.unwrap_err();
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Overloaded, certainty), "{error}");
        scene.clerk.open.send_replace(true);
        soon(waiter).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_takes_too_long_is_ended() {
    for (side, certainty) in [(Side::Server, Certainty::Executed), (Side::Client, Certainty::Unknown)] {
        let layer = TimeoutLayer::new(Duration::from_millis(20));
        let scene = Scene::new(side, TowerLayer::new(side, layer)).await;
        let error = soon(scene.desk.wait()).await.unwrap_err();
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::DeadlineExceeded, certainty), "{error}");
        scene.waits(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_come_at_a_rate() {
    let layer = RateLimitLayer::new(2, Duration::from_secs(1));
    let scene = Scene::new(Side::Server, TowerLayer::new(Side::Server, layer)).await;
    let began = Instant::now();
    for _ in 0..6 {
        soon(scene.desk.ask("what")).await.unwrap();
    }
    let took = began.elapsed();
    assert!(Duration::from_secs(2) <= took && took < Duration::from_secs(4), "{took:?}");
}

/// Lets a call go once more where it was shed.
#[derive(Clone)]
struct Once(u32);

impl Policy<TowerCall, TowerEnd, RemoteError> for Once {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut TowerCall, end: &mut Result<TowerEnd, RemoteError>) -> Option<Ready<()>> {
        let again = end.is_err() && self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        again.then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, call: &TowerCall) -> Option<TowerCall> {
        Some(call.clone())
    }
}

#[tokio::test]
async fn a_layer_lets_no_call_go_again_that_has_run() {
    let layer = RetryLayer::new(Once(1));
    let scene = Scene::new(Side::Client, TowerLayer::new(Side::Client, layer)).await;
    assert_eq!(soon(scene.desk.ask("what")).await.unwrap(), 4);
    // One that has run does not go again, whatever the layer wants.
    let error = soon(scene.desk.panic()).await.unwrap_err();
    assert_eq!(error.certainty(), Certainty::Executed);
}

#[tokio::test]
async fn a_call_tells_its_layer_what_it_is() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = seen.clone();
    let layer = tower::util::MapRequestLayer::new(move |call: TowerCall| {
        noted.lock().unwrap().push((call.name().to_owned(), call.request_len(), call.object().is_some()));
        call
    });
    let scene = Scene::new(Side::Server, TowerLayer::new(Side::Server, layer)).await;
    soon(scene.desk.ask("what")).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [("test.Desk.ask".to_owned(), 5, true)]);
}

//! What the metrics tell.

use std::{collections::HashMap, time::Duration};

use metrics::LocalRecorderGuard;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use rmi::{Node, Remote, Side};
use rmi_interceptors::Metrics;

use crate::common::{Clerk, Desk, Scene, mem, serve, soon, until};

/// What a recorder was told on this thread.
struct Told {
    snapshotter: Snapshotter,
    /// By name and labels: the sum of what a counter or a gauge gained, how much a histogram recorded.
    sums: HashMap<(String, Vec<String>), f64>,
}

impl Told {
    fn listen(recorder: &DebuggingRecorder) -> (Self, LocalRecorderGuard<'_>) {
        let told = Self { snapshotter: recorder.snapshotter(), sums: HashMap::new() };
        (told, metrics::set_default_local_recorder(recorder))
    }

    /// The sum over all metrics of this name whose labels have these values.
    fn sum(&mut self, name: &str, values: &[&str]) -> f64 {
        // A snapshot takes away what it shows.
        for (key, _, _, value) in self.snapshotter.snapshot().into_vec() {
            let labels = key.key().labels().map(|label| label.value().to_owned()).collect();
            *self.sums.entry((key.key().name().to_owned(), labels)).or_default() += match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(recorded) => recorded.len() as f64,
            };
        }
        let mine = self.sums.iter().filter(|((of, labels), _)| {
            of == name && values.iter().all(|value| labels.iter().any(|label| label == value))
        });
        mine.map(|(_, sum)| sum).sum()
    }
}

async fn calls_are_counted(side: Side, name: &'static str) {
    let recorder = DebuggingRecorder::new();
    let (mut told, _listening) = Told::listen(&recorder);
    let scene = Scene::new(side, |builder| builder.interceptor(Metrics::new())).await;
    for _ in 0..3 {
        soon(scene.desk.ask("what")).await.unwrap();
    }
    soon(scene.desk.fail()).await.unwrap_err();
    soon(scene.desk.panic()).await.unwrap_err();
    let waiter = scene.wait();
    scene.clerk.holds(1).await;
    let wait = [name, "test.Desk.wait"];
    assert_eq!(told.sum("rmi_calls_in_flight", &wait), 1.0);
    assert_eq!(told.sum("rmi_calls_total", &wait), 1.0, "it is counted when it begins");
    assert_eq!(told.sum("rmi_call_duration_seconds", &wait), 0.0);
    waiter.abort();
    until("no call is in flight", || told.sum("rmi_calls_in_flight", &[]) == 0.0).await;

    let ask = [name, "test.Desk.ask"];
    assert_eq!(told.sum("rmi_calls_total", &ask), 3.0);
    assert_eq!(told.sum("rmi_request_bytes_total", &ask), 15.0);
    assert_eq!(told.sum("rmi_response_bytes_total", &ask), 3.0);
    assert_eq!(told.sum("rmi_call_errors_total", &ask), 0.0);
    assert_eq!(told.sum("rmi_call_duration_seconds", &ask), 3.0);
    for (method, kind) in [("fail", "method"), ("panic", "method panicked"), ("wait", "cancelled")] {
        let method = format!("test.Desk.{method}");
        assert_eq!(told.sum("rmi_call_errors_total", &[name, &method, kind]), 1.0, "{method}");
        assert_eq!(told.sum("rmi_call_duration_seconds", &[name, &method]), 1.0, "{method}");
    }
    assert_eq!(told.sum("rmi_calls_total", &[]), 6.0);
    assert_eq!(told.sum("rmi_call_errors_total", &[]), 3.0);
}

#[tokio::test]
async fn calls_that_are_made_are_counted() {
    calls_are_counted(Side::Client, "client").await;
}

#[tokio::test]
async fn calls_that_are_served_are_counted() {
    calls_are_counted(Side::Server, "server").await;
}

#[tokio::test]
async fn methods_that_the_program_does_not_serve_have_one_name() {
    let recorder = DebuggingRecorder::new();
    let (mut told, _listening) = Told::listen(&recorder);
    let middle = Node::builder().listen(mem()).interceptor(Metrics::new()).start().await.unwrap();
    let (owner, caller) = (Node::builder().start().await.unwrap(), Node::builder().start().await.unwrap());
    // The owner listens nowhere: calls of its desk pass through the middle.
    let kept = Clerk::new();
    soon(serve(&middle, &owner, kept.clone()).keep(Remote::<dyn Desk>::new(Clerk::new()))).await.unwrap();
    let relayed = soon(serve(&middle, &caller, kept).other()).await.unwrap().unwrap();
    assert_eq!(soon(relayed.ask("what")).await.unwrap(), 4);
    assert_eq!(told.sum("rmi_calls_total", &["server", "_OTHER"]), 1.0);
    assert_eq!(told.sum("rmi_calls_total", &["test.Desk.ask"]), 0.0);
    assert_eq!(told.sum("rmi_calls_total", &["test.Desk.keep"]), 1.0);
}

#[tokio::test]
async fn what_a_node_holds_is_told_when_it_is_sampled() {
    let recorder = DebuggingRecorder::new();
    let (mut told, _listening) = Told::listen(&recorder);
    let scene = Scene::new(Side::Client, |builder| builder.interceptor(Metrics::new())).await;
    let mut numbers = soon(scene.desk.numbers()).await.unwrap();
    assert_eq!(soon(numbers.next()).await.unwrap().unwrap(), 0);
    let (server, client) = (scene.server.id().to_string(), scene.client.id().to_string());
    Metrics::sample(&scene.server);
    Metrics::sample(&scene.client);
    assert_eq!(told.sum("rmi_connections", &[&client]), 1.0);
    assert_eq!(told.sum("rmi_connections", &[&server]), 1.0);
    assert_eq!(told.sum("rmi_streams", &[&client]), 1.0);
    assert_eq!(told.sum("rmi_streams", &[&server]), 1.0);
    assert_eq!(told.sum("rmi_imported_references", &[&client]), scene.client.stats().imported_references as f64);
    assert_eq!(told.sum("rmi_exported_objects", &[&server]), scene.server.stats().exported_objects as f64);
    assert!(scene.server.stats().exported_objects > 0);
    assert_eq!(told.sum("rmi_leases", &[]), 0.0);
}

#[tokio::test(start_paused = true)]
async fn samples_are_taken_now_and_then() {
    let recorder = DebuggingRecorder::new();
    let (mut told, _listening) = Told::listen(&recorder);
    let scene = Scene::new(Side::Client, |builder| builder).await;
    soon(scene.desk.ask("what")).await.unwrap();
    let sampling = tokio::spawn(Metrics::sample_every(scene.client.clone(), Duration::from_secs(2)));
    // Each sample is taken away when it is looked at, and added to those before.
    until("the third sample is taken", || told.sum("rmi_connections", &[]) >= 3.0).await;
    sampling.abort();
}

#[test]
fn each_metric_is_described() {
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        Metrics::describe();
        metrics::counter!("rmi_calls_total").increment(1);
    });
    let described = recorder.snapshotter().snapshot().into_vec();
    assert!(described.iter().all(|(_, unit, text, _)| unit.is_some() && text.is_some()), "{described:?}");
}

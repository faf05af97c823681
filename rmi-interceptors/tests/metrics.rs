//! What the metrics tell.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::HashMap;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use rmi::Side;
use rmi_interceptors::Metrics;

use crate::common::{Scene, soon};

/// What was recorded in all: a snapshot takes what counters and histograms have.
struct Told {
    snapshotter: Snapshotter,
    /// By the name and the values of the labels: the sum of a counter, a gauge, or how much a histogram recorded.
    seen: HashMap<(String, Vec<String>), f64>,
}

impl Told {
    fn by(recorder: &DebuggingRecorder) -> Self {
        Self { snapshotter: recorder.snapshotter(), seen: HashMap::new() }
    }

    /// The sum over all metrics of this name whose labels have these values.
    fn of(&mut self, name: &str, values: &[&str]) -> f64 {
        for (key, _, _, value) in self.snapshotter.snapshot().into_vec() {
            let labels = key.key().labels().map(|label| label.value().to_owned()).collect();
            let seen = self.seen.entry((key.key().name().to_owned(), labels)).or_default();
            match value {
                DebugValue::Counter(count) => *seen += count as f64,
                DebugValue::Gauge(value) => *seen = value.into_inner(),
                DebugValue::Histogram(recorded) => *seen += recorded.len() as f64,
            }
        }
        let has = |labels: &[String], value: &str| labels.iter().any(|label| label == value);
        let meant = |key: &(String, Vec<String>)| key.0 == name && values.iter().all(|value| has(&key.1, value));
        self.seen.iter().filter(|(key, _)| meant(key)).map(|(_, value)| value).sum()
    }
}

async fn calls_are_counted(side: Side, name: &'static str) {
    let recorder = DebuggingRecorder::new();
    let mut told = Told::by(&recorder);
    let _local = metrics::set_default_local_recorder(&recorder);
    let scene = Scene::new(side, Metrics::new()).await;
    for _ in 0..3 {
        soon(scene.desk.ask("what")).await.unwrap();
    }
    soon(scene.desk.fail()).await.unwrap_err();
    soon(scene.desk.panic()).await.unwrap_err();
    let waiter = scene.wait();
    scene.waits(1).await;
    let wait = [name, "test.Desk.wait"];
    assert_eq!(told.of("rmi_calls_in_flight", &wait), 1.0);
    waiter.abort();
    scene.waits(0).await;
    scene.rests().await;
    soon(async {
        while told.of("rmi_calls_in_flight", &[]) != 0.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let ask = [name, "test.Desk.ask"];
    assert_eq!(told.of("rmi_calls_total", &ask), 3.0);
    assert_eq!(told.of("rmi_request_bytes_total", &ask), 15.0);
    assert_eq!(told.of("rmi_response_bytes_total", &ask), 3.0);
    assert_eq!(told.of("rmi_call_errors_total", &ask), 0.0);
    for (method, kind) in [("fail", "method"), ("panic", "method panicked"), ("wait", "cancelled")] {
        let labels = [name, &format!("test.Desk.{method}"), kind];
        assert_eq!(told.of("rmi_call_errors_total", &labels), 1.0, "{method}");
    }
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
async fn the_time_of_each_call_is_recorded() {
    let recorder = DebuggingRecorder::new();
    let mut told = Told::by(&recorder);
    let _local = metrics::set_default_local_recorder(&recorder);
    let scene = Scene::new(Side::Client, Metrics::new()).await;
    for _ in 0..3 {
        soon(scene.desk.ask("what")).await.unwrap();
    }
    assert_eq!(told.of("rmi_call_duration_seconds", &["test.Desk.ask"]), 3.0);
}

#[tokio::test]
async fn what_a_node_holds_is_told_when_it_is_sampled() {
    let recorder = DebuggingRecorder::new();
    let mut told = Told::by(&recorder);
    let _local = metrics::set_default_local_recorder(&recorder);
    let scene = Scene::new(Side::Client, Metrics::new()).await;
    soon(scene.desk.ask("what")).await.unwrap();
    Metrics::sample(&scene.client);
    let id = scene.client.id().to_string();
    assert_eq!(told.of("rmi_connections", &[&id]), 1.0);
    for metric in ["rmi_exported_objects", "rmi_imported_references", "rmi_leases", "rmi_streams"] {
        assert_eq!(told.of(metric, &[&id]), 0.0);
    }
}

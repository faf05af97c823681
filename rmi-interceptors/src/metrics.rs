//! Numbers about calls and nodes.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use metrics::{counter, gauge, histogram};
use rmi_core::{Interceptor, Invocation, Next, Node, RemoteError, Reply};

/// Tells the recorder of the `metrics` facade of each call. Labels: `side` (`client` or `server`) and `method`
/// (`com.example.Bank.open`; `_OTHER` where this program does not know it, so that no peer makes new ones).
///
/// | metric | |
/// |---|---|
/// | `rmi_calls_total` | calls that have begun |
/// | `rmi_calls_in_flight` | calls that are not over |
/// | `rmi_call_errors_total` | calls that ended otherwise than with a result; label `kind`: of the runtime's error, `method` where the method returned one, `cancelled` |
/// | `rmi_call_duration_seconds` | a histogram |
/// | `rmi_request_bytes_total`, `rmi_response_bytes_total` | of arguments and of results |
///
/// [`Metrics::sample`] adds what the node holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Metrics;

impl Metrics {
    /// The metrics of calls.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// Sets the gauges of what a node holds: `rmi_exported_objects`, `rmi_imported_references`, `rmi_connections`,
    /// `rmi_leases` and `rmi_streams`, labelled with the `node`.
    pub fn sample(node: &Node) {
        let (stats, id) = (node.stats(), node.id().to_string());
        for (name, value) in [
            ("rmi_exported_objects", stats.exported_objects),
            ("rmi_imported_references", stats.imported_references),
            ("rmi_connections", stats.connections),
            ("rmi_leases", stats.leases),
            ("rmi_streams", stats.streams),
        ] {
            gauge!(name, "node" => id.clone()).set(value as f64);
        }
    }

    /// Samples a node now and then, for as long as the future is polled: spawn it.
    ///
    /// # Cancel safety
    ///
    /// It ends when it is dropped.
    pub async fn sample_every(node: Node, period: Duration) {
        let mut ticks = tokio::time::interval(period);
        loop {
            ticks.tick().await;
            Self::sample(&node);
        }
    }
}

#[async_trait]
impl Interceptor for Metrics {
    async fn intercept(&self, call: &mut Invocation, mut next: Next<'_>) -> Result<Reply, RemoteError> {
        let mut flight = Flight::begin(call);
        let result = next.run(call).await;
        flight.failed = match &result {
            Ok(reply) if reply.is_error() => Some("method".to_owned()),
            Ok(_) => None,
            Err(error) => Some(error.kind().to_string()),
        };
        let response_len = result.as_ref().map_or(0, Reply::len);
        counter!("rmi_response_bytes_total", &flight.labels).increment(response_len as u64);
        result
    }
}

/// A call that is not over.
struct Flight {
    labels: [(&'static str, String); 2],
    /// What it ended with, or will have when it is dropped.
    failed: Option<String>,
    began: Instant,
}

impl Flight {
    fn begin(call: &Invocation) -> Self {
        let method = if call.is_known() { call.name() } else { "_OTHER" };
        let labels = [("side", crate::side(call).to_owned()), ("method", method.to_owned())];
        counter!("rmi_calls_total", &labels).increment(1);
        counter!("rmi_request_bytes_total", &labels).increment(call.request_len() as u64);
        gauge!("rmi_calls_in_flight", &labels).increment(1);
        Self { labels, failed: Some("cancelled".to_owned()), began: Instant::now() }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        gauge!("rmi_calls_in_flight", &self.labels).decrement(1);
        histogram!("rmi_call_duration_seconds", &self.labels).record(self.began.elapsed().as_secs_f64());
        if let Some(kind) = self.failed.take() {
            let [side, method] = self.labels.clone();
            counter!("rmi_call_errors_total", &[side, method, ("kind", kind)]).increment(1);
        }
    }
}

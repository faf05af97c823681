//! Numbers about calls and nodes.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use rmi_core::{Interceptor, Invocation, Next, Node, RemoteError, Reply};

/// Tells the recorder of the facade `metrics` of each call. Labels: `side` (`client` or `server`) and `method`
/// (`com.example.Bank.open`; `_OTHER` where this program does not know it or passes the call on, so that no peer makes
/// new ones).
///
/// | metric | |
/// |---|---|
/// | `rmi_calls_total` | calls that have begun |
/// | `rmi_calls_in_flight` | calls that are not over |
/// | `rmi_call_errors_total` | calls that ended otherwise than with a result; label `kind`: that of the runtime's error in words (`deadline exceeded`), `method` where the method returned one, `cancelled` |
/// | `rmi_call_duration_seconds` | a histogram |
/// | `rmi_request_bytes_total`, `rmi_response_bytes_total` | of encoded arguments and results |
///
/// [`Metrics::sample`] adds what the node holds. With the recorder of `metrics-exporter-prometheus`:
///
/// ```no_run
/// # async fn program() -> Result<(), rmi_core::NodeError> {
/// use std::time::Duration;
///
/// use rmi_core::Node;
/// use rmi_interceptors::Metrics;
///
/// // PrometheusBuilder::new().with_http_listener(([127, 0, 0, 1], 9000)).install()?;
/// Metrics::describe();
/// let node = Node::builder().listen("tcp://127.0.0.1:0").interceptor(Metrics::new()).start().await?;
/// tokio::spawn(Metrics::sample_every(node.clone(), Duration::from_secs(10)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Metrics;

impl Metrics {
    /// The metrics of calls.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// Tells the recorder what each metric is: once, after it is installed.
    pub fn describe() {
        describe_counter!("rmi_calls_total", Unit::Count, "calls that have begun");
        describe_gauge!("rmi_calls_in_flight", Unit::Count, "calls that are not over");
        describe_counter!("rmi_call_errors_total", Unit::Count, "calls that ended otherwise than with a result");
        describe_histogram!("rmi_call_duration_seconds", Unit::Seconds, "how long calls took");
        describe_counter!("rmi_request_bytes_total", Unit::Bytes, "encoded arguments");
        describe_counter!("rmi_response_bytes_total", Unit::Bytes, "encoded results");
        describe_gauge!("rmi_exported_objects", Unit::Count, "objects that have travelled and still live");
        describe_gauge!("rmi_imported_references", Unit::Count, "references to objects of other nodes");
        describe_gauge!("rmi_connections", Unit::Count, "open connections");
        describe_gauge!("rmi_leases", Unit::Count, "lost peers that hold objects for the time of their lease");
        describe_gauge!("rmi_streams", Unit::Count, "streams that are read");
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

    /// Samples a node now and then, for as long as the future is polled: spawn it. The first sample is taken at once.
    ///
    /// # Cancel safety
    ///
    /// It ends when it is dropped.
    ///
    /// # Panics
    ///
    /// Where the period is zero.
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

//! Ready interceptors of rmi: each is added to a node when that is built, and stands around all calls that it makes and
//! serves, or around those of one side.
//!
//! - [`AccessLog`]: a line of the log for each call.
//! - [`Metrics`]: calls, errors, latencies and bytes, told through the facade `metrics`.
//! - [`TowerLayer`]: limits, time-outs, load shedding and retries of tower, or any other of its layers.
//!
//! The first that is added is the outermost: it sees what the others refuse.
//!
//! ```
//! use std::time::Duration;
//!
//! use rmi_core::{Node, Side};
//! use rmi_interceptors::{AccessLog, Metrics, TowerLayer};
//! use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer, load_shed::LoadShedLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), rmi_core::NodeError> {
//! // 64 calls are served at a time. Those above are refused, and are seen by the two outer ones.
//! let limit = ServiceBuilder::new().layer(LoadShedLayer::new()).layer(ConcurrencyLimitLayer::new(64));
//! let node = Node::builder()
//!     .listen("mem://bank")
//!     .interceptor(AccessLog::new())
//!     .interceptor(Metrics::new())
//!     .interceptor(TowerLayer::new(Side::Server, limit))
//!     .start()
//!     .await?;
//!
//! // The lines go to the subscriber of `tracing`, of which there is one in a program: tracing_subscriber::fmt::init().
//! // The numbers go to the recorder of `metrics`, such as metrics_exporter_prometheus::PrometheusBuilder::new().install().
//! // What the node holds is sampled.
//! tokio::spawn(Metrics::sample_every(node.clone(), Duration::from_secs(10)));
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! `metrics` and `tower`, both on by default: without them the crate has the access log, and depends on neither.

mod access;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tower")]
mod tower;

pub use self::access::AccessLog;
#[cfg(feature = "metrics")]
pub use self::metrics::Metrics;
#[cfg(feature = "tower")]
pub use self::tower::{TowerCall, TowerEnd, TowerLayer, TowerService};

/// The side of a call, in words.
fn side(call: &rmi_core::Invocation) -> &'static str {
    match call.side() {
        rmi_core::Side::Client => "client",
        rmi_core::Side::Server => "server",
    }
}

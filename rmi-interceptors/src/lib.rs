//! Ready interceptors of rmi, to be installed with `Node::builder().interceptor(..)`.
//!
//! - [`AccessLog`]: a line for each call.
//! - `Metrics`, with the feature `metrics`: calls, errors, latencies and bytes through the `metrics` facade.
//! - `TowerLayer`, with the feature `tower`: limits, time-outs and load shedding of tower, or any other layer.
//!
//! The first that is added to a node is the outermost: it sees what the others refuse.
//!
//! ```
//! use rmi_core::Node;
//! use rmi_interceptors::AccessLog;
//!
//! let builder = Node::builder().interceptor(AccessLog::new());
//! ```

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

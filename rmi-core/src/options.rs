//! How a call is made, where that differs from the default.

use std::time::Duration;

/// Options for the calls of one reference, given to [`Remote::with`](crate::Remote::with). A call
/// of a local object has none: it is not sent.
///
/// ```
/// use std::time::Duration;
/// let quick = rmi_core::CallOptions::new().timeout(Duration::from_millis(50));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    pub(crate) timeout: Option<Duration>,
}

impl CallOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { timeout: None }
    }

    /// The time for each call, from its start to its answer; the node's
    /// [`call_timeout`](crate::Limits::call_timeout) otherwise. A call made by a handler never
    /// takes longer than its own call has left.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

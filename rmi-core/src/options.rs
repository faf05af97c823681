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
    pub(crate) idempotent: Option<bool>,
}

impl CallOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { timeout: None, idempotent: None }
    }

    /// The time for each call, from its start to its answer; the node's
    /// [`call_timeout`](crate::Limits::call_timeout) otherwise. A call made by a handler never
    /// takes longer than its own call has left.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Whether a call may run more than once, so that it goes again where nobody knows whether it ran.
    /// Calls that certainly did not run go again in any case.
    #[must_use]
    pub const fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }
}

//! How a call is made, where that differs from the default.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::wire::Extras;

/// Options for the calls of one reference, given to [`Remote::with`](crate::Remote::with). A call
/// of a local object has none: it is not sent.
///
/// What is set here comes before what the method says, which comes before what the node says:
///
/// | | here | the method | the node |
/// |---|---|---|---|
/// | time | [`timeout`](Self::timeout) | `#[remote(timeout = "5s")]` | [`Limits::call_timeout`](crate::Limits::call_timeout) |
/// | may run twice | [`idempotent`](Self::idempotent) | `#[remote(idempotent)]` | no |
/// | attempts | [`attempts`](Self::attempts) | | as many as time and [`Limits::retries`](crate::Limits::retries) allow |
///
/// A call that a handler makes never takes longer than the call that it serves has left, whatever is set.
///
/// ```
/// use std::time::Duration;
/// let quick = rmi_core::CallOptions::new().timeout(Duration::from_millis(50));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) idempotent: Option<bool>,
    pub(crate) attempts: Option<u32>,
    pub(crate) extras: Option<Arc<Extras>>,
}

impl CallOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self { timeout: None, idempotent: None, attempts: None, extras: None }
    }

    /// The time for each call, from its start to its answer, all attempts together.
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

    /// How often a call is tried at most; 1 is never again. Without it a call that may go again does so, with
    /// pauses, within its time and the node's [`connect_timeout`](crate::Limits::connect_timeout), and for as long
    /// as not too many others do ([`Limits::retries`](crate::Limits::retries)).
    #[must_use]
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// Metadata that each call carries, in place of what it had of this name: read by the method as
    /// [`Context::metadata`](crate::Context::metadata), and by interceptors on both sides.
    ///
    /// A call carries at most 256 entries, and 8 KiB of names and values; with more, or with an empty name, it
    /// fails as [`Certainty::NotSent`](crate::Certainty::NotSent). A name that begins with `+` is that of
    /// [baggage](Self::baggage), without the mark.
    #[must_use]
    pub fn metadata(self, name: &str, value: impl Into<Bytes>) -> Self {
        self.with_entry(name, value.into(), false)
    }

    /// Metadata that goes on with the calls that the method makes, and with those nested in them.
    ///
    /// ```
    /// let for_tenant = rmi_core::CallOptions::new().baggage("tenant", "blue");
    /// ```
    #[must_use]
    pub fn baggage(self, name: &str, value: impl Into<Bytes>) -> Self {
        self.with_entry(name, value.into(), true)
    }

    fn with_entry(mut self, name: &str, value: Bytes, baggage: bool) -> Self {
        Arc::make_mut(self.extras.get_or_insert_default()).set(name, value, baggage);
        self
    }
}

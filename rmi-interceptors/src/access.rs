//! A line for each call.

use std::time::Instant;

use async_trait::async_trait;
use rmi_core::{Interceptor, Invocation, Next, RemoteError, Reply};

/// Logs a line for each call that the node makes or serves, once it is over: an event of `tracing` at the level info, of
/// the target `rmi::access`. Costs next to nothing where nobody listens to that.
///
/// Fields: `side`, `peer`, `method`, `object` (8 digits), `outcome` (`ok`, `error` where the method has returned one,
/// `cancelled`, or the kind of the runtime's error), `duration` in seconds, `sent` and `received` in bytes of
/// arguments and results. Added first, it logs what the other interceptors refuse too.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccessLog;

impl AccessLog {
    /// The access log.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Interceptor for AccessLog {
    async fn intercept(&self, call: &mut Invocation, mut next: Next<'_>) -> Result<Reply, RemoteError> {
        if !tracing::enabled!(target: "rmi::access", tracing::Level::INFO) {
            return next.run(call).await;
        }
        let mut line = Line::of(call);
        let result = next.run(call).await;
        (line.outcome, line.answer_len) = match &result {
            Ok(reply) => (if reply.is_error() { "error" } else { "ok" }.to_owned(), reply.len()),
            Err(error) => (error.kind().to_string(), 0),
        };
        result
    }
}

/// A call that is logged when this is dropped, however it ends.
struct Line {
    side: &'static str,
    peer: String,
    method: String,
    object: String,
    request_len: usize,
    answer_len: usize,
    outcome: String,
    began: Instant,
}

impl Line {
    fn of(call: &Invocation) -> Self {
        Self {
            side: crate::side(call),
            peer: call.describe_peer(),
            // What a peer calls a method that this program does not know may hold anything.
            method: call.name().escape_debug().to_string(),
            object: call.object().map_or_else(|| "service".to_owned(), |object| object.to_string()),
            request_len: call.request_len(),
            answer_len: 0,
            outcome: "cancelled".to_owned(),
            began: Instant::now(),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Self { side, peer, method, object, request_len, answer_len, outcome, began } = self;
        let (sent, received) = if *side == "client" { (request_len, answer_len) } else { (answer_len, request_len) };
        let duration = began.elapsed().as_secs_f64();
        tracing::info!(target: "rmi::access", side, peer, method, object, outcome, duration, sent, received);
    }
}

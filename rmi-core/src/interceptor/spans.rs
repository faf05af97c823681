//! A tracing span for each call, named as OpenTelemetry's conventions for RPC have it.

use tracing::{Level, Span, field::Empty, info_span, level_filters::LevelFilter};

use super::{Invocation, Reply, Side};
use crate::{
    error::{ErrorKind, RemoteError},
    transport::PeerAddr,
};

/// What `rpc.system.name` says.
const SYSTEM: &str = "rmi";

/// Whether anybody listens for them.
#[inline]
pub(super) fn enabled() -> bool {
    LevelFilter::current() >= LevelFilter::INFO && is_asked_for()
}

/// Apart: most programs have no subscriber, which the level tells.
#[inline(never)]
fn is_asked_for() -> bool {
    tracing::span_enabled!(target: "rmi::call", Level::INFO)
}

/// The span of a call. One that is dropped before the call has ended tells that the call was cancelled.
pub(super) struct CallSpan {
    span: Span,
    /// The peer is told already.
    sees_peer: bool,
    is_open: bool,
}

impl CallSpan {
    /// At the caller, the call belongs to the span's trace from now on.
    pub(super) fn open(call: &mut Invocation) -> Self {
        if !enabled() {
            return Self { span: Span::none(), sees_peer: true, is_open: false };
        }
        // A name that only the peer knows would give spans as many names as the peer likes.
        let called = format!("{}/{}", call.interface(), call.method());
        let (name, method) = if call.is_known() { (&*called, &*called) } else { (SYSTEM, "_OTHER") };
        let kind = match call.side() {
            Side::Client => "client",
            Side::Server => "server",
        };
        let span = info_span!(
            target: "rmi::call",
            "call",
            otel.name = name,
            otel.kind = kind,
            otel.status_code = Empty,
            rpc.system.name = SYSTEM,
            rpc.method = method,
            rpc.method_original = Empty,
            rpc.response.status_code = Empty,
            server.address = Empty,
            server.port = Empty,
            client.address = Empty,
            client.port = Empty,
            error.type = Empty,
        );
        if !call.is_known() {
            span.record("rpc.method_original", called);
        }
        // Before the span has a context: samplers see what is recorded until then.
        let sees_peer = see_peer(&span, call);
        join(&span, call);
        Self { span, sees_peer, is_open: true }
    }

    /// What the call runs in.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// The call has ended.
    pub(super) fn close(mut self, call: &Invocation, result: &Result<Reply, RemoteError>) {
        if !self.sees_peer {
            // The first call to a peer has connected to it.
            see_peer(&self.span, call);
        }
        self.end(match result {
            Ok(reply) if !reply.is_error() => None,
            Ok(_) => Some("method".to_owned()),
            Err(error) => Some(error.kind().to_string()),
        });
    }

    fn end(&mut self, failed: Option<String>) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        let Some(kind) = failed else {
            self.span.record("rpc.response.status_code", "ok");
            return;
        };
        self.span.record("rpc.response.status_code", &kind);
        self.span.record("error.type", kind);
        self.span.record("otel.status_code", "ERROR");
    }
}

impl Drop for CallSpan {
    fn drop(&mut self) {
        self.end(Some(ErrorKind::Cancelled.to_string()));
    }
}

/// Records where the other side is; whether it is connected. To be recorded once: exporters keep what is recorded twice.
fn see_peer(span: &Span, call: &Invocation) -> bool {
    let Some(seen) = call.peer_addr() else { return false };
    if let PeerAddr::Tcp { peer, own } = seen {
        let (address, port) = match call.side() {
            Side::Client => ("server.address", "server.port"),
            Side::Server => {
                span.record("server.address", own.to_string());
                ("client.address", "client.port")
            }
        };
        span.record(address, peer.ip().to_string());
        // Ports are signed numbers in OpenTelemetry; an unsigned one would be exported as text.
        span.record(port, i64::from(peer.port()));
    }
    true
}

#[cfg(not(feature = "opentelemetry"))]
fn join(_span: &Span, _call: &mut Invocation) {}

/// At the callee the span is a child of the caller's; at the caller its context goes with the call.
#[cfg(feature = "opentelemetry")]
fn join(span: &Span, call: &mut Invocation) {
    use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceFlags, TraceState};
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    if call.side() == Side::Server
        && let Some((trace, rest)) = call.trace().as_ref().and_then(|trace| trace.split_first_chunk::<16>())
        && let Some((id, [flags])) = rest.split_first_chunk::<8>()
    {
        let (trace, id) = (u128::from_be_bytes(*trace).into(), u64::from_be_bytes(*id).into());
        let remote = SpanContext::new(trace, id, TraceFlags::new(*flags), true, TraceState::default());
        // Only where no layer of OpenTelemetry listens is there nothing to join.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote));
    }
    let context = span.context();
    let current = context.span().span_context().clone();
    if current.is_valid() {
        let mut trace = [0; 25];
        let bytes = current.trace_id().to_bytes().into_iter().chain(current.span_id().to_bytes());
        for (place, byte) in trace.iter_mut().zip(bytes.chain([current.trace_flags().to_u8()])) {
            *place = byte;
        }
        call.set_trace(Some(trace));
    }
}

//! The lines of the access log.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use rmi::{ErrorKind, Interceptor, Invocation, Next, RemoteError, Reply, Side};
use rmi_interceptors::AccessLog;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::{DefaultGuard, Interest},
};

use crate::common::{Scene, soon, until};

/// What a line says, by field.
type Line = BTreeMap<&'static str, String>;

/// The lines of the access log that were written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Line>>>);

impl Lines {
    /// Those of this thread, from now on.
    fn listen() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let listener = Listener { lines: lines.clone(), spans: AtomicU64::new(1) };
        (lines, tracing::subscriber::set_default(listener))
    }

    fn of(&self, method: &str) -> Vec<Line> {
        self.0.lock().iter().filter(|line| line.get("method").is_some_and(|of| of == method)).cloned().collect()
    }

    /// The one line of this method.
    async fn one(&self, method: &str) -> Line {
        until("the call has a line", || !self.of(method).is_empty()).await;
        let mut lines = self.of(method);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }
}

struct Listener {
    lines: Lines,
    spans: AtomicU64,
}

impl Subscriber for Listener {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // Other tests of this process listen to others, or to none.
        Interest::sometimes()
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "rmi::access"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed))
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.lines.0.lock().push(fields.0);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Fields(Line);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

async fn each_call_has_a_line_that_says_how_it_ended(side: Side) {
    let (lines, _listening) = Lines::listen();
    let scene = Scene::new(side, |builder| builder.interceptor(AccessLog::new())).await;
    soon(scene.desk.ask("what")).await.unwrap();
    soon(scene.desk.fail()).await.unwrap_err();
    assert_eq!(soon(scene.desk.panic()).await.unwrap_err().kind(), ErrorKind::Panicked);
    let waiter = scene.wait();
    scene.clerk.holds(1).await;
    assert!(lines.of("test.Desk.wait").is_empty(), "it is not over");
    waiter.abort();
    scene.clerk.holds(0).await;

    let (name, sent, received) = match side {
        Side::Client => ("client", "5", "1"),
        Side::Server => ("server", "1", "5"),
    };
    for (method, outcome) in [("ask", "ok"), ("fail", "error"), ("panic", "method panicked"), ("wait", "cancelled")] {
        let line = lines.one(&format!("test.Desk.{method}")).await;
        let names: Vec<_> = line.keys().copied().collect();
        assert_eq!(names, ["duration", "method", "object", "outcome", "peer", "received", "sent", "side"]);
        let has = |field: &str, value: &str| assert_eq!(line.get(field).map(String::as_str), Some(value), "{line:?}");
        has("side", name);
        has("outcome", outcome);
        match side {
            Side::Client => has("object", "service"),
            Side::Server => assert_eq!(line.get("object").map(String::len), Some(8), "{line:?}"),
        }
        assert!(line.get("peer").is_some_and(|peer| !peer.is_empty()), "{line:?}");
        let duration: f64 = line.get("duration").unwrap().parse().unwrap();
        assert!((0.0..10.0).contains(&duration), "{line:?}");
    }
    let line = lines.one("test.Desk.ask").await;
    assert_eq!(line.get("sent").map(String::as_str), Some(sent), "{line:?}");
    assert_eq!(line.get("received").map(String::as_str), Some(received), "{line:?}");
}

#[tokio::test]
async fn each_call_that_is_made_has_a_line() {
    each_call_has_a_line_that_says_how_it_ended(Side::Client).await;
}

#[tokio::test]
async fn each_call_that_is_served_has_a_line() {
    each_call_has_a_line_that_says_how_it_ended(Side::Server).await;
}

/// Refuses every call.
struct Shut;

#[rmi::async_trait]
impl Interceptor for Shut {
    async fn intercept(&self, _: &mut Invocation, _: Next<'_>) -> Result<Reply, RemoteError> {
        Err(RemoteError::new(ErrorKind::AccessDenied, "not today"))
    }
}

#[tokio::test]
async fn what_another_interceptor_refuses_has_a_line() {
    let (lines, _listening) = Lines::listen();
    let scene = Scene::new(Side::Server, |builder| builder.interceptor(AccessLog::new()).interceptor(Shut)).await;
    soon(scene.desk.ask("what")).await.unwrap_err();
    let line = lines.one("test.Desk.ask").await;
    assert_eq!(line.get("outcome").map(String::as_str), Some("access denied"), "{line:?}");
}

//! The spans of calls, as a subscriber of `tracing` is told them.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use rmi::{ErrorKind, Remote, remote};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::{DefaultGuard, Interest},
};

use crate::common::{Keeper, TCP, client, counter, hand_over, mem, node, pass, serve, soon, until};

/// What a subscriber was told of a span.
#[derive(Clone, Debug)]
struct Told {
    id: u64,
    /// The span that was entered when it was made.
    parent: Option<u64>,
    fields: BTreeMap<&'static str, String>,
    handles: usize,
}

impl Told {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        let before = self.fields.insert(field.name(), value.to_owned());
        assert_eq!(before, None, "{} is recorded twice", field.name());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// The spans of calls, in the order in which they were made.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Told>>>);

impl Spans {
    /// Those of this thread, from now on.
    fn listen() -> (Self, DefaultGuard) {
        let spans = Self::default();
        let listener = Listener { spans: spans.clone(), entered: Mutex::default(), ids: AtomicU64::new(1) };
        (spans, tracing::subscriber::set_default(listener))
    }

    /// Those of this side and method, which must be over.
    async fn of(&self, kind: &str, method: &str) -> Vec<Told> {
        let is_meant = |told: &Told| {
            let name = told.field("otel.name").unwrap();
            told.field("otel.kind") == Some(kind) && name.ends_with(&format!("/{method}"))
        };
        let found = || self.0.lock().iter().filter(|told| is_meant(told)).cloned().collect::<Vec<_>>();
        until("the spans are over", || found().iter().all(|told| told.handles == 0)).await;
        found()
    }

    /// The only one.
    async fn one(&self, kind: &str, method: &str) -> Told {
        let mut found = self.of(kind, method).await;
        assert_eq!(found.len(), 1, "{kind} {method}: {found:#?}");
        found.remove(0)
    }
}

struct Listener {
    spans: Spans,
    entered: Mutex<Vec<u64>>,
    ids: AtomicU64,
}

impl Listener {
    fn with(&self, id: &Id, then: impl FnOnce(&mut Told)) {
        let mut spans = self.spans.0.lock();
        then(spans.iter_mut().find(|told| told.id == id.into_u64()).expect("only spans that were made"));
    }
}

impl Subscriber for Listener {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // Other tests of this process listen to nothing.
        Interest::sometimes()
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "rmi::call"
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let parent = self.entered.lock().last().copied();
        let mut told = Told { id, parent, fields: BTreeMap::new(), handles: 1 };
        span.record(&mut told);
        self.spans.0.lock().push(told);
        Id::from_u64(id)
    }
    fn record(&self, id: &Id, values: &Record<'_>) {
        self.with(id, |told| values.record(told));
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, id: &Id) {
        self.entered.lock().push(id.into_u64());
    }
    fn exit(&self, id: &Id) {
        assert_eq!(self.entered.lock().pop(), Some(id.into_u64()));
    }
    fn clone_span(&self, id: &Id) -> Id {
        self.with(id, |told| told.handles += 1);
        id.clone()
    }
    fn try_close(&self, id: Id) -> bool {
        self.with(&id, |told| told.handles -= 1);
        false
    }
}

/// An error in each way.
#[remote(name = "spans.Desk")]
trait Desk {
    async fn greet(&self) -> rmi::Result<()>;
    async fn refuse(&self) -> rmi::Result<()>;
    async fn panic(&self) -> rmi::Result<()>;
    /// Greets another desk.
    async fn visit(&self, other: Remote<dyn Desk>) -> rmi::Result<()>;
}

struct Clerk;

#[remote]
impl Desk for Clerk {
    async fn greet(&self) -> rmi::Result<()> {
        Ok(())
    }
    async fn refuse(&self) -> rmi::Result<()> {
        Err(rmi::RemoteError::new(ErrorKind::AccessDenied, "not today"))
    }
    async fn panic(&self) -> rmi::Result<()> {
        panic!("the desk broke down")
    }
    async fn visit(&self, other: Remote<dyn Desk>) -> rmi::Result<()> {
        other.greet().await
    }
}

fn desk() -> Remote<dyn Desk> {
    Remote::<dyn Desk>::new(Clerk)
}

#[tokio::test]
async fn each_call_is_a_span_on_either_side() {
    let (spans, _listening) = Spans::listen();
    let (server, client) = (node(TCP).await, client().await);
    let desk = serve(&server, &client, &desk());
    soon(desk.greet()).await.unwrap();
    assert_eq!(spans.0.lock().len(), 2);
    let made = spans.one("client", "greet").await;
    let served = spans.one("server", "greet").await;
    for told in [&made, &served] {
        assert_eq!(told.field("otel.name"), Some("spans.Desk/greet"), "{told:?}");
        assert_eq!(told.field("rpc.system.name"), Some("rmi"), "{told:?}");
        assert_eq!(told.field("rpc.method"), Some("spans.Desk/greet"), "{told:?}");
        assert_eq!(told.field("rpc.response.status_code"), Some("ok"), "{told:?}");
        assert_eq!(told.field("server.address"), Some("127.0.0.1"), "{told:?}");
        assert_eq!((told.field("error.type"), told.field("otel.status_code")), (None, None), "{told:?}");
        assert_eq!(told.field("rpc.method_original"), None, "{told:?}");
    }
    let endpoint = server.endpoints()[0].to_string();
    assert!(endpoint.ends_with(&format!(":{}", made.field("server.port").unwrap())), "{endpoint}: {made:?}");
    assert_eq!(served.field("client.address"), Some("127.0.0.1"), "{served:?}");
    assert!(served.field("client.port").is_some(), "{served:?}");
}

#[tokio::test]
async fn a_span_tells_how_its_call_failed() {
    let (spans, _listening) = Spans::listen();
    let (server, client) = (node(&mem()).await, client().await);
    let desk = serve(&server, &client, &desk());
    soon(desk.refuse()).await.unwrap_err();
    soon(desk.panic()).await.unwrap_err();
    let keeper = Keeper::shut();
    let waiter = pass(&serve(&server, &client, &keeper.gate()));
    keeper.holds(1).await;
    waiter.abort();
    keeper.holds(0).await;
    // What a method returns is its own, whatever kind of error it is.
    for (method, kind) in [("refuse", "method"), ("panic", "method panicked"), ("pass", "cancelled")] {
        for side in ["client", "server"] {
            let told = spans.one(side, method).await;
            assert_eq!(told.field("error.type"), Some(kind), "{told:?}");
            assert_eq!(told.field("rpc.response.status_code"), Some(kind), "{told:?}");
            assert_eq!(told.field("otel.status_code"), Some("ERROR"), "{told:?}");
        }
    }
}

#[tokio::test]
async fn a_call_to_nobody_is_a_span_too() {
    let (spans, _listening) = Spans::listen();
    let client = client().await;
    let desk = Remote::<dyn Desk>::service(&client, mem().parse().unwrap(), "desk");
    let error = soon(desk.greet()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    let told = spans.one("client", "greet").await;
    assert_eq!(told.field("error.type"), Some("unreachable"), "{told:?}");
    assert_eq!(told.field("server.address"), None, "{told:?}");
}

#[tokio::test]
async fn a_nested_call_is_made_inside_of_the_span_that_serves_the_outer_one() {
    let (spans, _listening) = Spans::listen();
    let (server, third, client) = (node(&mem()).await, node(&mem()).await, client().await);
    let near = serve(&server, &client, &desk());
    let far = hand_over(&third, &client, &desk()).await;
    soon(near.visit(far)).await.unwrap();
    let [visiting, visited] = [spans.one("client", "visit").await, spans.one("server", "visit").await];
    let [greeting, greeted] = [spans.one("client", "greet").await, spans.one("server", "greet").await];
    assert_eq!(greeting.parent, Some(visited.id));
    // Over the wire goes a trace and no span: there is another process.
    for told in [visiting, visited, greeted] {
        assert_eq!(told.parent, None, "{told:?}");
    }
}

#[tokio::test]
async fn methods_that_a_node_passes_on_have_one_name() {
    let (spans, _listening) = Spans::listen();
    let middle = node(&mem()).await;
    let (owner, caller) = (client().await, client().await);
    let shelf = crate::common::shelf();
    soon(serve(&middle, &owner, &shelf).put(counter())).await.unwrap();
    let relayed = soon(serve(&middle, &caller, &shelf).get()).await.unwrap().unwrap();
    assert_eq!(soon(relayed.add(1)).await.unwrap(), 1);
    let told = spans.0.lock().clone();
    let passed: Vec<_> = told.iter().filter(|told| told.field("rpc.method") == Some("_OTHER")).collect();
    assert_eq!(passed.len(), 1, "{passed:#?}");
    let told = passed[0];
    assert_eq!(told.field("otel.name"), Some("rmi"), "{told:?}");
    assert!(told.field("rpc.method_original").unwrap().ends_with("Counter/add"), "{told:?}");
}

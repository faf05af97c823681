//! What stands around calls: interceptors at the caller, at the callee and at relays.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rmi::{
    CallOptions, Certainty, Context, ErrorKind, Interceptor, Invocation, Next, Node, NodeBuilder, Remote, RemoteError,
    Reply, Side, remote,
};

use crate::bureau::Clerk;
use crate::common::{
    Counter, Keeper, at_rest, beside, counter, failure, hand_over, mem, node, pass, serve, soon, transports, until,
};

/// Writes down what it sees.
#[derive(Clone, Default)]
struct Witness {
    name: &'static str,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Witness {
    fn named(&self, name: &'static str) -> Self {
        Self { name, seen: self.seen.clone() }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock())
    }
}

#[rmi::async_trait]
impl Interceptor for Witness {
    async fn intercept(&self, call: &mut Invocation, mut next: Next<'_>) -> Result<Reply, RemoteError> {
        let told = format!("{} {:?} {}", self.name, call.side(), call.method());
        self.seen.lock().push(format!("{told} {}", call.request_len()));
        let result = next.run(call).await;
        let outcome = match &result {
            Ok(reply) => format!("ok {}", reply.len()),
            Err(error) => error.kind().to_string(),
        };
        self.seen.lock().push(format!("{told} {outcome}"));
        result
    }
}

async fn start(builder: NodeBuilder) -> Node {
    builder.start().await.expect("the node starts")
}

#[tokio::test]
async fn both_sides_see_a_call_and_its_outcome_from_the_outside_in() {
    for listen in transports() {
        let witness = Witness::default();
        let (outer, inner) = (witness.named("outer"), witness.named("inner"));
        let server = start(Node::builder().listen(&listen).interceptor(outer.clone()).interceptor(inner.clone())).await;
        let client = start(Node::builder().interceptor(outer).interceptor(inner)).await;
        let stub = hand_over(&server, &client, &counter()).await;
        witness.take();
        assert_eq!(soon(stub.add(2)).await.unwrap(), 2);
        assert_eq!(
            witness.take(),
            [
                "outer Client add 1",
                "inner Client add 1",
                "outer Server add 1",
                "inner Server add 1",
                "inner Server add ok 1",
                "outer Server add ok 1",
                "inner Client add ok 1",
                "outer Client add ok 1",
            ]
        );
        drop(stub);
        at_rest(&[&server, &client]).await;
    }
}

#[tokio::test]
async fn a_oneway_call_has_ended_at_its_caller_once_it_is_on_its_way() {
    let (witness, clerk) = (Witness::default(), Clerk::new());
    let server = start(Node::builder().listen(mem()).interceptor(witness.named("there"))).await;
    let client = start(Node::builder().interceptor(witness.named("here"))).await;
    let desk = serve(&server, &client, &clerk.bureau());
    soon(desk.post()).await.unwrap();
    clerk.keeper.holds(1).await;
    assert_eq!(witness.take(), ["here Client post 0", "here Client post ok 0", "there Server post 0"]);
    clerk.keeper.open();
    clerk.ends(1).await;
    at_rest(&[&client]).await;
    until("the server has answered", || server.stats().calls_in_flight == 0).await;
    assert_eq!(witness.take(), ["there Server post ok 0"]);
}

/// What an interceptor does in these tests.
#[derive(Clone)]
struct At<F>(Side, F);

#[derive(Clone, Copy)]
enum Deed {
    Refuse,
    Panic,
    PanicAfter,
    Hang,
    Replace,
    Twice,
}

#[rmi::async_trait]
impl Interceptor for At<Deed> {
    async fn intercept(&self, call: &mut Invocation, mut next: Next<'_>) -> Result<Reply, RemoteError> {
        let error = |text: &str| RemoteError::new(ErrorKind::AccessDenied, text);
        if call.method() == "take" {
            return next.run(call).await;
        }
        match self.1 {
            Deed::Refuse => Err(error("not today")),
            Deed::Panic => panic!("it was too much"),
            Deed::PanicAfter => {
                let _ = next.run(call).await;
                panic!("it was too much")
            }
            Deed::Hang => std::future::pending().await,
            Deed::Replace => next.run(call).await.and(Err(error("what it was is a secret"))),
            Deed::Twice => {
                let _ = next.run(call).await;
                next.run(call).await
            }
        }
    }

    fn sees(&self, side: Side) -> bool {
        side == self.0
    }
}

#[tokio::test]
async fn an_error_of_an_interceptor_is_the_calls_and_says_truly_whether_it_ran() {
    use Certainty::{Executed, NotExecuted, NotSent, Unknown};
    use ErrorKind::{AccessDenied, DeadlineExceeded, Other, Panicked};
    for (side, deed, kind, certainty, total) in [
        (Side::Client, Deed::Refuse, AccessDenied, NotSent, 0),
        (Side::Server, Deed::Refuse, AccessDenied, NotExecuted, 0),
        (Side::Client, Deed::Panic, Panicked, NotSent, 0),
        (Side::Server, Deed::Panic, Panicked, NotExecuted, 0),
        (Side::Client, Deed::PanicAfter, Panicked, Executed, 1),
        (Side::Server, Deed::PanicAfter, Panicked, Executed, 1),
        (Side::Client, Deed::Hang, DeadlineExceeded, NotSent, 0),
        (Side::Server, Deed::Hang, DeadlineExceeded, Unknown, 0),
        (Side::Client, Deed::Replace, AccessDenied, Executed, 1),
        (Side::Server, Deed::Replace, AccessDenied, Executed, 1),
        (Side::Client, Deed::Twice, Other, Executed, 1),
        (Side::Server, Deed::Twice, Other, Executed, 1),
    ] {
        let (listen, object) = (mem(), counter());
        let server = start(Node::builder().listen(&listen).interceptor(At(side, deed))).await;
        let client = start(Node::builder().interceptor(At(side, deed))).await;
        let held = hand_over(&server, &client, &object).await;
        let time = if matches!(deed, Deed::Hang) { Duration::from_millis(50) } else { Duration::from_secs(9) };
        let stub = Remote::with(&held, CallOptions::new().timeout(time));
        let error = failure(soon(stub.add(1)).await, "Counter.add");
        assert_eq!((error.kind(), error.certainty()), (kind, certainty), "{error}");
        assert_eq!(object.total().await.unwrap(), total, "{error}");
        drop(object);
        drop((held, stub));
        at_rest(&[&server, &client]).await;
    }
}

/// Lets a call go until it is taken.
struct Stubborn(Arc<AtomicUsize>);

#[rmi::async_trait]
impl Interceptor for Stubborn {
    async fn intercept(&self, call: &mut Invocation, mut next: Next<'_>) -> Result<Reply, RemoteError> {
        loop {
            self.0.fetch_add(1, Ordering::Relaxed);
            match next.run(call).await {
                Err(error) if error.kind() == ErrorKind::AccessDenied && call.may_go() => {}
                result => return result,
            }
        }
    }
}

/// Refuses the first calls.
struct Shy(AtomicUsize);

#[rmi::async_trait]
impl Interceptor for Shy {
    async fn intercept(&self, call: &mut Invocation, mut next: Next<'_>) -> Result<Reply, RemoteError> {
        if call.method() == "add" && self.0.fetch_add(1, Ordering::Relaxed) < 2 {
            return Err(RemoteError::new(ErrorKind::AccessDenied, "ask again"));
        }
        next.run(call).await
    }
}

#[tokio::test]
async fn a_call_that_was_refused_may_go_again() {
    let (attempts, object) = (Arc::new(AtomicUsize::new(0)), counter());
    let server = start(Node::builder().listen(mem()).interceptor(Shy(AtomicUsize::new(0)))).await;
    let client = start(Node::builder().interceptor(Stubborn(attempts.clone()))).await;
    let stub = hand_over(&server, &client, &object).await;
    attempts.store(0, Ordering::Relaxed);
    assert_eq!(soon(stub.add(1)).await.unwrap(), 1);
    assert_eq!(attempts.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_call_that_is_dropped_takes_its_interceptors_along() {
    let (keeper, witness) = (Keeper::shut(), Witness::default());
    let server = start(Node::builder().listen(mem()).interceptor(witness.clone())).await;
    let client = start(Node::builder().interceptor(witness)).await;
    let gate = hand_over(&server, &client, &keeper.gate()).await;
    let caller = pass(&gate);
    keeper.holds(1).await;
    caller.abort();
    keeper.holds(0).await;
    drop(gate);
    at_rest(&[&server, &client]).await;
}

/// Tells the method who calls.
struct Herald;

#[rmi::async_trait]
impl Interceptor for Herald {
    async fn intercept(&self, call: &mut Invocation, mut next: Next<'_>) -> Result<Reply, RemoteError> {
        match call.side() {
            Side::Client => call.set_metadata("token", "secret"),
            Side::Server => {
                let user = call.remove_metadata("token").filter(|token| token == "secret").map(|_| "alice");
                call.set_metadata("user", user.unwrap_or("nobody"));
            }
        }
        next.run(call).await
    }
}

#[remote]
trait Guest {
    async fn name(&self) -> rmi::Result<Vec<String>>;
}

struct Visitor;

#[remote]
impl Guest for Visitor {
    async fn name(&self) -> rmi::Result<Vec<String>> {
        let context = Context::current().expect("it is called from elsewhere");
        let entry = |(name, value): (&str, &bytes::Bytes)| format!("{name}={}", String::from_utf8_lossy(value));
        Ok(context.metadata_entries().map(entry).collect())
    }
}

#[tokio::test]
async fn interceptors_add_metadata_for_the_other_side_and_for_the_method() {
    for listen in transports() {
        let server = start(Node::builder().listen(&listen).interceptor(Herald)).await;
        let client = start(Node::builder().interceptor(Herald)).await;
        let guest = serve(&server, &client, &Remote::<dyn Guest>::new(Visitor));
        assert_eq!(soon(guest.name()).await.unwrap(), ["user=alice"]);
    }
}

#[tokio::test]
async fn a_relay_sees_the_calls_that_pass_and_can_refuse_them() {
    let witness = Witness::default();
    let middle = start(Node::builder().listen(mem()).interceptor(witness.clone())).await;
    let (owner, caller) = (start(Node::builder()).await, start(Node::builder()).await);
    let shelf = crate::common::shelf();
    soon(serve(&middle, &owner, &shelf).put(counter())).await.unwrap();
    let relayed: Remote<dyn Counter> = soon(serve(&middle, &caller, &shelf).get()).await.unwrap().unwrap();
    witness.take();
    assert_eq!(soon(relayed.add(1)).await.unwrap(), 1);
    assert_eq!(witness.take(), [" Server add 1", " Server add ok 1"]);
}

#[tokio::test]
async fn references_and_own_errors_pass_through_interceptors() {
    let (witness, listen) = (Witness::default(), mem());
    let server = start(Node::builder().listen(&listen).interceptor(witness.clone())).await;
    let client = start(Node::builder().listen(beside(&listen)).interceptor(witness.clone())).await;
    let shelf = serve(&server, &client, &crate::common::shelf());
    soon(shelf.put(counter())).await.unwrap();
    let back = soon(shelf.get()).await.unwrap().unwrap();
    assert!(Remote::is_local(&back), "it is the object itself again");
    let made = soon(shelf.make()).await.unwrap();
    assert_eq!(soon(made.add(3)).await.unwrap(), 3);
    soon(shelf.clear()).await.unwrap();
    drop((made, back, shelf));
    let held = || client.stats().exported_objects + server.stats().imported_references;
    until("nothing of the client is held", || held() == 0).await;
}

#[tokio::test]
async fn a_node_without_interceptors_serves_one_that_has_some() {
    let server = node(&mem()).await;
    let client = start(Node::builder().interceptor(Witness::default())).await;
    let stub = hand_over(&server, &client, &counter()).await;
    assert_eq!(soon(stub.add(1)).await.unwrap(), 1);
}

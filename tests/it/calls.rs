//! Calls that succeed: many at once, both ways, nested, by every kind of argument.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::{join_all, try_join_all};
use rmi::{CallOptions, Certainty, Context, ErrorKind, Remote, RemoteError, WeakRemote, remote};
use serde::{Deserialize, Serialize};

use crate::common::{
    Keeper, at_rest, beside, client, counter, failure, gone, hand_over, mem, node, pass, serve, shelf, soon, transports,
};

async fn many_callers_share_one_connection() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let total = counter();
        let stub = hand_over(&server, &client, &total).await;
        let callers = (0..200).map(|_| {
            let stub = stub.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    stub.add(1).await?;
                }
                Ok::<_, RemoteError>(())
            })
        });
        for caller in soon(join_all(callers)).await {
            caller.unwrap().unwrap();
        }
        assert_eq!(total.total().await.unwrap(), 4000);
        assert_eq!((server.stats().connections, client.stats().connections), (1, 1));
        drop((stub, total));
        at_rest(&[&server, &client]).await;
        client.shutdown().await;
        server.shutdown().await;
        gone(&[&server, &client]).await;
    }
}

#[tokio::test]
async fn many_callers_share_one_connection_on_one_thread() {
    many_callers_share_one_connection().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_one_connection_on_two_threads() {
    many_callers_share_one_connection().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_call_at_once_over_one_connection() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (here, there) = (counter(), counter());
        let to_there = hand_over(&server, &client, &there).await;
        let shelf = shelf();
        serve(&server, &client, &shelf).put(here.clone()).await.unwrap();
        let to_here = shelf.get().await.unwrap().unwrap();
        assert!(!Remote::is_local(&to_here) && !Remote::is_local(&to_there));
        let forth = try_join_all((0..1000).map(|_| to_there.add(1)));
        let back = try_join_all((0..1000).map(|_| to_here.add(1)));
        soon(async { tokio::try_join!(forth, back) }).await.unwrap();
        assert_eq!((here.total().await.unwrap(), there.total().await.unwrap()), (1000, 1000));
        assert_eq!((server.stats().connections, client.stats().connections), (1, 1));
    }
}

/// Throws a ball back and forth.
#[remote]
trait Player {
    async fn play(&self, other: Remote<dyn Player>, left: u32) -> rmi::Result<u32>;
}

#[derive(Default)]
struct Partner(OnceLock<WeakRemote<dyn Player>>);

impl Partner {
    fn remote() -> Remote<dyn Player> {
        let partner = Arc::new(Self::default());
        let player = Remote::<dyn Player>::from_arc(partner.clone());
        partner.0.set(Remote::downgrade(&player)).expect("set once");
        player
    }
}

#[remote]
impl Player for Partner {
    async fn play(&self, other: Remote<dyn Player>, left: u32) -> rmi::Result<u32> {
        assert_eq!(Context::current().map(|context| context.depth() > 64), Some(false));
        if left == 0 {
            return Ok(0);
        }
        let this = self.0.get().and_then(WeakRemote::upgrade).expect("it is called, so it lives");
        Ok(other.play(this, left - 1).await? + 1)
    }
}

async fn calls_nest_to_their_depth_and_no_deeper() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (near, far) = (Partner::remote(), Partner::remote());
        let stub = hand_over(&server, &client, &far).await;
        assert_eq!(soon(stub.play(near.clone(), 64)).await.unwrap(), 64);
        let error = failure(soon(stub.play(near.clone(), 65)).await, "Player.play");
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        assert!(error.message().contains("65") && error.message().contains("64"), "{error}");
        assert_eq!((server.stats().connections, client.stats().connections), (1, 1));
        drop((near, far, stub));
        at_rest(&[&server, &client]).await;
    }
}

#[tokio::test]
async fn calls_nest_to_their_depth_and_no_deeper_on_one_thread() {
    calls_nest_to_their_depth_and_no_deeper().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_nest_to_their_depth_and_no_deeper_on_two_threads() {
    calls_nest_to_their_depth_and_no_deeper().await;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

#[remote]
trait Echo {
    async fn text(&self, text: &str) -> rmi::Result<String>;
    async fn maybe(&self, text: Option<&str>) -> rmi::Result<Option<String>>;
    async fn numbers(&self, numbers: &[u64]) -> rmi::Result<Vec<u64>>;
    async fn point(&self, point: &Point) -> rmi::Result<Point>;
    async fn all(&self, a: u8, b: i128, c: char, d: (bool, String), e: [u16; 3]) -> rmi::Result<String>;
    async fn nothing(&self) -> rmi::Result<()>;
}

struct Mountain;

#[remote]
impl Echo for Mountain {
    async fn text(&self, text: &str) -> rmi::Result<String> {
        Ok(text.to_owned())
    }
    async fn maybe(&self, text: Option<&str>) -> rmi::Result<Option<String>> {
        Ok(text.map(str::to_owned))
    }
    async fn numbers(&self, numbers: &[u64]) -> rmi::Result<Vec<u64>> {
        Ok(numbers.to_vec())
    }
    async fn point(&self, point: &Point) -> rmi::Result<Point> {
        Ok(point.clone())
    }
    async fn all(&self, a: u8, b: i128, c: char, d: (bool, String), e: [u16; 3]) -> rmi::Result<String> {
        Ok(format!("{a} {b} {c} {d:?} {e:?}"))
    }
    async fn nothing(&self) -> rmi::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn arguments_and_results_of_every_kind_come_back_as_they_went() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let echo = serve(&server, &client, &Remote::<dyn Echo>::new(Mountain));
        for text in ["", "a", "grüß dich 🦀", &"long ".repeat(20_000)] {
            assert_eq!(soon(echo.text(text)).await.unwrap(), text);
            assert_eq!(soon(echo.maybe(Some(text))).await.unwrap().as_deref(), Some(text));
        }
        assert_eq!(soon(echo.maybe(None)).await.unwrap(), None);
        let numbers: Vec<u64> = (0..50_000).map(|n| n * n).collect();
        assert_eq!(soon(echo.numbers(&numbers)).await.unwrap(), numbers);
        assert!(soon(echo.numbers(&[])).await.unwrap().is_empty());
        let point = Point { x: 0.1, y: f64::MIN_POSITIVE };
        assert_eq!(soon(echo.point(&point)).await.unwrap(), point);
        let all = soon(echo.all(7, i128::MIN, 'ß', (true, "x".into()), [1, 2, 65_535])).await.unwrap();
        assert_eq!(all, format!("7 {} ß (true, \"x\") [1, 2, 65535]", i128::MIN));
        soon(echo.nothing()).await.unwrap();
    }
}

#[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
enum TillError {
    #[error("only {left} left")]
    Empty { left: u32 },
    #[error("a call failed")]
    Remote(#[from] Told),
}

/// A `RemoteError` that can be compared.
#[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[error("{0}")]
struct Told(String);

impl From<RemoteError> for TillError {
    fn from(error: RemoteError) -> Self {
        Self::Remote(Told(error.to_string()))
    }
}

#[remote]
trait Till {
    async fn take(&self, amount: u32) -> Result<u32, TillError>;
}

struct Drawer(u32);

#[remote]
impl Till for Drawer {
    async fn take(&self, amount: u32) -> Result<u32, TillError> {
        self.0.checked_sub(amount).ok_or(TillError::Empty { left: self.0 })
    }
}

#[tokio::test]
async fn an_error_of_the_interface_arrives_as_itself_and_one_of_the_runtime_within_it() {
    let (server, client) = (node(&mem()).await, client().await);
    let till = serve(&server, &client, &Remote::<dyn Till>::new(Drawer(5)));
    assert_eq!(till.take(3).await, Ok(2));
    assert_eq!(till.take(6).await, Err(TillError::Empty { left: 5 }));
    server.shutdown().await;
    let Err(TillError::Remote(Told(told))) = soon(till.take(1)).await else { panic!("nobody can answer") };
    assert!(told.contains("Till.take") && told.contains("unreachable"), "{told}");
}

#[tokio::test]
async fn what_a_nested_call_could_not_send_is_an_executed_call_for_its_caller() {
    let (server, client, other) = (node(&mem()).await, client().await, node(&mem()).await);
    let shelf = shelf();
    let lost = counter();
    shelf.put(hand_over(&other, &server, &lost).await).await.unwrap();
    other.shutdown().await;
    let error = soon(serve(&server, &client, &shelf).add(1)).await.unwrap_err();
    // The nested call was not sent. The call of `add` ran nevertheless: it must not be made again.
    assert!(error.method().unwrap().ends_with("Counter.add"), "{error}");
    assert_eq!(error.certainty(), Certainty::Executed, "{error:?}");
}

#[remote]
trait Greeter {
    async fn name(&self) -> rmi::Result<String>;
    /// Whether the body runs in a handler of a remote call, beside the greeting itself.
    async fn greet(&self, whom: &str) -> rmi::Result<(String, bool)> {
        Ok((format!("{whom}, I am {}", self.name().await?), Context::current().is_some()))
    }
}

struct Plain;
struct Short;

#[remote]
impl Greeter for Plain {
    async fn name(&self) -> rmi::Result<String> {
        Ok("plain".into())
    }
}

#[remote]
impl Greeter for Short {
    async fn name(&self) -> rmi::Result<String> {
        Ok("short".into())
    }
    async fn greet(&self, whom: &str) -> rmi::Result<(String, bool)> {
        Ok((whom.to_owned(), Context::current().is_some()))
    }
}

#[tokio::test]
async fn a_default_body_runs_at_the_callee_unless_the_callee_has_its_own() {
    let (server, client) = (node(&mem()).await, client().await);
    let plain = Remote::<dyn Greeter>::new(Plain);
    assert_eq!(plain.greet("Ada").await.unwrap(), ("Ada, I am plain".into(), false));
    assert_eq!(serve(&server, &client, &plain).greet("Ada").await.unwrap(), ("Ada, I am plain".into(), true));
    let short = serve(&server, &client, &Remote::<dyn Greeter>::new(Short));
    assert_eq!(short.greet("Ada").await.unwrap(), ("Ada".into(), true));
}

/// Every name here is one that the runtime uses itself.
#[remote]
trait Twin {
    async fn dispatch(&self, call: u8) -> rmi::Result<u8>;
    async fn call(&self, method: &str) -> rmi::Result<String>;
    async fn cast(&self) -> rmi::Result<u8>;
    async fn send(&self, encoder: u8, answer: u8) -> rmi::Result<u8>;
    async fn descriptor(&self) -> rmi::Result<u8>;
    async fn id(&self) -> rmi::Result<u8>;
    async fn is_local(&self) -> rmi::Result<u8>;
    async fn upcast(&self) -> rmi::Result<u8>;
    async fn with(&self, options: u8) -> rmi::Result<u8>;
}

struct Double;

#[remote]
impl Twin for Double {
    async fn dispatch(&self, call: u8) -> rmi::Result<u8> {
        Ok(call)
    }
    async fn call(&self, method: &str) -> rmi::Result<String> {
        Ok(method.to_owned())
    }
    async fn cast(&self) -> rmi::Result<u8> {
        Ok(2)
    }
    async fn send(&self, encoder: u8, answer: u8) -> rmi::Result<u8> {
        Ok(encoder + answer)
    }
    async fn descriptor(&self) -> rmi::Result<u8> {
        Ok(4)
    }
    async fn id(&self) -> rmi::Result<u8> {
        Ok(5)
    }
    async fn is_local(&self) -> rmi::Result<u8> {
        Ok(6)
    }
    async fn upcast(&self) -> rmi::Result<u8> {
        Ok(7)
    }
    async fn with(&self, options: u8) -> rmi::Result<u8> {
        Ok(options)
    }
}

#[tokio::test]
async fn methods_may_be_named_as_those_of_the_runtime() {
    let (server, client) = (node(&mem()).await, client().await);
    let twin = serve(&server, &client, &Remote::<dyn Twin>::new(Double));
    assert_eq!(twin.call("x").await.unwrap(), "x");
    let numbers = [
        twin.dispatch(1).await,
        twin.cast().await,
        twin.send(1, 2).await,
        twin.descriptor().await,
        twin.id().await,
        twin.is_local().await,
        twin.upcast().await,
        twin.with(8).await,
    ];
    assert_eq!(numbers.map(Result::unwrap), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[remote]
trait Mirror {
    async fn caller(&self) -> rmi::Result<(rmi::NodeId, String, u32, bool)>;
}

struct Glass;

#[remote]
impl Mirror for Glass {
    async fn caller(&self) -> rmi::Result<(rmi::NodeId, String, u32, bool)> {
        let context = Context::current().expect("the call is remote");
        let in_time = context.time_left().is_some_and(|left| left.as_secs() < 30);
        Ok((context.peer(), context.peer_addr().to_string(), context.depth(), in_time))
    }
}

#[tokio::test]
async fn a_method_sees_who_calls_and_until_when() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let mirror = serve(&server, &client, &Remote::<dyn Mirror>::new(Glass));
        let (peer, address, depth, in_time) = soon(mirror.caller()).await.unwrap();
        assert_eq!((peer, depth, in_time), (client.id(), 0, true));
        let expected = match listen.split(':').next().unwrap() {
            "mem" => "this process".to_owned(),
            "unix" => format!("process {} over a unix socket", std::process::id()),
            scheme => format!("{scheme}://127.0.0.1:"),
        };
        assert!(address.starts_with(&expected), "{address}");
    }
    assert!(Context::current().is_none());
}

#[tokio::test]
async fn calls_that_wait_delay_nobody() {
    for listen in transports() {
        let (server, one, other) = (node(&listen).await, client().await, node(&beside(&listen)).await);
        let keeper = Keeper::shut();
        let gate = hand_over(&server, &one, &keeper.gate()).await;
        let held: Vec<_> = (0..100).map(|_| pass(&gate)).collect();
        keeper.holds(100).await;
        let total = counter();
        for caller in [&one, &other] {
            soon(hand_over(&server, caller, &total).await.add(1)).await.unwrap();
        }
        keeper.open();
        for pass in held {
            soon(pass).await.unwrap().unwrap();
        }
        drop((gate, keeper, total));
        at_rest(&[&server, &one, &other]).await;
    }
}

#[tokio::test]
async fn a_local_object_is_called_without_a_network_and_without_options() {
    let keeper = Keeper::shut();
    let held = pass(&Remote::with(&keeper.gate(), CallOptions::new().timeout(Duration::ZERO)));
    keeper.holds(1).await;
    keeper.open();
    soon(held).await.unwrap().unwrap();
}

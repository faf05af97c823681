//! Calls on results that have not arrived.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::join_all};
use parking_lot::Mutex;
use rmi::{
    CallOptions, Certainty, ErrorKind, Interceptor, Invocation, Next, Node, Promise, Remote, RemoteError, Reply, Side,
    remote,
};
use serde::{Deserialize, Serialize};

use crate::common::{
    Keeper, at_rest, client, dropped, hand_over, mem, node, serve, soon, stay_awake, transports, until,
};

#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
enum TreeError {
    #[error("there is no such branch")]
    NoSuchBranch,
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

#[remote]
trait Titled {
    async fn name(&self) -> rmi::Result<String>;
}

#[remote]
trait Ringed {
    async fn age(&self) -> rmi::Result<u32>;
}

/// A branch of a tree: it makes others, and writes down what it is told.
#[remote]
trait Branch: Titled + Ringed {
    async fn child(&self, name: &str) -> Result<Remote<dyn Branch>, TreeError>;
    /// Like `child`, once the gate is open.
    async fn late(&self, name: String) -> rmi::Result<Remote<dyn Branch>>;
    async fn lost(&self) -> Result<Remote<dyn Branch>, TreeError>;
    /// Never comes.
    async fn kept(&self) -> Result<Remote<dyn Branch>, TreeError>;
    async fn graft(&self, other: Remote<dyn Branch>) -> rmi::Result<Remote<dyn Branch>>;
    async fn grafted(&self) -> rmi::Result<Remote<dyn Branch>>;
    async fn tell(&self, number: u32, ballast: Vec<u8>) -> rmi::Result<usize>;
    async fn tell_all(&self, secret: Unspeakable) -> rmi::Result<()>;
    #[remote(oneway)]
    async fn whisper(&self, number: u32) -> rmi::Result<()>;
    async fn told(&self) -> rmi::Result<Vec<u32>>;
}

#[derive(Clone)]
struct Grown {
    name: String,
    age: u32,
    told: Arc<Mutex<Vec<u32>>>,
    grafted: Arc<Mutex<Option<Remote<dyn Branch>>>>,
    keeper: Keeper,
    _life: Arc<()>,
}

impl Grown {
    fn root() -> Self {
        Self {
            name: "root".to_owned(),
            age: 0,
            told: Arc::default(),
            grafted: Arc::default(),
            keeper: Keeper::shut(),
            _life: Arc::default(),
        }
    }

    fn grow(&self, name: &str) -> Remote<dyn Branch> {
        let name = if name.is_empty() { self.name.clone() } else { format!("{}/{name}", self.name) };
        Remote::<dyn Branch>::new(Self { name, age: self.age + 1, ..self.clone() })
    }

    fn remote(&self) -> Remote<dyn Branch> {
        Remote::<dyn Branch>::new(self.clone())
    }
}

#[remote]
impl Titled for Grown {
    async fn name(&self) -> rmi::Result<String> {
        Ok(self.name.clone())
    }
}

#[remote]
impl Ringed for Grown {
    async fn age(&self) -> rmi::Result<u32> {
        Ok(self.age)
    }
}

#[remote]
impl Branch for Grown {
    async fn child(&self, name: &str) -> Result<Remote<dyn Branch>, TreeError> {
        Ok(self.grow(name))
    }
    async fn late(&self, name: String) -> rmi::Result<Remote<dyn Branch>> {
        use crate::common::Gate;
        self.keeper.pass().await?;
        Ok(self.grow(&name))
    }
    async fn lost(&self) -> Result<Remote<dyn Branch>, TreeError> {
        Err(TreeError::NoSuchBranch)
    }
    async fn kept(&self) -> Result<Remote<dyn Branch>, TreeError> {
        std::future::pending().await
    }
    async fn graft(&self, other: Remote<dyn Branch>) -> rmi::Result<Remote<dyn Branch>> {
        *self.grafted.lock() = Some(other.clone());
        Ok(other)
    }
    async fn grafted(&self) -> rmi::Result<Remote<dyn Branch>> {
        Ok(self.grafted.lock().clone().expect("something was grafted"))
    }
    async fn tell(&self, number: u32, _ballast: Vec<u8>) -> rmi::Result<usize> {
        let mut told = self.told.lock();
        told.push(number);
        Ok(told.len())
    }
    async fn tell_all(&self, _secret: Unspeakable) -> rmi::Result<()> {
        Ok(())
    }
    async fn whisper(&self, number: u32) -> rmi::Result<()> {
        self.told.lock().push(number);
        Ok(())
    }
    async fn told(&self) -> rmi::Result<Vec<u32>> {
        Ok(self.told.lock().clone())
    }
}

/// A server's tree, and a client's reference to its root.
async fn planted(listen: &str) -> (Node, Node, Grown, Remote<dyn Branch>) {
    let (server, client, tree) = (node(listen).await, client().await, Grown::root());
    let root = hand_over(&server, &client, &tree.remote()).await;
    (server, client, tree, root)
}

#[tokio::test]
async fn calls_arrive_before_the_results_that_they_are_made_on_are_there() {
    for listen in transports() {
        let (server, client, tree, root) = planted(&listen).await;
        let chain = Remote::pipelined(&root).late("a".to_owned()).child("b").child("c").name();
        let chain = tokio::spawn(chain);
        tree.keeper.holds(1).await;
        until("all calls of the chain wait at the server", || server.stats().calls_in_flight == 4).await;
        tree.keeper.open();
        assert_eq!(soon(chain).await.unwrap().unwrap(), "root/a/b/c");
        drop(root);
        at_rest(&[&server, &client]).await;
    }
}

#[tokio::test]
async fn methods_of_bases_are_there_and_results_are_plain_references() {
    let (server, client, _tree, root) = planted(&mem()).await;
    let promise = Remote::pipelined(&root).child("a");
    let (name, age) = (promise.name(), promise.age());
    assert_eq!((soon(name).await.unwrap(), soon(age).await.unwrap()), ("root/a".to_owned(), 1));
    let branch = soon(promise).await.unwrap();
    assert_eq!(soon(branch.name()).await.unwrap(), "root/a");
    drop((root, branch));
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn a_promise_that_is_not_awaited_is_no_call() {
    let (server, client, tree, root) = planted(&mem()).await;
    drop(Remote::pipelined(&root).child("a").tell(1, Vec::new()));
    assert!(soon(root.told()).await.unwrap().is_empty());
    drop((root, tree));
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn a_call_on_a_result_that_failed_names_the_call_that_did() {
    for listen in transports() {
        let (server, client, tree, root) = planted(&listen).await;
        let broken = |error: RemoteError, text: &str| {
            assert_eq!((error.kind(), error.certainty()), (ErrorKind::PromiseBroken, Certainty::NotExecuted));
            assert!(error.to_string().contains(text), "{error}");
        };
        let pipe = Remote::pipelined(&root);
        broken(soon(pipe.lost().tell(1, Vec::new())).await.unwrap_err(), "Branch.lost, on whose result");
        broken(soon(pipe.lost().child("a").child("b").told()).await.unwrap_err(), "Branch.child, on whose result");
        // One that is refused by the runtime.
        let object = tree.remote();
        let dead = hand_over(&server, &client, &object).await;
        server.unexport(&object);
        let error = soon(Remote::pipelined(&dead).child("a").told()).await.unwrap_err();
        assert!(std::error::Error::source(&error).is_some_and(|source| source.to_string().contains("unexported")));
        broken(error, "Branch.child, on whose result");
        assert_eq!(tree.told.lock().len(), 0);
        drop((root, dead, pipe, object));
        at_rest(&[&server, &client]).await;
    }
}

#[tokio::test]
async fn dropping_the_promise_cancels_and_frees() {
    let (server, client, tree, root) = planted(&mem()).await;
    let life = Arc::downgrade(&tree._life);
    let mut chain = Remote::pipelined(&root).late("a".to_owned()).child("b").tell(1, Vec::new());
    assert!((&mut chain).now_or_never().is_none());
    tree.keeper.holds(1).await;
    until("the chain waits", || server.stats().calls_in_flight == 3).await;
    drop(chain);
    tree.keeper.holds(0).await;
    assert_eq!(tree.told.lock().len(), 0);
    drop((root, tree));
    at_rest(&[&server, &client]).await;
    dropped(&life).await;
}

#[tokio::test]
async fn what_was_made_by_a_dropped_promise_is_freed() {
    let (server, client, tree, root) = planted(&mem()).await;
    let life = Arc::downgrade(&tree._life);
    for _ in 0..50 {
        soon(Remote::pipelined(&root).child("a").tell(1, Vec::new())).await.unwrap();
    }
    drop(tree);
    until("nothing but the root is held", || client.stats().imported_references == 1).await;
    until("nothing but the root is exported", || server.stats().exported_objects == 1).await;
    drop(root);
    dropped(&life).await;
    at_rest(&[&server, &client]).await;
}

async fn order_is_kept() {
    let with = |large| transports().into_iter().map(move |listen| (listen, large));
    for (listen, large) in with(10).chain(with(300_000)) {
        let (server, client, tree, root) = planted(&listen).await;
        let mut promise = Remote::pipelined(&root).late("a".to_owned());
        // Made, and not awaited any further: the first has not even left.
        let ballast = |number| vec![7; if number % 3 == 0 { large } else { 10 }];
        let mut calls: Vec<_> = (0..10).map(|number| promise.tell(number, ballast(number))).collect();
        for call in &mut calls {
            assert!(call.now_or_never().is_none());
        }
        tree.keeper.open();
        let branch = soon(&mut promise).await.unwrap();
        let direct = (10..20).map(|number| branch.tell(number, ballast(number)));
        let all = soon(join_all(direct)).await;
        assert!(all.iter().all(Result::is_ok));
        assert!(soon(join_all(calls)).await.iter().all(Result::is_ok));
        assert_eq!(soon(branch.told()).await.unwrap(), (0..20).collect::<Vec<_>>());
        drop((branch, promise, root, tree));
        at_rest(&[&server, &client]).await;
    }
}

#[tokio::test]
async fn calls_by_a_promise_and_by_what_it_has_become_begin_in_order() {
    order_is_kept().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_by_a_promise_and_by_what_it_has_become_begin_in_order_on_two_threads() {
    stay_awake();
    order_is_kept().await;
}

#[tokio::test]
async fn a_result_of_a_third_node_is_followed_and_keeps_its_order() {
    for listen in transports() {
        let (third, _client, far, at_third) = planted(&crate::common::beside(&listen)).await;
        let (server, client, tree, root) = planted(&listen).await;
        let passed = hand_over(&third, &server, &far.remote()).await;
        *tree.grafted.lock() = Some(passed);
        let pipe = Remote::pipelined(&root);
        assert_eq!(soon(pipe.grafted().child("a").name()).await.unwrap(), "root/a");
        let mut promise = pipe.grafted();
        let mut first = promise.tell(1, Vec::new());
        assert!((&mut first).now_or_never().is_none());
        let direct = soon(&mut promise).await.unwrap();
        soon(direct.tell(2, Vec::new())).await.unwrap();
        soon(first).await.unwrap();
        assert_eq!(*far.told.lock(), [1, 2]);
        drop((direct, promise, root, pipe, at_third));
        *tree.grafted.lock() = None;
        drop(tree);
        at_rest(&[&server, &client]).await;
    }
}

#[tokio::test]
async fn a_result_that_comes_home_is_called_there_in_order() {
    let (server, client, tree, root) = planted(&mem()).await;
    let mine = Grown::root();
    let mut promise = Remote::pipelined(&root).graft(mine.remote());
    let mut calls: Vec<_> = (0..5).map(|number| promise.tell(number, Vec::new())).collect();
    for call in &mut calls {
        assert!(call.now_or_never().is_none());
    }
    let home = soon(&mut promise).await.unwrap();
    assert!(Remote::is_local(&home));
    soon(home.tell(5, Vec::new())).await.unwrap();
    soon(join_all(calls)).await;
    assert_eq!(*mine.told.lock(), [0, 1, 2, 3, 4, 5]);
    *tree.grafted.lock() = None;
    drop((home, promise, root, tree));
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn a_local_object_is_called_where_it_is() {
    let tree = Grown::root();
    let root = tree.remote();
    assert_eq!(soon(Remote::pipelined(&root).child("a").child("b").name()).await.unwrap(), "root/a/b");
    let error = soon(Remote::pipelined(&root).lost().name()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PromiseBroken);
    let error = soon(Remote::pipelined(&root).lost()).await.unwrap_err();
    assert!(matches!(error, TreeError::NoSuchBranch), "{error}");
    // What the runtime itself ends is named as over a network.
    let unencodable = Remote::pipelined(&root).tell_all(Unspeakable);
    let error = soon(unencodable).await.unwrap_err();
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Marshal, Certainty::NotSent), "{error}");
    assert!(error.to_string().contains("Branch.tell_all on object "), "{error}");
}

/// A value that cannot be encoded.
#[derive(Debug)]
struct Unspeakable;

impl Serialize for Unspeakable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it must not be said"))
    }
}

impl<'de> Deserialize<'de> for Unspeakable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[tokio::test]
async fn a_service_that_has_to_be_dialled_is_called_in_one_go() {
    let (server, client, tree) = (node(&mem()).await, client().await, Grown::root());
    let root = serve(&server, &client, &tree.remote());
    let promise = Remote::pipelined(&root).child("a");
    let mut calls = (0..20).map(|number| promise.tell(number, Vec::new())).collect::<Vec<_>>();
    for call in &mut calls {
        assert!(call.now_or_never().is_none(), "nobody is dialled yet");
    }
    // Whoever goes on first, they were first awaited in this order.
    calls.reverse();
    assert!(soon(join_all(calls)).await.iter().all(Result::is_ok));
    assert_eq!(*tree.told.lock(), (0..20).collect::<Vec<_>>());
    drop((promise, root));
    at_rest(&[&client]).await;
}

#[tokio::test]
async fn a_oneway_call_may_be_the_last_of_a_chain() {
    let (server, client, tree, root) = planted(&mem()).await;
    soon(Remote::pipelined(&root).late("a".to_owned()).child("b").whisper(7)).await.unwrap();
    // It is on its way, and what it is called on is not there yet.
    tree.keeper.holds(1).await;
    tree.keeper.open();
    until("it was told", || *tree.told.lock() == [7]).await;
    drop((root, tree));
    at_rest(&[&server, &client]).await;
}

/// Counts what it sees.
#[derive(Clone, Default)]
struct Census(Arc<Mutex<Vec<(Side, String)>>>);

#[rmi::async_trait]
impl Interceptor for Census {
    async fn intercept(&self, call: &mut Invocation, mut next: Next<'_>) -> Result<Reply, RemoteError> {
        self.0.lock().push((call.side(), call.method().to_owned()));
        next.run(call).await
    }
}

#[tokio::test]
async fn interceptors_stand_around_the_calls_of_a_pipeline() {
    let (census, tree) = (Census::default(), Grown::root());
    let server = Node::builder().listen(mem()).interceptor(census.clone()).start().await.unwrap();
    let client = Node::builder().interceptor(census.clone()).start().await.unwrap();
    let root = serve(&server, &client, &tree.remote());
    let chain = tokio::spawn(Remote::pipelined(&root).late("a".to_owned()).child("b").name());
    tree.keeper.holds(1).await;
    until("the chain waits", || server.stats().calls_in_flight == 3).await;
    tree.keeper.open();
    assert_eq!(soon(chain).await.unwrap().unwrap(), "root/a/b");
    let seen = std::mem::take(&mut *census.0.lock());
    for side in [Side::Client, Side::Server] {
        let of_side: Vec<_> = seen.iter().filter(|(at, _)| *at == side).map(|(_, method)| method.as_str()).collect();
        assert_eq!(of_side, ["late", "child", "name"]);
    }
    drop(root);
    at_rest(&[&client]).await;
}

#[tokio::test]
async fn options_of_a_pipeline_are_those_of_its_first_call() {
    let (server, client, tree, root) = planted(&mem()).await;
    let options = CallOptions::new().timeout(Duration::from_millis(50));
    let pipe = Remote::pipelined_with(&root, options);
    let error = soon(pipe.late("a".to_owned()).name()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PromiseBroken);
    let source = std::error::Error::source(&error).expect("the call that failed").to_string();
    assert!(source.contains("no answer within the time"), "{source}");
    drop((root, pipe, tree));
    at_rest(&[&server, &client]).await;
}

/// Far more calls than a thread's stack has room for, were each to be driven or dropped inside of the next.
const LONG: u32 = 5_000;

/// A branch that has not arrived.
type Grows = Promise<Result<Remote<dyn Branch>, TreeError>>;

#[tokio::test]
async fn a_chain_is_as_long_as_one_likes() {
    let (server, client, tree, root) = planted(&mem()).await;
    let chain = |first| (1..LONG).fold(first, |promise: Grows, _| promise.child(""));
    let of_child = |root: &Remote<dyn Branch>| chain(Remote::pipelined(root).child(""));
    assert_eq!(soon(of_child(&root).age()).await.unwrap(), LONG);
    assert_eq!(soon(of_child(&tree.remote()).age()).await.unwrap(), LONG);
    let error = soon(chain(Remote::pipelined(&root).lost()).age()).await.unwrap_err();
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::PromiseBroken, Certainty::NotExecuted));
    let first = std::error::Error::source(&error).expect("what broke first").to_string();
    assert!(first.contains("Branch.lost, on whose result it was called, has returned an error"), "{first}");
    // Given up before it was awaited, and while it goes.
    drop(of_child(&root));
    let mut going = chain(Remote::pipelined(&root).kept()).age();
    assert!((&mut going).now_or_never().is_none());
    drop(going);
    drop((root, tree));
    at_rest(&[&server, &client]).await;
}

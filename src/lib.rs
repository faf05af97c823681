//! Remote objects for Rust: annotate a trait, bind an object, look it up, call it.
//!
//! A trait under [`#[remote]`](macro@remote) becomes a remote interface. A registry binds names to references. A
//! client looks one up and calls it as if it were local. An argument or a result is a **value**, which travels by copy,
//! or a **remote reference**, [`Remote<dyn Trait>`](Remote), which travels by reference: returned objects, callbacks,
//! objects of third nodes.
//!
//! # A server and a client
//!
//! ```
//! use rmi::{Node, Registry, RegistryServer, Remote, RemoteError, remote};
//!
//! #[derive(Debug, thiserror::Error, serde::Serialize, serde::Deserialize)]
//! pub enum BankError {
//!     #[error("balance is only {balance}")]
//!     Insufficient { balance: i64 },
//!     #[error(transparent)]
//!     Remote(#[from] RemoteError), // every error of a remote method can say that the call itself failed
//! }
//!
//! #[remote]
//! pub trait Account {
//!     async fn withdraw(&self, amount: i64) -> Result<i64, BankError>;
//! }
//!
//! #[remote]
//! pub trait Bank {
//!     async fn open(&self, owner: &str) -> Result<Remote<dyn Account>, BankError>;
//! }
//!
//! struct Savings;
//!
//! #[remote]
//! impl Account for Savings {
//!     async fn withdraw(&self, amount: i64) -> Result<i64, BankError> {
//!         if amount > 100 { Err(BankError::Insufficient { balance: 100 }) } else { Ok(100 - amount) }
//!     }
//! }
//!
//! struct Branch;
//!
//! #[remote]
//! impl Bank for Branch {
//!     async fn open(&self, _owner: &str) -> Result<Remote<dyn Account>, BankError> {
//!         Ok(Remote::<dyn Account>::new(Savings)) // returned by reference
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The registry, mostly the program `rmiregistry`.
//! let registry = RegistryServer::builder().listen("tcp://127.0.0.1:0").start().await?;
//!
//! // The server.
//! let node = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
//! let names = Registry::connect_with(&node, &registry.url()).await?;
//! names.bind("bank", &Remote::<dyn Bank>::new(Branch)).await?;
//!
//! // A client, on any machine.
//! let bank = rmi::lookup::<dyn Bank>(&format!("{}/bank", registry.url())).await?;
//! let account = bank.open("alice").await?;
//! assert_eq!(account.withdraw(5).await?, 95);
//! assert!(matches!(account.withdraw(500).await, Err(BankError::Insufficient { balance: 100 })));
//! # node.shutdown().await;
//! # registry.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | interface | a trait under `#[remote]`; at run time an id and a table of methods |
//! | stub | the caller's object: implements the trait, turns each call into a message |
//! | skeleton | the callee's generated half: turns a message into a method call |
//! | node | a process's presence in the system ([`Node`]): dials, listens, exports; its [`NodeId`] is new at every start |
//! | object table | object id → exported object, one per node |
//! | reference | what travels: the owner's node id, its endpoints, the object id, the interfaces |
//! | [`Remote`] | a reference as held in Rust: local object or stub, same type, same calls |
//! | link | the connection between two nodes; calls go both ways over it |
//! | lease | how long a node's references outlive the loss of its link |
//! | registry | names → references; itself a remote object ([`Registry`], [`RegistryServer`]) |
//! | group | the objects that are joined under one name, its members; one reference calls them all ([`Registry::join`]) |
//!
//! # Streams
//!
//! A [`Streaming<T>`](Streaming) is an argument or a result, itself or inside of one, that brings many values one after
//! another, as fast as they are read. It is made of any `Stream`, or of a channel:
//!
//! ```
//! # use rmi::{Streaming, remote};
//! #[remote]
//! pub trait Ledger {
//!     async fn follow(&self, owner: String) -> rmi::Result<Streaming<i64>>;
//!     async fn import(&self, entries: Streaming<i64>) -> rmi::Result<u64>;
//! }
//!
//! struct Book;
//!
//! #[remote]
//! impl Ledger for Book {
//!     async fn follow(&self, _owner: String) -> rmi::Result<Streaming<i64>> {
//!         Ok(Streaming::new(futures_util::stream::iter(1..=3)))
//!     }
//!
//!     async fn import(&self, mut entries: Streaming<i64>) -> rmi::Result<u64> {
//!         let mut count = 0;
//!         while let Some(entry) = entries.next().await {
//!             entry?; // an error is the last item
//!             count += 1;
//!         }
//!         Ok(count)
//!     }
//! }
//! ```
//!
//! # Calls on results that have not arrived
//!
//! Where a call returns a reference, [`Remote::pipelined`] calls on before it is there. A chain takes one round trip, to any
//! depth. Each call gives a [`Promise`], which may be awaited, called on, or both; nothing is called before one of them is
//! awaited:
//!
//! ```
//! # use rmi::{Remote, remote};
//! #[remote]
//! pub trait Purse {
//!     async fn withdraw(&self, cents: i64) -> rmi::Result<i64>;
//! }
//!
//! #[remote]
//! pub trait Purses {
//!     async fn open(&self, owner: &str) -> rmi::Result<Remote<dyn Purse>>;
//! }
//!
//! # pub async fn take(purses: Remote<dyn Purses>) -> rmi::Result<()> {
//! let left = Remote::pipelined(&purses).open("alice").withdraw(5).await?;
//!
//! let purse = Remote::pipelined(&purses).open("bob");
//! let (five, ten) = (purse.withdraw(5), purse.withdraw(10));
//! println!("{left}, {}, {}", five.await?, ten.await?); // in the order in which they are awaited
//! let purse = purse.await?; // a plain reference
//! # Ok(()) }
//! ```
//!
//! A call on a result that turns out to be an error is [`PromiseBroken`](ErrorKind::PromiseBroken): it did not run, and its
//! error names the call that failed. Dropping a promise, and all that was called on it, cancels the call.
//!
//! # Several servers of one name
//!
//! Servers that do the same [join](Registry::join) one name, and a client looks up one reference to all of them. Each
//! call goes to one member, by default to the less busy of two that chance picks ([`Balance`],
//! [`Registry::lookup_balanced`]). A call that certainly did not run goes to another member, and an idempotent one also
//! where its server died with it, so that the end of one server costs neither:
//!
//! ```
//! # use rmi::{Node, Registry, RegistryServer, Remote, remote};
//! #[remote]
//! pub trait Rates {
//!     #[remote(idempotent)]
//!     async fn rate(&self, pair: String) -> rmi::Result<f64>;
//! }
//!
//! struct Desk;
//!
//! #[remote]
//! impl Rates for Desk {
//!     async fn rate(&self, _pair: String) -> rmi::Result<f64> {
//!         Ok(1.09)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let names = RegistryServer::builder().listen("tcp://127.0.0.1:0").start().await?;
//! // Two servers.
//! let mut servers = Vec::new();
//! for _ in 0..2 {
//!     let node = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
//!     let registry = Registry::connect_with(&node, &names.url()).await?;
//!     registry.join("rates", &Remote::<dyn Rates>::new(Desk)).await?;
//!     servers.push(node);
//! }
//!
//! // A client.
//! let rates = rmi::lookup::<dyn Rates>(&format!("{}/rates", names.url())).await?;
//! assert_eq!(Remote::members(&rates).len(), 2);
//! rates.rate("EURUSD".into()).await?;
//! servers.remove(0).shutdown().await;
//! rates.rate("EURUSD".into()).await?;
//! # drop(rates);
//! # servers.remove(0).shutdown().await;
//! # names.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Around calls
//!
//! An [`Interceptor`] stands around each call that a node makes or serves: for access control, logs, metrics, retries.
//! [`CallOptions::metadata`] goes with a call, [`CallOptions::baggage`] with those nested in it too; the method finds both
//! in its [`Context`]. The crate `rmi-interceptors` has ready ones: an access log, metrics, and tower's layers.
//!
//! Each call is a span of `tracing`, of the target `rmi::call`, with the attributes of OpenTelemetry's conventions for
//! RPC. `rpc.response.status_code` is `ok`; where a call failed, it and `error.type` are `method` if the method has
//! returned an error, `cancelled`, or the [`ErrorKind`] of the runtime's error in words. With the feature
//! `opentelemetry` the spans of all processes that a call goes through are one trace: see `examples/traces`.
//!
//! # The life of a call
//!
//! The stub encodes the arguments with the postcard format; a `Remote` among them goes into the message's reference
//! table. The call leaves over the link to the object's owner, which is dialled at the first call. The owner finds the
//! object, decodes the arguments and runs the method: in the reader where the method has proved quick, else in a task.
//! The result, or the method's own error, comes back as the reply; an error of the runtime as a refusal. Dropping the
//! caller's future cancels the call: the method's future is dropped at its next await, unless it is detached.
//!
//! # Calls that differ
//!
//! Options of methods stand in the trait ([`#[remote]`](macro@remote) has all of them), those of a caller in its
//! reference ([`Remote::with`], [`CallOptions`]), and come first. [`Node::batch`] lets calls leave together.
//!
//! ```
//! # use std::{sync::atomic::{AtomicU64, Ordering}, time::Duration};
//! use rmi::{CallOptions, Node, Remote, remote};
//!
//! #[remote]
//! pub trait Journal {
//!     #[remote(oneway)] // comes back once it is on its way
//!     async fn log(&self, line: &str) -> rmi::Result<()>;
//!     #[remote(idempotent, timeout = "2s")] // may be sent again, and takes two seconds at most
//!     async fn lines(&self) -> rmi::Result<u64>;
//!     #[remote(blocking, detached)] // may block its thread, and ends whatever becomes of its caller
//!     async fn rotate(&self) -> rmi::Result<()>;
//! }
//! # #[derive(Default)]
//! # struct Pages(AtomicU64);
//! # #[remote]
//! # impl Journal for Pages {
//! #     async fn log(&self, _line: &str) -> rmi::Result<()> { self.0.fetch_add(1, Ordering::Relaxed); Ok(()) }
//! #     async fn lines(&self) -> rmi::Result<u64> { Ok(self.0.load(Ordering::Relaxed)) }
//! #     async fn rotate(&self) -> rmi::Result<()> { self.0.store(0, Ordering::Relaxed); Ok(()) }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = Node::builder().listen("mem://journal").start().await?;
//! # server.serve("journal", &Remote::<dyn Journal>::new(Pages::default()));
//! # let node = Node::builder().start().await?;
//! # let journal = Remote::<dyn Journal>::service(&node, server.endpoints()[0].clone(), "journal");
//!
//! let lines = node.batch(async {
//!     for number in 0..100 {
//!         journal.log(&format!("line {number}")).await?; // gathers: a hundred calls, one write
//!     }
//!     journal.lines().await // they leave when this begins to wait
//! });
//! assert_eq!(lines.await?, 100);
//! let hurried = Remote::with(&journal, CallOptions::new().timeout(Duration::from_millis(500)).attempts(2));
//! hurried.rotate().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is guaranteed
//!
//! - **At most once.** A call goes again only where it certainly did not run, unless its method is
//!   `#[remote(idempotent)]`. [`RemoteError::certainty`] says of a failed one whether it ran.
//! - **An end.** Every call ends: 5 s to connect, 30 s for a call unless set otherwise ([`Limits`], [`CallOptions`]).
//!   Nested calls inherit the time that is left. A `oneway` call ends for its caller once it is on its way.
//! - **Restraint.** Calls go again after pauses that are drawn, never beyond their time, and no more of them than a
//!   tenth of a node's calls and ten a second, beyond [`Limits::retries`]; to another member of a group each goes once besides.
//! - **Order.** Calls of one node to one object begin in the order in which they were made; those to a group, in order for
//!   each member alone.
//! - **Lifetimes.** An exported object lives while a node holds a reference to it, a name is bound to it, or local code
//!   holds its `Remote`. Dropping the last `Remote` on a node tells the owner at once. A lost connection is taken up again
//!   within the lease, and nothing that is held is lost by it; a lost node's references live for one lease.
//! - **Identity.** A reference that comes home is the original object again, without a network. Equality and hashes are
//!   those of owner and object, whatever way the reference came; those of a reference to a group, of its name and of the
//!   registry's URL.
//! - **Isolation.** A panic in a method is that call's error. Whatever a peer sends can at worst end that peer's
//!   connection.
//! - **Trust.** A caller is whom it has proved to be ([`Context::principal`]), and does what the node's [`Authorizer`] lets
//!   it; without one, everything. Over `tls://` nobody reads along, with the feature `tls`.
//! - **One port.** Callbacks come back over the connection that the client dialled, and over the one that replaces it.
//!
//! # What is not
//!
//! - A `oneway` call that is on its way when its connection is lost may be lost with it, and nobody is told.
//! - A call whose answer was lost with its link may have run: [`Certainty::Unknown`].
//! - The fields of types that travel by copy are not versioned: both sides must be built from the same definition, as
//!   with any postcard data. Adding a method breaks nobody; changing one is a
//!   [`SignatureMismatch`](ErrorKind::SignatureMismatch).
//! - Nothing is encrypted over `tcp://`, and nobody is told apart there: keep such nodes on networks that you trust, or see
//!   `SECURITY.md` for what closes them.

extern crate self as rmi;

pub use rmi_core::endpoint::{Endpoint, EndpointError};
pub use rmi_core::interface::{ImplementedBy, Interface};
#[cfg(feature = "tls")]
pub use rmi_core::tls;
pub use rmi_core::transport;
pub use rmi_core::{
    Access, AnyRemote, Authenticator, Authorizer, Balance, CallOptions, CastError, Certainty, Context, Credentials,
    DialPolicy, ErrorKind, Interceptor, Invocation, Limits, Next, Node, NodeBuilder, NodeError, NodeId, NodeStats,
    ObjectId, Policy, PolicyError, Principal, Promise, ReaderGone, RelayPolicy, Remote, RemoteError, Reply, Result,
    Side, StreamSender, Streaming, WeakRemote, async_trait,
};
pub use rmi_macros::remote;
pub use rmi_registry::{
    Entry, Event as RegistryEvent, Registry, RegistryError, RegistryServer, RegistryServerBuilder, Watch, bind, lookup,
};

#[doc(hidden)]
pub use rmi_core::__private;

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

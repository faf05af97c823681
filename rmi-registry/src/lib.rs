//! Names for remote objects: the registry of rmi, as a library and as the program `rmiregistry`.
//!
//! A server binds an object to a name, a client looks the name up and calls the object. The
//! registry only introduces them to each other: it holds a reference, and the calls go from the
//! client to the server. It is itself a remote object, called by name.
//!
//! ```no_run
//! # use rmi_core::{Node, Remote};
//! # use rmi_macros::remote;
//! # use rmi_registry::{Registry, RegistryServer};
//! # #[remote(name = "demo.Greeter")]
//! # trait Greeter { async fn greet(&self, who: &str) -> rmi_core::Result<String>; }
//! # struct Polite;
//! # #[remote]
//! # impl Greeter for Polite {
//! #     async fn greet(&self, who: &str) -> rmi_core::Result<String> { Ok(format!("Good day, {who}")) }
//! # }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // a registry, beside others in the process or as the program `rmiregistry`
//! let names = RegistryServer::builder().listen("rmi://127.0.0.1:1099").start().await?;
//!
//! // a server
//! let node = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
//! let registry = Registry::connect_with(&node, "rmi://127.0.0.1:1099").await?;
//! registry.bind("greeter", &Remote::<dyn Greeter>::new(Polite)).await?;
//!
//! // a client
//! let greeter: Remote<dyn Greeter> = rmi_registry::lookup("rmi://127.0.0.1:1099/greeter").await?;
//! assert_eq!(greeter.greet("Ada").await?, "Good day, Ada");
//! # names.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! # URLs and names
//! `rmi://host:port/name`: the port is 1099 where none is given, an IPv6 address stands in
//! brackets, and the name is all after the first `/`, percent-decoded. A name is any text of 1 to
//! 1,024 bytes without control characters and without white space at its ends; `/`, `:`, `_` and
//! all of Unicode are welcome, and names are compared byte by byte. In place of `rmi://host:port`,
//! [`Registry::connect`] and [`RegistryServerBuilder::listen`] take the URL of any endpoint, such
//! as `mem://names` within one process.
//!
//! `rmi://a:1099,b:1099/name` names several registries, which know nothing of each other: the
//! binding node binds and unbinds at all of them, and lookups, lists and watches go to the first
//! that answers. One must answer; those that do not catch up when they are back, for as long as the
//! binding node runs.
//!
//! # How long a name lasts
//! Until it is unbound, until another object is bound to it, or until its server is gone: at once
//! where the server says goodbye, after the lease of the server's node where it was lost. While the
//! connection to a server is lost, another server on the host may [`bind`](Registry::bind) its name,
//! so that one that was restarted need not wait.
//!
//! Names are kept in memory only, but a node looks after what it has bound: every sixth of the
//! registry's lease it asks whether all is in place, and binds again what a registry has lost by a
//! restart or while the node was out of reach. Every binding has an epoch, the time when it was
//! first made. Of two bindings of a name the newest wins, and a name that another has unbound stays
//! so: the loser's node lets go of its object and says so in the log (`tracing`, target
//! `rmi_registry`). Epochs come from the clocks of the binding hosts.
//!
//! # Several objects under one name
//! [`Registry::join`] adds an object to the group of a name, beside those of other servers: up to 256 members of
//! the same interfaces. A reference to the name, from [`Registry::lookup`] or
//! [`lookup_balanced`](Registry::lookup_balanced), calls all of them, each call one. A name is either bound or a
//! group: `bind` refuses a group and `join` a bound name; [`rebind`](Registry::rebind) replaces all members, and
//! [`unbind`](Registry::unbind) removes them.
//!
//! A member lasts as a binding does: it [leaves](Registry::leave), goes with its server, is joined again where a
//! registry has lost it, with the epoch of its first joining, and stays away once it was taken out. The last
//! one frees the name.
//!
//! # Watching
//! [`Registry::watch`] is a stream of what is bound below a prefix and of every change to it, across
//! restarts of the registry. None is lost in silence: a reader that is too slow is told that it
//! missed some, and what differs.
//!
//! # Who may do what
//! Everybody who reaches the registry may look names up and list them, and whoever holds a
//! reference may call the object. Names are changed only from the registry's own host, judged by
//! the address of the caller's socket: a proxy or a tunnel on that host defeats this.
//!
//! A registry on a network that is not to be trusted listens at `rmis://` and has a policy
//! ([`RegistryServerBuilder::node_builder`], or `rmiregistry --tls-clients --policy`). It is asked for the interface
//! `rmi.Registry` and the methods `bind`, `rebind`, `unbind`, `join`, `leave`, `lookup` (also to watch one name) and
//! `list` (also to watch many), first for the call and then for the name, or for the beginning of the names to list.
//! A name whose server is lost is then taken over only by who bound it, and not by all of its host.

mod backoff;
mod binder;
mod client;
mod error;
mod follower;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod groups;
mod holding;
mod kept;
mod ledger;
mod members;
mod name;
mod names;
mod picture;
mod places;
mod removed;
mod rights;
mod server;
mod service;
mod stamp;
mod table;
mod url;
mod watch;
mod watchers;

pub use client::{Registry, bind, lookup};
pub use error::RegistryError;
pub use server::{RegistryServer, RegistryServerBuilder};
pub use service::Entry;
pub use watch::{Event, Watch};

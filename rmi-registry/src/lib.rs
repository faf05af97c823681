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
//! # How long a name lasts
//! Until it is unbound, until another object is bound to it, or until its server is gone: at once
//! where the server says goodbye, after the lease of the server's node where it was lost. Names
//! are kept in memory only.
//!
//! # Who may do what
//! Everybody who reaches the registry may look names up and list them, and whoever holds a
//! reference may call the object. Names are changed only from the registry's own host, judged by
//! the address of the caller's socket: a proxy or a tunnel on that host defeats this.

mod client;
mod error;
mod name;
mod names;
mod server;
mod service;
mod table;
mod url;

pub use client::{Registry, bind, lookup};
pub use error::RegistryError;
pub use server::{RegistryServer, RegistryServerBuilder};
pub use service::Entry;

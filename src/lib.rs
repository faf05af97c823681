//! Remote objects for Rust.

extern crate self as rmi;

pub use rmi_core::endpoint::{Endpoint, EndpointError};
pub use rmi_core::{
    AnyRemote, CallOptions, CastError, Certainty, Context, DialPolicy, ErrorKind, Limits, Node, NodeBuilder, NodeError,
    NodeId, NodeStats, ObjectId, Remote, RemoteError, Result, WeakRemote,
};
pub use rmi_macros::remote;
pub use rmi_registry::{Entry, Registry, RegistryError, RegistryServer, bind, lookup};

#[doc(hidden)]
pub use rmi_core::__private;

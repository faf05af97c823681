//! The runtime of rmi.
//!
//! Five layers; imports point down only.

extern crate self as rmi_core;

// Layer 0, words.
pub mod endpoint;
pub mod error;
pub mod id;
pub mod limits;
#[doc(hidden)]
pub mod plant;
pub mod principal;
mod sync;
pub mod time;

// Layer 1, bytes.
pub mod wire;

// Layer 2, state.
pub mod object;
pub mod session;

// Layer 3, I/O.
mod connection;
pub mod transport;

// Layer 4, the face.
pub mod answer;
mod any;
pub mod argument;
mod balance;
mod budget;
mod callee;
mod context;
mod gate;
mod import;
mod interceptor;
pub mod interface;
pub mod marshal;
mod memory;
mod named;
mod node;
pub mod oneway;
mod options;
mod pending;
pub mod pipeline;
mod referent;
mod remote;
mod retry;
pub mod skeleton;
mod streaming;
pub mod stub;
mod trust;

pub use any::AnyRemote;
/// For implementations of [`Interceptor`].
pub use async_trait::async_trait;
pub use balance::{Balance, Group};
pub use context::Context;
pub use error::{Certainty, ErrorKind, RemoteError, Result};
pub use id::{NodeId, ObjectId};
pub use interceptor::{Interceptor, Invocation, Next, Reply, Side};
pub use limits::Limits;
pub use named::Resolve;
pub use node::{DialPolicy, Node, NodeBuilder, NodeError, NodeStats, RelayPolicy};
pub use options::CallOptions;
pub use pipeline::Promise;
pub use principal::Principal;
pub use remote::{CastError, Remote, WeakRemote};
pub use streaming::{ReaderGone, StreamSender, Streaming};
#[cfg(feature = "tls")]
pub use transport::tls;
pub use trust::{Access, Authenticator, Authorizer, Credentials, Policy, PolicyError};

/// What the code that `#[remote]` generates names. Not for other code: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
    pub use std::{boxed::Box, sync::Arc};

    pub use crate::{
        argument::{Arg, BulkArg, BulkOwned, BulkRet, Ret, SerdeArg, SerdeOwned, SerdeRet},
        error::RemoteError,
        id::{Fingerprint, MethodId},
        interface::{
            ImplementedBy, Interface, InterfaceDescriptor, InterfaceName, Method, Registered, assert_distinct,
        },
        marshal::{ArgumentDecoder, ArgumentEncoder},
        oneway::{DebugOneway, Oneway, PlainOneway},
        pipeline::{Pipe, Pipelined, Promise},
        skeleton::{Handler, IncomingCall, Request, Responder},
        stub::Stub,
    };
}

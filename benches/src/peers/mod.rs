//! Who is measured. Every peer serves the same objects and calls them over one connection.

mod capnp;
mod entity;
mod floor;
mod remoc;
mod rmi;
mod tarpc;
mod tonic;

use std::{any::Any, future::Future, time::Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::ValueEnum;
use tokio::task::{JoinSet, LocalSet};

pub(crate) use self::entity::{Entity, entities};
use crate::{
    load::{Calling, Tally},
    row::{Flavour, Row, Work},
};

/// One way to call an object in another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// The least that such a call can cost on tokio
    #[value(name = "floor")]
    Floor,
    /// This project
    #[value(name = "rmi")]
    Rmi,
    /// tarpc over TCP, with bincode
    #[value(name = "tarpc")]
    Tarpc,
    /// tonic: gRPC over HTTP/2, with prost
    #[value(name = "tonic")]
    Tonic,
    /// remoc's remote traits over TCP
    #[value(name = "remoc")]
    Remoc,
    /// capnp-rpc: Cap'n Proto, in Rust
    #[value(name = "capnp")]
    Capnp,
    /// ZeroC Ice, in C++
    #[value(name = "ice")]
    Ice,
    /// omniORB: CORBA, in C++
    #[value(name = "omniorb")]
    OmniOrb,
    /// Java RMI, on the JVM
    #[value(name = "java")]
    Java,
}

/// A client's hold on the objects of a server. What a peer does not offer, [`Peer::supports`] denies.
pub(crate) trait Caller: Clone + 'static {
    /// A struct as this peer's users write or generate it.
    type Entity: From<Entity> + Clone + PartialEq + 'static;

    /// Starts a task that calls until then: on the runtime, or on this thread where it cannot leave it.
    fn start(self, calling: Calling<Self>, end: Instant, tasks: &mut JoinSet<Result<Tally>>);

    async fn add(&self, a: i64, b: i64) -> Result<i64>;

    async fn echo(&self, data: Bytes) -> Result<Bytes>;

    async fn echo_entities(&self, entities: Vec<Self::Entity>) -> Result<Vec<Self::Entity>>;

    /// Another object on the same connection, if calls to one object wait for each other.
    fn beside(&self) -> Self {
        self.clone()
    }

    /// Has an object of this value made, calls it for the value, and drops it.
    async fn object(&self, _value: i64) -> Result<i64> {
        bail!("has no objects")
    }

    /// A call in which a callback counts one up.
    async fn call_back(&self, _n: i64) -> Result<i64> {
        bail!("has no callbacks")
    }

    /// So many objects, held until the result is dropped.
    async fn hold(&self, _count: usize) -> Result<Box<dyn Any>> {
        bail!("has no objects")
    }

    /// Drops the only reference to an object; see [`Released`].
    async fn release(&self) -> Result<Released> {
        bail!("has no references")
    }
}

/// What [`Caller::release`] saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Released {
    /// A call to the object, made as idle as the release was.
    pub(crate) round_trip_nanos: u64,
    /// From the drop of the reference to the drop of the object.
    pub(crate) nanos: u64,
}

/// A server that runs.
pub(crate) struct Served {
    /// Where a client finds it: one word.
    pub(crate) url: String,
    /// What must not be dropped while it is to run.
    pub(crate) alive: Box<dyn Any>,
}

/// Something to do with callers of whatever type, one for each connection.
pub(crate) trait Visit {
    type Output;
    fn visit<C: Caller>(self, callers: Vec<C>) -> impl Future<Output = Result<Self::Output>>;
}

impl Peer {
    /// As its users call it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Rmi => "rmi",
            Self::Tarpc => "tarpc",
            Self::Tonic => "tonic",
            Self::Remoc => "remoc",
            Self::Capnp => "capnp-rpc",
            Self::Ice => "Ice",
            Self::OmniOrb => "omniORB",
            Self::Java => "Java RMI",
        }
    }

    /// Whether it is a program of its own, in another language.
    pub(crate) const fn is_native(self) -> bool {
        matches!(self, Self::Ice | Self::OmniOrb | Self::Java)
    }

    /// Whether it can do the work of this row on this runtime; a native program has its own, and is
    /// measured beside the current-thread one.
    pub(crate) const fn supports(self, row: Row, flavour: Flavour) -> bool {
        let is_single = matches!(flavour, Flavour::CurrentThread);
        match (self, row.work()) {
            (Self::Rmi, _) => true,
            // Two round trips of the floor stand for a callback in a call.
            (Self::Floor, work) => !matches!(work, Work::Object | Work::Hold | Work::Release),
            (Self::Tarpc | Self::Tonic, Work::Object | Work::CallBack | Work::Hold | Work::Release)
            | (Self::Remoc, Work::Hold | Work::Release)
            | (Self::Capnp, Work::Release)
            | (Self::OmniOrb, Work::Hold | Work::Beside | Work::Release)
            | (Self::Ice | Self::Java, Work::Beside | Work::Release) => false,
            (Self::Tarpc | Self::Tonic | Self::Remoc, _) => true,
            // Cap'n Proto's futures never leave their thread.
            (Self::Capnp | Self::Ice | Self::OmniOrb | Self::Java, _) => is_single,
        }
    }

    /// Starts the peer's server on a free port of the loopback interface.
    pub(crate) async fn serve(self) -> Result<Served> {
        match self {
            Self::Floor => floor::serve().await,
            Self::Rmi => rmi::serve().await,
            Self::Tarpc => tarpc::serve().await,
            Self::Tonic => tonic::serve().await,
            Self::Remoc => remoc::serve().await,
            Self::Capnp => capnp::serve().await,
            Self::Ice | Self::OmniOrb | Self::Java => bail!("is a program of its own"),
        }
    }

    /// Connects to a server of the same peer, so many times.
    pub(crate) async fn visit<V: Visit>(self, url: &str, connections: usize, visit: V) -> Result<V::Output> {
        match self {
            Self::Floor => visit.visit(connected(connections, || floor::connect(url)).await?).await,
            Self::Rmi => visit.visit(connected(connections, || rmi::connect(url)).await?).await,
            Self::Tarpc => visit.visit(connected(connections, || tarpc::connect(url)).await?).await,
            Self::Tonic => visit.visit(connected(connections, || tonic::connect(url)).await?).await,
            Self::Remoc => visit.visit(connected(connections, || remoc::connect(url)).await?).await,
            Self::Capnp => visit.visit(connected(connections, || capnp::connect(url)).await?).await,
            Self::Ice | Self::OmniOrb | Self::Java => bail!("is a program of its own"),
        }
    }

    /// Runs what [`serve`](Self::serve) and [`visit`](Self::visit) return.
    pub(crate) fn run<T>(self, flavour: Flavour, future: impl Future<Output = Result<T>>) -> Result<T> {
        let runtime = flavour.runtime()?;
        match self {
            Self::Capnp => LocalSet::new().block_on(&runtime, future),
            _ => runtime.block_on(future),
        }
    }
}

async fn connected<C>(count: usize, connect: impl AsyncFn() -> Result<C>) -> Result<Vec<C>> {
    let mut callers = Vec::new();
    for _ in 0..count {
        callers.push(connect().await?);
    }
    Ok(callers)
}

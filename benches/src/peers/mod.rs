//! Who is measured. Every peer serves the same object and calls it over one connection.

mod floor;
mod rmi;

use std::{any::Any, future::Future};

use anyhow::Result;
use clap::ValueEnum;

/// One way to call an object in another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// The least that such a call can cost on tokio.
    Floor,
    /// This project.
    Rmi,
}

/// A client's hold on the object.
pub(crate) trait Caller: Clone + Send + Sync + 'static {
    fn add(&self, a: i64, b: i64) -> impl Future<Output = Result<i64>> + Send;
    fn echo(&self, data: Vec<u8>) -> impl Future<Output = Result<Vec<u8>>> + Send;
}

/// A server that runs.
pub(crate) struct Served {
    /// Where a client finds it: one word.
    pub(crate) url: String,
    /// What must not be dropped while it is to run.
    pub(crate) alive: Box<dyn Any + Send>,
}

/// Something to do with a caller of whatever type.
pub(crate) trait Visit {
    type Output;
    fn visit<C: Caller>(self, caller: C) -> impl Future<Output = Result<Self::Output>> + Send;
}

impl Peer {
    /// Starts the peer's server on a free port of the loopback interface.
    pub(crate) async fn serve(self) -> Result<Served> {
        match self {
            Self::Floor => floor::serve().await,
            Self::Rmi => rmi::serve().await,
        }
    }

    /// Connects to a server of the same peer.
    pub(crate) async fn visit<V: Visit>(self, url: &str, visit: V) -> Result<V::Output> {
        match self {
            Self::Floor => visit.visit(floor::connect(url).await?).await,
            Self::Rmi => visit.visit(rmi::connect(url).await?).await,
        }
    }
}

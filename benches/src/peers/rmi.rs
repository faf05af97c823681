//! rmi, as its users write it.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use parking_lot::Mutex;
use rmi::{Node, Registry, RegistryServer, Remote, remote};
use tokio::{task::JoinSet, time::sleep};

use super::{Caller, Entity, Released, Served};
use crate::{
    load::{Calling, Tally},
    machine::clock_nanos,
};

/// The object that is called.
#[remote]
pub(crate) trait Bench {
    /// The sum.
    async fn add(&self, a: i64, b: i64) -> rmi::Result<i64>;
    /// The same bytes.
    async fn echo(&self, data: Vec<u8>) -> rmi::Result<Vec<u8>>;
    /// The same structs.
    async fn echo_entities(&self, entities: Vec<Entity>) -> rmi::Result<Vec<Entity>>;
    /// A new object.
    async fn make(&self, value: i64) -> rmi::Result<Remote<dyn Cell>>;
    /// New objects.
    async fn make_many(&self, count: usize) -> rmi::Result<Vec<Remote<dyn Cell>>>;
    /// What the callback says.
    async fn call_back(&self, callback: Remote<dyn Callback>, n: i64) -> rmi::Result<i64>;
    /// A new object that tells when it is dropped.
    async fn make_watched(&self) -> rmi::Result<Remote<dyn Cell>>;
    /// When the last such object was dropped, by the machine's clock.
    async fn dropped_at(&self) -> rmi::Result<Option<u64>>;
}

/// The least object: one number.
#[remote]
pub(crate) trait Cell {
    /// The number.
    async fn get(&self) -> rmi::Result<i64>;
}

/// What a client passes.
#[remote]
pub(crate) trait Callback {
    /// One more.
    async fn next(&self, n: i64) -> rmi::Result<i64>;
}

#[derive(Default)]
struct Servant {
    dropped_at: Arc<Mutex<Option<u64>>>,
}

#[remote]
impl Bench for Servant {
    async fn add(&self, a: i64, b: i64) -> rmi::Result<i64> {
        Ok(a.wrapping_add(b))
    }

    async fn echo(&self, data: Vec<u8>) -> rmi::Result<Vec<u8>> {
        Ok(data)
    }

    async fn echo_entities(&self, entities: Vec<Entity>) -> rmi::Result<Vec<Entity>> {
        Ok(entities)
    }

    async fn make(&self, value: i64) -> rmi::Result<Remote<dyn Cell>> {
        Ok(Remote::<dyn Cell>::new(Number(value)))
    }

    async fn make_many(&self, count: usize) -> rmi::Result<Vec<Remote<dyn Cell>>> {
        Ok((0..count).map(|value| Remote::<dyn Cell>::new(Number(value as i64))).collect())
    }

    async fn call_back(&self, callback: Remote<dyn Callback>, n: i64) -> rmi::Result<i64> {
        callback.next(n).await
    }

    async fn make_watched(&self) -> rmi::Result<Remote<dyn Cell>> {
        *self.dropped_at.lock() = None;
        Ok(Remote::<dyn Cell>::new(Watched(Arc::clone(&self.dropped_at))))
    }

    async fn dropped_at(&self) -> rmi::Result<Option<u64>> {
        Ok(*self.dropped_at.lock())
    }
}

struct Number(i64);

#[remote]
impl Cell for Number {
    async fn get(&self) -> rmi::Result<i64> {
        Ok(self.0)
    }
}

struct Watched(Arc<Mutex<Option<u64>>>);

#[remote]
impl Cell for Watched {
    async fn get(&self) -> rmi::Result<i64> {
        Ok(0)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        *self.0.lock() = Some(clock_nanos());
    }
}

struct Counter;

#[remote]
impl Callback for Counter {
    async fn next(&self, n: i64) -> rmi::Result<i64> {
        Ok(n + 1)
    }
}

/// One node that holds the objects and the registry: a client has one connection, as with every peer.
pub(super) async fn serve() -> Result<Served> {
    let node = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
    let names = RegistryServer::builder().node(&node).start().await?;
    let url = names.url();
    let registry = Registry::connect_with(&node, &url).await?;
    for name in ["bench", "other"] {
        registry.bind(name, &Remote::<dyn Bench>::new(Servant::default())).await?;
    }
    Ok(Served { url, alive: Box::new((node, names, registry)) })
}

pub(super) async fn connect(url: &str) -> Result<Client> {
    let node = Node::builder().start().await?;
    let registry = Registry::connect_with(&node, url).await?;
    let (object, other) = (registry.lookup("bench").await?, registry.lookup("other").await?);
    Ok(Client { object, other, callback: Remote::<dyn Callback>::new(Counter), _node: node })
}

#[derive(Clone)]
pub(super) struct Client {
    object: Remote<dyn Bench>,
    other: Remote<dyn Bench>,
    callback: Remote<dyn Callback>,
    _node: Node,
}

/// How long the connection is idle before a release, and how long it is waited for.
const PAUSE: Duration = Duration::from_millis(1);
const RELEASES_AFTER_MAX: Duration = Duration::from_secs(10);

impl Caller for Client {
    type Entity = Entity;

    fn start(self, calling: Calling<Self>, end: Instant, tasks: &mut JoinSet<Result<Tally>>) {
        tasks.spawn(calling.run(self, end));
    }

    async fn add(&self, a: i64, b: i64) -> Result<i64> {
        Ok(self.object.add(a, b).await?)
    }

    async fn echo(&self, data: Bytes) -> Result<Bytes> {
        Ok(self.object.echo(data.into()).await?.into())
    }

    async fn echo_entities(&self, entities: Vec<Entity>) -> Result<Vec<Entity>> {
        Ok(self.object.echo_entities(entities).await?)
    }

    fn beside(&self) -> Self {
        Self { object: self.other.clone(), ..self.clone() }
    }

    async fn object(&self, value: i64) -> Result<i64> {
        Ok(self.object.make(value).await?.get().await?)
    }

    async fn call_back(&self, n: i64) -> Result<i64> {
        Ok(self.object.call_back(self.callback.clone(), n).await?)
    }

    async fn hold(&self, count: usize) -> Result<Box<dyn Any>> {
        let mut held = Vec::new();
        while held.len() < count {
            held.extend(self.object.make_many((count - held.len()).min(1000)).await?);
        }
        Ok(Box::new(held))
    }

    async fn release(&self) -> Result<Released> {
        let cell = self.object.make_watched().await?;
        sleep(PAUSE).await;
        let start = Instant::now();
        cell.get().await?;
        let round_trip_nanos = start.elapsed().as_nanos() as u64;
        sleep(PAUSE).await;
        let (start, dropped) = (Instant::now(), clock_nanos());
        drop(cell);
        while start.elapsed() < RELEASES_AFTER_MAX {
            // Whoever asks at once asks in the packet of the release.
            sleep(PAUSE).await;
            if let Some(at) = self.object.dropped_at().await? {
                return Ok(Released { round_trip_nanos, nanos: at.saturating_sub(dropped) });
            }
        }
        None.context("an object is left that nobody holds")
    }
}

//! remoc: its remote traits, over TCP.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use remoc::{
    Cfg, Connect, ConnectExt, codec,
    rtc::{CallError, Client as _, ServerShared},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{Caller, Entity, Served};
use crate::load::{Calling, Tally};

#[remoc::rtc::remote]
trait Cell {
    async fn get(&self) -> Result<i64, CallError>;
}

#[remoc::rtc::remote]
trait Callback {
    async fn next(&self, n: i64) -> Result<i64, CallError>;
}

#[remoc::rtc::remote]
trait Bench {
    async fn add(&self, a: i64, b: i64) -> Result<i64, CallError>;
    async fn echo(&self, data: Bytes) -> Result<Bytes, CallError>;
    async fn echo_entities(&self, entities: Vec<Entity>) -> Result<Vec<Entity>, CallError>;
    async fn make(&self, value: i64) -> Result<CellClient, CallError>;
    async fn call_back(&self, callback: CallbackClient, n: i64) -> Result<i64, CallError>;
}

struct Servant;

impl Bench for Servant {
    async fn add(&self, a: i64, b: i64) -> Result<i64, CallError> {
        Ok(a.wrapping_add(b))
    }

    async fn echo(&self, data: Bytes) -> Result<Bytes, CallError> {
        Ok(data)
    }

    async fn echo_entities(&self, entities: Vec<Entity>) -> Result<Vec<Entity>, CallError> {
        Ok(entities)
    }

    async fn make(&self, value: i64) -> Result<CellClient, CallError> {
        let (server, client) = CellServerShared::new(Arc::new(Number(value)));
        tokio::spawn(server.serve());
        Ok(client)
    }

    async fn call_back(&self, callback: CallbackClient, n: i64) -> Result<i64, CallError> {
        callback.next(n).await
    }
}

struct Number(i64);

impl Cell for Number {
    async fn get(&self) -> Result<i64, CallError> {
        Ok(self.0)
    }
}

struct Counter;

impl Callback for Counter {
    async fn next(&self, n: i64) -> Result<i64, CallError> {
        Ok(n + 1)
    }
}

/// More than the callers of any row.
const CALLS_MAX: usize = 1024;

/// Buffers for bodies of 64 MiB, messages of any length.
fn cfg() -> Cfg {
    Cfg {
        max_data_size: usize::MAX,
        chunk_size: 256 << 10,
        port_receive_buffer: 4 << 20,
        io_buffer_size: 256 << 10,
        ..Cfg::default()
    }
}

fn allow_long_bodies(client: &mut BenchClient) {
    client.set_max_request_size(usize::MAX);
    client.set_max_response_size(usize::MAX);
}

pub(super) async fn serve() -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket));
        }
    });
    Ok(Served { url, alive: Box::new(()) })
}

async fn answer(socket: TcpStream) -> Result<()> {
    socket.set_nodelay(true)?;
    let (reader, writer) = socket.into_split();
    let (mut server, mut client) =
        BenchServerShared::<_, codec::Default>::with_request_buffer(Arc::new(Servant), CALLS_MAX);
    server.set_parallelism(0); // no method waits for long: a task for each call costs more than the call
    allow_long_bodies(&mut client);
    Connect::io(cfg(), reader, writer).provide(client).await?;
    server.serve().await.map_err(|error| anyhow!("cannot serve: {error}"))?;
    Ok(())
}

pub(super) async fn connect(url: &str) -> Result<Client> {
    let socket = TcpStream::connect(url).await?;
    socket.set_nodelay(true)?;
    let (reader, writer) = socket.into_split();
    let mut object: BenchClient = Connect::io(cfg(), reader, writer).consume().await.context("no object came")?;
    allow_long_bodies(&mut object);
    let (server, callback) = CallbackServerShared::new(Arc::new(Counter));
    tokio::spawn(server.serve());
    Ok(Client { object, callback })
}

#[derive(Clone)]
pub(super) struct Client {
    object: BenchClient,
    callback: CallbackClient,
}

impl Caller for Client {
    type Entity = Entity;

    fn start(self, calling: Calling<Self>, end: Instant, tasks: &mut JoinSet<Result<Tally>>) {
        tasks.spawn(calling.run(self, end));
    }

    async fn add(&self, a: i64, b: i64) -> Result<i64> {
        Ok(self.object.add(a, b).await?)
    }

    async fn echo(&self, data: Bytes) -> Result<Bytes> {
        Ok(self.object.echo(data).await?)
    }

    async fn echo_entities(&self, entities: Vec<Entity>) -> Result<Vec<Entity>> {
        Ok(self.object.echo_entities(entities).await?)
    }

    async fn object(&self, value: i64) -> Result<i64> {
        Ok(self.object.make(value).await?.get().await?)
    }

    async fn call_back(&self, n: i64) -> Result<i64> {
        Ok(self.object.call_back(self.callback.clone(), n).await?)
    }
}

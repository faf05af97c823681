//! tarpc over TCP, with bincode, the codec that it comes with.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use futures_util::StreamExt;
use tarpc::{
    client::Config,
    context::{self, Context},
    serde_transport::{Transport, new},
    server::{BaseChannel, Channel},
    tokio_serde::formats::Bincode,
    tokio_util::codec::{Framed, LengthDelimitedCodec},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{Caller, Entity, Served};
use crate::load::{Calling, Tally};

/// More than the callers of any row.
const CALLS_MAX: usize = 4096;
const BUFFER_LEN: usize = 64 << 10;

#[tarpc::service]
trait Bench {
    async fn add(a: i64, b: i64) -> i64;
    async fn echo(data: Bytes) -> Bytes;
    async fn echo_entities(entities: Vec<Entity>) -> Vec<Entity>;
}

#[derive(Clone)]
struct Servant;

impl Bench for Servant {
    async fn add(self, _: Context, a: i64, b: i64) -> i64 {
        a.wrapping_add(b)
    }

    async fn echo(self, _: Context, data: Bytes) -> Bytes {
        data
    }

    async fn echo_entities(self, _: Context, entities: Vec<Entity>) -> Vec<Entity> {
        entities
    }
}

pub(super) async fn serve() -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(framed) = framed(socket) else { continue };
            let transport: Transport<_, _, _, _> = new(framed, Bincode::default());
            let config = tarpc::server::Config { pending_response_buffer: CALLS_MAX };
            let requests = BaseChannel::new(config, transport).execute(Servant.serve());
            tokio::spawn(requests.for_each(async |answering| {
                tokio::spawn(answering);
            }));
        }
    });
    Ok(Served { url, alive: Box::new(()) })
}

pub(super) async fn connect(url: &str) -> Result<Client> {
    let transport = new(framed(TcpStream::connect(url).await?)?, Bincode::default());
    let mut config = Config::default();
    config.max_in_flight_requests = CALLS_MAX;
    config.pending_request_buffer = CALLS_MAX;
    Ok(Client(BenchClient::new(config, transport).spawn()))
}

fn framed(socket: TcpStream) -> Result<Framed<TcpStream, LengthDelimitedCodec>> {
    socket.set_nodelay(true)?;
    let codec = LengthDelimitedCodec::builder().max_frame_length(usize::MAX).new_codec();
    let mut framed = Framed::with_capacity(socket, codec, BUFFER_LEN);
    framed.set_backpressure_boundary(BUFFER_LEN);
    Ok(framed)
}

#[derive(Clone)]
pub(super) struct Client(BenchClient);

impl Caller for Client {
    type Entity = Entity;

    fn start(self, calling: Calling<Self>, end: Instant, tasks: &mut JoinSet<Result<Tally>>) {
        tasks.spawn(calling.run(self, end));
    }

    async fn add(&self, a: i64, b: i64) -> Result<i64> {
        Ok(self.0.add(context::current(), a, b).await?)
    }

    async fn echo(&self, data: Bytes) -> Result<Bytes> {
        Ok(self.0.echo(context::current(), data).await?)
    }

    async fn echo_entities(&self, entities: Vec<Entity>) -> Result<Vec<Entity>> {
        Ok(self.0.echo_entities(context::current(), entities).await?)
    }
}

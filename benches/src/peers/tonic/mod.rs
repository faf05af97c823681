//! tonic: gRPC over HTTP/2, with prost. `examples/generate.rs` writes its generated code.

#[expect(
    unreachable_pub,
    clippy::too_many_lines,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
mod generated;

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use tokio::{net::TcpListener, task::JoinSet};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

use self::generated::{
    Body, Entities, Sum, Terms,
    bench_client::BenchClient,
    bench_server::{Bench, BenchServer},
};
use super::{Caller, Served};
use crate::load::{Calling, Tally};

/// More than the callers of any row.
const CALLS_MAX: usize = 4096;
/// Wide from the start. Adaptive windows start narrow, ping for their width, and with 256 callers the
/// server takes the many small frames for a flood and closes (h2's budget follows this window).
const WINDOW: u32 = 128 << 20;

struct Servant;

#[tonic::async_trait]
impl Bench for Servant {
    async fn add(&self, terms: Request<Terms>) -> Result<Response<Sum>, Status> {
        let Terms { a, b } = terms.into_inner();
        Ok(Response::new(Sum { sum: a.wrapping_add(b) }))
    }

    async fn echo(&self, body: Request<Body>) -> Result<Response<Body>, Status> {
        Ok(Response::new(body.into_inner()))
    }

    async fn echo_entities(&self, entities: Request<Entities>) -> Result<Response<Entities>, Status> {
        Ok(Response::new(entities.into_inner()))
    }
}

pub(super) async fn serve() -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let service = BenchServer::new(Servant).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX);
    let server = Server::builder()
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        .max_concurrent_streams(CALLS_MAX as u32)
        .add_service(service)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
    Ok(Served { url, alive: Box::new(tokio::spawn(server)) })
}

pub(super) async fn connect(url: &str) -> Result<Client> {
    let endpoint = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true).buffer_size(CALLS_MAX);
    let endpoint = endpoint.initial_connection_window_size(WINDOW).initial_stream_window_size(WINDOW);
    let channel = endpoint.connect().await?;
    let client = BenchClient::new(channel);
    Ok(Client(client.max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX)))
}

#[derive(Clone)]
pub(super) struct Client(BenchClient<Channel>);

impl From<super::Entity> for generated::Entity {
    fn from(entity: super::Entity) -> Self {
        let super::Entity { id, x, y, name } = entity;
        Self { id, x, y, name }
    }
}

impl Caller for Client {
    type Entity = generated::Entity;

    fn start(self, calling: Calling<Self>, end: Instant, tasks: &mut JoinSet<Result<Tally>>) {
        tasks.spawn(calling.run(self, end));
    }

    async fn add(&self, a: i64, b: i64) -> Result<i64> {
        Ok(self.0.clone().add(Terms { a, b }).await?.into_inner().sum)
    }

    async fn echo(&self, data: Bytes) -> Result<Bytes> {
        Ok(self.0.clone().echo(Body { data }).await?.into_inner().data)
    }

    async fn echo_entities(&self, entities: Vec<generated::Entity>) -> Result<Vec<generated::Entity>> {
        Ok(self.0.clone().echo_entities(Entities { entities }).await?.into_inner().entities)
    }
}

//! capnp-rpc: Cap'n Proto in Rust, on one thread, where its futures stay. `examples/generate.rs` writes
//! its generated code.

#[expect(
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    clippy::unwrap_used,
    clippy::use_self,
    reason = "generated"
)]
pub(in crate::peers) mod bench_capnp;
mod server;

use std::{any::Any, rc::Rc, time::Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use capnp::message::ReaderOptions;
use capnp_rpc::{RpcSystem, new_client, rpc_twoparty_capnp::Side, twoparty::VatNetwork};
use futures_util::{
    AsyncReadExt,
    io::{BufReader, BufWriter},
};
use tokio::{
    net::TcpStream,
    task::{JoinSet, spawn_local},
};
use tokio_util::compat::TokioAsyncReadCompatExt;

use self::bench_capnp::{bench, callback, entity};
pub(super) use self::server::serve;
use super::{Caller, Entity};
use crate::load::{Calling, Tally};

const BUFFER_LEN: usize = 64 << 10;

/// One end of a connection, which offers this object, if any.
fn system(socket: TcpStream, side: Side, offered: Option<bench::Client>) -> Result<RpcSystem<Side>> {
    socket.set_nodelay(true)?;
    let (reader, writer) = socket.compat().split();
    let (reader, writer) = (BufReader::with_capacity(BUFFER_LEN, reader), BufWriter::with_capacity(BUFFER_LEN, writer));
    // No limit: a body of 64 MiB is as long as the usual one.
    let options = ReaderOptions { traversal_limit_in_words: None, ..ReaderOptions::new() };
    let network = VatNetwork::new(reader, writer, side, options);
    Ok(RpcSystem::new(Box::new(network), offered.map(|object| object.client)))
}

pub(super) async fn connect(url: &str) -> Result<Client> {
    let mut system = system(TcpStream::connect(url).await?, Side::Client, None)?;
    let object = system.bootstrap(Side::Server);
    spawn_local(system);
    Ok(Client { object, callback: new_client(Counter) })
}

#[derive(Clone)]
pub(super) struct Client {
    object: bench::Client,
    callback: callback::Client,
}

struct Counter;

impl callback::Server for Counter {
    async fn next(
        self: Rc<Self>,
        params: callback::NextParams,
        mut results: callback::NextResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_n(params.get()?.get_n() + 1);
        Ok(())
    }
}

impl Caller for Client {
    type Entity = Entity;

    fn start(self, calling: Calling<Self>, end: Instant, tasks: &mut JoinSet<Result<Tally>>) {
        tasks.spawn_local(calling.run(self, end));
    }

    async fn add(&self, a: i64, b: i64) -> Result<i64> {
        let mut request = self.object.add_request();
        request.get().set_a(a);
        request.get().set_b(b);
        Ok(request.send().promise.await?.get()?.get_sum())
    }

    async fn echo(&self, data: Bytes) -> Result<Bytes> {
        let mut request = self.object.echo_request();
        request.get().set_data(&data);
        drop(data);
        let reply = request.send().promise.await?;
        Ok(Bytes::copy_from_slice(reply.get()?.get_data()?))
    }

    async fn echo_entities(&self, entities: Vec<Entity>) -> Result<Vec<Entity>> {
        let mut request = self.object.echo_entities_request();
        let mut list = request.get().init_entities(entities.len() as u32);
        for (at, entity) in (0..).zip(&entities) {
            let mut to = list.reborrow().get(at);
            to.set_id(entity.id);
            to.set_x(entity.x);
            to.set_y(entity.y);
            to.set_name(&entity.name[..]);
        }
        let reply = request.send().promise.await?;
        reply.get()?.get_entities()?.iter().map(read).collect()
    }

    async fn object(&self, value: i64) -> Result<i64> {
        let mut request = self.object.make_request();
        request.get().set_value(value);
        let cell = request.send().promise.await?.get()?.get_cell()?;
        Ok(cell.get_request().send().promise.await?.get()?.get_value())
    }

    async fn call_back(&self, n: i64) -> Result<i64> {
        let mut request = self.object.call_back_request();
        request.get().set_callback(self.callback.clone());
        request.get().set_n(n);
        Ok(request.send().promise.await?.get()?.get_n())
    }

    async fn hold(&self, count: usize) -> Result<Box<dyn Any>> {
        let mut held = Vec::new();
        while held.len() < count {
            let mut request = self.object.make_many_request();
            request.get().set_count((count - held.len()).min(1000) as u32);
            let reply = request.send().promise.await?;
            for cell in reply.get()?.get_cells()?.iter() {
                held.push(cell.context("not a cell")?);
            }
        }
        Ok(Box::new(held))
    }
}

fn read(entity: entity::Reader<'_>) -> Result<Entity> {
    let name = entity.get_name()?.to_str()?.to_owned();
    Ok(Entity { id: entity.get_id(), x: entity.get_x(), y: entity.get_y(), name })
}

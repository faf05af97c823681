//! Cap'n Proto's callee.

use std::rc::Rc;

use anyhow::Result;
use capnp_rpc::{new_client, rpc_twoparty_capnp::Side};
use tokio::{net::TcpListener, task::spawn_local};

use super::{
    bench_capnp::{bench, cell},
    system,
};
use crate::peers::Served;

pub(in crate::peers) async fn serve() -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = listener.local_addr()?.to_string();
    let object: bench::Client = new_client(Servant);
    spawn_local(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(system) = system(socket, Side::Server, Some(object.clone())) {
                spawn_local(system);
            }
        }
    });
    Ok(Served { url, alive: Box::new(()) })
}

struct Servant;

impl bench::Server for Servant {
    async fn add(self: Rc<Self>, params: bench::AddParams, mut results: bench::AddResults) -> Result<(), capnp::Error> {
        let params = params.get()?;
        results.get().set_sum(params.get_a().wrapping_add(params.get_b()));
        Ok(())
    }

    async fn echo(
        self: Rc<Self>,
        params: bench::EchoParams,
        mut results: bench::EchoResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_data(params.get()?.get_data()?);
        Ok(())
    }

    async fn echo_entities(
        self: Rc<Self>,
        params: bench::EchoEntitiesParams,
        mut results: bench::EchoEntitiesResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_entities(params.get()?.get_entities()?)
    }

    async fn make(
        self: Rc<Self>,
        params: bench::MakeParams,
        mut results: bench::MakeResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_cell(new_client(Number(params.get()?.get_value())));
        Ok(())
    }

    async fn make_many(
        self: Rc<Self>,
        params: bench::MakeManyParams,
        mut results: bench::MakeManyResults,
    ) -> Result<(), capnp::Error> {
        let count = params.get()?.get_count();
        let mut cells = results.get().init_cells(count);
        for at in 0..count {
            let cell: cell::Client = new_client(Number(i64::from(at)));
            cells.set(at, cell.client.hook);
        }
        Ok(())
    }

    async fn call_back(
        self: Rc<Self>,
        params: bench::CallBackParams,
        mut results: bench::CallBackResults,
    ) -> Result<(), capnp::Error> {
        let (callback, n) = (params.get()?.get_callback()?, params.get()?.get_n());
        let mut request = callback.next_request();
        request.get().set_n(n);
        results.get().set_n(request.send().promise.await?.get()?.get_n());
        Ok(())
    }
}

struct Number(i64);

impl cell::Server for Number {
    async fn get(self: Rc<Self>, _: cell::GetParams, mut results: cell::GetResults) -> Result<(), capnp::Error> {
        results.get().set_value(self.0);
        Ok(())
    }
}

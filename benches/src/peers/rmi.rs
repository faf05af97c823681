//! rmi, as its users write it.

use anyhow::Result;
use rmi::{Node, Registry, RegistryServer, Remote, remote};

use super::{Caller, Served};

/// The object that is called.
#[remote]
pub(crate) trait Bench {
    /// The sum.
    async fn add(&self, a: i64, b: i64) -> rmi::Result<i64>;
    /// The same bytes.
    async fn echo(&self, data: Vec<u8>) -> rmi::Result<Vec<u8>>;
}

struct Servant;

#[remote]
impl Bench for Servant {
    async fn add(&self, a: i64, b: i64) -> rmi::Result<i64> {
        Ok(a.wrapping_add(b))
    }

    async fn echo(&self, data: Vec<u8>) -> rmi::Result<Vec<u8>> {
        Ok(data)
    }
}

/// One node that holds the object and the registry: a client has one connection, as with every peer.
pub(super) async fn serve() -> Result<Served> {
    let node = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
    let names = RegistryServer::builder().node(&node).start().await?;
    let url = names.url();
    let registry = Registry::connect_with(&node, &url).await?;
    registry.bind("bench", &Remote::<dyn Bench>::new(Servant)).await?;
    Ok(Served { url, alive: Box::new((node, names, registry)) })
}

pub(super) async fn connect(url: &str) -> Result<Client> {
    let node = Node::builder().start().await?;
    let object = Registry::connect_with(&node, url).await?.lookup("bench").await?;
    Ok(Client { object, _node: node })
}

#[derive(Clone)]
pub(super) struct Client {
    object: Remote<dyn Bench>,
    _node: Node,
}

impl Caller for Client {
    async fn add(&self, a: i64, b: i64) -> Result<i64> {
        Ok(self.object.add(a, b).await?)
    }

    async fn echo(&self, data: Vec<u8>) -> Result<Vec<u8>> {
        Ok(self.object.echo(data).await?)
    }
}

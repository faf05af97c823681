//! An object passed to a server is called back by it, over the connection that its client made:
//! the client listens nowhere and needs no port.

use std::sync::Arc;

use parking_lot::Mutex;
use rmi::{Node, Registry, RegistryServer, Remote, remote};

/// Served by the server, called by the client.
#[remote]
trait Bakery {
    /// Bakes up to so many loaves, telling `customer` of each; returns how many it baked.
    async fn bake(&self, loaves: u32, customer: Remote<dyn Customer>) -> rmi::Result<u32>;
}

/// Served by the client, called by the server.
#[remote]
trait Customer {
    /// Told of a loaf; says whether to go on.
    async fn ready(&self, loaf: u32) -> rmi::Result<bool>;
}

#[derive(Debug)]
struct Oven;

#[remote]
impl Bakery for Oven {
    async fn bake(&self, loaves: u32, customer: Remote<dyn Customer>) -> rmi::Result<u32> {
        for loaf in 1..=loaves {
            println!("server: loaf {loaf} is ready");
            // A call from the server to the client, while the client waits for this very method.
            if !customer.ready(loaf).await? {
                return Ok(loaf);
            }
        }
        Ok(loaves)
    }
}

/// Has enough after so many loaves.
#[derive(Debug)]
struct Hungry {
    appetite: u32,
    eaten: Mutex<Vec<u32>>,
}

#[remote]
impl Customer for Hungry {
    async fn ready(&self, loaf: u32) -> rmi::Result<bool> {
        println!("client: takes loaf {loaf}");
        self.eaten.lock().push(loaf);
        Ok(loaf < self.appetite)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let names = RegistryServer::builder().listen("tcp://127.0.0.1:0").start().await?;

    let server = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
    let bakery = Remote::<dyn Bakery>::new(Oven);
    Registry::connect_with(&server, &names.url()).await?.bind("bakery", &bakery).await?;

    let client = Node::builder().start().await?;
    assert!(client.endpoints().is_empty(), "the client listens nowhere");
    let registry = Registry::connect_with(&client, &names.url()).await?;
    let bakery: Remote<dyn Bakery> = registry.lookup("bakery").await?;
    assert!(!Remote::is_local(&bakery), "the bakery is a stub here");

    let customer = Arc::new(Hungry { appetite: 3, eaten: Mutex::default() });
    let baked = bakery.bake(5, Remote::<dyn Customer>::from_arc(customer.clone())).await?;
    println!("client: {baked} loaves were baked");
    assert_eq!(baked, 3, "the server heeds what the callback answers");
    assert_eq!(*customer.eaten.lock(), [1, 2, 3], "each callback ran in the client, in order");

    client.shutdown().await;
    server.shutdown().await;
    names.shutdown().await;
    Ok(())
}

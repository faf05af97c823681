//! One struct, passed in two ways: as a value it is copied, as a `Remote` it stays where it is and
//! is called. The signature of the method says which.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use rmi::{Node, Registry, RegistryServer, Remote, remote};
use serde::{Deserialize, Serialize};

/// Serde makes it a value.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Counter {
    count: AtomicI64,
}

/// This makes it an object.
#[remote]
trait Count {
    async fn add(&self, n: i64) -> rmi::Result<i64>;
}

#[remote]
impl Count for Counter {
    async fn add(&self, n: i64) -> rmi::Result<i64> {
        Ok(self.count.fetch_add(n, Relaxed) + n)
    }
}

/// A reference travels as one anywhere inside a value.
#[derive(Debug, Serialize, Deserialize)]
struct Labelled {
    label: String,
    counter: Remote<dyn Count>,
}

#[remote]
trait Worker {
    /// Adds 10 to the copy that arrived, and returns its count.
    async fn add_to_copy(&self, counter: &Counter) -> rmi::Result<i64>;
    /// Adds 10 to the original, wherever it lives.
    async fn add_to_original(&self, counter: Remote<dyn Count>) -> rmi::Result<i64>;
    /// Adds 10 to the original inside, changes the copy around it, and sends it back.
    async fn relabel(&self, labelled: Labelled) -> rmi::Result<Labelled>;
}

#[derive(Debug)]
struct Adder;

#[remote]
impl Worker for Adder {
    async fn add_to_copy(&self, counter: &Counter) -> rmi::Result<i64> {
        counter.add(10).await
    }

    async fn add_to_original(&self, counter: Remote<dyn Count>) -> rmi::Result<i64> {
        counter.add(10).await
    }

    async fn relabel(&self, mut labelled: Labelled) -> rmi::Result<Labelled> {
        labelled.counter.add(10).await?;
        labelled.label.push_str(", seen by the worker");
        Ok(labelled)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let names = RegistryServer::builder().listen("tcp://127.0.0.1:0").start().await?;
    let server = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
    Registry::connect_with(&server, &names.url()).await?.bind("worker", &Remote::<dyn Worker>::new(Adder)).await?;
    let client = Node::builder().start().await?;
    let worker: Remote<dyn Worker> = Registry::connect_with(&client, &names.url()).await?.lookup("worker").await?;

    let mine = Arc::new(Counter { count: 1.into() });
    let there = worker.add_to_copy(&mine).await?;
    println!("by value:      {there} in the copy, {} here", mine.count.load(Relaxed));
    assert_eq!((there, mine.count.load(Relaxed)), (11, 1));

    let reference = Remote::<dyn Count>::from_arc(mine.clone());
    let there = worker.add_to_original(reference.clone()).await?;
    println!("by reference:  {there} seen there, {} here", mine.count.load(Relaxed));
    assert_eq!((there, mine.count.load(Relaxed)), (11, 11));

    let sent = Labelled { label: "a value".into(), counter: reference.clone() };
    let returned = worker.relabel(sent).await?;
    println!("both at once:  {:?} came back, {} here", returned.label, mine.count.load(Relaxed));
    assert_eq!(returned.label, "a value, seen by the worker");
    assert_eq!(mine.count.load(Relaxed), 21);

    // What comes home is the original object again, called without the network.
    let same = Remote::is_local(&returned.counter) && returned.counter == reference;
    println!("home again:    the reference that came back is the original: {same}");
    assert!(same);
    assert_eq!(returned.counter.add(1).await?, 22);

    client.shutdown().await;
    server.shutdown().await;
    names.shutdown().await;
    Ok(())
}

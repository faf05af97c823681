//! The object that is called, its server, and its client.

use std::{
    io::{Read, stdin},
    thread::sleep,
    time::Duration,
};

use anyhow::{Result, ensure};
use rmi::{Limits, Node, NodeBuilder, Registry, RegistryServer, Remote, remote};
use tokio::task::{spawn_blocking, yield_now};

use crate::case::Case;

#[remote]
trait Counted {
    /// The sum.
    async fn add(&self, a: i64, b: i64) -> rmi::Result<i64>;
    /// The same bytes.
    async fn echo(&self, data: Vec<u8>) -> rmi::Result<Vec<u8>>;
    /// Another object.
    async fn make(&self) -> rmi::Result<Remote<dyn Counted>>;
}

struct Servant;

#[remote]
impl Counted for Servant {
    async fn add(&self, a: i64, b: i64) -> rmi::Result<i64> {
        Ok(a.wrapping_add(b))
    }

    async fn echo(&self, data: Vec<u8>) -> rmi::Result<Vec<u8>> {
        Ok(data)
    }

    async fn make(&self) -> rmi::Result<Remote<dyn Counted>> {
        Ok(Remote::<dyn Counted>::new(Self))
    }
}

/// Serves the object until standard input ends, having said where on standard output.
pub(crate) async fn serve() -> Result<()> {
    // First: while it runs, tokio leaves a clock that stands still alone.
    let end = spawn_blocking(|| stdin().read_to_end(&mut Vec::new()));
    let node = patient().listen("tcp://127.0.0.1:0").start().await?;
    let names = RegistryServer::builder().node(&node).start().await?;
    let registry = Registry::connect_with(&node, &names.url()).await?;
    registry.bind(NAME, &Remote::<dyn Counted>::new(Servant)).await?;
    println!("{READY}{}", names.url());
    end.await??;
    Ok(())
}

/// Has each caller of the case call so often.
pub(crate) async fn call(url: &str, case: Case, calls: u32) -> Result<()> {
    let node = patient().start().await?;
    let object = Registry::connect_with(&node, url).await?.lookup::<dyn Counted>(NAME).await?;
    // In tasks, also where there is but one: on the multi-thread runtime it is in the worker then.
    let callers: Vec<_> =
        (0..case.callers()).map(|_| tokio::spawn(call_in_turn(object.clone(), case, calls))).collect();
    for caller in callers {
        caller.await??;
    }
    Ok(())
}

async fn call_in_turn(object: Remote<dyn Counted>, case: Case, calls: u32) -> Result<()> {
    let mut body = vec![7; if case == Case::Echo64KiB { 64 << 10 } else { 0 }];
    let len = body.len();
    for number in 0..i64::from(calls) {
        match case {
            Case::OneCaller | Case::MultiThread => {
                let_the_server_rest();
                add(&object, number).await?;
            }
            Case::Callers64 => add(&object, number).await?,
            Case::Echo64KiB => {
                let_the_server_rest();
                body = object.echo(body).await?;
                ensure!(body.len() == len, "a body of another length came back");
            }
            Case::Objects => {
                let_the_server_rest();
                let made = object.make().await?;
                let_the_server_rest();
                add(&made, number).await?;
                let_the_server_rest();
                drop(made);
                // The release leaves now, and not with the next call.
                yield_now().await;
            }
        }
    }
    Ok(())
}

async fn add(object: &Remote<dyn Counted>, number: i64) -> Result<()> {
    ensure!(object.add(number, 1).await? == number + 1, "a wrong sum came back");
    Ok(())
}

/// Blocks, which costs no instructions, until the server has come to rest: on a busy machine the next
/// call would find it so in some runs only.
fn let_the_server_rest() {
    sleep(Duration::from_micros(300));
}

/// A node of which no time-out expires while it is counted.
fn patient() -> NodeBuilder {
    // Under valgrind everything is slow, and a method keeps its place in the reader all the same.
    let limits = Limits { connect_timeout: PATIENCE, call_timeout: PATIENCE, quick: PATIENCE, ..Limits::default() };
    // A silent link is asked after a sixth of the lease.
    Node::builder().limits(limits).lease(100 * PATIENCE)
}

/// What the server's line begins with; the registry's URL follows.
pub(crate) const READY: &str = "ready ";

const NAME: &str = "counted";
/// A call under valgrind on a busy machine takes a few milliseconds, the first one seconds.
const PATIENCE: Duration = Duration::from_secs(120);

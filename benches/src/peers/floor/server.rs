//! The floor's callee.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use anyhow::Result;
use async_trait::async_trait;
use bytes::{Buf, BufMut};
use hashbrown::HashMap;
use parking_lot::RwLock;
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::{
    ADD, ECHO, ECHO_ENTITIES, OBJECT,
    frame::{Incoming, Next, Outgoing, malformed},
};
use crate::peers::{Entity, Served};

/// As many objects as a busy server has, so that the table does not sit in the nearest cache.
const OBJECTS: usize = 100_000;

pub(in crate::peers) async fn serve() -> Result<Served> {
    let table = Table::default();
    let servant = || Arc::new(Skeleton(Arc::new(Servant)));
    table.write().insert(OBJECT, servant());
    for _ in 0..OBJECTS {
        table.write().insert(Uuid::new_v4().as_u128(), servant());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket, Arc::clone(&table)));
        }
    });
    Ok(Served { url, alive: Box::new(()) })
}

type Table = Arc<RwLock<HashMap<u128, Arc<dyn Object>, foldhash::fast::RandomState>>>;

/// The user's trait, as rmi's users write it.
#[async_trait]
trait Bench: Send + Sync + 'static {
    async fn add(&self, a: i64, b: i64) -> Result<i64, ()>;
    async fn echo(&self, data: Vec<u8>) -> Result<Vec<u8>, ()>;
    async fn echo_entities(&self, entities: Vec<Entity>) -> Result<Vec<Entity>, ()>;
}

struct Servant;

#[async_trait]
impl Bench for Servant {
    async fn add(&self, a: i64, b: i64) -> Result<i64, ()> {
        Ok(a.wrapping_add(b))
    }

    async fn echo(&self, data: Vec<u8>) -> Result<Vec<u8>, ()> {
        Ok(data)
    }

    async fn echo_entities(&self, entities: Vec<Entity>) -> Result<Vec<Entity>, ()> {
        Ok(entities)
    }
}

/// An object of whatever type in the table.
trait Object: Send + Sync {
    /// Encoded arguments, an encoded result.
    fn dispatch(self: Arc<Self>, method: u64, args: &[u8]) -> io::Result<Answering>;

    /// One argument of bytes in memory of its own, a result of such bytes.
    fn dispatch_body(self: Arc<Self>, method: u64, body: Vec<u8>) -> io::Result<Answering>;
}

type Answering = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

struct Skeleton(Arc<dyn Bench>);

impl Object for Skeleton {
    fn dispatch(self: Arc<Self>, method: u64, args: &[u8]) -> io::Result<Answering> {
        match method {
            ADD => {
                let (a, b) = postcard::from_bytes(args).map_err(|_| malformed())?;
                Ok(Box::pin(async move { postcard::to_allocvec(&self.0.add(a, b).await).unwrap_or_default() }))
            }
            ECHO => {
                let data = postcard::from_bytes(args).map_err(|_| malformed())?;
                Ok(Box::pin(async move { postcard::to_allocvec(&self.0.echo(data).await).unwrap_or_default() }))
            }
            ECHO_ENTITIES => {
                let entities = postcard::from_bytes(args).map_err(|_| malformed())?;
                Ok(Box::pin(
                    async move { postcard::to_allocvec(&self.0.echo_entities(entities).await).unwrap_or_default() },
                ))
            }
            _ => Err(malformed()),
        }
    }

    fn dispatch_body(self: Arc<Self>, method: u64, body: Vec<u8>) -> io::Result<Answering> {
        match method {
            ECHO => Ok(Box::pin(async move { self.0.echo(body).await.unwrap_or_default() })),
            _ => Err(malformed()),
        }
    }
}

/// Answers the calls of one connection.
async fn answer(mut socket: TcpStream, table: Table) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let (mut incoming, mut outgoing) = (Incoming::new(), Outgoing::default());
    while incoming.fill(&mut socket).await? {
        loop {
            match incoming.peek() {
                Next::Incomplete => break,
                Next::Whole(frame) => {
                    let len = frame.len();
                    let (head, args) = Head::take(frame)?;
                    let result = poll_in_place(head.object(&table)?.dispatch(head.method, args)?)?;
                    put_reply(&mut outgoing, head.call, &result);
                    incoming.consume(len);
                }
                Next::Large { start, len } => {
                    let (head, args) = Head::take(start)?;
                    let (_, body) = postcard::take_from_bytes::<u32>(args).map_err(|_| malformed())?;
                    let head_len = start.len() - body.len();
                    outgoing.write_to(&mut socket).await?; // what is answered does not wait for it
                    let body = incoming.read_body(&mut socket, head_len, len).await?;
                    let body = poll_in_place(head.object(&table)?.dispatch_body(head.method, body)?)?;
                    put_body_reply(&mut outgoing, head.call, body);
                }
            }
        }
        outgoing.write_to(&mut socket).await?;
    }
    Ok(())
}

/// What stands before the arguments.
struct Head {
    call: u64,
    object: u128,
    method: u64,
}

impl Head {
    fn take(mut frame: &[u8]) -> io::Result<(Self, &[u8])> {
        let short = |_| malformed();
        let call = frame.try_get_u64_le().map_err(short)?;
        let object = frame.try_get_u128_le().map_err(short)?;
        let method = frame.try_get_u64_le().map_err(short)?;
        Ok((Self { call, object, method }, frame))
    }

    fn object(&self, table: &Table) -> io::Result<Arc<dyn Object>> {
        table.read().get(&self.object).cloned().ok_or_else(malformed)
    }
}

/// The result of a method that is ready at once, as all methods of the floor are.
fn poll_in_place(mut answering: Answering) -> io::Result<Vec<u8>> {
    match answering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Ok(result),
        Poll::Pending => Err(io::Error::other("no method of the floor waits")),
    }
}

fn put_reply(outgoing: &mut Outgoing, call: u64, result: &[u8]) {
    let out = outgoing.tail();
    out.put_u32_le(8 + result.len() as u32);
    out.put_u64_le(call);
    out.put_slice(result);
}

fn put_body_reply(outgoing: &mut Outgoing, call: u64, body: Vec<u8>) {
    let mut room = [0; 8];
    // `Ok` of bytes: the variant, their number, the bytes.
    let head = postcard::to_slice(&(0_u8, body.len() as u32), &mut room).map_or(&[][..], |head| head);
    let out = outgoing.tail();
    out.put_u32_le((8 + head.len() + body.len()) as u32);
    out.put_u64_le(call);
    out.put_slice(head);
    outgoing.push(body.into());
}

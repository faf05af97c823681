//! The floor's caller.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use anyhow::{Result, anyhow};
use bytes::{Buf, BufMut, Bytes};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use slab::Slab;
use tokio::{
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

use super::{
    ADD, ECHO, ECHO_ENTITIES, OBJECT,
    frame::{Incoming, Next, Outgoing, malformed},
};
use crate::{
    load::{Calling, Tally},
    peers::{Caller, Entity},
};

/// Up to so many calls in flight, each is written by its caller.
const DIRECT_CALLS_MAX: usize = 1;

pub(in crate::peers) async fn connect(address: &str) -> Result<Client> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (reader, writer) = socket.into_split();
    let connection = Arc::new(Connection { writer, state: Mutex::default() });
    tokio::spawn({
        let connection = Arc::clone(&connection);
        async move {
            let ended = read_replies(&connection, reader).await;
            connection.fail(ended.err());
        }
    });
    tokio::spawn({
        let connection = Arc::clone(&connection);
        async move {
            if let Err(error) = flush(&connection).await {
                connection.fail(Some(error));
            }
        }
    });
    Ok(Client(connection))
}

#[derive(Clone)]
pub(in crate::peers) struct Client(Arc<Connection>);

impl Caller for Client {
    type Entity = Entity;

    fn start(self, calling: Calling<Self>, end: Instant, tasks: &mut JoinSet<Result<Tally>>) {
        tasks.spawn(calling.run(self, end));
    }

    async fn add(&self, a: i64, b: i64) -> Result<i64> {
        let mut room = [0; 20];
        let args = postcard::to_slice(&(a, b), &mut room)?;
        self.0.call(ADD, args, None)?.await?.decode()
    }

    async fn echo(&self, data: Bytes) -> Result<Bytes> {
        let mut room = [0; 8];
        let len = postcard::to_slice(&(data.len() as u32), &mut room)?;
        match self.0.call(ECHO, len, Some(data))?.await? {
            Reply::Body(data) => Ok(data.into()),
            encoded @ Reply::Encoded(_) => encoded.decode::<Vec<u8>>().map(Bytes::from),
        }
    }

    async fn echo_entities(&self, entities: Vec<Entity>) -> Result<Vec<Entity>> {
        let args = postcard::to_allocvec(&entities)?;
        drop(entities);
        self.0.call(ECHO_ENTITIES, &args, None)?.await?.decode()
    }

    /// Two round trips: the least that a call with a callback in it takes.
    async fn call_back(&self, n: i64) -> Result<i64> {
        self.add(self.add(n, 0).await?, 1).await
    }
}

struct Connection {
    writer: OwnedWriteHalf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outgoing: Outgoing,
    pending: Slab<Pending>,
    /// Whether the flusher has been told of what is in `outgoing`.
    is_scheduled: bool,
    flusher: Option<Waker>,
    lost: Option<String>,
}

enum Pending {
    Waiting(Option<Waker>),
    Done(Reply),
}

enum Reply {
    Encoded(Vec<u8>),
    /// `Ok` of these bytes.
    Body(Vec<u8>),
}

impl Reply {
    fn decode<T: DeserializeOwned>(self) -> Result<T> {
        let Self::Encoded(result) = self else { return Err(malformed().into()) };
        let result: Result<T, ()> = postcard::from_bytes(&result)?;
        result.map_err(|()| anyhow!("refused"))
    }
}

impl Connection {
    /// Sends a call: the arguments are the encoded ones and then the body.
    fn call(&self, method: u64, encoded: &[u8], body: Option<Bytes>) -> Result<Pend<'_>> {
        let mut state = self.state.lock();
        if let Some(why) = &state.lost {
            return Err(anyhow!("the connection is lost: {why}"));
        }
        let key = state.pending.insert(Pending::Waiting(None));
        let body_len = body.as_ref().map_or(0, Bytes::len);
        let out = state.outgoing.tail();
        out.put_u32_le((32 + encoded.len() + body_len) as u32);
        out.put_u64_le(key as u64);
        out.put_u128_le(OBJECT);
        out.put_u64_le(method);
        out.put_slice(encoded);
        if let Some(body) = body {
            state.outgoing.push(body);
        }
        if !state.is_scheduled {
            // A lone caller: every earlier call is answered, so the flusher has nothing half written.
            if state.pending.len() <= DIRECT_CALLS_MAX {
                write_some(&self.writer, &mut state.outgoing)?;
            }
            if state.outgoing.has_remaining() {
                state.is_scheduled = true;
                state.flusher.take().into_iter().for_each(Waker::wake);
            }
        }
        Ok(Pend { connection: self, key })
    }

    /// Takes all whole replies at the front in one go; where a large one follows, its call and the
    /// lengths of its head and of all of it.
    fn take_replies(&self, incoming: &mut Incoming, wakers: &mut Vec<Waker>) -> io::Result<Option<Large>> {
        let mut state = self.state.lock();
        loop {
            match incoming.peek() {
                Next::Incomplete => return Ok(None),
                Next::Whole(mut frame) => {
                    let len = frame.len();
                    let call = frame.try_get_u64_le().map_err(|_| malformed())?;
                    wakers.extend(state.finish(call, Reply::Encoded(frame.to_vec()))?);
                    incoming.consume(len);
                }
                Next::Large { start, len } => {
                    let mut rest = start;
                    let call = rest.try_get_u64_le().map_err(|_| malformed())?;
                    let head = postcard::take_from_bytes::<(u8, u32)>(rest);
                    let ((0, _), body) = head.map_err(|_| malformed())? else { return Err(malformed()) };
                    return Ok(Some(Large { call, head_len: start.len() - body.len(), len }));
                }
            }
        }
    }

    fn fail(&self, error: Option<io::Error>) {
        let mut state = self.state.lock();
        state.lost = Some(error.map_or_else(|| "closed by the server".to_owned(), |error| error.to_string()));
        for (_, pending) in &mut state.pending {
            if let Pending::Waiting(waker) = pending {
                waker.take().into_iter().for_each(Waker::wake);
            }
        }
    }
}

impl State {
    fn finish(&mut self, call: u64, reply: Reply) -> io::Result<Option<Waker>> {
        let pending = self.pending.get_mut(call as usize).ok_or_else(malformed)?;
        match mem::replace(pending, Pending::Done(reply)) {
            Pending::Waiting(waker) => Ok(waker),
            Pending::Done(_) => Err(malformed()),
        }
    }
}

struct Large {
    call: u64,
    head_len: usize,
    len: usize,
}

/// A call in flight. To be awaited to its end: a dropped one keeps its place.
struct Pend<'a> {
    connection: &'a Connection,
    key: usize,
}

impl Future for Pend<'_> {
    type Output = Result<Reply>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.connection.state.lock();
        let State { pending, lost, .. } = &mut *state;
        match pending.get_mut(self.key) {
            Some(Pending::Waiting(waker)) => {
                if let Some(why) = lost {
                    return Poll::Ready(Err(anyhow!("the connection is lost: {why}")));
                }
                if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                    *waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
            _ => match pending.try_remove(self.key) {
                Some(Pending::Done(reply)) => Poll::Ready(Ok(reply)),
                _ => Poll::Ready(Err(anyhow!("polled after its end"))),
            },
        }
    }
}

async fn read_replies(connection: &Connection, mut reader: OwnedReadHalf) -> io::Result<()> {
    let (mut incoming, mut wakers) = (Incoming::new(), Vec::new());
    while incoming.fill(&mut reader).await? {
        loop {
            let large = connection.take_replies(&mut incoming, &mut wakers)?;
            wakers.drain(..).for_each(Waker::wake);
            let Some(Large { call, head_len, len }) = large else { break };
            let body = incoming.read_body(&mut reader, head_len, len).await?;
            let waker = connection.state.lock().finish(call, Reply::Body(body))?;
            waker.into_iter().for_each(Waker::wake);
        }
    }
    Ok(())
}

/// Writes what has gathered since it was told of the first of it.
async fn flush(connection: &Connection) -> io::Result<()> {
    let mut outgoing = Outgoing::default();
    loop {
        poll_fn(|context| {
            let mut state = connection.state.lock();
            if state.is_scheduled {
                state.is_scheduled = false;
                mem::swap(&mut outgoing, &mut state.outgoing);
                return Poll::Ready(());
            }
            state.flusher = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        while outgoing.has_remaining() {
            connection.writer.writable().await?;
            write_some(&connection.writer, &mut outgoing)?;
        }
    }
}

/// Writes as much as the socket takes at once.
fn write_some(writer: &OwnedWriteHalf, outgoing: &mut Outgoing) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); 16];
    let count = outgoing.chunks_vectored(&mut slices);
    let written = match slices.get(..count) {
        Some([one]) => writer.try_write(one),
        several => writer.try_write_vectored(several.unwrap_or_default()),
    };
    match written {
        Ok(len) => outgoing.advance(len),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

//! A peer that speaks the protocol by hand. With its credit it keeps the rules, or its link would be over at once.

use std::{io, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use rmi_core::{
    interface::Interface,
    wire::{
        CHUNK_LEN_MAX, Call, CallId, Chunk, Codec, Definition, FRAME_LEN_MAX, Hello, Message, MethodNumber, Part,
        Payload, Target,
    },
};
use tokio::{
    io::AsyncWriteExt,
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    task::JoinHandle,
};

use crate::{
    attacks::Attack,
    credit::{Credit, next_frame, read_all},
    desk::{Desk, NAME},
};

/// How long the hello of the server is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is written at once.
const BATCH_LEN: usize = 64 << 10;
/// More than everything of a call of the desk but its payload and its references.
pub(crate) const HEAD_LEN_MAX: usize = 64;
/// Between signs of life.
const SIGN_OF_LIFE: Duration = Duration::from_millis(500);

/// One link of a node that does not exist.
pub(crate) struct Peer {
    attack: Arc<Attack>,
    write: OwnedWriteHalf,
    out: BytesMut,
    credit: Arc<Credit>,
    next_call: u32,
    next_method: u32,
    reader: Option<JoinHandle<()>>,
}

impl Peer {
    /// A link, with a task that reads what comes.
    pub(crate) async fn connect(attack: &Arc<Attack>) -> io::Result<Self> {
        let (mut peer, read, buffer) = Self::shaken(attack).await?;
        peer.reader = Some(tokio::spawn(read_all(read, buffer, peer.credit.clone(), attack.clone())));
        Ok(peer)
    }

    /// A link over which nothing is read but the hello; it is open for as long as what is returned with it.
    pub(crate) async fn connect_deaf(attack: &Arc<Attack>) -> io::Result<(Self, OwnedReadHalf)> {
        let (peer, read, _) = Self::shaken(attack).await?;
        Ok((peer, read))
    }

    async fn shaken(attack: &Arc<Attack>) -> io::Result<(Self, OwnedReadHalf, BytesMut)> {
        let mut stream = attack.dial().await?;
        stream.write_all(&attack.hello()).await?;
        let mut buffer = BytesMut::new();
        let frame = tokio::time::timeout(PATIENCE, next_frame(&mut stream, &mut buffer)).await??;
        let hello = Hello::decode(&frame.body).map_err(io::Error::other)?;
        let (read, write) = stream.into_split();
        let credit = Arc::new(Credit::new(hello.calls, hello.call_bytes));
        let (attack, out) = (attack.clone(), BytesMut::new());
        Ok((Self { attack, write, out, credit, next_call: 0, next_method: 0, reader: None }, read, buffer))
    }

    /// Numbers a method of the desk.
    pub(crate) fn define(&mut self, name: &str) -> MethodNumber {
        let number = MethodNumber(self.next_method);
        if let Some(method) = <dyn Desk>::descriptor().methods.iter().find(|method| method.name == name) {
            self.next_method += 1;
            let (id, fingerprint) = (method.id, method.fingerprint);
            self.put(&Message::Define(Definition::Method { number, id, fingerprint, name: method.to_string() }));
        }
        number
    }

    /// A message of one frame, which leaves with the next [`flush`](Self::flush).
    pub(crate) fn put(&mut self, message: &Message) {
        message.encode_frame(&mut self.out);
    }

    /// Bytes as they are.
    pub(crate) fn put_bytes(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }

    /// The next call's number, once there is credit for a call that takes so much of it.
    pub(crate) async fn credit(&mut self, bytes: u64) -> io::Result<CallId> {
        while !self.credit.take(bytes)? {
            self.flush().await?;
            self.credit.wait(bytes).await?;
        }
        self.next_call = self.next_call.wrapping_add(1);
        Ok(CallId(self.next_call))
    }

    /// Calls a method of the desk.
    pub(crate) async fn call(&mut self, method: MethodNumber, payload: impl Into<Bytes>) -> io::Result<CallId> {
        let payload = payload.into();
        let id = self.credit(payload.len() as u64).await?;
        self.put_call(call(id, Target::Service(NAME.to_owned()), method, payload)).await?;
        Ok(id)
    }

    /// A call that has its credit, in as many frames as it takes.
    pub(crate) async fn put_call(&mut self, call: Call) -> io::Result<()> {
        self.attack.tally.sent(1);
        if call.payload.len() + HEAD_LEN_MAX <= FRAME_LEN_MAX && call.references.is_empty() {
            self.put(&Message::Call(call));
            return self.flush_if_much().await;
        }
        let message = Message::Call(call);
        let mut whole = BytesMut::new();
        whole.put_u8(message.kind() as u8);
        message.encode(&mut whole);
        let mut rest = whole.freeze();
        let mut total = Some(rest.len() as u64);
        while !rest.is_empty() {
            let data = rest.split_to(rest.len().min(CHUNK_LEN_MAX));
            let part = if rest.is_empty() { Part::Last } else { Part::More };
            self.put(&Message::Chunk(Chunk { lane: 0, total: total.take(), part, data }));
            self.flush_if_much().await?;
        }
        Ok(())
    }

    pub(crate) async fn flush_if_much(&mut self) -> io::Result<()> {
        if self.out.len() >= BATCH_LEN { self.flush().await } else { Ok(()) }
    }

    /// Writes what was put.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.write.write_all(&self.out).await?;
        self.attack.tally.wrote(self.out.len());
        self.out.clear();
        Ok(())
    }

    /// Stays, and says enough to be taken for alive, until the link is over.
    pub(crate) async fn stay(&mut self) -> io::Result<()> {
        loop {
            // Nobody asked for it, which is allowed.
            self.put(&Message::Pong(0));
            self.flush().await?;
            self.credit.check()?;
            tokio::time::sleep(SIGN_OF_LIFE).await;
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

/// A call without a deadline of its own.
pub(crate) fn call(id: CallId, target: Target, method: MethodNumber, payload: Bytes) -> Call {
    Call {
        id,
        target,
        method,
        time_left: None,
        depth: 0,
        extras: None,
        codec: Codec::Postcard,
        promises: None,
        references: Vec::new(),
        payload: Payload::from(payload),
    }
}

/// An integer as it stands in payloads.
pub(crate) fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_those_of_the_protocol() {
        assert_eq!(varint(0), [0]);
        assert_eq!(varint(300), [0xac, 2]);
        assert_eq!(varint(u64::MAX).len(), 10);
    }
}

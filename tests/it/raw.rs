//! A peer that speaks the protocol by hand, as well or as badly as a story wants it to.

use std::{collections::HashMap, future::poll_fn, io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use rmi::{Endpoint, Limits, Node, NodeId};
use rmi_core::{
    interface::{Interface, Method},
    transport::{Socket, Transports},
    wire::{
        Call, CallId, Chunk, Codec, Definition, Frame, Hello, Kind, Message, MethodNumber, Outcome, Part, Payload,
        Reply, Slot, Target, begin_frame, finish_frame, split_frame,
    },
};
use serde::Serialize;

use crate::common::soon;

/// One link of a node that does not exist.
pub(crate) struct Raw {
    socket: Arc<dyn Socket>,
    read: BytesMut,
    lanes: HashMap<u32, BytesMut>,
    defined: u32,
    /// What the peer's hello said.
    pub(crate) peer: Option<Hello>,
}

impl Raw {
    /// A stream of bytes to the node, without a hello.
    pub(crate) async fn dial(node: &Node) -> Self {
        Self::over(Transports::default().dial(&node.endpoints()[0]).await.expect("the node listens"))
    }

    fn over(socket: Arc<dyn Socket>) -> Self {
        Self { socket, read: BytesMut::new(), lanes: HashMap::new(), defined: 0, peer: None }
    }

    /// A link to the node.
    pub(crate) async fn connect(node: &Node) -> Self {
        Self::connect_as(node, &hello(Duration::from_secs(30))).await
    }

    pub(crate) async fn connect_as(node: &Node, hello: &Hello) -> Self {
        let mut raw = Self::dial(node).await;
        raw.greet(hello).await;
        raw
    }

    /// Exchanges hellos, where it has dialled.
    pub(crate) async fn greet(&mut self, hello: &Hello) {
        self.say(hello).await;
        self.hear().await;
    }

    /// A link that a node dialled.
    pub(crate) async fn accept(socket: Arc<dyn Socket>, lease: Duration) -> Self {
        let mut raw = Self::over(socket);
        raw.hear().await;
        raw.say(&hello(lease)).await;
        raw
    }

    async fn say(&mut self, hello: &Hello) {
        let mut out = BytesMut::new();
        let start = begin_frame(&mut out, Kind::Hello);
        hello.encode(&mut out);
        finish_frame(&mut out, start);
        self.write(&out).await;
    }

    async fn hear(&mut self) {
        let frame = soon(self.frame()).await.expect("the peer says hello");
        assert_eq!(frame.kind, Kind::Hello);
        self.peer = Some(Hello::decode(&frame.body).expect("it is a hello"));
    }

    /// Writes bytes as they are. That the peer has closed meanwhile is found by reading.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            poll_fn(|cx| self.socket.poll_write_ready(cx)).await.ok();
            match self.socket.try_write(&[io::IoSlice::new(bytes)]) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    pub(crate) async fn send(&mut self, message: &Message) {
        let mut out = BytesMut::new();
        message.encode_frame(&mut out);
        self.write(&out).await;
    }

    /// The next frame; none where the peer has closed.
    async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = split_frame(&mut self.read).expect("the peer keeps the rules") {
                return Some(frame);
            }
            poll_fn(|cx| self.socket.poll_read_ready(cx)).await.ok()?;
            self.read.reserve(64 << 10);
            match self.socket.try_read(&mut self.read, usize::MAX) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    /// The next message, put together where it came in chunks. Pings are answered.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            let frame = self.frame().await?;
            let message =
                Message::decode(frame.kind, frame.body, &Limits::default()).expect("the peer keeps the rules");
            match message {
                Message::Ping(number) => self.send(&Message::Pong(number)).await,
                Message::Chunk(Chunk { lane, part, data, .. }) => {
                    self.lanes.entry(lane).or_default().extend_from_slice(&data);
                    if part == Part::Last {
                        let whole = self.lanes.remove(&lane).unwrap_or_default().freeze();
                        let Frame { kind, body } = Frame::from_chunks(whole).expect("the peer keeps the rules");
                        return Some(Message::decode(kind, body, &Limits::default()).expect("it is a message"));
                    }
                }
                message => return Some(message),
            }
        }
    }

    /// The next call of the peer. What comes before it is skipped.
    pub(crate) async fn next_call(&mut self) -> Call {
        loop {
            if let Message::Call(call) = soon(self.next()).await.expect("the peer calls") {
                return call;
            }
        }
    }

    /// The next answer of the peer. What comes before it is skipped.
    pub(crate) async fn next_answer(&mut self) -> Message {
        loop {
            let message = soon(self.next()).await.expect("the peer answers");
            if matches!(message, Message::Reply(_) | Message::Refusal(_)) {
                return message;
            }
        }
    }

    /// Waits until the peer has closed, which must be soon.
    pub(crate) async fn is_closed(&mut self) {
        soon(async { while self.frame().await.is_some() {} }).await;
    }

    /// Closes without a word.
    pub(crate) fn close(&self) {
        self.socket.shutdown();
    }

    pub(crate) async fn define(&mut self, method: &Method) -> MethodNumber {
        self.define_as(method, method.to_string()).await
    }

    /// Gives a method a name that need not be its own.
    pub(crate) async fn define_as(&mut self, method: &Method, name: String) -> MethodNumber {
        let number = MethodNumber(self.defined);
        self.defined += 1;
        let (id, fingerprint) = (method.id, method.fingerprint);
        self.send(&Message::Define(Definition::Method { number, id, fingerprint, name })).await;
        number
    }

    /// Calls a method that was defined.
    pub(crate) async fn call(&mut self, id: u32, target: Target, method: MethodNumber, payload: impl Into<Bytes>) {
        self.send(&Message::Call(call(id, target, method, payload))).await;
    }

    pub(crate) async fn reply(&mut self, id: CallId, payload: impl Into<Bytes>) {
        let payload = payload.into();
        let reply =
            Reply { id, outcome: Outcome::Ok, codec: Codec::Postcard, references: Vec::new(), payload: payload.into() };
        self.send(&Message::Reply(reply)).await;
    }
}

/// A listener whose peers are answered by hand.
pub(crate) struct RawListener {
    listener: Box<dyn rmi_core::transport::Listener>,
}

impl RawListener {
    pub(crate) async fn at(url: &str) -> Self {
        let at: Endpoint = url.parse().expect("a URL");
        Self { listener: Transports::default().listen(&at).await.expect("it is free") }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.listener.endpoint()
    }

    /// The next peer, after the handshake.
    pub(crate) async fn link(&self, lease: Duration) -> Raw {
        Raw::accept(soon(self.listener.accept()).await.expect("somebody dials"), lease).await
    }
}

/// A hello of nobody.
pub(crate) fn hello(lease: Duration) -> Hello {
    Hello::new(NodeId::random(), &Limits::default(), lease)
}

/// A call of 20 s.
pub(crate) fn call(id: u32, target: Target, method: MethodNumber, payload: impl Into<Bytes>) -> Call {
    Call {
        id: CallId(id),
        target,
        method,
        time_left: Some(Duration::from_secs(20)),
        depth: 0,
        extras: None,
        codec: Codec::Postcard,
        promises: None,
        references: Vec::new(),
        payload: Payload::from(payload.into()),
    }
}

pub(crate) fn service(name: &str) -> Target {
    Target::Service(name.to_owned())
}

pub(crate) fn slot(index: u32, generation: u32) -> Target {
    Target::Slot(Slot { index, generation })
}

/// A method of an interface.
pub(crate) fn method<I: ?Sized + Interface>(name: &str) -> &'static Method {
    I::descriptor().methods.iter().find(|method| method.name == name).expect("the interface has it")
}

/// A value as it stands in a payload.
pub(crate) fn encoded<T: Serialize>(value: &T) -> Bytes {
    let mut encoder = rmi_core::wire::Encoder::new(BytesMut::new());
    encoder.value(value).expect("it is plain");
    encoder.into_inner().freeze()
}

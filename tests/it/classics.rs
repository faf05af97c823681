//! The nine classic attacks on Java RMI, each carried out against this runtime, where it fails.

use std::{
    io,
    sync::Arc,
    task::{Context as Task, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rmi::{
    Certainty, Endpoint, ErrorKind, Limits, Node, NodeId, ObjectId, RegistryServer, Remote, RemoteError, async_trait,
    transport::{Listener, MemoryTransport, PeerAddr, Socket, Transport},
};
use rmi_core::{
    id::{Fingerprint, MethodId},
    interface::{InterfaceName, Method},
    wire::{
        Ack, Acquire, Call, CallId, Codec, Definition, Descriptor, InterfacesNumber, Message, Outcome, Release, Reply,
        Slot, begin_frame, finish_frame,
    },
};
use tokio::net::TcpListener;

use crate::{
    bystander::Bystander,
    common::{Counter, Shelf, Tally, client, counter, failure, hand_over, mem, shelf, soon},
    raw::{Raw, RawListener, call, encoded, method, service},
};

/// What a serialised object graph of Java begins with, and a class that runs commands as it is read.
const GADGET: &[u8] = b"\xac\xed\0\x05sr\0\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1";

/// Long enough for silent peers, and short enough to be waited for.
const LEASE: Duration = Duration::from_secs(3);

async fn bystander() -> Bystander {
    within(Limits::default()).await
}

async fn within(limits: Limits) -> Bystander {
    let server = Node::builder().listen(mem()).limits(limits).lease(LEASE).start().await.unwrap();
    let scene = Bystander::between(server, client().await).await;
    scene.server.serve("shelf", &shelf());
    scene.server.serve("counter", &counter());
    scene
}

/// The refusal that a peer hears next.
async fn refusal(peer: &mut Raw) -> RemoteError {
    match peer.next_answer().await {
        Message::Refusal(refusal) => refusal.error,
        other => panic!("it was let through: {other:?}"),
    }
}

/// A transport whose peers are on other hosts, as far as one can see.
#[derive(Debug)]
struct Afar;

#[derive(Debug)]
struct ListenerAfar(Box<dyn Listener>);

#[derive(Debug)]
struct SocketAfar(Arc<dyn Socket>);

#[async_trait]
impl Transport for Afar {
    fn scheme(&self) -> &'static str {
        "mem"
    }
    async fn listen(&self, at: &Endpoint) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(ListenerAfar(MemoryTransport.listen(at).await?)))
    }
    async fn dial(&self, to: &Endpoint) -> io::Result<Arc<dyn Socket>> {
        MemoryTransport.dial(to).await
    }
}

#[async_trait]
impl Listener for ListenerAfar {
    async fn accept(&self) -> io::Result<Arc<dyn Socket>> {
        Ok(Arc::new(SocketAfar(self.0.accept().await?)))
    }
    fn endpoint(&self) -> Endpoint {
        self.0.endpoint()
    }
}

impl Socket for SocketAfar {
    fn poll_read_ready(&self, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }
    fn try_read(&self, into: &mut BytesMut, len_max: usize) -> io::Result<usize> {
        self.0.try_read(into, len_max)
    }
    fn poll_write_ready(&self, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        self.0.poll_write_ready(cx)
    }
    fn try_write(&self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write(bufs)
    }
    fn shutdown(&self) {
        self.0.shutdown();
    }
    fn peer(&self) -> PeerAddr {
        PeerAddr::Other("afar".into())
    }
}

/// A method of a registry, as whoever has read its source can name it.
fn of_registry(name: &'static str) -> Method {
    Method::new(InterfaceName::explicit("rmi.Registry"), name, "forged")
}

/// 1. In Java whoever reaches a registry has it deserialise what it likes, as the argument of `bind` or `lookup`.
#[tokio::test]
async fn a_gadget_as_the_argument_of_a_registry_is_bytes() {
    let registry = RegistryServer::builder().listen(mem()).start().await.unwrap();
    for name in ["bind", "rebind", "lookup", "reconcile"] {
        let mut peer = Raw::connect(registry.node()).await;
        let forged = peer.define(&of_registry(name)).await;
        peer.call(1, service("registry"), forged, GADGET).await;
        let error = refusal(&mut peer).await;
        assert_eq!(
            (error.kind(), error.certainty()),
            (ErrorKind::SignatureMismatch, Certainty::NotExecuted),
            "{error}"
        );
        peer.close();
    }
    // With the right signature it is an argument that cannot be decoded.
    let scene = bystander().await;
    let mut peer = Raw::connect(&scene.server).await;
    for (name, object) in [("put", "shelf"), ("owns", "shelf")] {
        let honest = peer.define(method::<dyn Shelf>(name)).await;
        peer.call(1, service(object), honest, GADGET).await;
        assert_eq!(refusal(&mut peer).await.kind(), ErrorKind::Unmarshal);
    }
    peer.close();
    scene.undisturbed().await;
    registry.shutdown().await;
}

/// 2. In Java the distributed garbage collector is an object, whose arguments are deserialised for everybody.
#[tokio::test]
async fn a_gadget_for_the_garbage_collector_ends_its_link() {
    let scene = bystander().await;
    let nowhere = Slot { index: 0, generation: 0 };
    let messages = [
        Message::Release(Release { slot: nowhere, count: 1 }),
        Message::Acquire(Acquire { id: CallId(1), object: ObjectId::random() }),
        Message::Ack(Ack { received: 0 }),
        Message::Revoked(nowhere),
    ];
    for message in messages {
        let mut peer = Raw::connect(&scene.server).await;
        let mut body = BytesMut::new();
        message.encode(&mut body);
        body.extend_from_slice(GADGET);
        let mut frame = BytesMut::new();
        let start = begin_frame(&mut frame, message.kind());
        frame.extend_from_slice(&body);
        finish_frame(&mut frame, start);
        peer.write(&frame).await;
        peer.is_closed().await;
    }
    scene.undisturbed().await;
}

/// A descriptor of an object at an endpoint of the attacker's choice.
fn lure(endpoint: Endpoint) -> Descriptor {
    Descriptor::Third {
        slot: Slot { index: 0, generation: 0 },
        object: ObjectId::random(),
        interfaces: InterfacesNumber(0),
        owner: NodeId::random(),
        endpoints: vec![endpoint],
        route: Vec::new(),
    }
}

/// Puts a reference on the shelf of the scene.
async fn put(peer: &mut Raw, descriptor: Descriptor, names: &[&str]) {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    peer.send(&Message::Define(Definition::Interfaces { number: InterfacesNumber(0), names })).await;
    let put = peer.define(method::<dyn Shelf>("put")).await;
    let references = vec![descriptor];
    peer.send(&Message::Call(Call { references, ..call(1, service("shelf"), put, encoded(&0u32)) })).await;
}

/// 3. In Java a reference that is deserialised is registered at once with whoever it names: the victim dials there.
#[tokio::test]
async fn a_reference_that_is_decoded_opens_no_connection() {
    let scene = bystander().await;
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("tcp://{}", trap.local_addr().unwrap()).parse().unwrap();
    let mut peer = Raw::connect(&scene.server).await;
    put(&mut peer, lure(endpoint), &["it.Counter"]).await;
    assert!(matches!(peer.next_answer().await, Message::Reply(_)), "it was put there");
    let get = peer.define(method::<dyn Shelf>("get")).await;
    peer.call(2, service("shelf"), get, vec![]).await;
    assert!(matches!(peer.next_answer().await, Message::Reply(_)), "it is passed on");
    let clear = peer.define(method::<dyn Shelf>("clear")).await;
    peer.call(3, service("shelf"), clear, vec![]).await;
    assert!(matches!(peer.next_answer().await, Message::Reply(_)), "it is dropped");
    // It was decoded, held, passed on and dropped: had anybody dialled, the connection would be here.
    assert!(futures_util::FutureExt::now_or_never(trap.accept()).is_none(), "somebody was lured");
    peer.close();
    scene.undisturbed().await;
}

/// 4. In Java an argument's declared type is a wish: the stream names the class that is made, and fields of other types
///    follow it.
#[tokio::test]
async fn an_argument_of_another_type_is_refused() {
    let scene = bystander().await;
    let mut peer = Raw::connect(&scene.server).await;
    // A reference to something else than a counter, by its own word.
    let mine = Descriptor::Mine {
        slot: Slot { index: 0, generation: 0 },
        object: ObjectId::random(),
        interfaces: InterfacesNumber(0),
    };
    put(&mut peer, mine, &["it.Shelf"]).await;
    assert_eq!(refusal(&mut peer).await.kind(), ErrorKind::Unmarshal);
    // A text where a number is.
    let add = peer.define(method::<dyn Counter>("add")).await;
    peer.call(2, service("counter"), add, encoded(&"forty-two")).await;
    assert_eq!(refusal(&mut peer).await.kind(), ErrorKind::Unmarshal);
    // The number of one method with the signature of another.
    let mut forged = *method::<dyn Counter>("add");
    forged.fingerprint = method::<dyn Counter>("total").fingerprint;
    let forged = peer.define(&forged).await;
    peer.call(3, service("counter"), forged, vec![]).await;
    assert_eq!(refusal(&mut peer).await.kind(), ErrorKind::SignatureMismatch);
    peer.close();
    scene.undisturbed().await;
}

/// 5. In Java methods have hashes that are guessed from lists of names, and arguments are deserialised before the call is
///    found wrong.
#[tokio::test]
async fn guessing_methods_finds_none_and_costs_little() {
    let scene = bystander().await;
    let known = method::<dyn Counter>("add");
    let forged = |id| {
        let mut forged = *known;
        (forged.id, forged.fingerprint) = (MethodId(id), Fingerprint(id));
        forged
    };
    let mut peer = Raw::connect(&scene.server).await;
    for step in 1..1000 {
        let number = peer.define(&forged(known.id.0.wrapping_add(step.into()))).await;
        peer.call(step, service("counter"), number, GADGET).await;
        assert_eq!(refusal(&mut peer).await.kind(), ErrorKind::NoSuchMethod, "{step}");
    }
    peer.close();
    // Those that the runtime keeps for itself: a fence, which tells that calls before it have begun, and a pull of a
    // stream, whose arguments are never so long.
    for id in 0..256 {
        let mut peer = Raw::connect(&scene.server).await;
        let number = peer.define(&forged(id)).await;
        peer.call(1, service("counter"), number, GADGET).await;
        match (id, soon(peer.next()).await) {
            (1, Some(Message::Reply(reply))) => assert_eq!(reply.payload.len(), 0),
            (2, None) => {}
            (_, Some(Message::Refusal(refusal))) => assert_eq!(refusal.error.kind(), ErrorKind::NoSuchMethod, "{id}"),
            other => panic!("{other:?}"),
        }
        peer.close();
    }
    scene.undisturbed().await;
}

/// 6. In Java the registry believes that a bind comes from its own host, in ways that were broken again and again.
#[tokio::test]
async fn nobody_of_another_host_changes_a_name() {
    let node = Node::builder().transport(Afar);
    let registry = RegistryServer::builder().listen(mem()).node_builder(node).start().await.unwrap();
    let url = registry.url();
    let server = crate::common::node(&mem()).await;
    let names = rmi::Registry::connect_with(&server, &url).await.unwrap();
    for refused in [names.bind("a", &counter()).await, names.rebind("a", &counter()).await, names.unbind("a").await] {
        let error = refused.unwrap_err();
        assert!(matches!(error, rmi::RegistryError::AccessDenied { .. }), "{error:?}");
        assert!(error.to_string().contains("only its own host changes names"), "{error}");
    }
    assert!(names.list("").await.unwrap().is_empty(), "all may look");
    // Refused before its arguments are looked at: these are none.
    for name in ["bind", "rebind", "unbind", "join", "leave", "reconcile"] {
        let mut peer = Raw::connect(registry.node()).await;
        let forged = peer.define(&of_registry(name)).await;
        peer.call(1, service("registry"), forged, GADGET).await;
        assert_eq!(refusal(&mut peer).await.kind(), ErrorKind::AccessDenied, "{name}");
        peer.close();
    }
    registry.shutdown().await;
}

/// 7. In Java a stream names the place from where its classes are to be loaded, and they are.
#[tokio::test]
async fn a_name_of_code_is_a_name() {
    let scene = bystander().await;
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let codebase = format!("http://{}/Evil.class", trap.local_addr().unwrap());
    let mut peer = Raw::connect(&scene.server).await;
    let mine = Descriptor::Mine {
        slot: Slot { index: 0, generation: 0 },
        object: ObjectId::random(),
        interfaces: InterfacesNumber(0),
    };
    put(&mut peer, mine, &[&codebase, "it.Counter"]).await;
    assert!(matches!(peer.next_answer().await, Message::Reply(_)), "it is a counter, and something that nobody knows");
    let evil = Method::new(InterfaceName::explicit("evil"), "Evil", "forged");
    let number = peer.define_as(&evil, codebase).await;
    peer.call(2, service("shelf"), number, GADGET).await;
    assert_eq!(refusal(&mut peer).await.kind(), ErrorKind::NoSuchMethod);
    assert!(futures_util::FutureExt::now_or_never(trap.accept()).is_none(), "code was asked for");
    let clear = peer.define(method::<dyn Shelf>("clear")).await;
    peer.call(3, service("shelf"), clear, vec![]).await;
    assert!(matches!(peer.next_answer().await, Message::Reply(_)));
    peer.close();
    scene.undisturbed().await;
}

/// 8. In Java whoever knows an object's number may tell the collector that another client has let go of it.
#[tokio::test]
async fn nobody_gives_back_what_others_hold() {
    let scene = bystander().await;
    let (object, life) = Tally::mortal();
    let held = hand_over(&scene.server, &scene.client, &object).await;
    let id = Remote::erase(&object).id();
    drop(object);
    for index in 0..20 {
        let mut peer = Raw::connect(&scene.server).await;
        peer.send(&Message::Release(Release { slot: Slot { index, generation: 0 }, count: 1 })).await;
        peer.is_closed().await;
    }
    // Nor who holds it too, and gives back more than it has.
    let mut peer = Raw::connect(&scene.server).await;
    peer.send(&Message::Acquire(Acquire { id: CallId(1), object: id })).await;
    let Message::Reply(reply) = peer.next_answer().await else { panic!("who knows the id may hold it") };
    let [Descriptor::Mine { slot, .. }] = reply.references[..] else { panic!("{reply:?}") };
    peer.send(&Message::Release(Release { slot, count: 1000 })).await;
    peer.is_closed().await;
    // Nor who says that it is the node that holds it, and goes.
    let mut hello = crate::raw::hello(Duration::from_millis(100));
    hello.node = scene.client.id();
    let mut twin = Raw::connect_as(&scene.server, &hello).await;
    twin.send(&Message::Goodbye(rmi_core::wire::Goodbye { reason: "gone".to_owned() })).await;
    twin.is_closed().await;
    assert_eq!(soon(held.add(1)).await.unwrap(), 1);
    assert_eq!(life.strong_count(), 1);
    drop(held);
    crate::common::dropped(&life).await;
    scene.undisturbed().await;
}

/// 9a. In Java each connection has a thread, and tables grow with whoever asks.
#[tokio::test]
async fn tables_and_threads_do_not_grow_with_those_who_ask() {
    let limits = Limits { definitions: 100, calls: 8, exports: 50, ..Limits::default() };
    let scene = within(limits).await;
    let threads = threads();
    let mut links = Vec::new();
    for _ in 0..200 {
        links.push(Raw::connect(&scene.server).await);
    }
    assert!(self::threads() <= threads, "a thread for each peer");
    // More names than there may be.
    let mut peer = links.pop().unwrap();
    for _ in 0..=100 {
        peer.define(method::<dyn Counter>("add")).await;
    }
    peer.is_closed().await;
    // More objects than one peer may hold.
    let mut peer = links.pop().unwrap();
    let make = peer.define(method::<dyn Shelf>("make")).await;
    let mut made = 0;
    for id in 1..=60 {
        peer.call(id, service("shelf"), make, vec![]).await;
        match peer.next_answer().await {
            Message::Reply(_) => made += 1,
            Message::Refusal(refusal) => assert_eq!(refusal.error.kind(), ErrorKind::Overloaded),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(made, 50);
    // More calls than there is credit for.
    let mut peer = links.pop().unwrap();
    let pass = peer.define(method::<dyn crate::common::Gate>("pass")).await;
    for id in 1..=9 {
        peer.call(id, service("gate"), pass, vec![]).await;
    }
    for peer in links.iter().chain([&peer]) {
        peer.close();
    }
    drop((links, peer));
    scene.undisturbed().await;
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// 9b. In Java what a server answers is deserialised by its client: whoever lures clients has them.
#[tokio::test]
async fn a_reply_is_no_weapon_against_the_client() {
    let listener = RawListener::at(&mem()).await;
    let client = client().await;
    let shelf = Remote::<dyn Shelf>::service(&client, listener.endpoint(), "shelf");
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = format!("tcp://{}", trap.local_addr().unwrap()).parse().unwrap();
    let asking = |shelf: &Remote<dyn Shelf>| {
        let shelf = shelf.clone();
        tokio::spawn(async move { shelf.make().await })
    };
    let mut first = asking(&shelf);
    let mut peer = listener.link(Duration::from_secs(30)).await;
    let names = vec!["it.Counter".to_owned()];
    peer.send(&Message::Define(Definition::Interfaces { number: InterfacesNumber(0), names })).await;
    let answers: [(Bytes, Vec<Descriptor>); 3] = [
        (Bytes::from_static(GADGET), Vec::new()),
        (encoded(&7u32), vec![lure(endpoint.clone())]),
        (Bytes::from(vec![0xff; 60_000]), Vec::new()),
    ];
    for (payload, references) in answers {
        let id = peer.next_call().await.id;
        let reply = Reply { id, outcome: Outcome::Ok, codec: Codec::Postcard, references, payload: payload.into() };
        peer.send(&Message::Reply(reply)).await;
        let error = failure(soon(first).await.unwrap(), "Shelf.make");
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Unmarshal, Certainty::Executed), "{error}");
        first = asking(&shelf);
    }
    // One that is right leads where the peer likes, and still nobody dials before it is called.
    let id = peer.next_call().await.id;
    let (references, payload) = (vec![lure(endpoint)], encoded(&0u32).into());
    let reply = Reply { id, outcome: Outcome::Ok, codec: Codec::Postcard, references, payload };
    peer.send(&Message::Reply(reply)).await;
    let lured = soon(first).await.unwrap().unwrap();
    assert!(futures_util::FutureExt::now_or_never(trap.accept()).is_none(), "the client was lured");
    drop(lured);
    // Neither may it call what it was not given.
    let add = peer.define(method::<dyn Counter>("add")).await;
    peer.call(9, service("counter"), add, encoded(&1i64)).await;
    assert_eq!(refusal(&mut peer).await.kind(), ErrorKind::NoSuchObject);
}

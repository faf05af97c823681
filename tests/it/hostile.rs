//! Peers that break the rules of the protocol lose their own link, and disturb nobody.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use rmi::{Certainty, ErrorKind, Limits, Node, NodeId, ObjectId, Remote};
use rmi_core::wire::{
    Call, CallId, Chunk, Codec, Definition, Descriptor, Hello, InterfacesNumber, Message, MethodNumber, Outcome, Part,
    PromiseId, Refusal, Release, Reply, Slot, Target,
};

use crate::{
    bystander::Bystander,
    common::{Board, Counter, Gate, PATIENCE, Shelf, TCP, client, counter, dropped, failure, mem, soon, until},
    raw::{Raw, call, hello, method, service},
};

fn each_transport() -> [String; 2] {
    [mem(), TCP.to_owned()]
}

#[tokio::test]
async fn bytes_that_are_no_hello_end_their_connection_only() {
    let mut wrong_magic = vec![30, 0, 0, 0, 1];
    wrong_magic.extend([b'x'; 29]);
    let ping_first = vec![2, 0, 0, 0, 18, 0];
    let cut_short = vec![3, 0, 0, 0, 1, b'R', b'M'];
    let garbage: Vec<u8> = (0..5000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect();
    let beginnings: [&[u8]; 9] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3],
        &[0xff, 0xff, 0xff, 0xff, 1],
        &[0, 0, 0, 0, 0, 0, 0, 0],
        &wrong_magic,
        &ping_first,
        &cut_short,
        &garbage,
    ];
    for listen in each_transport() {
        let scene = Bystander::at(&listen, Limits::default()).await;
        for beginning in beginnings {
            let mut peer = Raw::dial(&scene.server).await;
            peer.write(beginning).await;
            peer.is_closed().await;
        }
        scene.undisturbed().await;
    }
}

#[tokio::test]
async fn a_hello_that_cannot_be_agreed_with_ends_its_connection() {
    let base = || hello(Duration::from_secs(30));
    let hellos = [Hello { versions: (2, 9), ..base() }, Hello { versions: (1, 0), ..base() }];
    for listen in each_transport() {
        let scene = Bystander::at(&listen, Limits::default()).await;
        for hello in &hellos {
            let mut out = BytesMut::new();
            Message::Hello(hello.clone()).encode_frame(&mut out);
            let mut peer = Raw::dial(&scene.server).await;
            peer.write(&out).await;
            peer.is_closed().await;
        }
        scene.undisturbed().await;
    }
}

#[tokio::test]
async fn a_node_answers_who_looks_for_another_one_with_its_own_name() {
    let scene = Bystander::at(&mem(), Limits::default()).await;
    let mistaken = Hello { expected: Some(NodeId::random()), ..hello(Duration::from_secs(30)) };
    let peer = Raw::connect_as(&scene.server, &mistaken).await;
    assert_eq!(peer.peer.as_ref().unwrap().node, scene.server.id());
    peer.close();
    scene.undisturbed().await;
}

/// Bytes that no peer may send once the hellos are exchanged.
fn broken_frames() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |kind: u8, body: &[u8]| {
        let mut out = Vec::new();
        out.put_u32_le(1 + body.len() as u32);
        out.put_u8(kind);
        out.extend_from_slice(body);
        out
    };
    vec![
        ("4 GiB", vec![0xff, 0xff, 0xff, 0xff, 2, 0, 0]),
        ("an empty frame", vec![0, 0, 0, 0]),
        ("one byte more than a frame holds", vec![1, 0, 1, 0, 2]),
        ("an unknown kind", frame(99, &[])),
        ("a kind that was not offered", frame(16, &[1, 1])),
        ("a body that ends early", frame(2, &[0, 1])),
        ("a body that goes on", frame(18, &[1, 1])),
        ("an integer without an end", frame(18, &[0xff; 20])),
        ("garbage", (0..70_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
    ]
}

/// Messages that are well formed, and that no peer may send at this point.
fn broken_messages() -> Vec<(&'static str, Vec<Message>)> {
    let reply = Reply {
        id: CallId(0),
        outcome: Outcome::Ok,
        codec: Codec::Postcard,
        references: Vec::new(),
        payload: Bytes::from_static(&[1]).into(),
    };
    let refusal = Refusal { id: CallId(3), error: rmi::RemoteError::new(ErrorKind::Other, "x") };
    let chunk = |total, data: &'static [u8]| {
        vec![Message::Chunk(Chunk { lane: 1, total, part: Part::More, data: Bytes::from_static(data) })]
    };
    let (nothing, add) = (Slot { index: 9, generation: 0 }, method::<dyn Counter>("add"));
    let define = |number| {
        let (id, fingerprint) = (add.id, add.fingerprint);
        Message::Define(Definition::Method { number: MethodNumber(number), id, fingerprint, name: "x".into() })
    };
    let pass = call(1, service("gate"), MethodNumber(0), vec![]);
    let twice = Call { promises: Some(PromiseId(0)), ..pass.clone() };
    let given = Descriptor::Mine { slot: nothing, object: ObjectId::random(), interfaces: InterfacesNumber(0) };
    vec![
        ("a hello again", vec![Message::Hello(hello(Duration::from_secs(1)))]),
        ("a reply to no call", vec![Message::Reply(reply)]),
        ("a refusal of no call", vec![Message::Refusal(refusal)]),
        ("a chunk of no lane", chunk(None, b"x")),
        ("a lane of more than a message holds", chunk(Some(1 << 60), b"x")),
        ("more chunks than announced", chunk(Some(2), b"xxx")),
        ("a release of nothing", vec![Message::Release(Release { slot: nothing, count: 1 })]),
        ("a definition that leaves one out", vec![define(1)]),
        ("a method that was not defined", vec![Message::Call(pass.clone())]),
        (
            "a promise made twice",
            vec![define(0), Message::Call(twice.clone()), Message::Call(Call { id: CallId(2), ..twice })],
        ),
        ("a number used twice", vec![define(0), Message::Call(pass.clone()), Message::Call(pass.clone())]),
        (
            "a list of interfaces that was not defined",
            vec![define(0), Message::Call(Call { references: vec![given], ..pass })],
        ),
    ]
}

#[tokio::test]
async fn frames_that_break_the_rules_end_their_link_only() {
    for listen in each_transport() {
        let scene = Bystander::at(&listen, Limits::default()).await;
        scene.server.serve("gate", &scene.keeper.gate());
        let messages = broken_messages().into_iter().map(|(what, messages)| {
            let mut out = BytesMut::new();
            messages.iter().for_each(|message| message.encode_frame(&mut out));
            (what, out.to_vec())
        });
        for (what, bytes) in broken_frames().into_iter().chain(messages) {
            let mut peer = Raw::connect(&scene.server).await;
            peer.write(&bytes).await;
            let closed = async { while peer.next().await.is_some() {} };
            assert!(tokio::time::timeout(PATIENCE, closed).await.is_ok(), "{what} is borne");
            peer.close();
        }
        scene.undisturbed().await;
    }
}

#[tokio::test]
async fn more_calls_than_there_is_credit_end_the_link() {
    let scene = Bystander::at(&mem(), Limits { calls: 4, ..Limits::default() }).await;
    scene.server.serve("gate", &scene.keeper.gate());
    let mut peer = Raw::connect(&scene.server).await;
    assert_eq!(peer.peer.as_ref().unwrap().calls, 4);
    let pass = peer.define(method::<dyn Gate>("pass")).await;
    for id in 0..4 {
        peer.call(id, service("gate"), pass, vec![]).await;
    }
    // The honest one, and four of this peer.
    scene.keeper.holds(5).await;
    peer.call(4, service("gate"), pass, vec![]).await;
    peer.is_closed().await;
    scene.keeper.holds(1).await;
    scene.undisturbed().await;
}

#[tokio::test]
async fn half_open_connections_cost_a_bounded_time_and_stop_nobody() {
    let limits = Limits { handshakes: 4, connect_timeout: Duration::from_millis(300), ..Limits::default() };
    for listen in each_transport() {
        let scene = Bystander::at(&listen, limits.clone()).await;
        let mut silent = Vec::new();
        for _ in 0..12 {
            silent.push(Raw::dial(&scene.server).await);
        }
        // The oldest of them gives way.
        let late = client().await;
        scene.server.serve("counter", &counter());
        let there = Remote::<dyn Counter>::service(&late, scene.server.endpoints()[0].clone(), "counter");
        assert_eq!(soon(there.add(1)).await.unwrap(), 1);
        for peer in &mut silent {
            peer.is_closed().await;
        }
        late.shutdown().await;
        scene.undisturbed().await;
    }
}

#[tokio::test]
async fn a_client_that_vanishes_in_mid_message_leaves_nothing() {
    for listen in each_transport() {
        let scene = Bystander::at(&listen, Limits::default()).await;
        scene.server.serve("gate", &scene.keeper.gate());
        let mut peer = Raw::connect(&scene.server).await;
        let pass = peer.define(method::<dyn Gate>("pass")).await;
        for id in 0..10 {
            peer.call(id, service("gate"), pass, vec![]).await;
        }
        scene.keeper.holds(11).await;
        let half = Chunk { lane: 1, total: Some(1 << 20), part: Part::More, data: Bytes::from_static(&[2, 0, 0]) };
        peer.send(&Message::Chunk(half)).await;
        peer.write(&[200, 0, 0, 0, 2, 1, 1]).await;
        peer.close();
        scene.keeper.holds(1).await;
        scene.undisturbed().await;
    }
}

#[tokio::test]
async fn what_a_vanished_peer_had_given_fails_and_what_it_held_is_freed_with_its_lease() {
    let server = Node::builder().listen(mem()).lease(Duration::from_millis(300)).start().await.unwrap();
    let board = Arc::new(Board::default());
    server.serve("shelf", &Remote::<dyn Shelf>::from_arc(board.clone()));
    let mut peer = Raw::connect(&server).await;
    let (make, put) = (peer.define(method::<dyn Shelf>("make")).await, peer.define(method::<dyn Shelf>("put")).await);
    peer.call(1, service("shelf"), make, vec![]).await;
    peer.next_answer().await;
    let names = vec!["it.Counter".to_owned()];
    peer.send(&Message::Define(Definition::Interfaces { number: InterfacesNumber(0), names })).await;
    let slot = Slot { index: 7, generation: 7 };
    let mine = Descriptor::Mine { slot, object: ObjectId::random(), interfaces: InterfacesNumber(0) };
    peer.send(&Message::Call(Call { references: vec![mine], ..call(2, service("shelf"), put, vec![0]) })).await;
    assert!(matches!(peer.next_answer().await, Message::Reply(_)));
    assert_eq!(server.stats().imported_references, 1);

    let given = board.get().await.unwrap().unwrap();
    let adding = tokio::spawn({
        let given = given.clone();
        async move { given.add(1).await }
    });
    assert_eq!(peer.next_call().await.target, Target::Slot(slot));
    peer.close();
    let error = failure(soon(adding).await.unwrap(), "Counter.add");
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::ConnectionLost, Certainty::Unknown), "{error}");
    let error = failure(soon(given.add(1)).await, "Counter.add");
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Unreachable, Certainty::NotSent), "{error}");
    dropped(&board.made()[0]).await;
    until("the lease is over", || server.stats().leases == 0).await;
    assert_eq!(server.stats().connections, 0);
}

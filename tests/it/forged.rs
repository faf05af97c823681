//! Calls whose target, method or arguments make no sense are refused, and their link goes on.

use bytes::{Bytes, BytesMut};
use rmi::{Certainty, ErrorKind, Limits, ObjectId, Remote, RemoteError, remote};
use rmi_core::{
    id::{Fingerprint, MethodId},
    interface,
    wire::{Call, Chunk, Descriptor, Message, MethodNumber, Part, Release, Slot, Target},
};
use serde::{Deserialize, Serialize};

use crate::{
    bystander::Bystander,
    common::{Counter, Shelf, TCP, mem, shelf},
    raw::{Raw, call, encoded, method, service, slot},
};

/// A value that nests as deep as its sender likes.
#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Branch(Box<Self>),
}

#[remote]
trait Parser {
    async fn text(&self, text: &str) -> rmi::Result<String>;
    async fn tree(&self, tree: Tree) -> rmi::Result<()>;
    async fn units(&self, units: Vec<()>) -> rmi::Result<u64>;
    async fn bytes(&self, bytes: Vec<u8>) -> rmi::Result<u64>;
}

struct Patient;

#[remote]
impl Parser for Patient {
    async fn text(&self, text: &str) -> rmi::Result<String> {
        Ok(text.to_owned())
    }
    async fn tree(&self, _tree: Tree) -> rmi::Result<()> {
        Ok(())
    }
    async fn units(&self, units: Vec<()>) -> rmi::Result<u64> {
        Ok(units.len() as u64)
    }
    async fn bytes(&self, bytes: Vec<u8>) -> rmi::Result<u64> {
        Ok(bytes.len() as u64)
    }
}

/// A bystander at a server that serves a patient and a shelf.
async fn bystander(listen: &str) -> Bystander {
    let scene = Bystander::at(listen, Limits::default()).await;
    scene.server.serve("patient", &Remote::<dyn Parser>::new(Patient));
    scene.server.serve("shelf", &shelf());
    scene
}

/// The error of a refused call of a method whose link goes on.
async fn refused(
    scene: &Bystander,
    method: &interface::Method,
    call: impl FnOnce(MethodNumber) -> Call,
) -> RemoteError {
    let mut peer = Raw::connect(&scene.server).await;
    let number = peer.define(method).await;
    let call = call(number);
    let id = call.id;
    peer.send(&Message::Call(call)).await;
    let Message::Refusal(refusal) = peer.next_answer().await else { panic!("it is refused") };
    assert_eq!(refusal.id, id);
    // The same link serves the next call.
    let add = peer.define(self::method::<dyn Parser>("text")).await;
    peer.call(id.0, service("patient"), add, encoded(&"ok")).await;
    let Message::Reply(reply) = peer.next_answer().await else { panic!("it is answered") };
    assert_eq!(reply.payload, encoded(&"ok").into());
    peer.close();
    refusal.error
}

#[tokio::test]
async fn forged_targets_are_refused_and_call_nobody() {
    let scene = bystander(TCP).await;
    let add = method::<dyn Counter>("add");
    let targets = [
        slot(0, 0),
        slot(u32::MAX, u32::MAX),
        Target::Object(ObjectId::random()),
        Target::Object(ObjectId::from_bytes([0; 16])),
        service("no such service"),
    ];
    for target in targets {
        let error = refused(&scene, add, |number| call(1, target.clone(), number, encoded(&1i64))).await;
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::NoSuchObject, Certainty::NotExecuted), "{target:?}");
    }
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_slot_of_another_link_or_of_another_generation_is_refused() {
    let scene = bystander(&mem()).await;
    let (make, add) = (method::<dyn Shelf>("make"), method::<dyn Counter>("add"));
    let mut peer = Raw::connect(&scene.server).await;
    let (make, add_here) = (peer.define(make).await, peer.define(add).await);
    peer.call(1, service("shelf"), make, vec![]).await;
    let Message::Reply(reply) = peer.next_answer().await else { panic!("it makes one") };
    let [Descriptor::Mine { slot: granted, object, .. }] = reply.references[..] else { panic!("{reply:?}") };
    peer.call(2, Target::Slot(granted), add_here, encoded(&5i64)).await;
    let Message::Reply(reply) = peer.next_answer().await else { panic!("this one was granted") };
    assert_eq!(reply.payload, encoded(&5i64).into());
    let other = Slot { generation: granted.generation + 1, ..granted };
    for (id, slot) in [(3, other), (4, Slot { index: granted.index + 1, ..granted })] {
        peer.call(id, Target::Slot(slot), add_here, encoded(&5i64)).await;
        let Message::Refusal(refusal) = peer.next_answer().await else { panic!("it is refused") };
        assert_eq!(refusal.error.kind(), ErrorKind::NoSuchObject);
    }
    // Another link has other slots, even to the same numbers; an id is the right to call.
    let error = refused(&scene, add, |number| call(1, Target::Slot(granted), number, encoded(&1i64))).await;
    assert_eq!(error.kind(), ErrorKind::NoSuchObject);
    let mut acquirer = Raw::connect(&scene.server).await;
    let add_there = acquirer.define(add).await;
    acquirer.call(1, Target::Object(object), add_there, encoded(&1i64)).await;
    let Message::Reply(reply) = acquirer.next_answer().await else { panic!("who knows the id may call") };
    assert_eq!(reply.payload, encoded(&6i64).into());

    peer.send(&Message::Release(Release { slot: granted, count: 1 })).await;
    peer.call(5, Target::Slot(granted), add_here, encoded(&1i64)).await;
    let Message::Refusal(refusal) = peer.next_answer().await else { panic!("it was given back") };
    assert_eq!(refusal.error.kind(), ErrorKind::NoSuchObject);
    peer.send(&Message::Release(Release { slot: Slot { index: 77, generation: 0 }, count: 1 })).await;
    peer.is_closed().await;
    acquirer.close();
    scene.undisturbed().await;
}

#[tokio::test]
async fn arguments_that_cannot_be_decoded_are_refused_and_the_link_goes_on() {
    let scene = bystander(TCP).await;
    let payload = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let deep = |depth: usize| Bytes::from([vec![1; depth], vec![0]].concat());
    let many_units = payload(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    let cases = [
        ("text", payload(&[3, b'a', 0xff, b'b']), ErrorKind::Unmarshal),
        ("text", payload(&[200]), ErrorKind::Unmarshal),
        ("text", payload(&[]), ErrorKind::Unmarshal),
        ("text", payload(&[1, b'a', b'b']), ErrorKind::Unmarshal),
        ("text", payload(&[0xff; 30]), ErrorKind::Unmarshal),
        ("tree", deep(100_000), ErrorKind::TooLarge),
        ("tree", payload(&[7]), ErrorKind::Unmarshal),
        ("units", many_units.clone(), ErrorKind::TooLarge),
        ("bytes", many_units, ErrorKind::Unmarshal),
    ];
    for (name, payload, kind) in cases {
        // Large ones travel in chunks, as any sender must send them.
        if payload.len() > 60_000 {
            let mut peer = Raw::connect(&scene.server).await;
            let number = peer.define(method::<dyn Parser>(name)).await;
            let mut body = BytesMut::from(&[2u8][..]);
            Message::Call(call(1, service("patient"), number, payload)).encode(&mut body);
            let body = body.freeze();
            let (first, last) = (body.slice(..60_000), body.slice(60_000..));
            peer.send(&Message::Chunk(Chunk {
                lane: 5,
                total: Some(body.len() as u64),
                part: Part::More,
                data: first,
            }))
            .await;
            peer.send(&Message::Chunk(Chunk { lane: 5, total: None, part: Part::Last, data: last })).await;
            let Message::Refusal(refusal) = peer.next_answer().await else { panic!("it is refused") };
            assert_eq!(
                (refusal.error.kind(), refusal.error.certainty()),
                (kind, Certainty::NotExecuted),
                "{}",
                refusal.error
            );
            peer.close();
        } else {
            let error =
                refused(&scene, method::<dyn Parser>(name), |number| call(1, service("patient"), number, payload))
                    .await;
            assert_eq!((error.kind(), error.certainty()), (kind, Certainty::NotExecuted), "{name}: {error}");
        }
    }
    scene.undisturbed().await;
}

#[tokio::test]
async fn references_that_were_never_given_are_refused() {
    let scene = bystander(&mem()).await;
    let put = method::<dyn Shelf>("put");
    let forged =
        |number, references, index: u32| Call { references, ..call(1, service("shelf"), number, encoded(&index)) };
    let yours = Descriptor::Yours(Slot { index: 3, generation: 0 });
    for (references, index) in [(vec![], 0), (vec![yours.clone()], 0), (vec![yours], 1)] {
        let error = refused(&scene, put, |number| forged(number, references, index)).await;
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Unmarshal, Certainty::NotExecuted), "{error}");
    }
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_call_of_another_signature_and_one_of_no_method_are_told_apart() {
    let scene = bystander(&mem()).await;
    let text = *method::<dyn Parser>("text");
    let mut changed = text;
    changed.fingerprint = Fingerprint(!text.fingerprint.0);
    let error = refused(&scene, &changed, |number| call(1, service("patient"), number, encoded(&"x"))).await;
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::SignatureMismatch, Certainty::NotExecuted));
    assert!(error.message().contains("it.Parser.text"), "{error}");
    let mut unknown = text;
    unknown.id = MethodId(!text.id.0);
    let error = refused(&scene, &unknown, |number| call(1, service("patient"), number, encoded(&"x"))).await;
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::NoSuchMethod, Certainty::NotExecuted));
    assert!(error.message().contains("it.Parser"), "{error}");
    scene.undisturbed().await;
}

#[tokio::test]
async fn a_call_that_claims_to_be_nested_too_deep_is_refused() {
    let scene = bystander(&mem()).await;
    let text = method::<dyn Parser>("text");
    let deep = |number| Call { depth: 65, ..call(1, service("patient"), number, encoded(&"x")) };
    let error = refused(&scene, text, deep).await;
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Overloaded, Certainty::NotExecuted));
    scene.undisturbed().await;
}

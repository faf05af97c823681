//! Peers that a node dials and that turn out to be something else.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rmi::{Certainty, Endpoint, ErrorKind, Node, NodeId, ObjectId, Remote, RemoteError, remote};
use rmi_core::wire::{CallId, Codec, Descriptor, Hello, InterfacesNumber, Message, Outcome, Refusal, Reply, Slot};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use crate::{
    common::{Counter, Door, at_rest, client, counter, failure, mem, node, serve, soon},
    raw::{Raw, RawListener, encoded, hello},
};

const LEASE: Duration = Duration::from_secs(30);

/// Something that listens over TCP, says this to who connects, and reads on.
async fn says(bytes: impl Into<Vec<u8>>) -> (Endpoint, JoinHandle<()>) {
    let (bytes, listener) = (bytes.into(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let at = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let bytes = bytes.clone();
            tokio::spawn(async move {
                socket.read_u8().await.ok();
                socket.write_all(&bytes).await.ok();
                socket.read_to_end(&mut Vec::new()).await.ok();
            });
        }
    });
    (at, task)
}

/// The error of a call to it.
async fn error_at(at: Endpoint) -> RemoteError {
    let (client, server) = (client().await, node(&mem()).await);
    let total = serve(&server, &client, &counter());
    let there = Remote::<dyn Counter>::service(&client, at.clone(), "counter");
    let error = failure(soon(there.add(1)).await, "Counter.add");
    assert!(error.to_string().contains(&at.to_string()), "{error}");
    assert_eq!(error.certainty(), Certainty::NotSent, "{error:?}");
    soon(total.add(1)).await.unwrap();
    assert_eq!(client.stats().connections, 1, "only the server's");
    at_rest(&[&client]).await;
    error
}

#[tokio::test]
async fn a_web_server_is_told_by_what_it_says() {
    let (at, _web) = says("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let error = error_at(at).await;
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert!(error.message().contains("HTTP/1.1 400"), "{error}");
}

#[tokio::test]
async fn what_is_no_hello_is_an_error_of_the_protocol() {
    let tls: &[u8] = &[22, 3, 3, 0, 122, 2, 0, 0];
    let four_gib: &[u8] = &[0xff, 0xff, 0xff, 0xff, 1, 2, 3];
    let garbage: Vec<u8> = (0..5000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect();
    for bytes in [tls, four_gib, &garbage] {
        let (at, _peer) = says(bytes).await;
        let error = error_at(at).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
    let mut versions = BytesMut::new();
    Message::Hello(Hello { versions: (7, 9), ..hello(LEASE) }).encode_frame(&mut versions);
    let (at, _peer) = says(versions.to_vec()).await;
    let error = error_at(at).await;
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert!(error.message().contains("7 to 9"), "{error}");
}

#[tokio::test]
async fn a_peer_that_closes_at_once_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
    let task = tokio::spawn(async move {
        while let Ok(accepted) = listener.accept().await {
            drop(accepted)
        }
    });
    let error = error_at(at).await;
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    task.abort();
}

#[remote]
trait Oracle {
    async fn ask(&self) -> rmi::Result<String>;
    async fn door(&self) -> rmi::Result<Remote<dyn Door>>;
}

/// A client whose call of `ask` a hand-made peer has received.
struct Asked {
    client: Node,
    peer: Raw,
    call: CallId,
    asking: JoinHandle<rmi::Result<String>>,
    oracle: Remote<dyn Oracle>,
}

async fn asked() -> Asked {
    let listener = RawListener::at(&mem()).await;
    let client = client().await;
    let oracle = Remote::<dyn Oracle>::service(&client, listener.endpoint(), "oracle");
    let asking = ask(&oracle);
    let mut peer = listener.link(LEASE).await;
    let call = peer.next_call().await.id;
    Asked { client, peer, call, asking, oracle }
}

fn ask(oracle: &Remote<dyn Oracle>) -> JoinHandle<rmi::Result<String>> {
    let oracle = oracle.clone();
    tokio::spawn(async move { oracle.ask().await })
}

impl Asked {
    /// The error of the call.
    async fn fails(&mut self) -> RemoteError {
        failure(soon(&mut self.asking).await.unwrap(), "Oracle.ask")
    }

    /// The link goes on: the next call over it is answered.
    async fn goes_on(mut self) {
        let asking = ask(&self.oracle);
        let call = self.peer.next_call().await.id;
        self.peer.reply(call, encoded(&"42")).await;
        assert_eq!(soon(asking).await.unwrap().unwrap(), "42");
        assert_eq!(self.client.stats().connections, 1);
        at_rest(&[&self.client]).await;
    }

    /// The link is over.
    async fn over(mut self) {
        self.peer.is_closed().await;
        crate::common::gone(&[&self.client]).await;
    }
}

#[tokio::test]
async fn a_reply_to_a_call_never_made_ends_the_link_and_the_calls_on_it() {
    let mut asked = asked().await;
    asked.peer.reply(CallId(asked.call.0 + 1), encoded(&"42")).await;
    let error = asked.fails().await;
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Protocol, Certainty::Unknown), "{error}");
    assert!(error.message().contains("never made"), "{error}");
    asked.over().await;
}

#[tokio::test]
async fn a_second_reply_ends_the_link() {
    let mut asked = asked().await;
    asked.peer.reply(asked.call, encoded(&"42")).await;
    assert_eq!(soon(&mut asked.asking).await.unwrap().unwrap(), "42");
    asked.peer.reply(asked.call, encoded(&"43")).await;
    asked.over().await;
}

#[tokio::test]
async fn garbage_in_the_place_of_an_answer_ends_the_link_and_the_calls_on_it() {
    let frames: [&[u8]; 4] = [&[0xff; 40], b"HTTP/1.1 200 OK\r\n\r\n", &[1, 0, 0, 0, 77], &[0, 0, 0, 0, 0]];
    for bytes in frames {
        let mut asked = asked().await;
        asked.peer.write(bytes).await;
        let error = asked.fails().await;
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Protocol, Certainty::Unknown), "{error}");
        asked.over().await;
    }
}

#[tokio::test]
async fn a_peer_that_closes_with_a_call_in_flight_leaves_its_fate_unknown() {
    let mut asked = asked().await;
    // Half a reply.
    asked.peer.write(&[100, 0, 0, 0, 3, 0]).await;
    asked.peer.close();
    let error = asked.fails().await;
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::ConnectionLost, Certainty::Unknown), "{error}");
    asked.over().await;
}

#[tokio::test]
async fn a_result_that_cannot_be_decoded_is_that_calls_error_only() {
    let results: [&[u8]; 4] = [&[2, 0xff, 0xfe], &[], &[1, b'x', b'y'], &[0xff; 12]];
    for payload in results {
        let mut asked = asked().await;
        asked.peer.reply(asked.call, Bytes::copy_from_slice(payload)).await;
        let error = asked.fails().await;
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Unmarshal, Certainty::Executed), "{error}");
        asked.goes_on().await;
    }
}

#[tokio::test]
async fn an_error_of_an_unknown_kind_is_another_error_with_its_own_words() {
    let mut asked = asked().await;
    let plain = RemoteError::new(ErrorKind::AccessDenied, "not today").with_certainty(Certainty::NotExecuted);
    let mut body = BytesMut::new();
    Message::Refusal(Refusal { id: asked.call, error: plain }).encode_frame(&mut body);
    // The kind is the byte behind the length, the frame's kind and the call's id.
    body[6] = 99;
    asked.peer.write(&body).await;
    let error = asked.fails().await;
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Other, Certainty::NotExecuted), "{error}");
    assert!(error.message().contains("not today"), "{error}");
    asked.goes_on().await;
}

#[tokio::test]
async fn references_that_make_no_sense_are_that_calls_error_only() {
    let names = vec!["it.Counter".to_owned()];
    let listener = RawListener::at(&mem()).await;
    let client = client().await;
    let oracle = Remote::<dyn Oracle>::service(&client, listener.endpoint(), "oracle");
    let define = rmi_core::wire::Definition::Interfaces { number: InterfacesNumber(0), names };
    let mut peer = None;
    let mine = Descriptor::Mine {
        slot: Slot { index: 0, generation: 0 },
        object: ObjectId::random(),
        interfaces: InterfacesNumber(0),
    };
    // One of the wrong interface, one that the table does not have, and one that was never given.
    let forged = [vec![mine], vec![], vec![Descriptor::Yours(Slot { index: 4, generation: 2 })]];
    for references in forged {
        let asking = tokio::spawn({
            let oracle = oracle.clone();
            async move { oracle.door().await }
        });
        let peer = match &mut peer {
            Some(peer) => peer,
            None => {
                let link = peer.insert(listener.link(LEASE).await);
                link.send(&Message::Define(define.clone())).await;
                link
            }
        };
        let id = peer.next_call().await.id;
        let payload = encoded(&0u32);
        let reply = Reply { id, outcome: Outcome::Ok, codec: Codec::Postcard, references, payload: payload.into() };
        peer.send(&Message::Reply(reply)).await;
        let error = failure(soon(asking).await.unwrap(), "Oracle.door");
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Unmarshal, Certainty::Executed), "{error}");
        // What came with it is given back.
        at_rest(&[&client]).await;
    }
    assert_eq!(client.stats().connections, 1);
}

#[tokio::test]
async fn a_node_that_took_the_address_of_another_gets_no_object_id() {
    let listener = RawListener::at(&mem()).await;
    let giver = RawListener::at(&mem()).await;
    let client = client().await;
    let oracle = Remote::<dyn Oracle>::service(&client, giver.endpoint(), "oracle");
    let taking = tokio::spawn(async move { oracle.door().await });
    let mut peer = giver.link(LEASE).await;
    let id = peer.next_call().await.id;
    let names = vec!["it.Door".to_owned()];
    peer.send(&Message::Define(rmi_core::wire::Definition::Interfaces { number: InterfacesNumber(0), names })).await;
    let (object, owner) = (ObjectId::random(), NodeId::random());
    let third = Descriptor::Third {
        slot: Slot { index: 0, generation: 0 },
        object,
        interfaces: InterfacesNumber(0),
        owner,
        endpoints: vec![listener.endpoint()],
        route: vec![],
    };
    let payload = encoded(&0u32);
    let reply =
        Reply { id, outcome: Outcome::Ok, codec: Codec::Postcard, references: vec![third], payload: payload.into() };
    peer.send(&Message::Reply(reply)).await;
    let door = soon(taking).await.unwrap().unwrap();
    assert_eq!((Remote::node_id(&door), Remote::id(&door)), (Some(owner), object));

    let calling = tokio::spawn(async move { door.take().await.map(drop) });
    // The impostor answers as itself.
    let mut impostor = listener.link(LEASE).await;
    assert_eq!(impostor.peer.as_ref().unwrap().expected, Some(owner));
    impostor.is_closed().await;
    let error = failure(soon(calling).await.unwrap(), "Door.take");
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::NoSuchObject, Certainty::NotSent), "{error}");
}

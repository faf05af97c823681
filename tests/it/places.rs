//! More peers than there is room for: each is told so, keeps nobody else out, and gets in once there is room again.

use std::time::Duration;

use rmi::{
    Authenticator, Certainty, Credentials, Endpoint, ErrorKind, Limits, Node, Principal, Remote, RemoteError,
    async_trait,
};
use rmi_core::wire::{Hello, Message, Resume, Ticket};

use crate::{
    cable::Cable,
    common::{
        Board, Counter, Gate, Keeper, PATIENCE, Shelf, TCP, at_rest, client, counter, mem, node, soon, transports,
        until,
    },
    raw::{Raw, hello, method, service},
};

/// For how long what lost peers hold keeps others out.
const LEASE: Duration = Duration::from_millis(1500);

/// A node that serves a counter and a shelf to few.
async fn server(listen: &str, limits: Limits) -> Node {
    let server = Node::builder().listen(listen).limits(limits).lease(LEASE).start().await.unwrap();
    server.serve("counter", &counter());
    server.serve("shelf", &Remote::<dyn Shelf>::new(Board::default()));
    server
}

fn at(client: &Node, endpoint: &Endpoint) -> Remote<dyn Counter> {
    Remote::<dyn Counter>::service(client, endpoint.clone(), "counter")
}

/// A client that is connected.
async fn guest(endpoint: &Endpoint) -> Node {
    let guest = client().await;
    soon(at(&guest, endpoint).add(1)).await.unwrap();
    guest
}

/// What a client hears that is not let in.
async fn refused(endpoint: &Endpoint) -> RemoteError {
    let guest = client().await;
    let error = soon(at(&guest, endpoint).add(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Overloaded, Certainty::NotSent), "{error}");
    guest.shutdown().await;
    error
}

/// A client is let in, now or soon.
async fn let_in(endpoint: &Endpoint) -> Node {
    let guest = client().await;
    let there = at(&guest, endpoint);
    let served = async {
        while let Err(error) = there.add(1).await {
            assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon(served).await;
    guest
}

/// A peer that holds an object of the node.
async fn holder(server: &Node) -> Raw {
    holder_as(server, &hello(PATIENCE)).await
}

async fn holder_as(server: &Node, hello: &Hello) -> Raw {
    let mut peer = Raw::connect_as(server, hello).await;
    let make = peer.define(method::<dyn Shelf>("make")).await;
    peer.call(1, service("shelf"), make, vec![]).await;
    peer.next_answer().await;
    peer
}

#[tokio::test]
async fn a_node_takes_so_many_connections_and_more_once_some_have_ended() {
    for listen in transports() {
        let server = server(&listen, Limits { connections: 2, ..Limits::default() }).await;
        let there = server.endpoints()[0].clone();
        let (first, second) = (guest(&there).await, guest(&there).await);
        for _ in 0..20 {
            let error = refused(&there).await;
            let why = "it has 2 connections, as many as Limits::connections allows";
            assert!(error.to_string().contains(why) && error.peer().is_some(), "{error}");
        }
        first.shutdown().await;
        let third = let_in(&there).await;
        soon(at(&second, &there).add(1)).await.unwrap();
        refused(&there).await;
        // Whoever dials itself takes places too, but none of those that others are let in by.
        let other = node(&mem()).await;
        other.serve("counter", &counter());
        soon(at(&server, &other.endpoints()[0]).add(1)).await.unwrap();
        for node in [second, third, server, other] {
            node.shutdown().await;
        }
    }
}

#[tokio::test]
async fn a_place_is_free_however_its_connection_ends() {
    let server = server(TCP, Limits { connections: 1, ..Limits::default() }).await;
    let there = server.endpoints()[0].clone();
    for round in 0..6 {
        let mut peer = Raw::connect(&server).await;
        refused(&there).await;
        match round % 3 {
            // Without a word: the link could be taken up again, and nothing is held over it.
            0 => peer.close(),
            // By a broken rule.
            1 => {
                peer.write(&[0, 0, 0, 0]).await;
                peer.is_closed().await;
            }
            _ => drop(peer),
        }
        let_in(&there).await.shutdown().await;
        until("the place is free", || server.stats().connections == 0).await;
    }
    server.shutdown().await;
}

#[tokio::test]
async fn one_address_takes_so_many_connections_and_leaves_room_for_others() {
    let limits = Limits { connections_per_address: 1, ..Limits::default() };
    let other_way = mem();
    let server = Node::builder().listen(TCP).listen(&other_way).limits(limits).start().await.unwrap();
    server.serve("counter", &counter());
    let [over_ip, inside] = [0, 1].map(|at| server.endpoints()[at].clone());
    let first = guest(&over_ip).await;
    let error = refused(&over_ip).await;
    let why = "it has 1 connections from 127.0.0.1, as many as Limits::connections_per_address allows";
    assert!(error.to_string().contains(why), "{error}");
    let others = [guest(&inside).await, guest(&inside).await];
    first.shutdown().await;
    let again = let_in(&over_ip).await;
    refused(&over_ip).await;
    for node in others.into_iter().chain([again, server]) {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn silent_diallers_keep_nobody_out() {
    // Time makes no place in this story.
    let limits = Limits { handshakes: 4, connect_timeout: 10 * PATIENCE, ..Limits::default() };
    for listen in transports() {
        let server = server(&listen, limits.clone()).await;
        let there = server.endpoints()[0].clone();
        let mut silent = Vec::new();
        for number in 0..40 {
            silent.push(Raw::dial(&server).await);
            if number % 10 == 9 {
                guest(&there).await.shutdown().await;
            }
        }
        let mut newest = silent.split_off(37);
        for peer in &mut silent {
            peer.is_closed().await;
        }
        for peer in &mut newest {
            peer.greet(&hello(PATIENCE)).await;
        }
        until("those that were not too late are there", || server.stats().connections == 3).await;
        server.shutdown().await;
    }
}

#[tokio::test]
async fn silent_diallers_take_no_place_from_whom_the_authenticator_still_asks_about() {
    /// Asks somebody else, who takes his time.
    struct Asking(Keeper);

    #[async_trait]
    impl Authenticator for Asking {
        async fn authenticate(&self, shown: &Credentials<'_>) -> rmi::Result<Principal> {
            self.0.pass().await?;
            Ok(shown.principal().clone())
        }
    }

    // Time makes no place in this story.
    let limits = Limits { handshakes: 4, connect_timeout: 10 * PATIENCE, ..Limits::default() };
    for listen in transports() {
        let keeper = Keeper::shut();
        let server = Node::builder().listen(listen).limits(limits.clone()).authenticator(Asking(keeper.clone()));
        let server = server.start().await.unwrap();
        server.serve("counter", &counter());
        let patient = Node::builder().limits(limits.clone()).start().await.unwrap();
        let there = at(&patient, &server.endpoints()[0]);
        let call = tokio::spawn(async move { there.add(1).await });
        keeper.holds(1).await;
        let mut silent = Vec::new();
        for _ in 0..40 {
            silent.push(Raw::dial(&server).await);
        }
        let newest = silent.split_off(37);
        for peer in &mut silent {
            peer.is_closed().await;
        }
        keeper.open();
        assert_eq!(soon(call).await.unwrap().unwrap(), 1);
        drop(newest);
        server.shutdown().await;
    }
}

#[tokio::test]
async fn before_its_hello_a_peer_is_heard_for_a_frame_at_most() {
    // Nobody is closed for the time that it takes.
    let limits = Limits { connect_timeout: 10 * PATIENCE, ..Limits::default() };
    for listen in transports() {
        let server = server(&listen, limits.clone()).await;
        let beginnings: [(&str, &[u8]); 4] = [
            ("a call instead of a hello, before its body", &[0, 0, 1, 0, 2]),
            ("a hello longer than a frame", &[1, 0, 1, 0, 1]),
            ("a frame longer than any", &[0xff, 0xff, 0xff, 0x7f, 1]),
            ("bytes of some other protocol", b"GET /"),
        ];
        for (what, beginning) in beginnings {
            let mut peer = Raw::dial(&server).await;
            peer.write(beginning).await;
            let closed = peer.is_closed();
            assert!(tokio::time::timeout(PATIENCE, closed).await.is_ok(), "{what} is borne");
        }
        server.shutdown().await;
    }
}

#[tokio::test]
async fn what_lost_peers_hold_keeps_newcomers_out_until_their_lease_is_over() {
    let server = server(TCP, Limits { connections: 2, ..Limits::default() }).await;
    let there = server.endpoints()[0].clone();
    for peer in [holder(&server).await, holder(&server).await] {
        peer.close();
    }
    until("the links are lost", || server.stats().leases == 2).await;
    assert_eq!(server.stats().connections, 0);
    let why = "it keeps what was held by 2 lost peers, as many as Limits::connections allows";
    let error = refused(&there).await;
    assert!(error.to_string().contains(why), "{error}");
    let_in(&there).await.shutdown().await;
    assert!(server.stats().leases < 2);

    // Whoever breaks a rule is resumed no more; what it held is kept all the same.
    until("the leases are over", || server.stats().leases == 0).await;
    for mut peer in [holder(&server).await, holder(&server).await] {
        peer.write(&[0, 0, 0, 0]).await;
        peer.is_closed().await;
    }
    until("the links have ended", || server.stats().leases == 2).await;
    refused(&there).await;
    let_in(&there).await.shutdown().await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_lost_link_is_taken_up_once_there_is_a_place_again() {
    let server = Node::builder().listen(TCP).listen(mem()).limits(Limits { connections: 1, ..Limits::default() });
    let server = server.lease(PATIENCE).start().await.unwrap();
    server.serve("counter", &counter());
    server.serve("shelf", &Remote::<dyn Shelf>::new(Board::default()));
    let inside = server.endpoints()[1].clone();
    let cable = Cable::to(&server).await;
    let holder = Node::builder().lease(PATIENCE).start().await.unwrap();
    let held = soon(Remote::<dyn Shelf>::service(&holder, cable.endpoint(), "shelf").make()).await.unwrap();
    soon(held.add(1)).await.unwrap();
    cable.cut();
    until("the link is lost", || server.stats().leases == 1).await;
    // One lost peer is as many as there may be: the place is taken by who was there before the loss.
    refused(&inside).await;
    cable.mend();
    assert_eq!(soon(held.add(1)).await.unwrap(), 2);
    refused(&inside).await;
    drop(held);
    at_rest(&[&holder]).await;
    holder.shutdown().await;
    let_in(&inside).await.shutdown().await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_resumption_waits_for_a_place() {
    let server = server(&mem(), Limits { connections: 2, ..Limits::default() }).await;
    let me = hello(PATIENCE);
    let holder = holder_as(&server, &me).await;
    let Ticket { link, secret } = holder.peer.as_ref().unwrap().ticket.unwrap();
    holder.close();
    until("the link is lost", || server.stats().leases == 1).await;
    let there = server.endpoints()[0].clone();
    let others = [guest(&there).await, guest(&there).await];
    let resuming = Hello { resumes: true, ..me };
    let mut early = Raw::connect_as(&server, &resuming).await;
    early.send(&Message::Resume(Resume { link, secret, epoch: 1, received: 1 })).await;
    early.is_closed().await;
    assert_eq!(server.stats().leases, 1, "nothing is lost by it");
    let [one, other] = others;
    one.shutdown().await;
    until("there is a place", || server.stats().connections == 1).await;
    let mut late = Raw::connect_as(&server, &resuming).await;
    late.send(&Message::Resume(Resume { link, secret, epoch: 2, received: 1 })).await;
    let make = late.define(method::<dyn Shelf>("make")).await;
    late.call(2, service("shelf"), make, vec![]).await;
    late.next_answer().await;
    assert_eq!((server.stats().leases, server.stats().connections), (0, 2));
    refused(&there).await;
    late.close();
    other.shutdown().await;
    server.shutdown().await;
}

//! Networks that part again while a lost link is being taken up.

use std::{ops::Range, time::Duration};

use crate::{
    calls::{Meeting, partition, repair},
    common::until,
    hosts::server,
    ledger::Ledger,
    world::{LEASE, NOTICED, World, s, story},
};

/// Long enough for some of: a dial, a handshake, a resumption and its answer, the first calls.
const GLIMPSE: Range<Duration> = s(0.001)..s(0.12);

#[test]
fn a_network_that_parts_again_and_again_while_a_link_is_resumed_loses_nothing() {
    flaps(|world: &World| {
        repair();
        world.time(GLIMPSE)
    });
}

#[test]
fn the_same_where_only_the_way_to_the_server_comes_back() {
    flaps(|world: &World| {
        turmoil::repair_oneway("client", "server");
        world.time(GLIMPSE)
    });
}

#[test]
fn the_same_where_only_the_way_to_the_client_comes_back() {
    flaps(|world: &World| {
        turmoil::repair_oneway("server", "client");
        world.time(GLIMPSE)
    });
}

/// The acceptor has taken the link up, with a new secret, and the dialler does not hear of it: the next
/// resumption shows the old one.
#[test]
fn an_answer_to_a_resumption_that_is_lost_costs_nothing() {
    story(&[("server", server)], async |world| {
        let meeting = Meeting::new(world.clone()).await;
        partition();
        tokio::time::sleep(NOTICED).await;
        assert_eq!(meeting.server.node.stats().connections, 0);
        repair();
        until("the server has taken it up", || meeting.server.node.stats().connections == 1).await;
        partition();
        world.pass(s(0.0)..s(1.5)).await;
        assert_eq!(meeting.client.stats().connections, 0, "the answer has arrived");
        repair();
        until("the link is resumed", || meeting.client.stats().connections == 1).await;
        meeting.goes_on().await;
        meeting.end().await;
    });
}

/// The pauses between two dials must not have grown longer than what is left of the lease.
#[test]
fn a_network_that_is_mended_late_in_the_lease_is_in_time() {
    story(&[("server", server)], async |world| {
        for _ in 0..3 {
            let meeting = Meeting::new(world.clone()).await;
            let connections = || meeting.client.stats().connections + meeting.server.node.stats().connections;
            partition();
            until("both sides know", || connections() == 0).await;
            // One of them has known for a while, and its lease began then.
            world.pass(LEASE * 3 / 5..LEASE * 7 / 10).await;
            repair();
            until("the link is resumed", || connections() == 2).await;
            meeting.goes_on().await;
            meeting.end().await;
        }
    });
}

/// Parts the network, lets `glimpse` mend some of it for a time again and again, and mends it in the
/// end, all within the lease.
fn flaps(glimpse: impl Fn(&World) -> Duration + Copy + 'static) {
    story(&[("server", server)], move |world| async move {
        let meeting = Meeting::new(world.clone()).await;
        let mut ledger = Ledger::new(&meeting.counter);
        ledger.calls(5, s(0.02)).await;
        partition();
        ledger.calls(5, s(0.02)).await;
        tokio::time::sleep(NOTICED).await;
        for _ in 0..6 {
            ledger.calls(2, s(0.02)).await;
            tokio::time::sleep(glimpse(&world)).await;
            partition();
            world.pass(s(0.05)..s(0.25)).await;
        }
        repair();
        until("the link is resumed", || meeting.client.stats().connections == 1).await;
        ledger.settle().await;
        meeting.goes_on().await;
        meeting.end().await;
    });
}

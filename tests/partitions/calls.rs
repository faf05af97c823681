//! A client and a server that are parted while calls are under way.

use std::{sync::Weak, time::Duration};

use rmi::{Certainty, ErrorKind, Node, Remote};

use crate::{
    common::{Counter, Shelf, Tally, dropped, failure, pass, soon, until},
    hosts::{Furniture, gate_at, server, shelf_at},
    ledger::Ledger,
    world::{LEASE, NOTICED, World, at_rest, s, silent_node, story},
};

/// A client that holds an object of the server, which holds one of the client's.
pub(crate) struct Meeting {
    pub(crate) world: World,
    pub(crate) client: Node,
    pub(crate) server: Furniture,
    pub(crate) shelf: Remote<dyn Shelf>,
    pub(crate) counter: Remote<dyn Counter>,
    pub(crate) life: Weak<()>,
    /// The client's object, which only the server holds.
    pub(crate) given: Weak<()>,
}

impl Meeting {
    pub(crate) async fn new(world: World) -> Self {
        let server = world.at("server").await;
        let client = silent_node().await;
        let shelf = shelf_at("server", &client);
        let counter = soon(shelf.make()).await.unwrap();
        let life = server.board.made().pop().unwrap();
        let (mine, given) = Tally::mortal();
        soon(shelf.put(mine)).await.unwrap();
        Self { world, client, server, shelf, counter, life, given }
    }

    /// Nothing was lost: the references lead to the same objects, both ways, over the same link.
    pub(crate) async fn goes_on(&self) {
        assert_eq!((self.life.strong_count(), self.given.strong_count()), (1, 1), "an object was dropped");
        soon(self.counter.total()).await.expect("the client's reference works");
        soon(self.shelf.add(1)).await.expect("the callback works");
        assert_eq!((self.client.stats().connections, self.server.node.stats().connections), (1, 1));
    }

    /// What nobody holds any more is dropped at once, on both sides.
    pub(crate) async fn end(self) {
        soon(self.shelf.clear()).await.unwrap();
        drop(self.counter);
        dropped(&self.life).await;
        dropped(&self.given).await;
        at_rest(&[&self.server], &[&self.client], s(1.0)).await;
    }
}

pub(crate) fn partition() {
    turmoil::partition("client", "server");
}

pub(crate) fn repair() {
    turmoil::repair("client", "server");
}

#[test]
fn messages_held_up_for_a_while_cost_nothing_but_time() {
    story(&[("server", server)], async |world| {
        let meeting = Meeting::new(world).await;
        let mut ledger = Ledger::new(&meeting.counter);
        ledger.call();
        turmoil::hold("client", "server");
        ledger.calls(10, s(0.1)).await;
        turmoil::release("client", "server");
        assert_eq!(ledger.settle().await.ok, 11);
        meeting.goes_on().await;
        meeting.end().await;
    });
}

#[test]
fn a_call_under_way_when_the_network_parts_is_unknown_and_the_link_goes_on() {
    story(&[("server", server)], async |world| {
        let meeting = Meeting::new(world).await;
        let passing = pass(&gate_at("server", &meeting.client));
        meeting.server.keeper.holds(1).await;
        let mut ledger = Ledger::new(&meeting.counter);
        ledger.calls(3, s(0.05)).await;
        partition();
        ledger.calls(5, s(0.05)).await;
        // The server drops the handler of a caller who cannot be told.
        meeting.server.keeper.holds(0).await;
        meeting.world.pass(NOTICED..LEASE / 2).await;
        repair();
        let error = failure(soon(passing).await.unwrap(), "Gate.pass");
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::ConnectionLost, Certainty::Unknown), "{error}");
        assert_eq!(meeting.server.keeper.entered(), 1, "it is not sent again");
        until("the link is resumed", || meeting.client.stats().connections == 1).await;
        ledger.settle().await;
        meeting.goes_on().await;
        meeting.end().await;
    });
}

#[test]
fn chains_of_calls_go_on_through_a_partition_and_leave_nothing_behind() {
    story(&[("server", server)], async |world| {
        let meeting = Meeting::new(world.clone()).await;
        let mut chains = Vec::new();
        let mut begin = async |count| {
            for _ in 0..count {
                let add = Remote::pipelined(&meeting.shelf).make().add(3);
                chains.push(tokio::spawn(add));
                world.pass(s(0.02)..s(0.04)).await;
            }
        };
        begin(5).await;
        partition();
        begin(10).await;
        world.pass(NOTICED..LEASE / 2).await;
        repair();
        begin(5).await;
        let (mut ok, mut broken) = (0, 0);
        for chain in chains {
            match soon(chain).await.unwrap() {
                Ok(sum) => {
                    assert_eq!(sum, 3, "it ran once");
                    ok += 1;
                }
                // Its first call ended with the connection.
                Err(error) if error.kind() == ErrorKind::PromiseBroken => {
                    assert_eq!(error.certainty(), Certainty::NotExecuted, "{error}");
                    broken += 1;
                }
                Err(error) => {
                    assert_eq!(
                        (error.kind(), error.certainty()),
                        (ErrorKind::ConnectionLost, Certainty::Unknown),
                        "{error}"
                    );
                    broken += 1;
                }
            }
        }
        assert!(ok >= 10 && broken >= 1, "{ok} went well, {broken} did not");
        meeting.goes_on().await;
        meeting.end().await;
    });
}

#[test]
fn calls_go_on_through_a_partition_and_each_caller_is_told_the_truth() {
    story(&[("server", server)], async |world| {
        for hold in [false, true] {
            let meeting = Meeting::new(world.clone()).await;
            let mut ledger = Ledger::new(&meeting.counter);
            ledger.calls(5, s(0.03)).await;
            if hold {
                turmoil::hold("client", "server")
            } else {
                partition()
            }
            ledger.calls(20, meeting.world.time(s(0.13)..s(0.25))).await;
            if hold {
                turmoil::release("client", "server")
            } else {
                repair()
            }
            ledger.calls(5, s(0.03)).await;
            until("the link is resumed", || meeting.client.stats().connections == 1).await;
            let told = ledger.settle().await;
            assert!(told.ok >= 5, "{told:?}");
            meeting.goes_on().await;
            meeting.end().await;
        }
    });
}

#[test]
fn where_one_direction_is_cut_calls_are_told_the_truth_and_the_link_goes_on() {
    story(&[("server", server)], async |world| {
        for (from, to) in [("client", "server"), ("server", "client")] {
            let meeting = Meeting::new(world.clone()).await;
            let mut ledger = Ledger::new(&meeting.counter);
            ledger.calls(5, s(0.03)).await;
            turmoil::partition_oneway(from, to);
            ledger.calls(20, meeting.world.time(s(0.13)..s(0.2))).await;
            turmoil::repair_oneway(from, to);
            ledger.calls(5, s(0.03)).await;
            until("the link is resumed", || meeting.client.stats().connections == 1).await;
            ledger.settle().await;
            meeting.goes_on().await;
            meeting.end().await;
        }
    });
}

#[test]
fn a_partition_longer_than_the_lease_frees_everything_on_both_sides() {
    story(&[("server", server)], async |world| {
        let meeting = Meeting::new(world).await;
        let broken = tokio::spawn(Remote::broken(&meeting.counter));
        partition();
        tokio::time::sleep(LEASE).await;
        assert_eq!((meeting.life.strong_count(), meeting.given.strong_count()), (1, 1), "dropped within the lease");
        // Noticing takes a third of the lease, and then the lease runs.
        let freed = async {
            until("the server's object is dropped", || meeting.life.strong_count() == 0).await;
            until("the client's object is dropped", || meeting.given.strong_count() == 0).await;
        };
        assert!(tokio::time::timeout(LEASE, freed).await.is_ok(), "kept for more than two leases");
        at_rest(&[&meeting.server], &[&meeting.client], s(0.1)).await;
        let why = tokio::time::timeout(2 * LEASE, broken).await.expect("the holder is told").unwrap();
        assert_eq!(why.kind(), ErrorKind::ConnectionLost, "{why}");
        repair();
        let error = failure(soon(meeting.counter.total()).await, "Counter.total");
        assert_eq!(error.kind(), ErrorKind::NoSuchObject, "{error}");
        assert_ne!(error.certainty(), Certainty::Unknown, "{error}");
        soon(meeting.shelf.make()).await.expect("the service is there as ever");
    });
}

#[test]
fn where_one_direction_is_cut_for_longer_than_the_lease_everything_is_freed_too() {
    story(&[("server", server)], async |world| {
        for (from, to) in [("client", "server"), ("server", "client")] {
            let meeting = Meeting::new(world.clone()).await;
            turmoil::partition_oneway(from, to);
            tokio::time::sleep(2 * LEASE).await;
            at_rest(&[&meeting.server], &[&meeting.client], Duration::ZERO).await;
            turmoil::repair_oneway(from, to);
            soon(meeting.shelf.make()).await.expect("the service is there as ever");
        }
    });
}

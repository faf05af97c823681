//! A reference that one node gives another to an object of a third, while the network between them
//! parts.
//!
//! The client gives the host `holder` an object of the host `owner`. The holder's reference begins as
//! one held through the client (the pin), and becomes direct with the first call.

use std::{ops::Range, sync::Weak, time::Duration};

use rmi::{Node, Remote};

use crate::{
    common::{Counter, Shelf, dropped, soon},
    hosts::{Furniture, Software, server, shelf_at},
    world::{LEASE, NOTICED, World, at_rest, s, silent_node, story},
};

const HOSTS: [(&str, Software); 2] = [("owner", server), ("holder", server)];

const OWNER_AND_GIVER: [(&str, Software); 2] = [("owner", server), ("giver", server)];

/// The ways between the three, in each order in which two of them may part.
const PARTED: [[(&str, &str); 2]; 6] = {
    let (giving, owning, calling) = (("client", "holder"), ("client", "owner"), ("holder", "owner"));
    [[giving, calling], [calling, giving], [giving, owning], [owning, giving], [owning, calling], [calling, owning]]
};

/// Between the first parting and the second.
const BETWEEN: Range<Duration> = s(0.001)..s(1.5);

/// A hand-over.
struct HandOver {
    client: Node,
    owner: Furniture,
    holder: Furniture,
    /// The holder's, as the client sees it.
    shelf: Remote<dyn Shelf>,
    /// The client's own reference.
    counter: Option<Remote<dyn Counter>>,
    life: Weak<()>,
}

impl HandOver {
    /// The holder has received the reference.
    async fn new(world: &World) -> Self {
        let (owner, holder) = (world.at("owner").await, world.at("holder").await);
        let client = silent_node().await;
        let counter = soon(shelf_at("owner", &client).make()).await.unwrap();
        let life = owner.board.made().pop().unwrap();
        let shelf = shelf_at("holder", &client);
        soon(shelf.put(counter.clone())).await.unwrap();
        Self { client, owner, holder, shelf, counter: Some(counter), life }
    }

    /// The holder's reference is called; from then on it is direct.
    async fn call(&self) {
        soon(self.shelf.add(1)).await.expect("the holder calls the owner");
    }

    /// The same, once all links are there again.
    async fn call_in_the_end(&self) {
        let called = async {
            while self.shelf.add(1).await.is_err() {
                tokio::time::sleep(s(0.1)).await;
            }
        };
        assert!(tokio::time::timeout(LEASE, called).await.is_ok(), "the holder's reference is dead");
    }

    /// Once all links are there again, the hand-over works, and the client lets go.
    async fn hand_over_in_the_end(&mut self) {
        let counter = self.counter.take().expect("the client still has it");
        let handed = async {
            while self.shelf.put(counter.clone()).await.is_err() {
                tokio::time::sleep(s(0.1)).await;
            }
        };
        assert!(tokio::time::timeout(LEASE, handed).await.is_ok(), "nothing can be handed over");
    }

    fn lives(&self) {
        assert_eq!(self.life.strong_count(), 1, "dropped while it is held");
    }

    /// Once nobody holds the object any more, it is dropped, and nothing is left.
    async fn end(self) {
        soon(self.shelf.clear()).await.unwrap();
        drop(self.counter);
        dropped(&self.life).await;
        at_rest(&[&self.owner, &self.holder], &[&self.client], s(1.0)).await;
    }
}

/// What becomes of the way from one host to another.
type Change = fn(&'static str, &'static str);

const BOTH_DIRECTIONS: (Change, Change) = (turmoil::partition, turmoil::repair);
const ONE_DIRECTION: (Change, Change) = (turmoil::partition_oneway, turmoil::repair_oneway);
const THE_OTHER: (Change, Change) =
    (|from, to| turmoil::partition_oneway(to, from), |from, to| turmoil::repair_oneway(to, from));

/// Cuts two of the ways one after the other and mends them after less than a lease: the object lives,
/// and the holder can call it in the end.
async fn part(world: &World, called_before: bool, given_away: bool, (cut, mend): (Change, Change)) {
    for [first, second] in world.some(&PARTED, 2) {
        let mut over = HandOver::new(world).await;
        if called_before {
            over.call().await;
        }
        if given_away {
            over.counter = None;
        }
        cut(first.0, first.1);
        world.pass(BETWEEN).await;
        cut(second.0, second.1);
        world.pass(NOTICED..LEASE / 2).await;
        over.lives();
        mend(first.0, first.1);
        world.pass(s(0.001)..s(0.2)).await;
        mend(second.0, second.1);
        over.call_in_the_end().await;
        over.lives();
        over.end().await;
    }
}

#[test]
fn before_the_first_call_a_held_object_lives_through_any_two_partitions() {
    story(&HOSTS, async |world| part(&world, false, false, BOTH_DIRECTIONS).await);
}

#[test]
fn after_the_first_call_too() {
    story(&HOSTS, async |world| part(&world, true, false, BOTH_DIRECTIONS).await);
}

#[test]
fn before_the_first_call_also_where_its_giver_has_let_go() {
    story(&HOSTS, async |world| part(&world, false, true, BOTH_DIRECTIONS).await);
}

#[test]
fn after_the_first_call_also_where_its_giver_has_let_go() {
    story(&HOSTS, async |world| part(&world, true, true, BOTH_DIRECTIONS).await);
}

#[test]
fn also_where_one_direction_of_each_way_is_cut() {
    story(&HOSTS, async |world| {
        part(&world, false, true, ONE_DIRECTION).await;
        part(&world, true, true, THE_OTHER).await;
    });
}

/// The reference is still on its way, or the first call is.
#[test]
fn a_network_that_parts_within_a_hand_over_or_a_first_call_loses_nothing_and_keeps_nothing() {
    story(&HOSTS, async |world| {
        for (one, other) in [("client", "holder"), ("holder", "owner"), ("client", "owner")] {
            let mut over = HandOver::new(&world).await;
            soon(over.shelf.clear()).await.unwrap();
            let (shelf, counter) = (over.shelf.clone(), over.counter.clone().unwrap());
            let handing = tokio::spawn(async move {
                // Either may fail: whoever holds what, it must come right in the end.
                drop(shelf.put(counter).await);
                drop(shelf.add(1).await);
            });
            world.pass(s(0.001)..s(0.12)).await;
            turmoil::partition(one, other);
            world.pass(NOTICED..LEASE / 2).await;
            turmoil::repair(one, other);
            soon(handing).await.unwrap();
            over.lives();
            over.hand_over_in_the_end().await;
            over.call_in_the_end().await;
            over.lives();
            over.end().await;
        }
    });
}

#[test]
fn partitions_longer_than_the_lease_keep_no_object_whoever_was_to_hold_it() {
    story(&HOSTS, async |world| {
        for [first, second] in world.some(&PARTED, 3) {
            for called_before in [false, true] {
                let over = HandOver::new(&world).await;
                if called_before {
                    over.call().await;
                }
                turmoil::partition(first.0, first.1);
                world.pass(BETWEEN).await;
                turmoil::partition(second.0, second.1);
                tokio::time::sleep(2 * LEASE).await;
                turmoil::repair(first.0, first.1);
                turmoil::repair(second.0, second.1);
                // Who still reaches the owner over the third way may hold it on.
                soon(over.shelf.clear()).await.unwrap();
                let HandOver { counter, life, owner, holder, client, .. } = over;
                drop(counter);
                dropped(&life).await;
                at_rest(&[&owner, &holder], &[&client], s(1.0)).await;
            }
        }
    });
}

#[test]
fn an_object_lives_on_when_the_host_that_gave_it_has_crashed() {
    for called in [false, true] {
        story(&OWNER_AND_GIVER, move |world| async move {
            let (owner, giver) = (world.at("owner").await, world.at("giver").await);
            let client = silent_node().await;
            let shelf = shelf_at("giver", &client);
            // The giver gets it from the client, and makes it its own by a call.
            soon(shelf.put(soon(shelf_at("owner", &client).make()).await.unwrap())).await.unwrap();
            soon(shelf.add(1)).await.unwrap();
            let life = owner.board.made().pop().unwrap();
            let counter = soon(shelf.get()).await.unwrap().expect("it was put there");
            if called {
                soon(counter.total()).await.unwrap();
            }
            drop(giver);
            world.crash("giver", &["client", "owner"]).await;
            // Longer than the owner keeps what the giver held.
            tokio::time::sleep(3 * LEASE).await;
            assert_eq!(life.strong_count(), 1, "dropped while it is held");
            assert_eq!(soon(counter.total()).await.unwrap(), 1);
            drop(counter);
            dropped(&life).await;
            at_rest(&[&owner], &[&client], s(1.0)).await;
        });
    }
}

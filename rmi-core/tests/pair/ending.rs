//! The end of a link: closing, goodbye, silence, loss.

use std::time::Duration;

use rmi_core::{
    Certainty, ErrorKind, Limits, RemoteError,
    session::Counts,
    wire::{Kind, Message},
};

use crate::{
    object::Obj,
    pair::{A, B, LEASE, Pair, failed, refused, replied},
    side::Start,
};

fn lost() -> RemoteError {
    RemoteError::new(ErrorKind::ConnectionLost, "cut")
}

#[test]
fn a_closing_node_answers_what_it_took_and_tells_what_it_did_not() {
    let mut pair = Pair::with(Limits { calls: 3, ..Limits::default() });
    let taken = pair.start(A, Start::service().payload([1]));
    pair.send_all(A);
    let (object, alive) = Obj::new();
    let crossing = pair.start(A, Start::service().payload([2]).passing(&[&object]));
    drop(object);
    let large = pair.start(A, Start::service().payload(vec![3; 300_000]));
    pair.write(A, 100_000);
    let waiting = pair.start(A, Start::service().payload([4]));
    pair.b().session.close();
    pair.send_all(B);
    pair.run();
    assert!(pair.a().closing && !pair.sides[A].session.is_open());
    assert_eq!(failed(pair.a().poll(crossing)), (ErrorKind::Shutdown, Certainty::NotExecuted));
    assert_eq!(failed(pair.a().poll(large)), (ErrorKind::Shutdown, Certainty::NotSent));
    assert_eq!(failed(pair.a().poll(waiting)), (ErrorKind::Shutdown, Certainty::NotSent));
    assert!(alive.upgrade().is_none(), "references in a call that was not taken count, and are released");
    assert_eq!(refused(pair.try_start(A, Start::service())), (ErrorKind::Shutdown, Certainty::NotSent));
    assert!(!pair.sides[B].session.is_drained());
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"done", &[]);
    assert!(!pair.sides[B].session.is_drained(), "not written");
    pair.run();
    assert!(pair.sides[B].session.is_drained());
    assert_eq!(replied(pair.a().poll(taken)), b"done");
    assert_eq!(pair.arrived(), [1]);
    pair.check_empty();
}

#[test]
fn a_closing_node_does_not_take_a_call_whose_last_chunk_comes_late() {
    // The last chunk leaves before the notice arrives, and arrives after it was sent.
    let mut pair = Pair::new();
    let key = pair.start(A, Start::service().payload(vec![1; 300_000]));
    let behind = pair.start(A, Start::service().payload([2]));
    while pair.write(A, usize::MAX) > 0 {}
    pair.b().session.close();
    pair.run();
    assert_eq!(failed(pair.a().poll(key)), (ErrorKind::Shutdown, Certainty::NotExecuted));
    assert_eq!(failed(pair.a().poll(behind)), (ErrorKind::Shutdown, Certainty::NotExecuted));
    assert!(pair.arrived().is_empty());
    pair.check_empty();
}

#[test]
fn calls_behind_a_large_one_stay_unsent_when_the_peer_closes() {
    let mut pair = Pair::new();
    let keys = [300_000, 1, 1].map(|len| pair.start(A, Start::service().sized(1, len)));
    pair.b().session.close();
    pair.send_all(B);
    let heard = pair.b().heard.len();
    pair.run();
    for key in keys {
        assert_eq!(failed(pair.a().poll(key)), (ErrorKind::Shutdown, Certainty::NotSent));
    }
    let calls = pair.b().heard[heard..].iter().filter(|message| matches!(message, Message::Call(_))).count();
    assert_eq!(calls, 0);
    pair.check_empty();
}

#[test]
fn acquires_count_among_the_calls_that_a_closing_node_took() {
    let mut pair = Pair::new();
    let (object, _alive) = Obj::new();
    pair.b().exported.insert(&object);
    let first = pair.sides[A].session.start_acquire(pair.now, object.id(), None).unwrap();
    let taken = pair.start(A, Start::service());
    pair.send_all(A);
    let late = pair.sides[A].session.start_acquire(pair.now, object.id(), None).unwrap();
    pair.b().session.close();
    pair.run();
    assert_eq!(failed(pair.a().poll(late)), (ErrorKind::Shutdown, Certainty::NotExecuted));
    assert!(pair.a().poll(first).is_some());
    assert!(pair.a().poll(taken).is_none(), "taken");
    let refused = pair.sides[A].session.start_acquire(pair.now, object.id(), None).unwrap_err();
    assert_eq!(refused.certainty(), Certainty::NotSent);
}

#[test]
fn a_closing_node_still_makes_the_calls_that_its_handlers_need() {
    let mut pair = Pair::new();
    let outer = pair.start(A, Start::service().payload([1]));
    pair.run();
    pair.b().session.close();
    let nested = pair.start(B, Start::service().payload([2]).depth(1));
    pair.run();
    let call = pair.a().take_call();
    pair.a().reply(call.id, b"inner", &[]);
    pair.run();
    assert_eq!(replied(pair.b().poll(nested)), b"inner");
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"outer", &[]);
    pair.run();
    assert_eq!(replied(pair.a().poll(outer)), b"outer");
    pair.check_empty();
}

#[test]
fn two_nodes_that_close_at_once_end_each_others_calls() {
    let mut pair = Pair::new();
    let keys = [A, B].map(|side| pair.start(side, Start::service()));
    for side in &mut pair.sides {
        side.session.close();
    }
    pair.run();
    for side in [A, B] {
        let ended = pair.sides[side].poll(keys[side]);
        assert_eq!(failed(ended), (ErrorKind::Shutdown, Certainty::NotExecuted));
        assert!(pair.sides[side].session.is_drained());
    }
    pair.check_empty();
}

#[test]
fn goodbye_releases_everything_at_once() {
    let mut pair = Pair::new();
    let (object, alive) = Obj::new();
    let held = pair.give(A, &object);
    drop(object);
    pair.b().session.goodbye("shutdown");
    pair.run();
    assert_eq!(pair.a().goodbye.as_deref(), Some("shutdown"));
    assert!(alive.upgrade().is_none());
    assert_eq!(pair.counts()[A].exports, 0);
    assert_eq!(refused(pair.try_start(A, Start::service())), (ErrorKind::ConnectionLost, Certainty::NotSent));
    let left = pair.a().session.lose(&lost());
    assert!(left.given.is_empty());
    drop(held);
    pair.b().carry_out();
    pair.b().session.lose(&lost());
    pair.check_empty();
}

#[test]
fn goodbye_is_the_last_word() {
    let mut pair = Pair::with(Limits { calls: 2, ..Limits::default() });
    let (object, _alive) = Obj::new();
    let held = pair.give(A, &object);
    let answered = pair.start(B, Start::service());
    pair.start(B, Start::service().sized(2, 300_000).in_order_of(2));
    let waiting = pair.start(B, Start::service());
    pair.write(B, 100_000);
    pair.deliver(B, usize::MAX);
    let call = pair.a().take_call();
    pair.a().reply(call.id, b"", &[]);
    let served = pair.start(A, Start::service());
    let now = pair.now + LEASE / 6;
    pair.a().session.handle_timeout(now).unwrap();
    pair.b().session.goodbye("gone");
    // What still arrives, and what its node still does, is answered by silence.
    pair.send_all(A);
    drop(held);
    pair.b().carry_out();
    pair.cancel(B, answered);
    let call = pair.b().calls.pop();
    assert!(call.is_none(), "a call that arrives after goodbye is not taken");
    let now = pair.now + LEASE / 6;
    pair.b().session.handle_timeout(now).unwrap();
    pair.send_all(B);
    let last = pair.a().heard.last().map(Message::kind);
    assert_eq!(last, Some(Kind::Goodbye));
    assert!(!pair.sides[B].session.has_output());
    assert!(pair.a().poll(served).is_none());
    pair.b().session.lose(&lost());
    assert_eq!(failed(pair.b().poll(waiting)), (ErrorKind::ConnectionLost, Certainty::NotSent));
}

#[test]
fn a_silent_peer_is_asked_after_a_sixth_of_the_lease_and_lost_after_a_third() {
    let mut pair = Pair::new();
    assert_eq!(pair.a().session.next_timeout(), pair.now + LEASE / 6);
    pair.pass_time(LEASE / 6 - Duration::from_millis(1));
    assert!(!pair.sides[A].session.has_output());
    pair.pass_time(Duration::from_millis(1));
    pair.write(A, usize::MAX);
    pair.networks[A].cut();
    assert_eq!(pair.a().session.next_timeout(), pair.now + LEASE / 6);
    let [a, _] = pair.try_pass_time(LEASE / 6);
    assert_eq!(a.unwrap_err().kind(), ErrorKind::ConnectionLost);
}

#[test]
fn a_peer_that_answers_pings_is_never_lost() {
    let mut pair = Pair::new();
    for _ in 0..20 {
        pair.pass_time(LEASE / 6);
        pair.run();
    }
    assert!(pair.a().heard.iter().any(|message| matches!(message, Message::Pong(_))));
}

#[test]
fn a_peer_from_which_anything_arrives_is_not_lost() {
    let mut pair = Pair::new();
    pair.start(B, Start::service().sized(1, 1_000_000));
    while pair.write(B, usize::MAX) > 0 {}
    for _ in 0..14 {
        pair.deliver(B, 70_000);
        let now = pair.now;
        pair.a().session.handle_timeout(now).unwrap();
        pair.advance(LEASE / 4);
    }
    assert_eq!(pair.a().calls.len(), 0);
    pair.deliver(B, usize::MAX);
    assert_eq!(pair.a().calls.len(), 1);
}

#[test]
fn a_lost_link_ends_every_call_by_what_is_known_of_it() {
    let mut pair = Pair::with(Limits { calls: 3, ..Limits::default() });
    let sent = pair.start(A, Start::service());
    pair.run();
    let (passed, alive) = Obj::new();
    let large = pair.start(A, Start::service().sized(1, 300_000).passing(&[&passed]));
    let behind = pair.start(A, Start::service().sized(1, 1).passing(&[&passed]));
    let waiting = pair.start(A, Start::service().passing(&[&passed]));
    drop(passed);
    pair.write(A, 100_000);
    let left = pair.a().session.lose(&lost());
    pair.a().carry_out();
    assert_eq!(failed(pair.a().poll(sent)), (ErrorKind::ConnectionLost, Certainty::Unknown));
    for key in [large, behind, waiting] {
        assert_eq!(failed(pair.a().poll(key)), (ErrorKind::ConnectionLost, Certainty::NotSent));
    }
    assert!(left.given.is_empty(), "what never arrived is not given");
    drop(left);
    assert!(alive.upgrade().is_none());
    assert_eq!(pair.counts()[A], Counts::default());
    assert!(!pair.sides[A].session.has_output());
}

#[test]
fn a_lost_link_hands_over_what_the_peer_holds_and_drops_its_handlers() {
    let mut pair = Pair::new();
    let (object, alive) = Obj::new();
    let held = pair.give(A, &object);
    drop(object);
    let to_home = pair.start(B, Start::service().sized(1, 300_000).passing(&[&held]));
    pair.start(B, Start::of(&held));
    pair.run();
    let left = pair.a().session.lose(&lost());
    assert_eq!((left.serving.len(), left.given.len()), (2, 1));
    let call = pair.a().take_call();
    pair.a().reply(call.id, b"too late", &[&Obj::new().0]);
    drop(call);
    drop(pair.a().take_call());
    assert!(!pair.sides[A].session.has_output());
    assert!(alive.upgrade().is_some(), "kept for the lease");
    drop(left);
    assert!(alive.upgrade().is_none());
    assert_eq!(pair.counts()[A], Counts::default());
    pair.b().session.lose(&lost());
    failed(pair.b().poll(to_home));
}

#[test]
fn a_lost_link_holds_nothing_of_the_peer() {
    let mut pair = Pair::new();
    let (object, _alive) = Obj::new();
    let held = pair.give(A, &object);
    let going = pair.start(B, Start::service().sized(1, 300_000).passing(&[&held]));
    drop(held);
    pair.b().carry_out();
    pair.b().session.lose(&lost());
    pair.b().carry_out();
    failed(pair.b().poll(going));
    assert_eq!(pair.counts()[B], Counts::default());
    assert!(!pair.sides[B].session.has_output());
}

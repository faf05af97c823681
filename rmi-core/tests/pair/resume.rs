//! A link whose connection is lost, and which is taken up again.

use rmi_core::{
    Certainty, ErrorKind, Limits,
    session::{Counts, ReferenceCounts},
    wire::{Message, Secret},
};

use crate::{
    object::Obj,
    pair::{A, B, Pair, SECOND, failed, replied},
    side::Start,
};

/// How a call ended whose connection was lost.
fn lost(certainty: Certainty) -> (ErrorKind, Certainty) {
    (ErrorKind::ConnectionLost, certainty)
}

#[test]
fn references_outlive_the_connection_in_both_directions() {
    let mut pair = Pair::new();
    let (object, _alive) = Obj::new();
    let (callback, called_back) = Obj::new();
    let held = pair.give(B, &object);
    let held_callback = pair.give(A, &callback);
    drop(callback);
    pair.lose(true);
    assert!(called_back.upgrade().is_some());
    pair.resume();
    let key = pair.start(A, Start::of(&held).payload([1]));
    let back = pair.start(B, Start::of(&held_callback).payload([2]));
    pair.run();
    assert!(pair.b().take_call().object.unwrap().is_same(&object));
    let call = pair.a().take_call();
    pair.a().reply(call.id, b"back", &[]);
    pair.run();
    assert_eq!(replied(pair.b().poll(back)), b"back");
    pair.cancel(A, key);
    drop((held_callback, call));
    pair.b().carry_out();
    pair.run();
    assert!(called_back.upgrade().is_none(), "the count is right");
    pair.check_agreement();
}

#[test]
fn each_call_in_flight_ends_by_what_is_true_of_it() {
    let mut pair = Pair::with(Limits { calls: 3, ..Limits::default() });
    let arrived = pair.start(A, Start::service().payload([1]));
    pair.send_all(A);
    let on_its_way = pair.start(A, Start::service().payload([2]));
    pair.write(A, usize::MAX);
    let half_sent = pair.start(A, Start::service().sized(3, 300_000));
    pair.write(A, 70_000);
    let waiting = pair.start(A, Start::service().payload([4]));
    pair.lose(true);
    assert_eq!(failed(pair.a().poll(half_sent)), lost(Certainty::NotSent));
    assert!(pair.a().poll(arrived).is_none() && pair.a().poll(on_its_way).is_none(), "nobody knows yet");
    let late = pair.start(A, Start::service().payload([5]));
    pair.resume();
    assert_eq!(failed(pair.a().poll(arrived)), lost(Certainty::Unknown));
    assert_eq!(failed(pair.a().poll(on_its_way)), lost(Certainty::NotExecuted));
    pair.run();
    assert_eq!(pair.arrived(), [1, 4, 5], "what waited goes, in order");
    for key in [waiting, late] {
        let call = pair.b().take_call();
        pair.b().reply(call.id, b"", &[]);
        pair.run();
        replied(pair.a().poll(key));
    }
    pair.check_empty();
}

#[test]
fn references_in_messages_that_never_arrived_are_uncounted() {
    let mut pair = Pair::new();
    let (in_call, call_alive) = Obj::new();
    let (in_reply, reply_alive) = Obj::new();
    let asked = pair.start(A, Start::service());
    pair.run();
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"", &[&in_reply]);
    pair.write(B, usize::MAX);
    let passing = pair.start(A, Start::service().passing(&[&in_call]));
    pair.write(A, 9);
    drop((in_call, in_reply));
    pair.lose(true);
    assert!(call_alive.upgrade().is_some() && reply_alive.upgrade().is_some(), "it is not known yet");
    pair.resume();
    assert!(call_alive.upgrade().is_none() && reply_alive.upgrade().is_none());
    assert_eq!(failed(pair.a().poll(asked)), lost(Certainty::Unknown));
    assert_eq!(failed(pair.a().poll(passing)), lost(Certainty::NotExecuted));
    pair.run();
    pair.check_agreement();
    pair.check_empty();
}

#[test]
fn a_release_that_was_lost_or_made_meanwhile_is_sent_again_and_counts_once() {
    for made_meanwhile in [false, true] {
        let mut pair = Pair::new();
        let (object, alive) = Obj::new();
        let held = pair.give(B, &object);
        drop(object);
        if made_meanwhile {
            pair.lose(true);
            drop(held);
            pair.a().carry_out();
        } else {
            drop(held);
            pair.a().carry_out();
            pair.write(A, usize::MAX);
            pair.lose(true);
        }
        assert!(alive.upgrade().is_some());
        pair.resume();
        pair.run();
        assert!(alive.upgrade().is_none());
        pair.check_empty();
    }
}

#[test]
fn a_release_that_had_arrived_is_not_sent_again() {
    let mut pair = Pair::new();
    let (object, _alive) = Obj::new();
    let held = pair.give(B, &object);
    drop(held);
    pair.a().carry_out();
    pair.run();
    pair.lose(true);
    let heard = pair.sides[B].heard.len();
    pair.resume();
    pair.run();
    assert!(!pair.sides[B].heard[heard..].iter().any(|message| matches!(message, Message::Release(_))));
    // The slot is given anew, and what is late of the old one would have met it.
    let again = pair.give(B, &object);
    assert_eq!(pair.sides[B].session.reference_counts(), ReferenceCounts { given: 1, held: 0 });
    drop(again);
    pair.a().carry_out();
    pair.run();
    pair.check_empty();
}

#[test]
fn the_answer_to_a_resumption_may_be_lost_too() {
    let mut pair = Pair::new();
    let (object, _alive) = Obj::new();
    let held = pair.give(B, &object);
    pair.lose(false);
    for _ in 0..3 {
        assert!(!pair.try_resume(true), "B goes on, and A does not know");
    }
    pair.resume();
    let key = pair.start(A, Start::of(&held));
    pair.run();
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"there", &[]);
    pair.run();
    assert_eq!(replied(pair.a().poll(key)), b"there");
}

#[test]
fn only_the_holder_of_the_secret_resumes_and_only_at_a_higher_epoch() {
    let mut pair = Pair::new();
    let (object, _alive) = Obj::new();
    let _held = pair.give(B, &object);
    pair.lose(true);
    let first = pair.a().session.start_resume().unwrap();
    let guessed = rmi_core::wire::Resume { secret: Secret::random(), ..first };
    pair.sides[B].session.check_resume(&guessed).unwrap_err();
    pair.resume();
    pair.run();
    pair.sides[B].session.check_resume(&first).expect_err("an attempt that was overtaken");
    pair.lose(true);
    let old_secret = rmi_core::wire::Resume { epoch: 99, ..first };
    pair.sides[B].session.check_resume(&old_secret).expect_err("the secret has rotated");
    let next = pair.a().session.start_resume().unwrap();
    pair.sides[B].session.check_resume(&next).unwrap();
    assert!(pair.b().session.start_resume().is_none(), "the side that dialled resumes");
}

#[test]
fn calls_wait_for_a_connection_and_then_fail_unsent() {
    let mut pair = Pair::new();
    let (object, _alive) = Obj::new();
    let held = pair.give(B, &object);
    let in_flight = pair.start(A, Start::of(&held));
    pair.send_all(A);
    pair.lose(true);
    let now = pair.now;
    let hasty = pair.start(A, Start::of(&held).until(now + SECOND));
    let patient = pair.start(A, Start::of(&held).until(now + 60 * SECOND));
    pair.pass_time(SECOND);
    assert_eq!(failed(pair.a().poll(hasty)), (ErrorKind::DeadlineExceeded, Certainty::NotSent));
    assert!(pair.a().poll(patient).is_none() && pair.a().poll(in_flight).is_none());
    pair.pass_time(4 * SECOND);
    assert_eq!(failed(pair.a().poll(patient)), (ErrorKind::Unreachable, Certainty::NotSent));
    assert_eq!(failed(pair.a().poll(in_flight)), lost(Certainty::Unknown));
    pair.resume();
    pair.run();
    assert_eq!(pair.arrived().len(), 1, "only the call that was in flight");
}

#[test]
fn a_call_cancelled_meanwhile_is_never_sent() {
    let mut pair = Pair::new();
    let (object, alive) = Obj::new();
    let in_flight = pair.start(A, Start::service().payload([1]));
    pair.send_all(A);
    pair.lose(true);
    let waiting = pair.start(A, Start::service().payload([2]).passing(&[&object]));
    drop(object);
    pair.cancel(A, waiting);
    pair.cancel(A, in_flight);
    assert!(alive.upgrade().is_none());
    assert_eq!(pair.counts(), [Counts::default(); 2]);
    pair.resume();
    pair.run();
    assert_eq!(pair.arrived(), [1]);
    pair.check_empty();
}

#[test]
fn what_was_unexported_meanwhile_is_told() {
    let mut pair = Pair::new();
    let (object, alive) = Obj::new();
    let held = pair.give(B, &object);
    let id = object.id();
    drop(object);
    pair.lose(true);
    let (dead, _) = Obj::new();
    pair.b().session.unexport(&id, dead);
    pair.b().carry_out();
    assert!(alive.upgrade().is_none());
    pair.resume();
    pair.run();
    assert_eq!(pair.a().revoked, 1);
    assert!(pair.sides[A].session.is_revoked(held.slot()));
    drop(held);
    pair.a().carry_out();
    pair.run();
    pair.check_empty();
}

#[test]
fn acks_keep_the_log_short_and_quiet_links_forget_it_all() {
    let mut pair = Pair::new();
    let (object, _alive) = Obj::new();
    let mut longest = 0;
    for _ in 0..1000 {
        drop(pair.give(B, &object));
        pair.a().carry_out();
        pair.run();
        longest = longest.max(pair.sides.iter().map(|side| side.session.unacknowledged()).max().unwrap());
    }
    assert!(longest <= 128, "{longest}");
    pair.pass_time(5 * SECOND);
    pair.run();
    assert_eq!(pair.sides.each_ref().map(|side| side.session.unacknowledged()), [0, 0]);
}

#[test]
fn byte_credit_of_a_lost_connection_is_not_given_back_over_the_next() {
    let mut pair = Pair::with(Limits { call_bytes: 1000, ..Limits::default() });
    pair.start(A, Start::service().sized(1, 900));
    pair.run();
    let old = std::mem::take(&mut pair.b().calls[0].cost);
    let (object, _alive) = Obj::new();
    let _held = pair.give(B, &object);
    pair.lose(true);
    pair.resume();
    pair.run();
    pair.b().session.let_go(old);
    assert!(!pair.sides[B].session.has_output(), "nothing to give back");
    pair.start(A, Start::service().sized(2, 900));
    pair.run();
    assert_eq!(pair.arrived().last(), Some(&2), "the next connection begins with its whole window");
}

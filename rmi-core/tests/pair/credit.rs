//! Credit: how many calls and bytes go, and what waits.

use rmi_core::{Certainty, ErrorKind, Limits, session::Answer, wire::Message};

use crate::{
    object::Obj,
    pair::{A, Pair, SECOND, failed, refused, replied},
    side::{PULL, Start},
};

fn calls(calls: u32) -> Limits {
    Limits { calls, ..Limits::default() }
}

/// Answers the first call that arrived.
fn answer_one(pair: &mut Pair) {
    let call = pair.b().take_call();
    pair.b().reply(call.id, &call.payload[..1], &[]);
    pair.run();
}

#[test]
fn calls_wait_in_order_and_go_as_answers_come() {
    let mut pair = Pair::with(calls(2));
    let keys: Vec<_> = (0..5).map(|tag| pair.start(A, Start::service().payload([tag]))).collect();
    pair.run();
    for answered in 0..5 {
        assert_eq!(pair.arrived().len(), (answered + 2).min(5));
        answer_one(&mut pair);
    }
    assert_eq!(pair.arrived(), [0, 1, 2, 3, 4]);
    for (tag, key) in keys.into_iter().enumerate() {
        assert_eq!(replied(pair.a().poll(key)), [tag as u8]);
    }
    pair.check_empty();
}

#[test]
fn a_later_call_does_not_pass_one_that_waits_for_bytes() {
    let mut pair = Pair::with(Limits { call_bytes: 100, ..Limits::default() });
    for (tag, len) in [(1, 60), (2, 50), (3, 1)] {
        pair.start(A, Start::service().sized(tag, len));
    }
    pair.run();
    assert_eq!(pair.arrived().len(), 1);
    answer_one(&mut pair);
    assert_eq!(pair.arrived().len(), 3);
}

#[test]
fn a_nested_call_without_credit_is_refused_at_once() {
    let mut pair = Pair::with(calls(1));
    let first = pair.start(A, Start::service());
    let (passed, alive) = Obj::new();
    let nested = Start::service().depth(1).passing(&[&passed]);
    drop(passed);
    assert_eq!(refused(pair.try_start(A, nested)), (ErrorKind::Overloaded, Certainty::NotSent));
    assert!(alive.upgrade().is_none(), "what it passed is let go of");
    pair.run();
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"", &[]);
    pair.run();
    replied(pair.a().poll(first));
    pair.start(A, Start::service().depth(1));
}

#[test]
fn calls_that_ended_while_waiting_are_in_nobodys_way() {
    let mut pair = Pair::with(Limits { call_bytes: 100, waiting_calls: 1, ..Limits::default() });
    pair.start(A, Start::service().sized(1, 60));
    let waiting = pair.start(A, Start::service().sized(2, 60));
    pair.cancel(A, waiting);
    // There is credit for a small one.
    pair.start(A, Start::service().sized(3, 10).depth(1));
    let waiting = pair.start(A, Start::service().sized(4, 60).until(pair.now + SECOND));
    pair.pass_time(SECOND);
    assert_eq!(failed(pair.a().poll(waiting)), (ErrorKind::DeadlineExceeded, Certainty::NotSent));
    pair.start(A, Start::service().sized(5, 10).depth(1));
    pair.run();
    assert_eq!(pair.arrived().len(), 3);
}

#[test]
fn who_waited_behind_a_cancelled_call_goes_when_it_may() {
    let mut pair = Pair::with(Limits { call_bytes: 100, ..Limits::default() });
    pair.start(A, Start::service().sized(1, 60));
    let large = pair.start(A, Start::service().sized(2, 60));
    pair.start(A, Start::service().sized(3, 10));
    pair.run();
    assert_eq!(pair.arrived().len(), 1);
    pair.cancel(A, large);
    pair.run();
    assert_eq!(pair.arrived().len(), 2);
}

#[test]
fn who_waited_behind_an_expired_call_goes_when_it_may() {
    let mut pair = Pair::with(Limits { call_bytes: 100, ..Limits::default() });
    pair.start(A, Start::service().sized(1, 60));
    pair.start(A, Start::service().sized(2, 60).until(pair.now + SECOND));
    pair.start(A, Start::service().sized(3, 10));
    pair.run();
    pair.pass_time(SECOND);
    pair.run();
    assert_eq!(pair.arrived().len(), 2);
}

#[test]
fn more_calls_than_may_wait_are_overload() {
    let mut pair = Pair::with(Limits { waiting_calls: 2, ..calls(1) });
    let keys: Vec<_> = (0..3).map(|tag| pair.start(A, Start::service().payload([tag]))).collect();
    let refusal = refused(pair.try_start(A, Start::service()));
    assert_eq!(refusal, (ErrorKind::Overloaded, Certainty::NotSent));
    pair.cancel(A, keys[1]);
    pair.start(A, Start::service());
    refused(pair.try_start(A, Start::service()));
    pair.run();
    answer_one(&mut pair);
    pair.start(A, Start::service());
    refused(pair.try_start(A, Start::service()));
}

#[test]
fn bytes_come_back_when_they_are_let_go_of_not_when_answered() {
    let mut pair = Pair::with(Limits { call_bytes: 1000, ..Limits::default() });
    pair.start(A, Start::service().sized(1, 700));
    pair.start(A, Start::service().sized(2, 700));
    pair.run();
    let call = pair.b().calls.remove(0);
    pair.b().reply(call.id, b"", &[]);
    pair.run();
    assert_eq!(pair.arrived().len(), 1, "answered, and its bytes are held");
    pair.b().session.let_go(call.cost);
    pair.run();
    assert_eq!(pair.arrived().len(), 2);
    assert!(pair.a().heard.iter().any(|message| matches!(message, Message::Credit(credit) if credit.bytes == 700)));
}

#[test]
fn small_calls_go_beside_one_larger_than_the_window_and_no_second_one_does() {
    let mut pair = Pair::with(Limits { call_bytes: 100, ..Limits::default() });
    let large = |tag| Start::service().sized(tag, 300_000).in_order_of(tag);
    pair.start(A, large(1));
    pair.write(A, 100_000);
    let small = pair.start(A, Start::service().sized(2, 20).in_order_of(2));
    pair.write(A, 100_000);
    pair.deliver(A, usize::MAX);
    assert_eq!(pair.arrived(), [2], "long before the large one");
    answer_one(&mut pair);
    replied(pair.a().poll(small));
    pair.start(A, large(3));
    pair.run();
    assert_eq!(pair.arrived(), [2, 1]);
    answer_one(&mut pair);
    assert_eq!(pair.arrived(), [2, 1, 3]);
}

#[test]
fn a_call_taken_out_of_the_outbox_gives_its_credit_to_who_waits() {
    let mut pair = Pair::with(calls(1));
    let large = pair.start(A, Start::service().sized(1, 300_000));
    let waiting = pair.start(A, Start::service().sized(2, 1));
    pair.write(A, 100_000);
    pair.cancel(A, large);
    pair.run();
    assert_eq!(pair.arrived(), [2]);
    answer_one(&mut pair);
    replied(pair.a().poll(waiting));
    pair.check_empty();
}

#[test]
fn a_call_that_expires_in_the_outbox_gives_its_credit_to_who_waits() {
    let mut pair = Pair::with(calls(1));
    let large = pair.start(A, Start::service().sized(1, 300_000).until(pair.now + SECOND));
    pair.start(A, Start::service().sized(2, 1));
    pair.write(A, 100_000);
    pair.pass_time(SECOND);
    pair.run();
    assert_eq!(failed(pair.a().poll(large)), (ErrorKind::DeadlineExceeded, Certainty::NotSent));
    assert_eq!(pair.arrived(), [2]);
}

#[test]
fn pulls_of_streams_wait_beside_calls_and_take_nothing_of_theirs() {
    let mut pair = Pair::with(calls(1));
    let pull = |tag| Start { method: PULL, ..Start::service() }.payload([tag]);
    let pulls: Vec<_> = (1..4).map(|tag| pair.start(A, pull(tag))).collect();
    pair.start(A, Start::service().payload([4]));
    pair.start(A, Start::service().payload([5]));
    // One that is nested does not fail for want of credit either.
    let nested = pair.start(A, pull(6).depth(1));
    pair.run();
    assert_eq!(pair.arrived(), [1, 2, 3, 4, 6], "the second call waits for the first");
    answer_one(&mut pair);
    assert_eq!(replied(pair.a().poll(pulls[0])), [1]);
    assert_eq!(pair.arrived().len(), 5, "the answer of a pull gives no credit for a call");
    let call = pair.b().take_nth_call(2);
    assert_eq!(call.payload[..], [4]);
    pair.b().reply(call.id, b"", &[]);
    pair.run();
    assert_eq!(pair.arrived().last(), Some(&5));
    for _ in 0..4 {
        answer_one(&mut pair);
    }
    assert_eq!(replied(pair.a().poll(nested)), [6]);
}

#[test]
fn an_acquire_takes_no_call_credit_and_gives_none() {
    let mut pair = Pair::with(calls(1));
    let (object, _alive) = Obj::new();
    pair.b().exported.insert(&object);
    pair.start(A, Start::service().payload([1]));
    let acquire = pair.sides[A].session.start_acquire(pair.now, object.id(), None).unwrap();
    pair.start(A, Start::service().payload([2]));
    pair.run();
    assert!(matches!(pair.a().poll(acquire), Some(Answer::Reply { references, .. }) if references.len() == 1));
    assert_eq!(pair.arrived(), [1], "the second waits for the first");
}

//! The life of a call: sent, answered, cancelled, late.

use std::{sync::Arc, task::Poll};

use rmi_core::{Certainty, ErrorKind, Limits, RemoteError, session::Answer, wire::Outcome};

use crate::{
    object::Obj,
    pair::{A, B, Pair, SECOND, failed, refused, replied},
    side::{Start, Woken},
};

fn cancelled() -> RemoteError {
    RemoteError::new(ErrorKind::Cancelled, "the caller has gone")
}

#[test]
fn a_call_is_dispatched_and_its_reply_reaches_the_caller() {
    let mut pair = Pair::new();
    let key = pair.start(A, Start::service().payload(*b"alice").until(pair.now + SECOND).depth(3));
    assert!(pair.a().poll(key).is_none());
    pair.run();
    let call = pair.b().take_call();
    assert_eq!(call.service.as_deref(), Some("registry"));
    assert_eq!((&call.payload[..], call.depth), (&b"alice"[..], 3));
    assert_eq!(call.deadline, Some(pair.now + SECOND));
    assert_eq!(pair.a().woken.count(), 0);
    pair.b().reply(call.id, b"1234", &[]);
    pair.run();
    assert_eq!(pair.a().woken.count(), 1);
    assert_eq!(replied(pair.a().poll(key)), b"1234");
    pair.check_empty();
}

#[test]
fn every_byte_may_arrive_alone() {
    let mut pair = Pair::new();
    let key = pair.start(A, Start::service().payload(*b"alice"));
    while pair.write(A, 1) > 0 {
        pair.deliver(A, 1);
    }
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"1234", &[]);
    while pair.write(B, 3) > 0 {
        pair.deliver(B, 1);
    }
    assert!(pair.a().poll(key).is_none());
    pair.deliver(B, usize::MAX);
    assert_eq!(replied(pair.a().poll(key)), b"1234");
}

#[test]
fn calls_go_both_ways_at_once() {
    let mut pair = Pair::new();
    let keys = [A, B].map(|side| pair.start(side, Start::service().payload([side as u8])));
    pair.run();
    for side in [A, B] {
        let call = pair.sides[side].take_call();
        pair.sides[side].reply(call.id, &call.payload, &[]);
    }
    pair.run();
    for side in [A, B] {
        assert_eq!(replied(pair.sides[side].poll(keys[side])), [side as u8]);
    }
    pair.check_empty();
}

#[test]
fn a_method_may_answer_with_its_own_error() {
    let mut pair = Pair::new();
    let key = pair.start(A, Start::service());
    pair.run();
    let call = pair.b().take_call();
    pair.b().session.reply(call.id, Outcome::Err, Vec::new(), &mut b"overdrawn"[..].into());
    pair.run();
    let Some(Answer::Reply { outcome, payload, .. }) = pair.a().poll(key) else { panic!("no reply") };
    assert_eq!((outcome, &payload.into_bytes()[..]), (Outcome::Err, &b"overdrawn"[..]));
}

#[test]
fn a_refusal_carries_kind_and_certainty() {
    let mut pair = Pair::new();
    let key = pair.start(A, Start::service());
    pair.run();
    let call = pair.b().take_call();
    let error = RemoteError::new(ErrorKind::NoSuchMethod, "no").with_certainty(Certainty::NotExecuted);
    pair.b().refuse(call.id, error);
    pair.run();
    assert_eq!(failed(pair.a().poll(key)), (ErrorKind::NoSuchMethod, Certainty::NotExecuted));
    pair.check_empty();
}

#[test]
fn a_call_is_answered_once() {
    let mut pair = Pair::new();
    let key = pair.start(A, Start::service());
    pair.run();
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"first", &[]);
    pair.b().reply(call.id, b"second", &[]);
    pair.b().refuse(call.id, cancelled());
    pair.run();
    assert_eq!(replied(pair.a().poll(key)), b"first");
    assert_eq!(pair.b().heard.len(), 2, "the definition and the call");
    assert_eq!(pair.a().heard.len(), 1);
}

#[test]
fn a_call_cancelled_before_it_was_sent_never_leaves() {
    let mut pair = Pair::with(Limits { calls: 1, ..Limits::default() });
    let first = pair.start(A, Start::service().payload([1]));
    let second = pair.start(A, Start::service().payload([2]));
    pair.cancel(A, second);
    pair.run();
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"", &[]);
    pair.run();
    assert!(replied(pair.a().poll(first)).is_empty());
    assert_eq!(pair.arrived(), [1]);
    assert!(pair.b().cancelled.is_empty());
    pair.check_empty();
}

#[test]
fn a_oneway_call_departs_once_there_is_credit_and_its_answer_is_dropped() {
    let mut pair = Pair::with(Limits { calls: 1, ..Limits::default() });
    let first = pair.start(A, Start::service().payload([1]));
    let second = pair.start(A, Start::service().payload([2]));
    pair.run();
    let woken = Arc::new(Woken::default());
    assert!(pair.a().poll_departure(second, woken.clone()).is_pending(), "it waits for credit");
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"", &[]);
    pair.run();
    assert_eq!(woken.count(), 1);
    assert!(matches!(pair.a().poll_departure(second, woken), Poll::Ready(Ok(()))));
    assert!(replied(pair.a().poll(first)).is_empty());
    assert_eq!(pair.arrived(), [1, 2]);
    assert_eq!(pair.counts()[A].made, 1, "the id is reserved");
    let call = pair.b().take_call();
    let (object, life) = Obj::new();
    pair.b().reply(call.id, b"1234", &[&object]);
    drop(object);
    pair.run();
    assert!(life.upgrade().is_none(), "what came with the answer was released");
    pair.check_empty();
}

#[test]
fn a_oneway_call_that_waits_too_long_was_not_sent() {
    let mut pair = Pair::with(Limits { calls: 1, ..Limits::default() });
    pair.start(A, Start::service().payload([1]));
    let second = pair.start(A, Start::service().payload([2]).until(pair.now + SECOND));
    pair.run();
    let woken = Arc::new(Woken::default());
    assert!(pair.a().poll_departure(second, woken.clone()).is_pending());
    pair.pass_time(SECOND);
    assert_eq!(woken.count(), 1);
    let Poll::Ready(Err(error)) = pair.a().poll_departure(second, woken) else { panic!("it departed") };
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::DeadlineExceeded, Certainty::NotSent));
    assert_eq!(pair.counts()[A].made, 1);
}

#[test]
fn a_oneway_call_that_is_late_is_cancelled_at_the_callee() {
    let mut pair = Pair::new();
    let key = pair.start(A, Start::service().until(pair.now + SECOND));
    assert!(matches!(pair.a().poll_departure(key, Arc::default()), Poll::Ready(Ok(()))));
    pair.run();
    pair.pass_time(SECOND);
    pair.run();
    let call = pair.b().take_call();
    assert_eq!(pair.b().cancelled, [call.id]);
    pair.b().refuse(call.id, cancelled());
    pair.run();
    pair.check_empty();
}

#[test]
fn a_call_cancelled_in_flight_keeps_its_id_until_answered() {
    let mut pair = Pair::new();
    let key = pair.start(A, Start::service());
    pair.run();
    pair.cancel(A, key);
    assert_eq!(pair.counts()[A].made, 1, "the id is reserved");
    pair.run();
    let call = pair.b().take_call();
    assert_eq!(pair.b().cancelled, [call.id]);
    let next = pair.start(A, Start::service());
    pair.run();
    assert_ne!(pair.b().take_call().id.id, call.id.id);
    pair.b().refuse(call.id, cancelled());
    pair.run();
    assert_eq!(pair.counts()[A].made, 1);
    let third = pair.start(A, Start::service());
    pair.run();
    assert_eq!(pair.b().take_call().id.id, call.id.id, "answered, so the id is free");
    assert!(pair.a().poll(next).is_none() && pair.a().poll(third).is_none());
}

#[test]
fn a_cancel_that_crosses_the_reply_changes_nothing() {
    let mut pair = Pair::new();
    let key = pair.start(A, Start::service());
    pair.send_all(A);
    let call = pair.b().take_call();
    let (object, alive) = Obj::new();
    pair.b().reply(call.id, b"late", &[&object]);
    drop(object);
    pair.cancel(A, key);
    pair.run();
    assert!(pair.b().cancelled.is_empty(), "answered already");
    assert!(pair.a().poll(key).is_none());
    assert!(alive.upgrade().is_none(), "the reference that nobody awaits is released");
    pair.check_empty();
}

#[test]
fn an_answer_that_arrived_is_given_back_by_a_caller_that_goes() {
    let mut pair = Pair::new();
    let key = pair.start(A, Start::service());
    pair.run();
    let call = pair.b().take_call();
    let (object, alive) = Obj::new();
    pair.b().reply(call.id, b"", &[&object]);
    drop(object);
    pair.run();
    assert_eq!(pair.counts()[A].imports, 1);
    pair.cancel(A, key);
    pair.run();
    assert!(alive.upgrade().is_none());
    pair.check_empty();
}

#[test]
fn a_deadline_cancels_and_the_late_answer_is_dropped() {
    let mut pair = Pair::new();
    let key = pair.start(A, Start::service().until(pair.now + SECOND));
    pair.run();
    assert!(pair.a().poll(key).is_none());
    assert_eq!(pair.a().session.next_timeout(), pair.now + SECOND);
    pair.pass_time(SECOND);
    assert_eq!(pair.a().woken.count(), 1);
    assert_eq!(failed(pair.a().poll(key)), (ErrorKind::DeadlineExceeded, Certainty::Unknown));
    pair.run();
    let call = pair.b().take_call();
    assert_eq!(pair.b().cancelled, [call.id]);
    let (object, alive) = Obj::new();
    pair.b().reply(call.id, b"late", &[&object]);
    drop(object);
    pair.run();
    assert!(alive.upgrade().is_none());
    pair.check_empty();
}

#[test]
fn an_answer_before_the_caller_looks_beats_its_deadline() {
    let mut pair = Pair::new();
    let key = pair.start(A, Start::service().until(pair.now + SECOND));
    pair.run();
    pair.pass_time(SECOND);
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"just in time", &[]);
    pair.run();
    assert_eq!(replied(pair.a().poll(key)), b"just in time");
    pair.check_empty();
}

#[test]
fn a_waiting_call_that_expires_was_not_sent() {
    let mut pair = Pair::with(Limits { calls: 1, ..Limits::default() });
    let first = pair.start(A, Start::service().payload([1]));
    let second = pair.start(A, Start::service().payload([2]).until(pair.now + SECOND));
    pair.run();
    pair.pass_time(SECOND);
    assert_eq!(failed(pair.a().poll(second)), (ErrorKind::DeadlineExceeded, Certainty::NotSent));
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"", &[]);
    pair.run();
    replied(pair.a().poll(first));
    assert_eq!(pair.arrived(), [1]);
    pair.check_empty();
}

#[test]
fn a_call_of_a_slot_that_was_released_is_refused() {
    let mut pair = Pair::new();
    let (object, alive) = Obj::new();
    let held = pair.give(B, &object);
    let stale = Start::of(&held);
    drop((held, object));
    pair.a().carry_out();
    let key = pair.start(A, stale);
    pair.run();
    assert_eq!(failed(pair.a().poll(key)), (ErrorKind::NoSuchObject, Certainty::NotExecuted));
    assert!(alive.upgrade().is_none());
    pair.check_empty();
}

#[test]
fn calls_nest_to_the_limit_and_no_deeper() {
    let mut pair = Pair::with(Limits { depth: 2, ..Limits::default() });
    pair.start(A, Start::service().depth(2));
    let refusal = refused(pair.try_start(A, Start::service().depth(3)));
    assert_eq!(refusal, (ErrorKind::Overloaded, Certainty::NotSent));
}

#[test]
fn a_call_deeper_than_its_callee_allows_is_refused_there() {
    let shallow = Limits { depth: 2, ..Limits::default() };
    let mut pair = Pair::with_each([Limits::default(), shallow]);
    let key = pair.start(A, Start::service().depth(3));
    pair.run();
    assert_eq!(failed(pair.a().poll(key)), (ErrorKind::Overloaded, Certainty::NotExecuted));
    assert!(pair.b().calls.is_empty());
    pair.check_empty();
}

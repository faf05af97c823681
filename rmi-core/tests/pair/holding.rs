//! As much as a side may hold and let wait: what is beyond it fails alone, and there is room again once something
//! is given back.

use rmi_core::{
    Certainty, ErrorKind, Limits, RemoteError,
    object::InterfaceSet,
    session::{CallKey, MethodRef, Passed, StartCall},
    wire::{Encoded, Outcome},
};

use crate::{
    object::Obj,
    pair::{A, B, Pair, SECOND, failed, refused, replied},
    side::Start,
};

const NOT_SENT: (ErrorKind, Certainty) = (ErrorKind::Overloaded, Certainty::NotSent);
const NOT_EXECUTED: (ErrorKind, Certainty) = (ErrorKind::Overloaded, Certainty::NotExecuted);
const EXECUTED: (ErrorKind, Certainty) = (ErrorKind::Overloaded, Certainty::Executed);

/// Drops what a side holds, and tells the other.
fn let_go(pair: &mut Pair, side: usize, held: Obj) {
    drop(held);
    pair.sides[side].carry_out();
    pair.run();
}

/// A asks B for these.
fn ask_for(pair: &mut Pair, objects: &[&Obj]) -> CallKey {
    let key = pair.start(A, Start::service());
    pair.run();
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"given", objects);
    pair.run();
    key
}

#[test]
fn a_peer_is_given_so_many_objects_and_more_once_it_has_released_some() {
    let mut pair = Pair::with(Limits { exports: 2, ..Limits::default() });
    let [first, second, third] = [(); 3].map(|()| Obj::new().0);
    let beyond = pair.try_start(A, Start::service().passing(&[&first, &second, &third]));
    assert_eq!(refused(beyond), NOT_SENT);
    assert_eq!(pair.counts()[A].exports, 0);
    let held = [pair.give(A, &first), pair.give(A, &second)];
    assert_eq!(refused(pair.try_start(A, Start::service().passing(&[&third]))), NOT_SENT);
    // What the peer has already takes no room, and neither does what is its own.
    drop(pair.give(A, &first));
    let theirs = pair.give(B, &third);
    drop(pair.give(A, &theirs));
    pair.check_agreement();
    let [one, _other] = held;
    let_go(&mut pair, B, one);
    drop(pair.give(A, &Obj::new().0));
}

#[test]
fn a_result_beyond_what_a_peer_may_be_given_is_refused() {
    let mut pair = Pair::with(Limits { exports: 1, ..Limits::default() });
    let [first, second] = [(); 2].map(|()| Obj::new().0);
    let held = pair.give(B, &first);
    let beyond = ask_for(&mut pair, &[&second]);
    assert_eq!(failed(pair.a().poll(beyond)), EXECUTED);
    pair.b().exported.insert(&second);
    let acquire = pair.sides[A].session.start_acquire(pair.now, second.id(), None).unwrap();
    pair.run();
    assert_eq!(failed(pair.a().poll(acquire)), NOT_EXECUTED);
    pair.check_agreement();
    let_go(&mut pair, A, held);
    let again = ask_for(&mut pair, &[&second]);
    assert_eq!(replied(pair.a().poll(again)), b"given");
}

#[test]
fn a_call_that_brings_more_than_may_be_held_of_a_peer_is_refused_and_gives_it_back() {
    let mut pair = Pair::with_each([Limits::default(), Limits { imports: 2, ..Limits::default() }]);
    let [first, second, third] = [(); 3].map(|()| Obj::new().0);
    let held = pair.give(A, &first);
    let beyond = pair.start(A, Start::service().passing(&[&second, &third]));
    pair.run();
    assert_eq!(failed(pair.a().poll(beyond)), NOT_EXECUTED);
    assert!(pair.b().calls.is_empty());
    assert_eq!(pair.counts()[A].exports, 1);
    pair.check_agreement();
    let other = pair.give(A, &second);
    drop(pair.give(A, &first));
    let beyond = pair.start(A, Start::service().passing(&[&third]));
    // What brings nothing new is let in.
    let none = pair.start(A, Start::service());
    pair.run();
    assert_eq!(failed(pair.a().poll(beyond)), NOT_EXECUTED);
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"none", &[]);
    pair.run();
    assert_eq!(replied(pair.a().poll(none)), b"none");
    let_go(&mut pair, B, other);
    drop(pair.give(A, &third));
    drop(held);
}

#[test]
fn a_result_that_brings_more_than_may_be_held_of_a_peer_fails_and_gives_it_back() {
    let mut pair = Pair::with_each([Limits { imports: 1, ..Limits::default() }, Limits::default()]);
    let [first, second] = [(); 2].map(|()| Obj::new().0);
    let held = pair.give(B, &first);
    let beyond = ask_for(&mut pair, &[&second]);
    assert_eq!(failed(pair.a().poll(beyond)), EXECUTED);
    pair.b().exported.insert(&second);
    let acquire = pair.sides[A].session.start_acquire(pair.now, second.id(), None).unwrap();
    pair.run();
    assert_eq!(failed(pair.a().poll(acquire)), EXECUTED);
    assert_eq!(pair.counts()[B].exports, 1);
    pair.check_agreement();
    let_go(&mut pair, A, held);
    let again = ask_for(&mut pair, &[&second]);
    assert_eq!(replied(pair.a().poll(again)), b"given");
}

/// A passes streams to B.
fn pass(pair: &mut Pair, streams: &[&Obj]) -> Result<CallKey, RemoteError> {
    let now = pair.now;
    let started = pair.a().session.start_call(
        now,
        StartCall {
            target: Start::service().target,
            order: Start::service().order,
            method: MethodRef {
                id: rmi_core::id::MethodId(1000),
                fingerprint: rmi_core::id::Fingerprint(0),
                name: &"a.b",
            },
            references: streams.iter().map(|stream| as_stream(stream)).collect(),
            payload: &mut Encoded::default(),
            deadline: None,
            depth: 0,
            relayed: false,
            extras: None,
            promises: None,
        },
    );
    pair.a().carry_out();
    started
}

fn as_stream(object: &Obj) -> Passed<Obj> {
    Passed::own(object.clone(), object.id(), InterfaceSet::new(vec!["rmi.Stream".into()]))
}

#[test]
fn a_peer_holds_so_many_streams_and_more_once_it_has_let_go_of_some() {
    let mut pair = Pair::with(Limits { streams: 2, ..Limits::default() });
    let [first, second, third] = [(); 3].map(|()| Obj::new().0);
    assert_eq!(refused(pass(&mut pair, &[&first, &second, &third])), NOT_SENT);
    pass(&mut pair, &[&first, &second]).unwrap();
    pair.run();
    let mut call = pair.b().take_call();
    let held = std::mem::take(&mut call.references).remove(0).unwrap();
    assert_eq!(refused(pass(&mut pair, &[&third])), NOT_SENT);
    // Objects of other kinds go on, and so do streams that the peer has.
    drop(pair.give(A, &Obj::new().0));
    pass(&mut pair, &[&second]).unwrap();
    let_go(&mut pair, B, held);
    pass(&mut pair, &[&third]).unwrap();
    pair.run();
    assert_eq!(pair.counts()[A].exports, 2);
}

#[test]
fn a_stream_as_a_result_beyond_those_that_a_peer_may_hold_is_refused() {
    let mut pair = Pair::with(Limits { streams: 1, ..Limits::default() });
    let ask = |pair: &mut Pair| {
        let key = pair.start(A, Start::service());
        pair.run();
        let call = pair.b().take_call();
        let stream = as_stream(&Obj::new().0);
        pair.b().session.reply(call.id, Outcome::Ok, vec![stream], &mut Encoded::default());
        pair.b().carry_out();
        pair.run();
        key
    };
    let first = ask(&mut pair);
    let beyond = ask(&mut pair);
    assert_eq!(failed(pair.a().poll(beyond)), EXECUTED);
    // Its caller goes, and with it the answer.
    pair.cancel(A, first);
    pair.run();
    let again = ask(&mut pair);
    replied(pair.a().poll(again));
}

#[test]
fn so_many_bytes_of_calls_wait_and_more_once_some_have_gone() {
    let mut pair = Pair::with(Limits { call_bytes: 100, waiting_bytes: 250, ..Limits::default() });
    let call = |tag, len| Start::service().sized(tag, len);
    pair.start(A, call(1, 100));
    // Whatever its length, one may wait.
    let large = pair.start(A, call(2, 1000));
    assert_eq!(refused(pair.try_start(A, call(3, 1))), NOT_SENT);
    pair.cancel(A, large);
    let cancelled = pair.start(A, call(4, 120));
    let late = pair.start(A, call(5, 120).until(pair.now + SECOND));
    assert_eq!(refused(pair.try_start(A, call(6, 11))), NOT_SENT);
    pair.start(A, call(7, 10));
    pair.cancel(A, cancelled);
    pair.start(A, call(8, 120));
    assert_eq!(refused(pair.try_start(A, call(9, 120))), NOT_SENT);
    pair.pass_time(SECOND);
    assert_eq!(failed(pair.a().poll(late)), (ErrorKind::DeadlineExceeded, Certainty::NotSent));
    pair.start(A, call(10, 120));
    // All leave, one after the other.
    for _ in 0..4 {
        pair.run();
        for call in std::mem::take(&mut pair.b().calls) {
            pair.b().session.let_go(call.cost);
            pair.b().reply(call.id, b"", &[]);
        }
    }
    assert_eq!(pair.arrived(), [1, 7, 8, 10]);
    let waiting = [(); 3].map(|()| pair.start(A, call(11, 100)));
    assert_eq!(refused(pair.try_start(A, call(12, 51))), NOT_SENT, "{waiting:?}");
    pair.start(A, call(13, 50));
}

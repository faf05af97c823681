//! Calls of results that are not there yet.

use rmi_core::{
    Certainty, ErrorKind, Limits, RemoteError,
    session::{Answer, CallKey},
    wire::{PROMISED_MAX, PromiseId, Target},
};

use crate::{
    object::Obj,
    pair::{A, Pair, failed, replied},
    side::Start,
};

const BROKEN: (ErrorKind, Certainty) = (ErrorKind::PromiseBroken, Certainty::NotExecuted);

/// A call that promises its result, and calls of that with these payloads.
fn chain(pair: &mut Pair, tags: &[u8]) -> (CallKey, PromiseId, Vec<CallKey>) {
    let promise = pair.a().session.next_promise();
    let first = pair.start(A, Start::service().payload([0]).promising(promise));
    let behind = tags.iter().map(|&tag| pair.start(A, Start::of_promise(promise).payload([tag]))).collect();
    (first, promise, behind)
}

#[test]
fn calls_of_a_promise_begin_in_order_when_its_call_is_answered() {
    let mut pair = Pair::new();
    let (first, promise, behind) = chain(&mut pair, &[1, 2]);
    pair.run();
    assert_eq!((pair.arrived(), pair.counts()[1].served), (vec![0], 3), "they wait there");
    let call = pair.b().take_call();
    let (object, life) = Obj::new();
    pair.b().reply(call.id, b"", &[&object]);
    assert_eq!(pair.arrived(), [0, 1, 2], "in the same step");
    // The answer is on its way: what is called now arrives behind it.
    let late = pair.start(A, Start::of_promise(promise).payload([3]));
    pair.run();
    assert_eq!(pair.arrived(), [0, 1, 2, 3]);
    for _ in 0..3 {
        let call = pair.b().take_call();
        assert_eq!(call.object.as_ref().unwrap().id(), object.id());
        pair.b().reply(call.id, &call.payload, &[]);
    }
    pair.run();
    for (key, tag) in behind.into_iter().chain([late]).zip(1..) {
        assert_eq!(replied(pair.a().poll(key)), [tag]);
    }
    let Some(Answer::Reply { references, .. }) = pair.a().poll(first) else { panic!("no reply") };
    drop((pair.a().receive(references), object));
    pair.a().carry_out();
    pair.run();
    assert!(life.upgrade().is_none(), "what was promised is kept by its references alone");
    pair.check_empty();
}

#[test]
fn what_has_waited_begins_before_what_is_read_next() {
    let mut pair = Pair::new();
    let (_, promise, behind) = chain(&mut pair, &[1, 2, 3]);
    pair.run();
    let call = pair.b().take_call();
    let (object, _) = Obj::new();
    pair.b().reply_beside(call.id, b"", &[&object]);
    pair.start(A, Start::of_promise(promise).payload([4]));
    pair.cancel(A, behind[1]);
    pair.run();
    assert_eq!(pair.arrived(), [0, 1, 2, 3, 4], "the one that is cancelled had begun");
}

#[test]
fn a_chain_of_promises_is_dispatched_one_after_the_other() {
    let mut pair = Pair::new();
    let (first, promise, _) = chain(&mut pair, &[]);
    let next = pair.a().session.next_promise();
    let second = pair.start(A, Start::of_promise(promise).payload([1]).promising(next));
    let third = pair.start(A, Start::of_promise(next).payload([2]));
    pair.run();
    for tag in 0..3 {
        let call = pair.b().take_call();
        assert_eq!((&call.payload[..], pair.b().calls.len()), (&[tag][..], 0));
        let (object, _) = Obj::new();
        pair.b().reply(call.id, &[tag], &[&object]);
    }
    pair.run();
    for key in [first, second, third] {
        assert!(pair.a().poll(key).is_some());
    }
}

#[test]
fn what_waits_for_a_call_that_fails_is_refused_with_all_behind_it() {
    let mut pair = Pair::new();
    let (first, promise, _) = chain(&mut pair, &[]);
    let next = pair.a().session.next_promise();
    let (passed, life) = Obj::new();
    let second = pair.start(A, Start::of_promise(promise).promising(next).passing(&[&passed]));
    let third = pair.start(A, Start::of_promise(next));
    drop(passed);
    pair.run();
    let call = pair.b().take_call();
    pair.b().refuse(call.id, RemoteError::new(ErrorKind::AccessDenied, "no").with_certainty(Certainty::NotExecuted));
    pair.run();
    assert_eq!(failed(pair.a().poll(first)).0, ErrorKind::AccessDenied);
    assert_eq!(failed(pair.a().poll(second)), BROKEN);
    assert_eq!(failed(pair.a().poll(third)), BROKEN);
    assert!(life.upgrade().is_none(), "what it passed was released");
    assert_eq!(pair.arrived(), [0]);
    pair.check_empty();
}

#[test]
fn a_result_without_the_reference_breaks_the_promise() {
    let mut pair = Pair::new();
    let (first, promise, behind) = chain(&mut pair, &[1]);
    pair.run();
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"a number", &[]);
    let late = pair.start(A, Start::of_promise(promise));
    pair.run();
    assert!(pair.a().poll(first).is_some());
    assert_eq!(failed(pair.a().poll(behind[0])), BROKEN);
    assert_eq!(failed(pair.a().poll(late)), BROKEN);
    pair.check_empty();
}

#[test]
fn a_result_that_is_the_callers_own_is_the_callers_to_call() {
    let mut pair = Pair::new();
    let (object, _) = Obj::new();
    let promise = pair.a().session.next_promise();
    let first = pair.start(A, Start::service().payload([0]).passing(&[&object]).promising(promise));
    let second = pair.start(A, Start::of_promise(promise).payload([1]));
    pair.run();
    let call = pair.b().take_call();
    let back = call.references[0].clone().unwrap();
    pair.b().reply(call.id, b"", &[&back]);
    pair.run();
    assert!(pair.a().poll(first).is_some());
    assert_eq!(failed(pair.a().poll(second)), BROKEN);
}

#[test]
fn a_call_that_is_cancelled_while_it_waits_never_begins() {
    let mut pair = Pair::new();
    let (_, _, behind) = chain(&mut pair, &[1, 2]);
    pair.run();
    pair.cancel(A, behind[0]);
    pair.run();
    assert_eq!(pair.counts()[1].served, 2, "it is answered at once");
    let call = pair.b().take_call();
    let (object, _) = Obj::new();
    pair.b().reply(call.id, b"", &[&object]);
    pair.run();
    assert_eq!(pair.arrived(), [0, 2]);
}

#[test]
fn what_waits_is_lost_with_the_connection() {
    let mut pair = Pair::new();
    let (passed, life) = Obj::new();
    let promise = pair.a().session.next_promise();
    let first = pair.start(A, Start::service().promising(promise));
    let second = pair.start(A, Start::of_promise(promise).passing(&[&passed]));
    drop(passed);
    pair.run();
    pair.lose(true);
    pair.resume();
    pair.run();
    for key in [first, second] {
        assert_eq!(failed(pair.a().poll(key)), (ErrorKind::ConnectionLost, Certainty::Unknown));
    }
    assert!(life.upgrade().is_none());
    pair.check_empty();
}

#[test]
fn so_many_results_are_remembered_as_calls_may_be_made() {
    let mut pair = Pair::with(Limits { calls: 2, ..Limits::default() });
    let mut promises = Vec::new();
    let (object, _) = Obj::new();
    for _ in 0..3 {
        let (first, promise, _) = chain(&mut pair, &[]);
        pair.run();
        let call = pair.b().take_call();
        pair.b().reply(call.id, b"", &[&object]);
        pair.run();
        promises.push((promise, pair.a().poll(first)));
    }
    let oldest = pair.start(A, Start::of_promise(promises[0].0));
    let newest = pair.start(A, Start::of_promise(promises[2].0));
    pair.run();
    assert_eq!(failed(pair.a().poll(oldest)), BROKEN);
    assert!(pair.a().poll(newest).is_none());
    assert_eq!(pair.b().take_call().object.unwrap().id(), object.id());
}

/// A peer may chain as many as it has credit for: what breaks them all must not need a stack as deep.
#[test]
fn the_longest_chain_breaks_on_a_small_stack() {
    let calls = Limits::default().calls;
    let story = move || {
        let mut pair = Pair::new();
        let (first, mut promise, _) = chain(&mut pair, &[]);
        let mut behind = Vec::new();
        for _ in 1..calls {
            let next = pair.a().session.next_promise();
            behind.push(pair.start(A, Start::of_promise(promise).promising(next)));
            promise = next;
        }
        pair.run();
        assert_eq!(pair.counts()[1].served, calls as usize);
        let call = pair.b().take_call();
        pair.b().refuse(call.id, RemoteError::new(ErrorKind::AccessDenied, "no"));
        pair.run();
        assert_eq!(failed(pair.a().poll(first)).0, ErrorKind::AccessDenied);
        assert!(behind.into_iter().all(|key| failed(pair.a().poll(key)) == BROKEN));
        pair.check_empty();
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(story).unwrap().join().unwrap();
}

#[test]
fn so_many_references_of_a_result_are_remembered() {
    let mut pair = Pair::new();
    let (first, promise, _) = chain(&mut pair, &[]);
    pair.run();
    let call = pair.b().take_call();
    let objects: Vec<_> = (0..PROMISED_MAX + 1).map(|_| Obj::new().0).collect();
    pair.b().reply(call.id, b"", &objects.iter().collect::<Vec<_>>());
    let start = |reference: usize| {
        let target = Target::Promise { promise, reference: reference as u32 };
        Start { target, ..Start::service() }
    };
    let last = pair.start(A, start(PROMISED_MAX - 1));
    let beyond = pair.start(A, start(PROMISED_MAX));
    pair.run();
    assert!(pair.a().poll(first).is_some() && pair.a().poll(last).is_none());
    assert_eq!(pair.b().take_call().object.unwrap().id(), objects[PROMISED_MAX - 1].id());
    assert_eq!(failed(pair.a().poll(beyond)), BROKEN);
}

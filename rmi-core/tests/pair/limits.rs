//! What a sender refuses, so that no peer has to end the link for it.

use rmi_core::{
    Certainty, ErrorKind, Limits, NodeId, ObjectId, RemoteError,
    id::{Fingerprint, MethodId},
    object::InterfaceSet,
    session::{CallKey, MethodRef, Passed, StartCall},
    wire::{NAME_LEN_MAX, Outcome, Target},
};

use crate::{
    object::Obj,
    pair::{A, B, Pair, failed, refused, replied},
    side::Start,
};

const TOO_LARGE: (ErrorKind, Certainty) = (ErrorKind::TooLarge, Certainty::NotSent);

/// The link still works.
#[track_caller]
fn check_alive(pair: &mut Pair) {
    pair.run();
    let key = pair.start(A, Start::service());
    pair.run();
    let call = pair.b().calls.pop().unwrap();
    pair.b().reply(call.id, b"alive", &[]);
    pair.run();
    assert_eq!(replied(pair.a().poll(key)), b"alive");
}

fn with_interfaces(names: Vec<String>) -> (Passed<Obj>, std::rc::Weak<crate::object::Servant>) {
    let (object, alive) = Obj::new();
    let id = object.id();
    (Passed::own(object, id, InterfaceSet::new(names)), alive)
}

fn call_with(pair: &mut Pair, references: Vec<Passed<Obj>>, name: &str) -> Result<CallKey, RemoteError> {
    let now = pair.now;
    let method = MethodRef { id: MethodId(name.len() as u64 + 300), fingerprint: Fingerprint(0), name: &name };
    let started = pair.a().session.start_call(
        now,
        StartCall {
            target: Target::Service("registry".into()),
            order: ObjectId::from_bytes([0; 16]),
            method,
            references,
            payload: &mut rmi_core::wire::Encoded::default(),
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

#[test]
fn names_that_no_peer_accepts_fail_their_call_alone() {
    let mut pair = Pair::new();
    let marshal = (ErrorKind::Marshal, Certainty::NotSent);
    for (name, refusal) in [(String::new(), marshal), ("x".repeat(NAME_LEN_MAX + 1), TOO_LARGE)] {
        assert_eq!(refused(call_with(&mut pair, Vec::new(), &name)), refusal);
        let service = Start { target: Target::Service(name), ..Start::service() };
        assert_eq!(refused(pair.try_start(A, service)), refusal);
    }
    let longest = "x".repeat(NAME_LEN_MAX);
    call_with(&mut pair, Vec::new(), &longest).unwrap();
    pair.start(A, Start { target: Target::Service(longest), ..Start::service() });
    check_alive(&mut pair);
}

/// Interface lists that no peer accepts: too many, too long, more than a frame, empty names.
fn bad_lists() -> [(Vec<String>, ErrorKind); 4] {
    let many = |count: usize, len: usize, kind| ((0..count).map(|_| "i".repeat(len)).collect(), kind);
    let (too_large, marshal) = (ErrorKind::TooLarge, ErrorKind::Marshal);
    [many(257, 1, too_large), many(1, NAME_LEN_MAX + 1, too_large), many(100, 1000, too_large), many(1, 0, marshal)]
}

#[test]
fn an_interface_list_that_no_peer_accepts_fails_its_call_alone() {
    let mut pair = Pair::with(Limits { calls: 2, ..Limits::default() });
    for _waiting in 0..2 {
        for (names, kind) in bad_lists() {
            let (passed, alive) = with_interfaces(names);
            assert_eq!(refused(call_with(&mut pair, vec![passed], "a")), (kind, Certainty::NotSent));
            assert!(alive.upgrade().is_none());
        }
        pair.start(A, Start::service());
        pair.start(A, Start::service());
    }
    assert_eq!(pair.counts()[A].exports, 0);
    pair.run();
    assert_eq!(pair.arrived().len(), 2);
}

#[test]
fn an_interface_list_that_no_peer_accepts_makes_its_reply_a_refusal() {
    let mut pair = Pair::new();
    for (names, kind) in bad_lists() {
        let key = pair.start(A, Start::service());
        pair.run();
        let call = pair.b().take_call();
        let (passed, alive) = with_interfaces(names);
        pair.b().session.reply(call.id, Outcome::Ok, vec![passed], &mut rmi_core::wire::Encoded::default());
        pair.b().carry_out();
        pair.run();
        assert_eq!(failed(pair.a().poll(key)), (kind, Certainty::Executed));
        assert!(alive.upgrade().is_none());
    }
    check_alive(&mut pair);
}

#[test]
fn definitions_beyond_the_bounds_fail_their_call_alone() {
    for limits in
        [Limits { definitions: 3, ..Limits::default() }, Limits { definition_bytes: 3 * 100 + 40, ..Limits::default() }]
    {
        let mut pair = Pair::with(limits);
        pair.start(A, Start::service());
        call_with(&mut pair, Vec::new(), "a.b").unwrap();
        call_with(&mut pair, Vec::new(), "a.bc").unwrap();
        assert_eq!(refused(call_with(&mut pair, Vec::new(), &"x".repeat(200))), TOO_LARGE);
        call_with(&mut pair, Vec::new(), "a.b").unwrap();
        check_alive(&mut pair);
    }
}

#[test]
fn a_call_longer_than_the_peer_takes_is_refused_here() {
    let mut pair = Pair::with(Limits { message_len: 200_000, ..Limits::default() });
    assert_eq!(refused(pair.try_start(A, Start::service().sized(1, 200_000))), TOO_LARGE);
    pair.start(A, Start::service().sized(1, 190_000));
    check_alive(&mut pair);
}

#[test]
fn references_count_in_the_length_of_a_message() {
    let mut pair = Pair::with(Limits { message_len: 100_000, ..Limits::default() });
    let objects: Vec<_> = (0..2000).map(|_| Obj::of_third(NodeId::random()).0).collect();
    let references: Vec<_> = objects.iter().collect();
    assert_eq!(refused(pair.try_start(A, Start::service().sized(1, 60_000).passing(&references))), TOO_LARGE);
    assert_eq!(pair.counts()[A].exports, 0);
    let key = pair.start(A, Start::service());
    pair.run();
    let call = pair.b().take_call();
    pair.b().reply(call.id, &[0; 60_000], &references);
    pair.run();
    assert_eq!(failed(pair.a().poll(key)), (ErrorKind::TooLarge, Certainty::Executed));
    check_alive(&mut pair);
}

#[test]
fn a_message_holds_as_many_references_as_it_may() {
    let mut pair = Pair::with(Limits { references: 2, ..Limits::default() });
    let (object, _alive) = Obj::new();
    assert_eq!(refused(pair.try_start(A, Start::service().passing(&[&object; 3]))), TOO_LARGE);
    let key = pair.start(A, Start::service().passing(&[&object; 2]));
    pair.run();
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"", &[&object; 3]);
    pair.run();
    assert_eq!(failed(pair.a().poll(key)), (ErrorKind::TooLarge, Certainty::Executed));
    check_alive(&mut pair);
}

#[test]
fn a_refusal_is_cut_to_what_the_peer_takes() {
    for message_len in [70_000, 50_000, 100] {
        let small = Limits { message_len, ..Limits::default() };
        let mut pair = Pair::with_each([small, Limits::default()]);
        let key = pair.start(A, Start::service());
        pair.run();
        let call = pair.b().take_call();
        let cause = RemoteError::new(ErrorKind::Other, "ö".repeat(50_000));
        let error = RemoteError::new(ErrorKind::Panicked, "ü".repeat(50_000))
            .with_certainty(Certainty::Executed)
            .with_method("m".repeat(50_000))
            .with_object("o".repeat(50_000))
            .with_peer("p".repeat(50_000))
            .with_source(&cause);
        pair.b().refuse(call.id, error);
        assert!(pair.sides[B].session.output_len() <= message_len + 4);
        pair.run();
        assert_eq!(failed(pair.a().poll(key)), (ErrorKind::Panicked, Certainty::Executed));
    }
}

#[test]
fn a_short_refusal_arrives_as_it_is() {
    let mut pair = Pair::new();
    let key = pair.start(A, Start::service());
    pair.run();
    let call = pair.b().take_call();
    let cause = RemoteError::new(ErrorKind::Other, "deeper");
    let error = RemoteError::new(ErrorKind::Panicked, "ouch").with_method("m").with_source(&cause);
    let before = format!("{error:?}");
    pair.b().refuse(call.id, error);
    pair.run();
    let Some(rmi_core::session::Answer::Failed(error)) = pair.a().poll(key) else { panic!("no failure") };
    assert_eq!(format!("{error:?}"), before);
}

#[test]
fn a_long_goodbye_is_cut_to_a_frame() {
    let mut pair = Pair::new();
    pair.b().session.goodbye(&"ö".repeat(100_000));
    pair.run();
    assert!(pair.a().goodbye.as_ref().is_some_and(|reason| reason.starts_with("öööö")));
}

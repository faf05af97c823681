//! References: given, held, passed back, released, whatever becomes of their messages.

use rmi_core::{
    Certainty, ErrorKind, Limits, NodeId, ObjectId, RemoteError,
    session::Answer,
    wire::{Message, Target},
};

use crate::{
    object::Obj,
    pair::{A, B, Pair, failed, replied},
    side::Start,
};

fn refusal() -> RemoteError {
    RemoteError::new(ErrorKind::Unmarshal, "no").with_certainty(Certainty::NotExecuted)
}

#[test]
fn an_object_lives_as_long_as_the_peer_holds_it() {
    let mut pair = Pair::new();
    let (object, alive) = Obj::new();
    let held = pair.give(A, &object);
    drop(object);
    pair.check_agreement();
    let key = pair.start(B, Start::of(&held));
    pair.run();
    let call = pair.a().take_call();
    assert!(matches!(call.object, Some(Obj::Own(servant)) if servant.id == held.id()));
    pair.a().reply(call.id, b"7", &[]);
    pair.run();
    assert_eq!(replied(pair.b().poll(key)), b"7");
    assert!(alive.upgrade().is_some());
    drop(held);
    pair.b().carry_out();
    pair.run();
    assert!(alive.upgrade().is_none());
    pair.check_empty();
}

#[test]
fn an_object_given_twice_stands_in_one_slot_and_goes_with_the_last_handle() {
    let mut pair = Pair::new();
    let (object, alive) = Obj::new();
    let first = pair.give(A, &object);
    let second = pair.give(A, &object);
    drop(object);
    assert_eq!(first.slot(), second.slot());
    assert_eq!(pair.counts()[A].exports, 1);
    assert_eq!(pair.sides[A].session.reference_counts().given, 2);
    drop(first);
    pair.b().carry_out();
    pair.run();
    assert!(alive.upgrade().is_some());
    drop(second);
    pair.b().carry_out();
    pair.run();
    assert!(alive.upgrade().is_none());
    pair.check_empty();
}

#[test]
fn an_object_may_stand_twice_in_one_message() {
    let mut pair = Pair::new();
    let (object, alive) = Obj::new();
    let key = pair.start(A, Start::service().passing(&[&object, &object]));
    drop(object);
    pair.run();
    let call = pair.b().take_call();
    assert_eq!(pair.sides[A].session.reference_counts().given, 2);
    pair.b().reply(call.id, b"", &[]);
    drop(call);
    pair.b().carry_out();
    pair.run();
    replied(pair.a().poll(key));
    assert!(alive.upgrade().is_none());
    pair.check_empty();
}

#[test]
fn a_release_that_crosses_a_new_gift_takes_back_what_had_arrived_only() {
    let mut pair = Pair::new();
    let (object, alive) = Obj::new();
    let held = pair.give(A, &object);
    let key = pair.start(A, Start::service().passing(&[&object]));
    drop(object);
    pair.write(A, usize::MAX);
    drop(held);
    pair.b().carry_out();
    pair.send_all(B);
    assert!(alive.upgrade().is_some(), "one is on its way");
    pair.run();
    pair.check_agreement();
    let call = pair.b().take_call();
    let held = call.references.into_iter().next().flatten().unwrap();
    pair.b().reply(call.id, b"", &[]);
    pair.run();
    replied(pair.a().poll(key));
    drop(held);
    pair.b().carry_out();
    pair.run();
    assert!(alive.upgrade().is_none());
    pair.check_empty();
}

#[test]
fn a_slot_used_again_has_another_generation() {
    let mut pair = Pair::new();
    let first = pair.give(A, &Obj::new().0);
    let slot = first.slot();
    drop(first);
    pair.b().carry_out();
    pair.run();
    let second = pair.give(A, &Obj::new().0);
    assert_eq!(second.slot().index, slot.index);
    assert_ne!(second.slot().generation, slot.generation);
}

#[test]
fn a_reference_that_comes_home_is_the_object_itself() {
    let mut pair = Pair::new();
    let (object, _alive) = Obj::new();
    let held = pair.give(A, &object);
    let home = pair.give(B, &held);
    assert!(home.is_same(&object));
    assert_eq!(pair.sides[A].session.reference_counts().given, 1, "that counts nothing");
    drop((home, held));
    pair.b().carry_out();
    pair.run();
    pair.check_empty();
}

#[test]
fn a_reference_on_its_way_home_is_held_until_it_has_left() {
    for len in [1, 300_000] {
        let mut pair = Pair::with(Limits { calls: 1, ..Limits::default() });
        let (object, alive) = Obj::new();
        let held = pair.give(A, &object);
        drop(object);
        let first = pair.start(B, Start::service());
        let key = pair.start(B, Start::service().sized(1, len).passing(&[&held]));
        drop(held);
        pair.b().carry_out();
        pair.run();
        let call = pair.a().take_call();
        pair.a().reply(call.id, b"", &[]);
        pair.run();
        replied(pair.b().poll(first));
        let call = pair.a().take_call();
        assert!(matches!(&call.references[..], [Some(Obj::Own(home))] if home.id == alive.upgrade().unwrap().id));
        pair.a().reply(call.id, b"", &[]);
        drop(call);
        pair.run();
        replied(pair.b().poll(key));
        assert!(alive.upgrade().is_none());
        pair.check_empty();
    }
}

#[test]
fn a_message_holds_what_it_names_though_its_sender_finds_another_way() {
    let mut pair = Pair::new();
    let (object, alive) = Obj::new();
    let held = pair.give(A, &object);
    drop(object);
    let key = pair.start(B, Start::service().sized(1, 300_000).passing(&[&held]));
    pair.b().session.release(held.slot());
    pair.run();
    let call = pair.a().take_call();
    assert!(matches!(&call.references[..], [Some(Obj::Own(_))]));
    pair.a().reply(call.id, b"", &[]);
    drop(call);
    pair.run();
    replied(pair.b().poll(key));
    assert!(alive.upgrade().is_none());
    pair.check_empty();
}

#[test]
fn a_third_nodes_reference_names_its_owner() {
    let mut pair = Pair::new();
    let owner = NodeId::random();
    let (object, _alive) = Obj::of_third(owner);
    let held = pair.give(A, &object);
    assert!(matches!(&held, Obj::Held(handle) if handle.third == Some(owner)));
    assert!(pair.give(B, &held).is_same(&object));
    drop(held);
    pair.b().carry_out();
    pair.run();
    pair.check_empty();
}

#[test]
fn references_of_a_refused_call_are_released() {
    let mut pair = Pair::new();
    let (object, alive) = Obj::new();
    let key = pair.start(A, Start::service().passing(&[&object]));
    drop(object);
    pair.run();
    let call = pair.b().take_call();
    pair.b().refuse(call.id, refusal());
    drop(call);
    pair.b().carry_out();
    pair.run();
    failed(pair.a().poll(key));
    assert!(alive.upgrade().is_none());
    pair.check_empty();
}

#[test]
fn references_of_a_call_to_nothing_are_released() {
    let mut pair = Pair::new();
    let (object, alive) = Obj::new();
    let target = Target::Object(ObjectId::random());
    let key = pair.start(A, Start { target, ..Start::service().passing(&[&object]) });
    drop(object);
    pair.run();
    assert_eq!(failed(pair.a().poll(key)), (ErrorKind::NoSuchObject, Certainty::NotExecuted));
    assert!(alive.upgrade().is_none());
    pair.check_empty();
}

#[test]
fn references_of_a_reply_too_large_were_never_given() {
    let small = Limits { message_len: 100_000, ..Limits::default() };
    let mut pair = Pair::with(small);
    let key = pair.start(A, Start::service());
    pair.run();
    let call = pair.b().take_call();
    let (object, alive) = Obj::new();
    pair.b().reply(call.id, &vec![0; 100_000], &[&object]);
    drop(object);
    assert!(alive.upgrade().is_none());
    pair.run();
    assert_eq!(failed(pair.a().poll(key)), (ErrorKind::TooLarge, Certainty::Executed));
    pair.check_empty();
}

#[test]
fn an_acquired_object_may_be_called_by_its_id_in_the_same_breath() {
    let mut pair = Pair::new();
    let (object, alive) = Obj::new();
    pair.b().exported.insert(&object);
    let acquire = pair.sides[A].session.start_acquire(pair.now, object.id(), None).unwrap();
    let target = Target::Object(object.id());
    let key = pair.start(A, Start { target, ..Start::service() });
    pair.run();
    let call = pair.b().take_call();
    assert!(call.object.unwrap().is_same(&object));
    pair.b().reply(call.id, b"", &[]);
    drop(object);
    pair.run();
    replied(pair.a().poll(key));
    let Some(Answer::Reply { references, .. }) = pair.a().poll(acquire) else { panic!("no reply") };
    let held = pair.a().receive(references);
    assert!(alive.upgrade().is_some());
    drop(held);
    pair.a().carry_out();
    pair.run();
    assert!(alive.upgrade().is_none());
    pair.check_empty();
}

#[test]
fn an_unknown_object_is_not_acquired() {
    let mut pair = Pair::new();
    let key = pair.sides[A].session.start_acquire(pair.now, ObjectId::random(), None).unwrap();
    pair.run();
    assert_eq!(failed(pair.a().poll(key)), (ErrorKind::NoSuchObject, Certainty::NotExecuted));
    pair.check_empty();
}

#[test]
fn definitions_go_before_their_first_use_even_if_that_is_in_a_lane() {
    let mut pair = Pair::new();
    let (object, _alive) = Obj::new();
    pair.start(A, Start::service().sized(1, 300_000).passing(&[&object]));
    pair.start(A, Start::service().sized(2, 1).in_order_of(2));
    pair.run();
    let kinds: Vec<_> = pair.b().heard.iter().map(Message::kind).take(3).collect();
    use rmi_core::wire::Kind::{Call, Define};
    assert_eq!(kinds, [Define, Define, Call]);
    assert_eq!(pair.arrived().len(), 2);
    let defined = pair.b().heard.iter().filter(|message| message.kind() == Define).count();
    assert_eq!(defined, 2, "each once");
}

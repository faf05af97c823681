//! References that are given out and given back: an object lives while it counts anywhere.

use loom::thread;
use rmi_core::wire::{Acquire, CallId, Descriptor, Message, Release, Slot};

use crate::{
    link::{Link, hear},
    objects::Node,
};

/// The slot in which the only reference among these was given.
fn given(messages: &[Message]) -> Option<Slot> {
    let references = messages.iter().flat_map(|message| match message {
        Message::Call(call) => call.references.as_slice(),
        Message::Reply(reply) => reply.references.as_slice(),
        _ => &[],
    });
    let slots: Vec<_> =
        references.filter_map(|one| if let Descriptor::Mine { slot, .. } = one { Some(*slot) } else { None }).collect();
    assert!(slots.len() <= 1, "one reference was given: {slots:?}");
    slots.first().copied()
}

fn release(slot: Slot) -> Message {
    Message::Release(Release { slot, count: 1 })
}

#[test]
fn an_object_given_out_again_while_its_count_goes_back_to_zero_lives_until_that_is_given_back_too() {
    loom::model(|| {
        let node = Node::new();
        let link = Link::new(&node);
        let object = node.object();
        node.enter(&object);
        link.call(&[&object]);
        let first = given(&link.write()).unwrap();
        let driver = link.clone();
        let driver = thread::spawn(move || driver.hears(&release(first)));
        link.call(&[&object]);
        let again = given(&link.write()).unwrap();
        drop(object);
        driver.join().unwrap();
        assert_eq!(node.dropped(), 0, "dropped while its count is above zero");
        let counts = link.step(|session| (session.counts().exports, session.reference_counts().given));
        assert_eq!(counts, (1, 1));
        link.hears(&release(again));
        node.is_bare();
    });
}

/// One peer gives back the last reference, while another asks for the object by its id.
#[test]
fn an_object_acquired_over_one_link_while_it_is_given_back_over_another_lives_or_is_refused() {
    loom::model(|| {
        let node = Node::new();
        let (link, other) = (Link::new(&node), Link::new(&node));
        let stepping = std::sync::Arc::downgrade(&link);
        // A user's `Drop` may do anything, such as use the link.
        let object = node.object_that(move || {
            stepping.upgrade().expect("the link outlives it").step(|session| session.has_output());
        });
        let id = object.id;
        node.enter(&object);
        link.call(&[&object]);
        let slot = given(&link.write()).unwrap();
        drop(object);
        let driver = link.clone();
        let driver = thread::spawn(move || driver.hears(&release(slot)));
        other.hears(&Message::Acquire(Acquire { id: CallId(0), object: id }));
        let answer = other.write();
        driver.join().unwrap();
        match given(&answer) {
            Some(slot) => {
                assert_eq!(node.dropped(), 0, "dropped while its count is above zero");
                other.hears(&release(slot));
            }
            None => assert!(matches!(answer[..], [Message::Refusal(_)]), "{answer:?}"),
        }
        node.is_bare();
    });
}

/// What a step leaves to be dropped is dropped before the session is let go of.
#[test]
#[should_panic(expected = "deadlock")]
fn loom_finds_garbage_that_is_dropped_under_the_lock() {
    loom::model(|| {
        let node = Node::new();
        let link = Link::new(&node);
        let stepping = std::sync::Arc::downgrade(&link);
        let object = node.object_that(move || {
            stepping.upgrade().expect("the link outlives it").step(|session| session.has_output());
        });
        node.enter(&object);
        link.call(&[&object]);
        let slot = given(&link.write()).unwrap();
        let (driver, directory) = (link.clone(), node.clone());
        let driver = thread::spawn(move || {
            let mut session = driver.session.lock().unwrap();
            hear(&mut session, &directory, &release(slot));
            drop(session.take_effects());
        });
        drop(object);
        driver.join().unwrap();
    });
}

//! A caller that waits or goes away, while the answer arrives or its time runs out.

use std::{
    sync::Arc,
    task::{Poll, Wake, Waker},
};

use loom::{sync::Notify, thread};
use rmi_core::{
    ErrorKind, ObjectId,
    session::{Answer, CallKey, Received},
    time::Time,
    wire::{CallId, Codec, Definition, Descriptor, InterfacesNumber, Message, Outcome, Payload, Release, Reply},
};

use crate::{
    link::{DEADLINE, HELD, Handle, Link},
    objects::Node,
};

/// Wakes the thread of a caller.
#[derive(Debug)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// A link with a call that has left.
fn called() -> (Arc<Link>, CallKey) {
    let link = Link::new(&Node::new());
    let names = vec!["demo.Account".to_owned()];
    link.hears(&Message::Define(Definition::Interfaces { number: InterfacesNumber(0), names }));
    let key = link.call(&[]);
    link.write();
    (link, key)
}

/// The answer of the peer, which gives a reference.
fn answer() -> Message {
    let object = ObjectId::from_bytes([3; 16]);
    let references = vec![Descriptor::Mine { slot: HELD, object, interfaces: InterfacesNumber(0) }];
    let (id, outcome, codec, payload) = (CallId(0), Outcome::Ok, Codec::Postcard, Payload::default());
    Message::Reply(Reply { id, outcome, codec, references, payload })
}

fn poll(link: &Link, key: CallKey, waker: &Waker) -> Poll<Answer<Handle>> {
    link.step(|session| session.poll_answer(key, waker))
}

/// Waits for the answer as a task does.
fn wait(link: &Link, key: CallKey) -> Answer<Handle> {
    let woken = Arc::new(Woken(Notify::new()));
    loop {
        match poll(link, key, &Waker::from(woken.clone())) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => woken.0.wait(),
        }
    }
}

/// The caller lets go of what an answer brought.
fn let_go(link: &Link, answer: Answer<Handle>) {
    if let Answer::Reply { references, .. } = answer {
        assert!(matches!(references[..], [Received::Held(_)]), "{references:?}");
        link.step(|session| session.release(HELD));
    }
}

/// The call is over, its id is free, and what the answer brought was given back once.
fn is_over(link: &Link) {
    let counts = link.step(|session| session.counts());
    assert_eq!((counts.made, counts.imports), (0, 0));
    let written = link.write();
    let released =
        written.iter().filter_map(|message| if let Message::Release(of) = message { Some(*of) } else { None });
    assert_eq!(released.collect::<Vec<_>>(), [Release { slot: HELD, count: 1 }], "{written:?}");
}

#[test]
fn a_caller_that_goes_away_while_the_answer_arrives_leaves_nothing_behind() {
    loom::model(|| {
        let (link, key) = called();
        let driver = link.clone();
        let driver = thread::spawn(move || driver.hears(&answer()));
        match poll(&link, key, Waker::noop()) {
            Poll::Ready(answer) => let_go(&link, answer),
            Poll::Pending => {
                link.step(|session| session.cancel_call(Time::START, key));
            }
        }
        driver.join().unwrap();
        is_over(&link);
    });
}

#[test]
fn a_caller_that_waits_is_woken_for_the_answer() {
    loom::model(|| {
        let (link, key) = called();
        let driver = link.clone();
        let driver = thread::spawn(move || driver.hears(&answer()));
        let answer = wait(&link, key);
        assert!(matches!(answer, Answer::Reply { .. }), "{answer:?}");
        let_go(&link, answer);
        driver.join().unwrap();
        is_over(&link);
    });
}

#[test]
fn a_call_whose_time_runs_out_while_the_answer_arrives_ends_once() {
    loom::model(|| {
        let (link, key) = called();
        let (driver, timer) = (link.clone(), link.clone());
        let driver = thread::spawn(move || driver.hears(&answer()));
        let timer = thread::spawn(move || timer.step(|session| session.handle_timeout(DEADLINE)).unwrap());
        match wait(&link, key) {
            Answer::Failed(error) => assert_eq!(error.kind(), ErrorKind::DeadlineExceeded),
            answer => let_go(&link, answer),
        }
        driver.join().unwrap();
        timer.join().unwrap();
        is_over(&link);
    });
}

/// The caller looks, and leaves its waker later without looking again.
#[test]
#[should_panic(expected = "deadlock")]
fn loom_finds_a_waker_that_is_left_too_late() {
    loom::model(|| {
        let (link, key) = called();
        let driver = link.clone();
        let driver = thread::spawn(move || driver.hears(&answer()));
        let woken = Arc::new(Woken(Notify::new()));
        if poll(&link, key, Waker::noop()).is_pending() {
            let _too_late = poll(&link, key, &Waker::from(woken.clone()));
            woken.0.wait();
        }
        driver.join().unwrap();
    });
}

use std::time::Duration;

use super::*;
use crate::error::{Certainty, ErrorKind};

fn at(seconds: u64) -> Time {
    Time::after_start(Duration::from_secs(seconds))
}

fn failed(kind: ErrorKind) -> RemoteError {
    RemoteError::new(kind, "")
}

fn reply() -> Answer<()> {
    Answer::Reply { outcome: Outcome::Ok, payload: Payload::default(), references: vec![Received::Returned(())] }
}

fn kind(answer: Poll<Answer<()>>) -> Option<ErrorKind> {
    match answer {
        Poll::Ready(Answer::Failed(error)) => Some(error.kind()),
        _ => None,
    }
}

#[test]
fn an_answer_reaches_its_caller_and_frees_the_id() {
    let mut made = CallsMade::default();
    let (key, id) = made.start(None, Takes::Credit);
    assert!(made.handle_answer(id, reply(), &mut Effects::default()).is_err(), "an answer to a call not sent");
    made.handle_sent(id, 0);
    assert!(made.poll(key, Waker::noop()).is_pending());
    let mut effects = Effects::default();
    assert!(made.handle_answer(id, reply(), &mut effects).unwrap().is_none());
    assert_eq!(effects.wakers.len(), 1);
    assert!(made.poll(key, Waker::noop()).is_ready());
    assert_eq!(made.len(), 0);
    assert!(made.handle_answer(id, reply(), &mut effects).is_err(), "a second answer");
}

#[test]
fn an_expired_call_keeps_its_id_until_answered() {
    let mut made = CallsMade::default();
    let (key, id) = made.start(Some(at(5)), Takes::Credit);
    made.handle_sent(id, 0);
    assert_eq!(made.next_timeout(), at(5));
    let late = |_| failed(ErrorKind::DeadlineExceeded);
    assert_eq!(made.handle_timeout(at(4), None, late, &mut Effects::default()), (vec![], vec![]));
    assert_eq!(made.handle_timeout(at(5), None, late, &mut Effects::default()), (vec![id], vec![]));
    assert_eq!(kind(made.poll(key, Waker::noop())), Some(ErrorKind::DeadlineExceeded));
    assert_ne!(made.start(None, Takes::Credit).1, id);
    let unwanted = made.handle_answer(id, reply(), &mut Effects::default()).unwrap();
    assert!(matches!(unwanted, Some(Answer::Reply { references, .. }) if references.len() == 1));
    assert_eq!(made.start(None, Takes::Credit).1, id);
}

#[test]
fn a_caller_that_goes_leaves_what_must_be_undone() {
    let mut made = CallsMade::<()>::default();
    let (unsent, _) = made.start(None, Takes::Credit);
    assert!(matches!(made.abandon(unsent, &mut Effects::default()), Left::Unsent(_)));
    let (sent, id) = made.start(None, Takes::Credit);
    made.handle_sent(id, 0);
    assert!(matches!(made.abandon(sent, &mut Effects::default()), Left::Unanswered(_)));
    assert!(matches!(made.abandon(sent, &mut Effects::default()), Left::Answered(left) if left.is_empty()));
    made.handle_answer(id, reply(), &mut Effects::default()).unwrap();
    let (answered, id) = made.start(None, Takes::Credit);
    made.handle_sent(id, 1);
    made.handle_answer(id, reply(), &mut Effects::default()).unwrap();
    assert!(matches!(made.abandon(answered, &mut Effects::default()), Left::Answered(left) if left.len() == 1));
    assert_eq!(made.len(), 0);
}

/// A oneway call, on its way.
fn departed(made: &mut CallsMade<()>, deadline: Option<Time>) -> CallId {
    let (key, id) = made.start(deadline, Takes::Credit);
    assert!(matches!(made.poll_departure(key, Waker::noop()), Poll::Ready(Ok(left)) if left.is_empty()));
    id
}

fn late(_: Late) -> RemoteError {
    failed(ErrorKind::DeadlineExceeded)
}

#[test]
fn the_answer_of_a_oneway_call_frees_its_id_and_leaves_its_references_to_be_released() {
    let mut made = CallsMade::<()>::default();
    let id = departed(&mut made, None);
    assert!(made.handle_answer(id, reply(), &mut Effects::default()).is_err(), "an answer to a call not sent");
    made.handle_sent(id, 0);
    let unwanted = made.handle_answer(id, reply(), &mut Effects::default()).unwrap();
    assert!(matches!(unwanted, Some(Answer::Reply { references, .. }) if references.len() == 1));
    assert_eq!(made.len(), 0);
}

#[test]
fn a_oneway_call_that_is_late_is_cancelled_or_taken_back() {
    let mut made = CallsMade::<()>::default();
    let (sent, unsent) = (departed(&mut made, Some(at(5))), departed(&mut made, Some(at(5))));
    made.handle_sent(sent, 0);
    assert_eq!(made.handle_timeout(at(4), None, late, &mut Effects::default()), (vec![], vec![]));
    assert_eq!(made.handle_timeout(at(5), None, late, &mut Effects::default()), (vec![sent], vec![unsent]));
    assert_eq!(made.len(), 1, "the peer still owes an answer");
    assert!(made.handle_answer(sent, reply(), &mut Effects::default()).unwrap().is_some());
    assert_eq!(made.len(), 0);
}

#[test]
fn an_answer_may_be_faster_than_the_caller_of_a_oneway_call() {
    let mut made = CallsMade::<()>::default();
    let (told, untold) = (Certainty::NotExecuted, Certainty::Executed);
    for (certainty, is_told) in [(told, true), (untold, false)] {
        let (key, id) = made.start(None, Takes::Credit);
        made.handle_sent(id, 0);
        let answer = Answer::Failed(failed(ErrorKind::Shutdown).with_certainty(certainty));
        made.handle_answer(id, answer, &mut Effects::default()).unwrap();
        let departed = made.poll_departure(key, Waker::noop());
        assert!(matches!(departed, Poll::Ready(departed) if departed.is_err() == is_told), "{certainty:?}");
        assert_eq!(made.len(), 0);
    }
}

#[test]
fn a_lost_connection_forgets_oneway_calls() {
    let lost = |_| failed(ErrorKind::ConnectionLost);
    for ending in 0..3 {
        let mut made = CallsMade::<()>::default();
        let sent = departed(&mut made, None);
        departed(&mut made, None);
        made.handle_sent(sent, 0);
        match ending {
            0 => made.suspend(at(1), Duration::from_secs(5), || lost(true), &mut Effects::default()),
            1 => drop(made.handle_closing(0, lost, &mut Effects::default())),
            _ => made.lose(lost, &mut Effects::default()),
        }
        assert_eq!(made.len(), 0);
    }
}

#[test]
fn a_closing_peer_ends_what_it_did_not_take() {
    let mut made = CallsMade::<()>::default();
    let (first, a) = made.start(None, Takes::Credit);
    let (second, b) = made.start(None, Takes::Credit);
    made.handle_sent(a, 0);
    made.handle_sent(b, 1);
    let (waiting, c) = made.start(None, Takes::Credit);
    let ended = made.handle_closing(1, |_| failed(ErrorKind::Shutdown), &mut Effects::default());
    assert_eq!(ended, [c]);
    assert_eq!(kind(made.poll(waiting, Waker::noop())), Some(ErrorKind::Shutdown));
    assert!(made.poll(first, Waker::noop()).is_pending());
    assert_eq!(kind(made.poll(second, Waker::noop())), Some(ErrorKind::Shutdown));
}

#[test]
fn a_lost_link_ends_everything_by_whether_it_was_sent() {
    let mut made = CallsMade::<()>::default();
    let (unsent, _) = made.start(None, Takes::Credit);
    let (sent, id) = made.start(None, Takes::Credit);
    made.handle_sent(id, 0);
    let (gone, id) = made.start(None, Takes::Credit);
    made.handle_sent(id, 1);
    made.abandon(gone, &mut Effects::default());
    made.lose(
        |sent| failed(if sent { ErrorKind::ConnectionLost } else { ErrorKind::Unreachable }),
        &mut Effects::default(),
    );
    assert_eq!(kind(made.poll(unsent, Waker::noop())), Some(ErrorKind::Unreachable));
    assert_eq!(kind(made.poll(sent, Waker::noop())), Some(ErrorKind::ConnectionLost));
    assert_eq!(made.len(), 0);
}

use std::time::Duration;

use super::*;
use crate::error::ErrorKind;

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

//! The calls of one link: those made, each waiting for its answer, and those served.

use std::{
    task::{Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, hash_map::Entry};
use slab::Slab;

use super::{
    effects::Effects,
    references::{Passed, Received},
};
use crate::{
    error::RemoteError,
    id::ObjectId,
    time::Time,
    wire::{CallId, MethodNumber, Outcome, Target},
};

/// A call made, as its caller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallKey {
    index: usize,
    generation: u32,
}

/// How a call ended.
#[derive(Debug)]
pub enum Answer<O> {
    /// The method ran to its end.
    Reply {
        /// Whether the payload is the method's value or its error.
        outcome: Outcome,
        /// The encoded value or error.
        payload: Bytes,
        /// The references in it.
        references: Vec<Received<O>>,
    },
    /// The runtime, here or there, ended it.
    Failed(RemoteError),
}

impl<O> Answer<O> {
    /// Whether it answers an acquire: with one reference and nothing else, or by a failure.
    pub(crate) fn is_one_reference(&self) -> bool {
        match self {
            Self::Reply { outcome, payload, references } => {
                *outcome == Outcome::Ok && payload.is_empty() && references.len() == 1
            }
            Self::Failed(_) => true,
        }
    }
}

/// The calls made over one link. An id is reserved from the start of a call until it is answered
/// and its caller has taken the answer or gone away.
#[derive(Debug)]
pub(crate) struct CallsMade<O> {
    calls: Slab<Made<O>>,
    generation: u32,
    /// No deadline comes before this moment. It is moved by looking at all calls, and only when it
    /// is reached: calls end far more often than deadlines.
    earliest: Option<Time>,
    parked: usize,
}

#[derive(Debug)]
struct Made<O> {
    generation: u32,
    takes: Takes,
    deadline: Option<Time>,
    stage: Stage<O>,
}

/// What a call takes of the peer's credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// One call.
    Credit,
    /// Nothing: an acquire is answered at once.
    Nothing,
}

#[derive(Debug)]
enum Stage<O> {
    /// Not sent, or not wholly. Parked where it waits for credit.
    Waiting { waker: Option<Waker>, parked: Option<Box<Parked<O>>> },
    /// Sent; the number says how many calls were sent before it on this link.
    Sent { sequence: u64, waker: Option<Waker> },
    /// Ended for the caller, while the peer still owes the answer.
    Expired { sequence: u64, error: RemoteError },
    /// The caller has gone; the peer still owes the answer.
    Abandoned { sequence: u64 },
    /// Answered; the caller has not looked yet.
    Answered(Answer<O>),
}

/// A call that waits for the peer's credit.
#[derive(Debug)]
pub(crate) struct Parked<O> {
    pub(crate) target: Target,
    pub(crate) order: ObjectId,
    pub(crate) method: MethodNumber,
    pub(crate) references: Vec<Passed<O>>,
    pub(crate) payload: Bytes,
    pub(crate) depth: u32,
}

/// What a caller leaves behind when it goes.
#[derive(Debug)]
pub(crate) enum Left<O> {
    /// The call had not been sent: take it out of the outbox.
    Unsent(CallId),
    /// The peer still works on it: tell it.
    Unanswered(CallId),
    /// Nothing, or references of an answer that nobody looked at.
    Answered(Vec<Received<O>>),
}

impl<O> Made<O> {
    /// Ends a call that will have no answer; the cause is told whether it was sent. False where
    /// nobody waits for it either.
    fn end(&mut self, cause: &impl Fn(bool) -> RemoteError, effects: &mut Effects<O>) -> bool {
        let error = match &mut self.stage {
            Stage::Waiting { waker, parked } => {
                effects.wakers.extend(waker.take());
                effects.discard(parked.take());
                cause(false)
            }
            Stage::Sent { waker, .. } => {
                effects.wakers.extend(waker.take());
                cause(true)
            }
            Stage::Expired { error, .. } => error.clone(),
            Stage::Abandoned { .. } => return false,
            Stage::Answered(_) => return true,
        };
        self.stage = Stage::Answered(Answer::Failed(error));
        true
    }
}

impl<O> Default for CallsMade<O> {
    fn default() -> Self {
        Self { calls: Slab::new(), generation: 0, earliest: None, parked: 0 }
    }
}

impl<O> CallsMade<O> {
    /// A call begins, unsent. Returns its key and its id on the wire.
    pub(crate) fn start(&mut self, deadline: Option<Time>, takes: Takes) -> (CallKey, CallId) {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.calls.insert(Made {
            generation,
            takes,
            deadline,
            stage: Stage::Waiting { waker: None, parked: None },
        });
        if let Some(deadline) = deadline {
            self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        }
        (CallKey { index, generation }, Self::id(index))
    }

    #[expect(clippy::cast_possible_truncation, reason = "limits bound the calls far below 2^32")]
    fn id(index: usize) -> CallId {
        CallId(index as u32)
    }

    fn get(&mut self, key: CallKey) -> Option<&mut Made<O>> {
        self.calls.get_mut(key.index).filter(|made| made.generation == key.generation)
    }

    /// The last byte of a call was handed over.
    pub(crate) fn handle_sent(&mut self, id: CallId, sequence: u64) {
        if let Some(made) = self.calls.get_mut(id.0 as usize)
            && let Stage::Waiting { waker, .. } = &mut made.stage
        {
            made.stage = Stage::Sent { sequence, waker: waker.take() };
        }
    }

    /// A call waits for credit.
    pub(crate) fn park(&mut self, key: CallKey, call: Box<Parked<O>>) {
        if let Some(Made { stage: Stage::Waiting { parked, .. }, .. }) = self.get(key) {
            *parked = Some(call);
            self.parked += 1;
        }
    }

    /// The call that waits for credit, unless it has ended meanwhile.
    pub(crate) fn parked(&mut self, key: CallKey) -> Option<&Parked<O>> {
        match self.get(key) {
            Some(Made { stage: Stage::Waiting { parked, .. }, .. }) => parked.as_deref(),
            _ => None,
        }
    }

    /// A call waits no longer: takes it to be sent.
    pub(crate) fn unpark(&mut self, key: CallKey) -> Option<Box<Parked<O>>> {
        let Some(Made { stage: Stage::Waiting { parked, .. }, .. }) = self.get(key) else { return None };
        let call = parked.take();
        self.parked -= usize::from(call.is_some());
        call
    }

    /// How many calls wait for credit.
    pub(crate) fn parked_len(&self) -> usize {
        self.parked
    }

    /// When a call is to end, as time left from now.
    pub(crate) fn time_left(&mut self, key: CallKey, now: Time) -> Option<Duration> {
        self.get(key)?.deadline.map(|deadline| deadline.since(now))
    }

    /// What a call takes of the peer's credit, if there is such a call.
    pub(crate) fn takes(&self, id: CallId) -> Option<Takes> {
        self.calls.get(id.0 as usize).map(|made| made.takes)
    }

    /// The wire's id of a call.
    pub(crate) fn id_of(key: CallKey) -> CallId {
        Self::id(key.index)
    }

    /// The caller asks.
    pub(crate) fn poll(&mut self, key: CallKey, waker: &Waker) -> Poll<Answer<O>> {
        let Some(made) = self.get(key) else { return Poll::Pending };
        match &mut made.stage {
            Stage::Waiting { waker: place, .. } | Stage::Sent { waker: place, .. } => {
                if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
                    *place = Some(waker.clone());
                }
                Poll::Pending
            }
            Stage::Expired { sequence, error } => {
                let answer = Answer::Failed(error.clone());
                made.stage = Stage::Abandoned { sequence: *sequence };
                Poll::Ready(answer)
            }
            Stage::Abandoned { .. } => Poll::Pending,
            Stage::Answered(_) => match self.calls.remove(key.index).stage {
                Stage::Answered(answer) => Poll::Ready(answer),
                _ => Poll::Pending,
            },
        }
    }

    /// The peer answered. Returns the answer where nobody waits for it, so that its references
    /// are released.
    ///
    /// # Errors
    ///
    /// Gives the answer back where no such call is out.
    pub(crate) fn handle_answer(
        &mut self,
        id: CallId,
        answer: Answer<O>,
        effects: &mut Effects<O>,
    ) -> Result<Option<Answer<O>>, Answer<O>> {
        let index = id.0 as usize;
        let Some(made) = self.calls.get_mut(index) else { return Err(answer) };
        match &mut made.stage {
            Stage::Sent { waker, .. } => {
                effects.wakers.extend(waker.take());
                made.stage = Stage::Answered(answer);
                Ok(None)
            }
            // The caller has not looked at its expiry yet: it may as well have the answer.
            // A failure is most likely that of the cancel that went out with the expiry.
            Stage::Expired { error, .. } => {
                let answer = if matches!(answer, Answer::Failed(_)) { Answer::Failed(error.clone()) } else { answer };
                made.stage = Stage::Answered(answer);
                Ok(None)
            }
            Stage::Abandoned { .. } => {
                self.calls.remove(index);
                Ok(Some(answer))
            }
            Stage::Waiting { .. } | Stage::Answered(_) => Err(answer),
        }
    }

    /// The caller has gone.
    pub(crate) fn abandon(&mut self, key: CallKey, effects: &mut Effects<O>) -> Left<O> {
        let id = Self::id(key.index);
        let Some(made) = self.get(key) else { return Left::Answered(Vec::new()) };
        match &mut made.stage {
            Stage::Waiting { parked, .. } => {
                let parked = parked.take();
                self.parked -= usize::from(parked.is_some());
                effects.discard(parked);
                self.calls.remove(key.index);
                Left::Unsent(id)
            }
            Stage::Sent { sequence, .. } => {
                made.stage = Stage::Abandoned { sequence: *sequence };
                Left::Unanswered(id)
            }
            // The cancel went out with the expiry.
            Stage::Expired { sequence, .. } => {
                made.stage = Stage::Abandoned { sequence: *sequence };
                Left::Answered(Vec::new())
            }
            Stage::Abandoned { .. } => Left::Answered(Vec::new()),
            Stage::Answered(_) => match self.calls.remove(key.index).stage {
                Stage::Answered(Answer::Reply { references, .. }) => Left::Answered(references),
                _ => Left::Answered(Vec::new()),
            },
        }
    }

    /// Ends what is over its deadline. Returns the ids of those sent, to be cancelled at the peer,
    /// and of those unsent, to be taken out of the queue.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Time,
        late: impl Fn(bool) -> RemoteError,
        effects: &mut Effects<O>,
    ) -> (Vec<CallId>, Vec<CallId>) {
        let (mut sent, mut unsent) = (Vec::new(), Vec::new());
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return (sent, unsent);
        }
        self.earliest = None;
        for (index, made) in &mut self.calls {
            let Some(deadline) = made.deadline else { continue };
            match &mut made.stage {
                Stage::Waiting { .. } | Stage::Sent { .. } if deadline > now => {
                    self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
                }
                Stage::Waiting { waker, parked } => {
                    effects.wakers.extend(waker.take());
                    self.parked -= usize::from(parked.is_some());
                    effects.discard(parked.take());
                    made.stage = Stage::Answered(Answer::Failed(late(false)));
                    unsent.push(Self::id(index));
                }
                Stage::Sent { sequence, waker } => {
                    effects.wakers.extend(waker.take());
                    made.stage = Stage::Expired { sequence: *sequence, error: late(true) };
                    sent.push(Self::id(index));
                }
                _ => {}
            }
        }
        (sent, unsent)
    }

    /// Ends every call unsent, and every one sent as number `taken` or later: the peer closes
    /// without running them. Returns the ids of the unsent, to be taken out of the outbox.
    pub(crate) fn handle_closing(
        &mut self,
        taken: u64,
        cause: impl Fn(bool) -> RemoteError,
        effects: &mut Effects<O>,
    ) -> Vec<CallId> {
        let mut unsent = Vec::new();
        self.parked = 0;
        self.calls.retain(|index, made| {
            match &made.stage {
                Stage::Waiting { .. } => unsent.push(Self::id(index)),
                Stage::Sent { sequence, .. } | Stage::Expired { sequence, .. } | Stage::Abandoned { sequence }
                    if *sequence >= taken => {}
                _ => return true,
            }
            made.end(&cause, effects)
        });
        unsent
    }

    /// The link is lost: ends every call with this cause, by whether it was sent.
    pub(crate) fn lose(&mut self, cause: impl Fn(bool) -> RemoteError, effects: &mut Effects<O>) {
        (self.earliest, self.parked) = (None, 0);
        self.calls.retain(|_, made| made.end(&cause, effects));
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.earliest
    }

    /// How many ids are reserved.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }
}

/// A call served, as its callee knows it. Once it is answered the caller may use its id again, for
/// another call: the serial tells the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServedId {
    /// The caller's id for it.
    pub id: CallId,
    serial: u64,
}

/// The calls served for the peer: each is answered exactly once.
#[derive(Debug, Default)]
pub(crate) struct CallsServed {
    open: HashMap<CallId, u64, RandomState>,
    taken: u64,
}

impl CallsServed {
    /// A call arrived; `None` where its id is still reserved.
    pub(crate) fn start(&mut self, id: CallId) -> Option<ServedId> {
        let Entry::Vacant(place) = self.open.entry(id) else { return None };
        let serial = *place.insert(self.taken);
        self.taken += 1;
        Some(ServedId { id, serial })
    }

    /// Whether the call still waits for its answer; it does no more.
    pub(crate) fn finish(&mut self, call: ServedId) -> bool {
        match self.open.entry(call.id) {
            Entry::Occupied(place) if *place.get() == call.serial => {
                place.remove();
                true
            }
            _ => false,
        }
    }

    /// The call of this id, if it waits for its answer.
    pub(crate) fn find(&self, id: CallId) -> Option<ServedId> {
        self.open.get(&id).map(|&serial| ServedId { id, serial })
    }

    /// How many calls were taken since the link began.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// The link is lost: nobody waits for the answers any more.
    pub(crate) fn lose(&mut self) -> Vec<ServedId> {
        self.open.drain().map(|(id, serial)| ServedId { id, serial }).collect()
    }
}

#[cfg(test)]
mod tests {
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
        Answer::Reply { outcome: Outcome::Ok, payload: Bytes::new(), references: vec![Received::Returned(())] }
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
        assert_eq!(made.next_timeout(), Some(at(5)));
        let late = |_| failed(ErrorKind::DeadlineExceeded);
        assert_eq!(made.handle_timeout(at(4), late, &mut Effects::default()), (vec![], vec![]));
        assert_eq!(made.handle_timeout(at(5), late, &mut Effects::default()), (vec![id], vec![]));
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
}

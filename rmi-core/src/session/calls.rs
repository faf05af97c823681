//! The calls made over one link, each waiting for its answer.

use std::{
    task::{Poll, Waker},
    time::Duration,
};

use slab::Slab;

use super::{
    effects::Effects,
    parked::{Parked, Waiting},
    references::Received,
};
use crate::{
    error::RemoteError,
    time::Time,
    wire::{CallId, Outcome, Payload},
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
        payload: Payload,
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
    earliest: Time,
    waiting: Waiting,
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
    /// One pull of a stream, which may wait for ever and keeps no call from being made.
    Pull,
}

#[derive(Debug)]
enum Stage<O> {
    /// Not sent, or not wholly. Parked where it waits for credit.
    Waiting { waker: Option<Waker>, parked: Option<Box<Parked<O>>> },
    /// Sent; the number is that of its message among the counted ones of this link.
    Sent { sequence: u64, waker: Option<Waker> },
    /// Ended for the caller, while the peer still owes the answer.
    Expired { sequence: u64, error: RemoteError },
    /// The caller has gone; the peer still owes the answer.
    Abandoned { sequence: u64 },
    /// A oneway call: nobody waits for its answer, but its time counts. Without a number until it is sent.
    Unheard { sequence: Option<u64> },
    /// Answered; the caller has not looked yet.
    Answered(Answer<O>),
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

/// Why a call ends before it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Late {
    /// Its own time is over; it was sent, or was not.
    Call { sent: bool },
    /// It waited too long for a connection.
    Connection,
}

impl<O> Made<O> {
    /// When and why it ends, if nothing happens before.
    fn ends(&self, patience: Option<Duration>) -> Option<(Time, Late)> {
        let (sent, waits) = match &self.stage {
            Stage::Waiting { parked, .. } => (false, parked.as_ref().zip(patience)),
            Stage::Sent { .. } => (true, None),
            Stage::Unheard { sequence } => (sequence.is_some(), None),
            Stage::Expired { .. } | Stage::Abandoned { .. } | Stage::Answered(_) => return None,
        };
        let own = self.deadline.map(|deadline| (deadline, Late::Call { sent }));
        let connection = waits.map(|(parked, patience)| (parked.since + patience, Late::Connection));
        match (own, connection) {
            (Some(own), Some(connection)) if connection.0 < own.0 => Some(connection),
            (None, connection) => connection,
            (own, _) => own,
        }
    }

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
            Stage::Abandoned { .. } | Stage::Unheard { .. } => return false,
            Stage::Answered(_) => return true,
        };
        self.stage = Stage::Answered(Answer::Failed(error));
        true
    }
}

impl<O> Default for CallsMade<O> {
    fn default() -> Self {
        Self { calls: Slab::new(), generation: 0, earliest: Time::NEVER, waiting: Waiting::default() }
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
            self.expect(deadline);
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
        let Some(made) = self.calls.get_mut(id.0 as usize) else { return };
        match &mut made.stage {
            Stage::Waiting { waker, .. } => made.stage = Stage::Sent { sequence, waker: waker.take() },
            Stage::Unheard { sequence: place } => *place = Some(sequence),
            Stage::Sent { .. } | Stage::Expired { .. } | Stage::Abandoned { .. } | Stage::Answered(_) => {}
        }
    }

    /// A call waits for credit, or for a connection, which it does until then.
    pub(crate) fn park(&mut self, key: CallKey, call: Parked<O>, until: Option<Time>) {
        if let Some(Made { stage: Stage::Waiting { parked, .. }, .. }) = self.get(key) {
            let bytes = call.bytes();
            *parked = Some(Box::new(call));
            self.waiting.add(bytes);
        }
        if let Some(until) = until {
            self.expect(until);
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
        self.waiting.remove(call.as_deref());
        call
    }

    /// How many calls wait for credit.
    pub(crate) fn parked_len(&self) -> usize {
        self.waiting.calls
    }

    /// How much waits for credit.
    pub(crate) fn waiting(&self) -> Waiting {
        self.waiting
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
            Stage::Abandoned { .. } | Stage::Unheard { .. } => Poll::Pending,
            Stage::Answered(_) => match self.calls.remove(key.index).stage {
                Stage::Answered(answer) => Poll::Ready(answer),
                _ => Poll::Pending,
            },
        }
    }

    /// The caller of a oneway call asks whether it is on its way: nobody waits for it any more then. Gives
    /// the references of an answer that was faster, to be released.
    ///
    /// # Errors
    ///
    /// Where it certainly did not run.
    pub(crate) fn poll_departure(
        &mut self,
        key: CallKey,
        waker: &Waker,
    ) -> Poll<Result<Vec<Received<O>>, RemoteError>> {
        let Some(made) = self.get(key) else { return Poll::Ready(Ok(Vec::new())) };
        match &mut made.stage {
            Stage::Waiting { parked: Some(parked), .. } => {
                parked.departs = Some(waker.clone());
                return Poll::Pending;
            }
            Stage::Waiting { parked: None, .. } => made.stage = Stage::Unheard { sequence: None },
            Stage::Sent { sequence, .. } => made.stage = Stage::Unheard { sequence: Some(*sequence) },
            Stage::Expired { sequence, .. } => made.stage = Stage::Abandoned { sequence: *sequence },
            Stage::Abandoned { .. } | Stage::Unheard { .. } => {}
            Stage::Answered(_) => match self.calls.remove(key.index).stage {
                Stage::Answered(Answer::Reply { references, .. }) => return Poll::Ready(Ok(references)),
                Stage::Answered(Answer::Failed(error)) if error.certainty().did_not_run() => {
                    return Poll::Ready(Err(error));
                }
                _ => {}
            },
        }
        Poll::Ready(Ok(Vec::new()))
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
            Stage::Abandoned { .. } | Stage::Unheard { sequence: Some(_) } => {
                self.calls.remove(index);
                Ok(Some(answer))
            }
            Stage::Waiting { .. } | Stage::Unheard { sequence: None } | Stage::Answered(_) => Err(answer),
        }
    }

    /// The caller has gone.
    pub(crate) fn abandon(&mut self, key: CallKey, effects: &mut Effects<O>) -> Left<O> {
        let id = Self::id(key.index);
        let Some(made) = self.get(key) else { return Left::Answered(Vec::new()) };
        match &mut made.stage {
            Stage::Waiting { parked, .. } => {
                let parked = parked.take();
                self.waiting.remove(parked.as_deref());
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
            Stage::Abandoned { .. } | Stage::Unheard { .. } => Left::Answered(Vec::new()),
            Stage::Answered(_) => match self.calls.remove(key.index).stage {
                Stage::Answered(Answer::Reply { references, .. }) => Left::Answered(references),
                _ => Left::Answered(Vec::new()),
            },
        }
    }

    /// Ends what is over its deadline. Returns the ids of those sent, to be cancelled at the peer,
    /// and of those unsent, to be taken out of the queue. `patience` is how long a call waits for a
    /// connection, where there is none.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Time,
        patience: Option<Duration>,
        late: impl Fn(Late) -> RemoteError,
        effects: &mut Effects<O>,
    ) -> (Vec<CallId>, Vec<CallId>) {
        let (mut sent, mut unsent) = (Vec::new(), Vec::new());
        if self.earliest > now {
            return (sent, unsent);
        }
        self.earliest = Time::NEVER;
        self.calls.retain(|index, made| {
            let Some((ends, why)) = made.ends(patience) else { return true };
            if ends > now {
                self.earliest = self.earliest.min(ends);
                return true;
            }
            match &mut made.stage {
                Stage::Waiting { waker, parked } => {
                    effects.wakers.extend(waker.take());
                    self.waiting.remove(parked.as_deref());
                    effects.discard(parked.take());
                    made.stage = Stage::Answered(Answer::Failed(late(why)));
                    unsent.push(Self::id(index));
                }
                // Nobody is there to answer it.
                Stage::Sent { waker, .. } if patience.is_some() => {
                    effects.wakers.extend(waker.take());
                    made.stage = Stage::Answered(Answer::Failed(late(why)));
                }
                Stage::Sent { sequence, waker } => {
                    effects.wakers.extend(waker.take());
                    made.stage = Stage::Expired { sequence: *sequence, error: late(why) };
                    sent.push(Self::id(index));
                }
                Stage::Unheard { sequence: None } => {
                    unsent.push(Self::id(index));
                    return false;
                }
                Stage::Unheard { .. } if patience.is_some() => return false,
                Stage::Unheard { sequence: Some(sequence) } => {
                    made.stage = Stage::Abandoned { sequence: *sequence };
                    sent.push(Self::id(index));
                }
                Stage::Expired { .. } | Stage::Abandoned { .. } | Stage::Answered(_) => {}
            }
            true
        });
        (sent, unsent)
    }

    /// The connection is lost. What has not left wholly ends with this cause; what was sent waits to
    /// hear whether it arrived, and what is parked goes on waiting.
    pub(crate) fn suspend(
        &mut self,
        now: Time,
        patience: Duration,
        cause: impl Fn() -> RemoteError,
        effects: &mut Effects<O>,
    ) {
        self.calls.retain(|_, made| match &mut made.stage {
            Stage::Waiting { parked: Some(parked), .. } => {
                parked.since = now;
                true
            }
            Stage::Waiting { parked: None, .. } | Stage::Abandoned { .. } | Stage::Unheard { .. } => {
                made.end(&|_| cause(), effects)
            }
            Stage::Expired { error, .. } => {
                made.stage = Stage::Answered(Answer::Failed(error.clone()));
                true
            }
            Stage::Sent { .. } | Stage::Answered(_) => true,
        });
        if self.waiting.calls > 0 {
            self.expect(now + patience);
        }
    }

    /// No answer comes to what was sent over a lost connection: ends it all, with a cause that is told
    /// whether the call is among the `arrived` messages, where that is known.
    pub(crate) fn end_sent(
        &mut self,
        arrived: Option<u64>,
        cause: impl Fn(bool) -> RemoteError,
        effects: &mut Effects<O>,
    ) {
        self.calls.retain(|_, made| match &made.stage {
            Stage::Sent { sequence, .. }
            | Stage::Expired { sequence, .. }
            | Stage::Abandoned { sequence }
            | Stage::Unheard { sequence: Some(sequence) } => {
                let has_arrived = arrived.is_none_or(|arrived| *sequence < arrived);
                made.end(&|_| cause(has_arrived), effects)
            }
            Stage::Waiting { .. } | Stage::Unheard { sequence: None } | Stage::Answered(_) => true,
        });
    }

    /// The caller has gone, and no answer will come: frees the id of its call.
    pub(crate) fn forget(&mut self, id: CallId) {
        self.calls.try_remove(id.0 as usize);
    }

    /// A call that waited cannot be sent.
    pub(crate) fn fail(&mut self, key: CallKey, error: RemoteError, effects: &mut Effects<O>) {
        if let Some(Made { stage, .. }) = self.get(key)
            && let Stage::Waiting { waker, .. } = stage
        {
            effects.wakers.extend(waker.take());
            *stage = Stage::Answered(Answer::Failed(error));
        }
    }

    /// Something will be late then.
    fn expect(&mut self, moment: Time) {
        self.earliest = self.earliest.min(moment);
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
        self.waiting = Waiting::default();
        self.calls.retain(|index, made| {
            match &made.stage {
                Stage::Waiting { .. } | Stage::Unheard { sequence: None } => unsent.push(Self::id(index)),
                Stage::Sent { sequence, .. }
                | Stage::Expired { sequence, .. }
                | Stage::Abandoned { sequence }
                | Stage::Unheard { sequence: Some(sequence) }
                    if *sequence >= taken => {}
                _ => return true,
            }
            made.end(&cause, effects)
        });
        unsent
    }

    /// The link is lost: ends every call with this cause, by whether it was sent.
    pub(crate) fn lose(&mut self, cause: impl Fn(bool) -> RemoteError, effects: &mut Effects<O>) {
        (self.earliest, self.waiting) = (Time::NEVER, Waiting::default());
        self.calls.retain(|_, made| made.end(&cause, effects));
    }

    pub(crate) fn next_timeout(&self) -> Time {
        self.earliest
    }

    /// How many calls and acquires ever started. The count wraps.
    pub(crate) fn started(&self) -> u32 {
        self.generation
    }

    /// How many ids are reserved.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }
}

#[cfg(test)]
mod tests;

//! What left towards the peer and is not known to have arrived: what a resumption has to undo or to
//! send again.

use std::collections::VecDeque;

use crate::wire::{Slot, WireError};

/// Numbers the counted messages that leave, and remembers what those did that touch references. The
/// peer's acks trim it, so that it holds what is on its way and not what is held.
#[derive(Debug, Default)]
pub(crate) struct SentLog {
    /// Whether there is a resumption to remember anything for.
    remembers: bool,
    sent: u64,
    traces: VecDeque<(u64, Trace)>,
    /// What happened while no connection was there to say it.
    unsaid: Vec<Trace>,
}

/// What a message did to references.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trace {
    /// Gave references: each slot counts once more.
    Given(Vec<Slot>),
    /// Gave held references back.
    Released(Slot, u64),
    /// Told that a slot leads nowhere any more.
    Revoked(Slot),
}

impl SentLog {
    pub(crate) fn new(remembers: bool) -> Self {
        Self { remembers, ..Self::default() }
    }

    /// A counted message has left. Returns its number.
    pub(crate) fn note(&mut self, given: Vec<Slot>) -> u64 {
        if given.is_empty() || !self.remembers { self.next() } else { self.note_trace(Trace::Given(given)) }
    }

    /// A message has left that gave back or revoked something.
    pub(crate) fn note_trace(&mut self, trace: Trace) -> u64 {
        if self.remembers {
            self.traces.push_back((self.sent, trace));
        }
        self.next()
    }

    fn next(&mut self) -> u64 {
        self.sent += 1;
        self.sent - 1
    }

    /// Something has to be said once there is a connection again.
    pub(crate) fn put_off(&mut self, trace: Trace) {
        self.unsaid.push(trace);
    }

    /// The peer has received so many messages whole.
    ///
    /// # Errors
    ///
    /// Where it claims more than were sent.
    pub(crate) fn handle_ack(&mut self, received: u64) -> Result<(), WireError> {
        if received > self.sent {
            return Err(WireError::Broken("received more messages than were sent"));
        }
        while self.traces.pop_front_if(|(number, _)| *number < received).is_some() {}
        Ok(())
    }

    /// A new connection begins, and the peer has received so many messages over those before: what
    /// was sent later never arrives. Returns what that did, and what is still to be said.
    ///
    /// # Errors
    ///
    /// Where it claims more than were sent.
    pub(crate) fn rewind(&mut self, received: u64) -> Result<Vec<Trace>, WireError> {
        self.handle_ack(received)?;
        self.sent = received;
        let lost = std::mem::take(&mut self.traces).into_iter().map(|(_, trace)| trace);
        Ok(lost.chain(std::mem::take(&mut self.unsaid)).collect())
    }

    /// How many traces are kept.
    pub(crate) fn len(&self) -> usize {
        self.traces.len() + self.unsaid.len()
    }
}

/// Counts what arrives, and when to tell the peer.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    received: u64,
    /// Messages that the peer remembers until it hears that they arrived.
    untold: u32,
}

/// So many messages that touch references are acknowledged at once.
const UNTOLD_MAX: u32 = 64;

impl Receipts {
    /// A counted message arrived whole.
    pub(crate) fn count(&mut self) {
        self.received += 1;
    }

    /// How many arrived in all.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// The last message touched references, so that its sender remembers it. Returns whether it is
    /// time for an ack.
    pub(crate) fn note_trace(&mut self) -> bool {
        self.untold += 1;
        self.untold >= UNTOLD_MAX
    }

    /// The number to tell the peer, if there is something to tell.
    pub(crate) fn take_ack(&mut self) -> Option<u64> {
        (std::mem::take(&mut self.untold) > 0).then_some(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot { index: 1, generation: 0 };

    #[test]
    fn what_arrived_is_forgotten_and_what_did_not_comes_back_in_order() {
        let mut log = SentLog::new(true);
        assert_eq!(log.note(vec![SLOT]), 0);
        assert_eq!(log.note(Vec::new()), 1);
        assert_eq!(log.note_trace(Trace::Released(SLOT, 2)), 2);
        assert_eq!(log.note(vec![SLOT, SLOT]), 3);
        log.put_off(Trace::Revoked(SLOT));
        log.handle_ack(2).unwrap();
        assert_eq!(log.len(), 3);
        let lost = log.rewind(3).unwrap();
        assert_eq!(lost, [Trace::Given(vec![SLOT, SLOT]), Trace::Revoked(SLOT)]);
        assert_eq!(log.len(), 0);
        assert_eq!(log.note(Vec::new()), 3, "both sides go on counting from what arrived");
    }

    #[test]
    fn nobody_receives_more_than_was_sent() {
        let mut log = SentLog::new(true);
        log.note(vec![SLOT]);
        assert!(log.handle_ack(2).is_err());
        assert!(log.rewind(2).is_err());
        assert_eq!(log.rewind(0).unwrap(), [Trace::Given(vec![SLOT])]);
    }

    #[test]
    fn an_ack_is_due_after_so_many_traces_and_told_once() {
        let mut receipts = Receipts::default();
        let due = (0..UNTOLD_MAX).map(|_| {
            receipts.count();
            receipts.note_trace()
        });
        assert_eq!(due.filter(|due| *due).count(), 1);
        assert_eq!(receipts.take_ack(), Some(UNTOLD_MAX.into()));
        assert_eq!(receipts.take_ack(), None);
    }
}

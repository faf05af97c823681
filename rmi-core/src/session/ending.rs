//! How a link ends: closing, goodbye, loss; and how another takes its place.

use super::{Event, Lost, Phase, Session, cut, imports::Imports, sent::SentLog};
use crate::{
    error::{Certainty, ErrorKind, RemoteError},
    wire::{Closing, Goodbye, Kind, LinkId, Merge, Message},
};

/// Longest reason of a goodbye, in bytes.
const REASON_LEN_MAX: usize = 1 << 10;

impl<O: Clone> Session<O> {
    pub(super) fn handle_closing(&mut self, taken: u64, events: &mut Vec<Event<O>>) {
        self.peer_closing = true;
        self.waiting.clear();
        let cause = |sent| {
            let certainty = if sent { Certainty::NotExecuted } else { Certainty::NotSent };
            RemoteError::new(ErrorKind::Shutdown, "the peer is shutting down and did not take the call")
                .with_certainty(certainty)
        };
        let unsent = self.made.handle_closing(taken, cause, &mut self.effects);
        self.take_back(&unsent);
        events.push(Event::Closing);
    }

    pub(super) fn handle_goodbye(&mut self, reason: String, events: &mut Vec<Event<O>>) {
        self.effects.garbage.extend(self.exports.take_all());
        self.phase = Phase::Over;
        events.push(Event::Goodbye(reason));
    }

    /// Takes no more calls, and tells the peer how many it took.
    pub fn close(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
            let taken = self.receipts.received();
            self.push(&Message::Closing(Closing { taken }));
        }
    }

    /// Tells the peer that the link of this id, which this side dialled to it, replaces this one.
    pub fn merge_into(&mut self, link: LinkId) {
        if self.peer.speaks(Kind::Merge) {
            self.push(&Message::Merge(Merge { link }));
        }
    }

    /// Makes no more calls: another link takes the place of this one.
    pub fn stop_calling(&mut self) {
        self.peer_closing = true;
    }

    /// Whether everything taken has been answered and written.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.served.len() == 0 && self.outbox.is_empty()
    }

    /// Says that this node goes away. What it held is released by that, and what has not left by
    /// now never does.
    pub fn goodbye(&mut self, reason: &str) {
        if self.phase != Phase::Over {
            self.drop_unsent();
            let reason = cut(reason, REASON_LEN_MAX).to_owned();
            self.push(&Message::Goodbye(Goodbye { reason }));
            self.phase = Phase::Over;
        }
    }

    /// Whether new calls may be started.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Over && !self.peer_closing
    }

    /// The link is lost: every call made ends with this cause, every handler must be dropped, and
    /// what was given out is returned, to be kept for the lease.
    pub fn lose(&mut self, cause: &RemoteError) -> Lost<O> {
        self.phase = Phase::Over;
        self.waiting.clear();
        let ended = |sent| {
            let certainty = if sent { Certainty::Unknown } else { Certainty::NotSent };
            cause.clone().with_certainty(certainty)
        };
        self.made.lose(ended, &mut self.effects);
        self.drop_unsent();
        self.outbox.clear();
        self.imports = Imports::default();
        (self.log, self.suspended) = (SentLog::default(), None);
        self.lose_promises();
        Lost { serving: self.served.lose(), given: self.exports.take_all() }
    }
}

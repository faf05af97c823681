//! The life of a link beyond one connection: it is lost, and taken up again by the side that dialled.
//!
//! ```text
//! attached ──suspend──▶ suspended ──resume──▶ attached, at a higher epoch
//!                           │ refused, or the lease runs out
//!                           ▼
//!                          lose: over
//! ```
//!
//! What is held survives a connection; what was under way over it does not. Both sides tell how many
//! counted messages they received whole, and each undoes what its own lost messages did: references
//! in them are un-counted, releases are sent again, calls among them did not run. Of other calls in
//! flight nobody knows.

use std::time::Duration;

use super::{
    CallsServed, Established, Phase, ServedId, Session,
    assembly::Assembly,
    counted_max,
    credit::{ReceiveCredit, SendCredit},
    definitions::{Given, Learnt},
    keepalive::Keepalive,
    outbox::Outbox,
    sent::Trace,
};
use crate::{
    error::{Certainty, ErrorKind, RemoteError},
    plant::{self, Plant},
    time::Time,
    wire::{Ack, LinkId, Message, Resume, Secret, WireError},
};

/// Which connection of which link this is, and what the next one must show.
#[derive(Debug)]
pub(super) struct Lineage {
    dialled: bool,
    link: LinkId,
    secret: Secret,
    /// An acceptor does not know that its answer arrived, and with it the new secret, until it
    /// hears something behind it: until then the old one is good too.
    before: Option<Secret>,
    epoch: u64,
}

impl Lineage {
    /// Of a new link; `None` where the acceptor gave no ticket.
    pub(super) fn new(established: &Established) -> Option<Self> {
        let ticket = established.ticket?;
        let dialled = established.dialled;
        Some(Self { dialled, link: ticket.link, secret: ticket.secret, before: None, epoch: 0 })
    }

    /// Something arrived over the connection: the peer has the secret that came with it.
    pub(super) fn handle_heard(&mut self) {
        self.before = None;
    }
}

/// A link without a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspended {
    since: Time,
    /// Whether those that were sent were told that nobody knows.
    gave_up: bool,
}

impl Suspended {
    /// When calls that were sent have waited long enough for the truth, unless they were told.
    pub(super) fn gives_up(&self, connect_timeout: Duration) -> Option<Time> {
        (!self.gave_up).then(|| self.since + connect_timeout)
    }
}

impl<O: Clone> Session<O> {
    /// The link, over all its connections; `None` where its acceptor cannot resume.
    #[must_use]
    pub fn link_id(&self) -> Option<LinkId> {
        self.lineage.as_ref().map(|lineage| lineage.link)
    }

    /// Whether this side dialled the link, so that it is this side which takes it up again.
    #[must_use]
    pub fn is_dialler(&self) -> bool {
        self.lineage.as_ref().is_some_and(|lineage| lineage.dialled)
    }

    /// Whether a new connection may take the link up when this one is lost: not where either side
    /// is about to end it.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        self.lineage.is_some() && self.phase == Phase::Open && !self.peer_closing
    }

    /// Whether the link has no connection now.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspended.is_some()
    }

    /// Whether calls wait to be sent.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.made.parked_len() > 0
    }

    /// Whether anything would be missed if the link ended now.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.exports.len() == 0 && self.imports.len() == 0 && self.made.len() == 0 && self.served.len() == 0
    }

    /// The connection is lost, and the link may be resumed. Calls that have not left wholly are told
    /// so; those that have wait for the truth, and those that wait for credit go on waiting. Returns
    /// the calls served, whose handlers must be dropped.
    pub fn suspend(&mut self, now: Time) -> Vec<ServedId> {
        if self.suspended.is_some() || self.phase == Phase::Over {
            return Vec::new();
        }
        self.drop_unsent();
        // What was begun is over. Its memory is not kept for a connection that may never come.
        self.outbox.clear();
        self.assembly = Assembly::new(self.limits.message_len);
        self.suspended = Some(Suspended { since: now, gave_up: false });
        let cause = || lost("the connection was lost before the call had left").with_certainty(Certainty::NotSent);
        self.made.suspend(now, self.limits.connect_timeout, cause, &mut self.effects);
        self.lose_promises();
        self.served.lose()
    }

    /// A call is not answered any more over a link that stays without a connection: says so to all
    /// whose fate is not known.
    pub fn give_up_unanswered(&mut self) {
        if let Some(suspended) = &mut self.suspended {
            suspended.gave_up = true;
            let cause = lost("the connection was lost while the call was in flight");
            self.made.end_sent(None, |_| cause.clone().with_certainty(Certainty::Unknown), &mut self.effects);
        }
    }

    /// What takes the link up again: the first frame over a new connection, behind the hellos. Each
    /// attempt has a higher epoch. `None` where this side cannot resume it.
    pub fn start_resume(&mut self) -> Option<Resume> {
        let received = self.receipts.received();
        let lineage = self.lineage.as_mut().filter(|lineage| lineage.dialled && self.suspended.is_some())?;
        lineage.epoch += 1;
        Some(Resume { link: lineage.link, secret: lineage.secret, epoch: lineage.epoch, received })
    }

    /// Whether this resumption is the peer's to ask for.
    ///
    /// # Errors
    ///
    /// Why not, for people: the answer to give to the peer.
    pub fn check_resume(&self, resume: &Resume) -> Result<(), &'static str> {
        let Some(lineage) = self.lineage.as_ref().filter(|lineage| !lineage.dialled) else {
            return Err("the link is resumed by the side that dialled it");
        };
        if resume.secret != lineage.secret && Some(resume.secret) != lineage.before {
            return Err("the secret is not that of the link");
        }
        if resume.epoch <= lineage.epoch {
            return Err("a later connection has taken the link up");
        }
        if self.phase != Phase::Open || self.peer_closing {
            return Err("the link is closing");
        }
        Ok(())
    }

    /// A new connection was accepted whose first frame asked for this, which is allowed by
    /// [`check_resume`](Self::check_resume). An old connection that is still there must be gone.
    ///
    /// # Errors
    ///
    /// Where the peer claims to have received what was never sent: the link must be ended.
    pub fn handle_resume(&mut self, established: Established, resume: &Resume, now: Time) -> Result<(), WireError> {
        if let (Some(lineage), Some(ticket)) = (&mut self.lineage, established.ticket) {
            lineage.epoch = resume.epoch;
            lineage.before = Some(resume.secret);
            lineage.secret = ticket.secret;
        }
        self.begin_connection(established, now);
        self.push(&Message::Ack(Ack { received: self.receipts.received() }));
        self.reconcile(resume.received)?;
        self.send_waiting(now);
        Ok(())
    }

    /// The acceptor answered a resumption.
    ///
    /// # Errors
    ///
    /// Where the peer claims to have received what was never sent: the link must be ended.
    pub fn handle_resumed(&mut self, established: Established, answer: Ack, now: Time) -> Result<(), WireError> {
        if let (Some(lineage), Some(ticket)) = (&mut self.lineage, established.ticket) {
            lineage.secret = ticket.secret;
        }
        self.begin_connection(established, now);
        // Tells the acceptor that its answer, and the new secret, have arrived.
        self.push(&Message::Ack(Ack { received: self.receipts.received() }));
        self.reconcile(answer.received)?;
        self.send_waiting(now);
        Ok(())
    }

    /// All that belongs to one connection begins anew.
    fn begin_connection(&mut self, established: Established, now: Time) {
        let Established { peer, lease, .. } = established;
        self.suspended = None;
        self.connection = self.connection.wrapping_add(1);
        self.given = Given::new(&self.limits);
        self.learnt = Learnt::new(&self.limits);
        self.send_credit = SendCredit::new(peer.calls, peer.call_bytes);
        self.receive_credit = ReceiveCredit::new(self.limits.calls, self.limits.call_bytes);
        self.assembly = Assembly::new(self.limits.message_len);
        self.outbox = Outbox::new(peer.message_len, counted_max(&self.limits));
        self.unread = 0;
        self.keepalive = Keepalive::new(lease, now);
        debug_assert_eq!(CallsServed::len(&self.served), 0, "the handlers of the lost connection were dropped");
        self.peer = peer;
    }

    /// The peer has received so many messages: undoes what the others did, and says again what was
    /// not heard.
    fn reconcile(&mut self, received: u64) -> Result<(), WireError> {
        for trace in self.log.rewind(received)? {
            match trace {
                Trace::Given(_) if plant::is(Plant::ForgetToReconcile) => {}
                Trace::Given(slots) => {
                    for slot in slots {
                        self.effects.garbage.extend(self.exports.take_back(slot, 1)?);
                    }
                }
                Trace::Released(slot, count) => self.send_release(slot, count),
                Trace::Revoked(slot) => self.send_revoked(slot),
            }
        }
        let cause = lost("the connection was lost while the call was in flight");
        let cause = |arrived| {
            let certainty = if arrived { Certainty::Unknown } else { Certainty::NotExecuted };
            cause.clone().with_certainty(certainty)
        };
        self.made.end_sent(Some(received), cause, &mut self.effects);
        Ok(())
    }
}

fn lost(message: &str) -> RemoteError {
    RemoteError::new(ErrorKind::ConnectionLost, message)
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, Bytes, BytesMut};

    use super::*;
    use crate::{
        id::{NodeId, ObjectId},
        limits::Limits,
        session::{Directory, Handshake, Passed},
        wire::{Chunk, Frame, Hello, Kind, Part, Ticket},
    };

    struct Nothing;

    impl Directory<()> for Nothing {
        fn find(&self, _: &ObjectId) -> Option<Passed<()>> {
            None
        }
    }

    /// An acceptor's session that may be resumed.
    fn accepted() -> Session<()> {
        let limits = Limits::default();
        let hello = |ticket| Hello { ticket, ..Hello::new(NodeId::random(), &limits, Duration::from_secs(30)) };
        let mut body = BytesMut::new();
        hello(None).encode(&mut body);
        let theirs = Frame { kind: Kind::Hello, body: body.freeze() };
        let established = Handshake::accept(hello(Some(Ticket::random()))).handle_frame(&theirs).unwrap();
        Session::new(established, limits, Time::START)
    }

    fn chunk() -> Frame {
        let mut body = BytesMut::new();
        let data = Bytes::from_static(&[Kind::Call as u8; 100]);
        Message::Chunk(Chunk { lane: 1, total: Some(64 << 20), part: Part::More, data }).encode(&mut body);
        Frame { kind: Kind::Chunk, body: body.freeze() }
    }

    /// Peers that began large messages and vanished left what had arrived of them for as long as their links might
    /// have been resumed.
    #[test]
    fn a_lost_connection_leaves_no_message_that_has_begun() {
        let mut session = accepted();
        session.handle_frame(Time::START, chunk(), &Nothing, &mut Vec::new()).unwrap();
        session.outbox.frames().put_bytes(0, 1 << 20);
        assert!(!session.assembly.is_empty());
        session.suspend(Time::START);
        assert!(session.is_suspended() && session.assembly.is_empty());
        assert_eq!(session.outbox.frames().capacity(), 0);
    }
}

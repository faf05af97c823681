//! Layer 2, state: one link between two nodes, without I/O and without a clock.
//!
//! A [`Session`] begins once both hellos are exchanged ([`Handshake`]). Its driver feeds it with
//! [`handle_frame`](Session::handle_frame) and [`handle_timeout`](Session::handle_timeout), writes
//! what [`slices`](Session::slices) offers, and once it has let go of the session carries out the
//! [`Effects`] of the step. Callers start calls and poll for answers.
//!
//! Four tables hold the state: calls made, calls served, objects given out, objects held.
//! Invariants:
//! - every call made ends exactly once for its caller; its id stays reserved until the peer answered;
//! - every call served is answered exactly once, unless the link is lost or closing first;
//! - the counts of a reference given equal those received and not released, plus what is on its way;
//! - no object is dropped and no waker woken in here: both leave through [`Effects`].

mod assembly;
mod calling;
mod calls;
mod credit;
mod definitions;
mod effects;
mod ending;
mod handshake;
mod holding;
mod imports;
mod intake;
mod keepalive;
mod lanes;
mod outbox;
mod parked;
mod promises;
mod references;
mod resume;
mod sending;
mod sent;
mod served;
mod serving;

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use self::{
    assembly::{Assembly, Whole},
    calls::CallsMade,
    credit::{ReceiveCredit, SendCredit},
    definitions::{Given, Learnt},
    imports::Imports,
    keepalive::{Keepalive, Silence},
    outbox::Outbox,
    promises::Promises,
    references::Exports,
    resume::{Lineage, Suspended},
    sent::{Receipts, SentLog},
    served::CallsServed,
};
pub use self::{
    calling::StartCall,
    calls::{Answer, CallKey},
    definitions::{KnownMethod, MethodRef},
    effects::Effects,
    handshake::{Established, Handshake, HandshakeError},
    intake::Intake,
    outbox::Slices,
    references::{HeldReference, Origin, Passed, Received, Third},
    served::ServedId,
    serving::{Arrived, ArrivedTarget, Cost, Directory},
};
use crate::{
    endpoint::Endpoint,
    error::{ErrorKind, RemoteError},
    id::NodeId,
    limits::Limits,
    plant::{self, Plant},
    time::Time,
    wire::{Ack, Call, Cancel, Closing, Frame, Goodbye, Kind, LinkId, Merge, Message, Release, Reply, WireError},
};

/// What a driver has to act on.
#[derive(Debug)]
pub enum Event<O> {
    /// A call arrived, to be dispatched.
    Call(Arrived<O>),
    /// The caller of a call served has gone: drop its handler.
    Cancel(ServedId),
    /// The peer takes no more calls; it answers those that it took.
    Closing,
    /// The peer's node goes away. What it held is released, what it owned is gone.
    Goodbye(String),
    /// An object that is held over this link was unexported.
    Revoked,
    /// The peer has dialled another link to this node, by which this one is to be replaced.
    Merge(LinkId),
}

/// How far the session is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// This side takes no more calls.
    Closing,
    /// Goodbye was said by either side, or the link is lost.
    Over,
}

/// The state of one link. `O` is an object as the node knows it: cheap to clone, kept alive by it.
#[derive(Debug)]
pub struct Session<O> {
    limits: Limits,
    peer: Peer,
    phase: Phase,
    /// The peer takes no more calls.
    peer_closing: bool,
    made: CallsMade<O>,
    /// Calls that wait for credit, in the order in which they were made. Keys of calls that ended
    /// meanwhile are skipped.
    waiting: VecDeque<CallKey>,
    /// The counted messages that left, and those that arrived.
    log: SentLog,
    receipts: Receipts,
    served: CallsServed,
    promises: Promises<O>,
    /// Numbers of promises that were used towards the peer.
    promised: u64,
    /// Calls that have waited for a result which is there now.
    released: Vec<Event<O>>,
    exports: Exports<O>,
    imports: Imports,
    given: Given,
    learnt: Learnt,
    send_credit: SendCredit,
    receive_credit: ReceiveCredit,
    assembly: Assembly,
    outbox: Outbox<O>,
    /// Bytes of answers to questions that were asked while too much waited to be written.
    unread: u64,
    keepalive: Keepalive,
    /// `None` where the link ends with its connection.
    lineage: Option<Lineage>,
    suspended: Option<Suspended>,
    /// Which connection of the link this is.
    connection: u32,
    effects: Effects<O>,
}

/// So many messages that touched references may wait to be acknowledged; a peer acknowledges every 64.
/// One that never does would fill this node's memory with what a resumption might have to undo.
const UNACKNOWLEDGED_MAX: usize = 1 << 20;

/// How much of one message that waits to be written counts.
fn counted_max(limits: &Limits) -> u64 {
    (limits.outbox_bytes - limits.outbox_bytes / 4).max(1)
}

/// The beginning of a text.
fn cut(text: &str, len_max: usize) -> &str {
    text.get(..text.floor_char_boundary(len_max)).unwrap_or(text)
}

/// What the peer told of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its node.
    pub node: NodeId,
    /// The [kinds](Kind::bit) that both nodes speak.
    pub features: u64,
    /// Where it listens, as it says.
    pub endpoints: Vec<Endpoint>,
    /// The longest message that it takes, in bytes.
    pub message_len: u64,
    /// Its lease: how long it keeps what this node holds after the link is lost.
    pub lease: Duration,
    /// Calls that may be in flight towards it.
    pub calls: u32,
    /// Bytes of calls that may be on their way to its handlers.
    pub call_bytes: u64,
}

impl Peer {
    /// Whether frames of this kind may be sent to it.
    #[must_use]
    pub const fn speaks(&self, kind: Kind) -> bool {
        self.features & kind.bit() != 0
    }
}

impl<O: Clone> Session<O> {
    /// The session of a link whose hellos were exchanged.
    #[must_use]
    pub fn new(established: Established, limits: Limits, now: Time) -> Self {
        let lineage = Lineage::new(&established);
        let Established { peer, lease, .. } = established;
        Self {
            phase: Phase::Open,
            peer_closing: false,
            made: CallsMade::default(),
            waiting: VecDeque::new(),
            log: SentLog::new(lineage.is_some()),
            receipts: Receipts::default(),
            served: CallsServed::default(),
            promises: Promises::new(limits.calls),
            promised: 0,
            released: Vec::new(),
            exports: Exports::default(),
            imports: Imports::default(),
            given: Given::new(&limits),
            learnt: Learnt::new(&limits),
            send_credit: SendCredit::new(peer.calls, peer.call_bytes),
            receive_credit: ReceiveCredit::new(limits.calls, limits.call_bytes),
            assembly: Assembly::new(limits.message_len),
            outbox: Outbox::new(peer.message_len, counted_max(&limits)),
            unread: 0,
            keepalive: Keepalive::new(lease, now),
            lineage,
            suspended: None,
            connection: 0,
            effects: Effects::default(),
            limits,
            peer,
        }
    }

    /// What the peer told of itself.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Something arrived, if only a part of a frame: the peer is there.
    pub fn handle_heard(&mut self, now: Time) {
        self.keepalive.handle_heard(now);
        if let Some(lineage) = &mut self.lineage {
            lineage.handle_heard();
        }
    }

    /// A frame arrived. What the driver has to act on is added to `events`, in order.
    ///
    /// # Errors
    ///
    /// Where the peer broke the protocol: the link must be ended with that error.
    pub fn handle_frame(
        &mut self,
        now: Time,
        frame: Frame,
        directory: &impl Directory<O>,
        events: &mut Vec<Event<O>>,
    ) -> Result<(), WireError> {
        self.handle_heard(now);
        if !self.peer.speaks(frame.kind) {
            return Err(WireError::NotOffered(frame.kind));
        }
        let message = match frame.kind {
            // Nearly all frames are one of these two, and need not become messages.
            Kind::Call => return self.handle_call_frame(now, frame.body, directory, events),
            Kind::Reply => {
                self.receipts.count();
                return self.handle_reply(now, Reply::decode(frame.body, &self.limits)?);
            }
            kind => Message::decode(kind, frame.body, &self.limits)?,
        };
        match message {
            Message::Chunk(chunk) => match self.assembly.handle_chunk(chunk)? {
                Some(whole) => self.handle_whole(now, whole, directory, events),
                None => Ok(()),
            },
            message => self.handle_message(now, message, directory, events),
        }
    }

    fn handle_call_frame(
        &mut self,
        now: Time,
        body: Bytes,
        directory: &impl Directory<O>,
        events: &mut Vec<Event<O>>,
    ) -> Result<(), WireError> {
        self.receipts.count();
        let waited = self.outbox.len();
        self.handle_call(now, Call::decode(body, &self.limits)?, directory, events)?;
        self.check_acknowledged()?;
        self.check_reading(waited)
    }

    /// The last chunk of a message arrived.
    fn handle_whole(
        &mut self,
        now: Time,
        whole: Whole,
        directory: &impl Directory<O>,
        events: &mut Vec<Event<O>>,
    ) -> Result<(), WireError> {
        let message = Message::from_chunks(whole.front, whole.bulk, &self.limits)?;
        self.handle_message(now, message, directory, events)
    }

    fn handle_message(
        &mut self,
        now: Time,
        message: Message,
        directory: &impl Directory<O>,
        events: &mut Vec<Event<O>>,
    ) -> Result<(), WireError> {
        let asks = matches!(message, Message::Call(_) | Message::Acquire(_) | Message::Ping(_));
        let waited = self.outbox.len();
        if message.kind().is_counted() {
            self.receipts.count();
        }
        match message {
            Message::Call(call) => self.handle_call(now, call, directory, events)?,
            Message::Reply(reply) => self.handle_reply(now, reply)?,
            Message::Refusal(refusal) => self.handle_answer(now, refusal.id, Answer::Failed(refusal.error))?,
            Message::Cancel(Cancel { id }) => self.handle_cancel(id, events),
            Message::Release(Release { slot, count }) => {
                self.effects.garbage.extend(self.exports.take_back(slot, count)?);
                if plant::is(Plant::ReleaseTwice) {
                    self.effects.garbage.extend(self.exports.take_back(slot, count).ok().flatten());
                }
                self.note_trace();
            }
            Message::Acquire(acquire) => self.handle_acquire(&acquire, directory)?,
            Message::Credit(credit) => {
                self.send_credit.give_back_bytes(credit.bytes);
                self.send_waiting(now);
            }
            Message::Define(definition) => self.learnt.handle_define(definition)?,
            Message::Ping(token) => {
                self.push_ack();
                self.push(&Message::Pong(token));
            }
            Message::Ack(Ack { received }) => self.log.handle_ack(received)?,
            Message::Merge(Merge { link }) => events.push(Event::Merge(link)),
            Message::Pong(_) => {}
            Message::Closing(Closing { taken }) => self.handle_closing(taken, events),
            Message::Goodbye(Goodbye { reason }) => self.handle_goodbye(reason, events),
            Message::Hello(_) => return Err(WireError::Broken("said hello twice")),
            Message::Chunk(_) => return Err(WireError::Broken("sent a chunk in chunks")),
            Message::Revoked(slot) => {
                events.extend(self.imports.revoke(slot).then_some(Event::Revoked));
                self.note_trace();
            }
            Message::Resume(_) | Message::ResumeRefused(_) => {
                return Err(WireError::Broken("spoke of a resumption on a link that is there"));
            }
        }
        self.check_acknowledged()?;
        if asks { self.check_reading(waited) } else { Ok(()) }
    }

    fn check_acknowledged(&self) -> Result<(), WireError> {
        if self.log.len() > UNACKNOWLEDGED_MAX {
            return Err(WireError::Broken("acknowledges nothing"));
        }
        Ok(())
    }

    /// Some questions are answered at once and take no credit: whoever goes on to ask them while
    /// much waits to be written reads no answers, and would fill this node's memory.
    fn check_reading(&mut self, waited: u64) -> Result<(), WireError> {
        if waited <= self.limits.outbox_bytes {
            self.unread = 0;
            return Ok(());
        }
        self.unread += self.outbox.len() - waited;
        if self.unread > self.limits.outbox_bytes {
            return Err(WireError::Broken("asks on and on and reads no answers"));
        }
        Ok(())
    }

    /// Time passed: ends what is late, asks or gives up a silent peer.
    ///
    /// # Errors
    ///
    /// Where the peer was silent for too long: the link is lost.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), RemoteError> {
        self.expire_calls(now);
        if let Some(suspended) = self.suspended {
            if suspended.gives_up(self.limits.connect_timeout).is_some_and(|moment| moment <= now) {
                self.give_up_unanswered();
            }
            return Ok(());
        }
        match self.keepalive.handle_timeout(now) {
            Silence::Short => Ok(()),
            Silence::Ping => {
                self.push_ack();
                self.push(&Message::Ping(0));
                Ok(())
            }
            Silence::Lost(silent) => {
                let message = format!("the peer was silent for {} ms", silent.as_millis());
                Err(RemoteError::new(ErrorKind::ConnectionLost, message))
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Time {
        let silence = match self.suspended {
            Some(suspended) => suspended.gives_up(self.limits.connect_timeout),
            None => Some(self.keepalive.next_timeout()),
        };
        self.made.next_timeout().min(silence.unwrap_or(Time::NEVER))
    }

    /// Adds a whole small message to the outbox. After goodbye there is nothing more to say.
    fn push(&mut self, message: &Message) {
        if self.phase != Phase::Over && !self.is_suspended() {
            message.encode_frame(self.outbox.frames());
        }
    }

    /// The bytes to write next, in order; none when nothing waits.
    pub fn slices(&mut self) -> Slices<'_> {
        self.outbox.slices()
    }

    /// The socket took this many of the bytes of [`slices`](Self::slices).
    pub fn advance(&mut self, written: usize) {
        self.outbox.advance(written, &mut self.effects.spent);
        self.settle_done();
    }

    /// Whether anything waits to be written.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn output_len(&self) -> u64 {
        self.outbox.len()
    }

    /// The same, where a message counts as three quarters of [`Limits::outbox_bytes`] at most: what would be
    /// answered beside a large one does not wait for it.
    #[must_use]
    pub fn counted_output(&self) -> u64 {
        self.outbox.counted()
    }

    /// What to do once the session is let go of.
    pub fn take_effects(&mut self) -> Effects<O> {
        std::mem::take(&mut self.effects)
    }

    /// Whether [`take_effects`](Self::take_effects) would give anything.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// How many calls and acquires were ever made. The count wraps.
    #[must_use]
    pub fn calls_made(&self) -> u32 {
        self.made.started()
    }

    /// Calls made that are not over, calls served, objects given out, objects held.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            made: self.made.len(),
            served: self.served.len(),
            exports: self.exports.len(),
            imports: self.imports.len(),
        }
    }
}

/// How often references count in a session's tables.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReferenceCounts {
    /// How often objects were given out and not given back.
    pub given: u64,
    /// How often held objects arrived.
    pub held: u64,
}

/// What a lost link leaves behind.
#[derive(Debug)]
pub struct Lost<O> {
    /// The calls whose handlers must be dropped.
    pub serving: Vec<ServedId>,
    /// The objects that the peer held.
    pub given: Vec<O>,
}

/// The sizes of a session's tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls made whose ids are reserved.
    pub made: usize,
    /// Calls served and not answered.
    pub served: usize,
    /// Objects given out.
    pub exports: usize,
    /// Objects held.
    pub imports: usize,
}

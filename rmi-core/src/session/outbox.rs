//! What waits to be written to the peer: whole frames in order, and large messages in lanes of
//! chunks beside them, so that a large one delays no small one.

use std::{io::IoSlice, ops::Deref};

use bytes::{Buf, Bytes, BytesMut};

use super::lanes::{Cut, Lanes, Outgoing, skip};
use crate::{
    id::ObjectId,
    memory::KEPT_LEN_MIN,
    wire::{
        frame::CHUNK_LEN_MAX,
        message::{CallId, Slot},
    },
};

/// Bytes of chunks that one write offers, or a chunk more. What the socket has taken is ahead of
/// every small frame.
const CUTS_LEN: usize = 4 * CHUNK_LEN_MAX;

/// Chunks that one write offers.
const CUTS_MAX: usize = 8;

/// The parts of a chunk that was begun, the frames, the parts of chunks.
const SLICES_MAX: usize = 3 + 1 + 3 * CUTS_MAX;

/// A message that left wholly.
#[derive(Debug)]
pub(crate) struct Done<O> {
    pub(crate) call: Option<CallId>,
    /// The slots that its references count in.
    pub(crate) counted: Vec<Slot>,
    pub(crate) keep: Vec<O>,
    pub(crate) held: Vec<Slot>,
}

impl<O> Done<O> {
    fn of(message: Outgoing<O>) -> Self {
        Self { call: message.call, counted: message.counted, keep: message.keep, held: message.held }
    }
}

/// The bytes for one peer, in the order in which they leave.
#[derive(Debug)]
pub(crate) struct Outbox<O> {
    frames: BytesMut,
    /// The rest of a chunk of which some bytes have left: goes on before any frame.
    begun: Option<Begun>,
    lanes: Lanes<O>,
    /// The chunks that were offered last, behind the frames.
    cuts: Vec<Cut>,
    done: Vec<Done<O>>,
}

/// The rest of a chunk.
#[derive(Debug)]
struct Begun {
    parts: [Bytes; 3],
    /// The length of its message.
    message_len: usize,
}

/// What an outbox offers to write: the beginning of all that waits.
#[derive(Debug)]
pub struct Slices<'a> {
    slices: [IoSlice<'a>; SLICES_MAX],
    len: usize,
}

impl<'a> Slices<'a> {
    fn push(&mut self, bytes: &'a [u8]) {
        if let Some(slice) = self.slices.get_mut(self.len).filter(|_| !bytes.is_empty()) {
            *slice = IoSlice::new(bytes);
            self.len += 1;
        }
    }
}

impl<'a> Deref for Slices<'a> {
    type Target = [IoSlice<'a>];

    fn deref(&self) -> &Self::Target {
        self.slices.get(..self.len).unwrap_or_default()
    }
}

impl<O> Outbox<O> {
    /// With the receiver's bound on the totals of open lanes, and what [`counted`](Self::counted) counts of
    /// one message.
    pub(crate) fn new(open_max: u64, counted_max: u64) -> Self {
        let lanes = Lanes::new(open_max, counted_max);
        Self { frames: BytesMut::new(), begun: None, lanes, cuts: Vec::new(), done: Vec::new() }
    }

    /// The buffer that whole frames are encoded into. A call may use it only where
    /// [`is_blocked`](Self::is_blocked) is false for its order.
    pub(crate) fn frames(&mut self) -> &mut BytesMut {
        &mut self.frames
    }

    /// Whether a message of this order has to wait behind a large one.
    pub(crate) fn is_blocked(&self, order: ObjectId) -> bool {
        self.lanes.holds(order)
    }

    /// Whether no large message is on its way, so that nothing is blocked.
    pub(crate) fn has_no_lanes(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Adds a message that is too large for one frame, or that has to wait behind one.
    pub(crate) fn push(&mut self, message: Outgoing<O>) {
        self.lanes.push(message);
    }

    /// Takes back calls that have not left wholly. Of one that has left in part the rest is replaced
    /// by an abort, so that it never arrives.
    pub(crate) fn take_back(&mut self, ids: &[CallId]) -> Vec<Outgoing<O>> {
        let (taken, freed) = self.lanes.take_back(ids);
        self.put_frames(freed);
        taken
    }

    /// Small messages that waited behind large ones leave as frames.
    fn put_frames(&mut self, messages: Vec<Outgoing<O>>) {
        for message in messages {
            message.encode_frame(&mut self.frames);
            self.done.push(Done::of(message));
        }
    }

    /// The messages from lanes that left since the last look.
    pub(crate) fn take_done(&mut self) -> Vec<Done<O>> {
        std::mem::take(&mut self.done)
    }

    /// The bytes to write next, in order: the rest of a chunk that was begun, whole frames, more
    /// chunks. None where nothing waits.
    pub(crate) fn slices(&mut self) -> Slices<'_> {
        self.cuts.clear();
        if !self.lanes.is_empty() {
            self.lanes.cut(CUTS_LEN, CUTS_MAX, &mut self.cuts);
        }
        let mut slices = Slices { slices: [IoSlice::new(&[]); SLICES_MAX], len: 0 };
        self.begun.iter().flat_map(|begun| &begun.parts).for_each(|part| slices.push(part));
        slices.push(&self.frames);
        self.cuts.iter().flat_map(|cut| self.lanes.slices(cut)).for_each(|part| slices.push(part));
        slices
    }

    /// The peer's socket took this many bytes of what [`slices`](Self::slices) gave just before. The memory
    /// of large messages that this lets go of is added to `spent`.
    pub(crate) fn advance(&mut self, written: usize, spent: &mut Vec<Bytes>) {
        let mut left = written;
        if let Some(Begun { parts, message_len }) = &mut self.begun {
            left -= skip(parts, left);
            if parts.iter().all(Bytes::is_empty) {
                let [_, _, tail] = std::mem::take(parts);
                spent.extend((*message_len >= KEPT_LEN_MIN).then_some(tail));
                self.begun = None;
            }
        }
        let of_frames = left.min(self.frames.len());
        self.frames.advance(of_frames);
        if self.frames.is_empty() {
            // Keeps the allocation, begins again at its start.
            self.frames.clear();
        }
        left -= of_frames;
        let mut cuts = std::mem::take(&mut self.cuts);
        for cut in cuts.drain(..) {
            if left == 0 {
                break;
            }
            let (rest, message_len, over) = self.lanes.begin(&cut, left);
            self.begun = rest.map(|parts| Begun { parts, message_len });
            left = left.saturating_sub(cut.wire_len());
            if let Some(lane) = over {
                // An abort completes no message.
                let (message, behind) = lane.finish();
                if let Some(mut message) = message {
                    let tail = std::mem::take(&mut message.tail);
                    spent.extend((message_len >= KEPT_LEN_MIN).then_some(tail));
                    self.done.push(Done::of(message));
                }
                let small = self.lanes.restart(behind);
                self.put_frames(small);
            }
        }
        // Keeps the allocation.
        self.cuts = cuts;
    }

    /// Bytes that wait, all in all.
    pub(crate) fn len(&self) -> u64 {
        self.lanes.unsent() + self.loose_len()
    }

    /// Bytes that wait, but of each message no more than it was told.
    pub(crate) fn counted(&self) -> u64 {
        self.lanes.counted() + self.loose_len()
    }

    /// Bytes that wait outside of lanes.
    fn loose_len(&self) -> u64 {
        let begun: usize = self.begun.iter().flat_map(|begun| &begun.parts).map(Bytes::len).sum();
        (self.frames.len() + begun) as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.begun.is_none() && self.lanes.is_empty()
    }

    /// Takes everything that has not left wholly and is not written yet as a whole frame. Of a
    /// chunk that was begun the rest stays: without it no frame behind it could be read.
    pub(crate) fn take_unsent(&mut self) -> Vec<Outgoing<O>> {
        self.cuts.clear();
        self.lanes.take_unsent()
    }

    /// Nothing more is written. No memory is kept either.
    pub(crate) fn clear(&mut self) {
        self.frames = BytesMut::new();
        self.begun = None;
    }
}

#[cfg(test)]
mod tests;

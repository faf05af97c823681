//! What waits to be written to the peer: whole frames in order, and large messages in lanes of
//! chunks beside them, so that a large one delays no small one.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    id::ObjectId,
    wire::{
        frame::{CHUNK_LEN_MAX, FRAME_LEN_MAX, Kind, begin_frame, finish_frame, finish_frame_with_tail},
        message::{CallId, ChunkHead, Part, Slot},
    },
};

/// How many large messages are on their way at once; the others wait.
pub(crate) const LANES_MAX: usize = 8;

/// A message before it is cut into frames.
#[derive(Debug)]
pub(crate) struct Outgoing<O> {
    pub(crate) kind: Kind,
    /// The body up to the payload.
    pub(crate) head: Bytes,
    pub(crate) payload: Bytes,
    pub(crate) payload_len: u64,
    /// The object that it is for: calls to one object begin in the order in which they were made.
    pub(crate) order: Option<ObjectId>,
    /// The call that it starts, so that its sending can be noted and taken back.
    pub(crate) call: Option<CallId>,
    /// The slots that its references count in, to be un-counted if it never arrives.
    pub(crate) counted: Vec<Slot>,
    /// What must live until it has left.
    pub(crate) keep: Vec<O>,
    /// Held slots that it names, held on to until it has left.
    pub(crate) held: Vec<Slot>,
}

impl<O> Outgoing<O> {
    fn len(&self) -> u64 {
        1 + self.head.len() as u64 + self.payload.len() as u64
    }
}

/// A large message that left wholly, or was taken back.
#[derive(Debug)]
pub(crate) struct Done<O> {
    pub(crate) call: Option<CallId>,
    pub(crate) keep: Vec<O>,
    pub(crate) held: Vec<Slot>,
}

#[derive(Debug)]
struct Lane<O> {
    number: u32,
    message: Outgoing<O>,
    total: u64,
    /// Bytes handed over to chunks so far, the kind byte included.
    sent: u64,
    aborted: bool,
    /// Messages of the same order that must not overtake this one.
    behind: VecDeque<Outgoing<O>>,
}

/// The bytes for one peer, in the order in which they leave.
#[derive(Debug)]
pub(crate) struct Outbox<O> {
    frames: BytesMut,
    chunk_head: BytesMut,
    chunk_data: Bytes,
    /// A chunk of which some bytes have left goes on before any frame.
    chunk_begun: bool,
    /// The lane whose last chunk is loaded. It is over once that chunk begins to leave: until then
    /// frames still go before it.
    finishing: Option<Lane<O>>,
    lanes: VecDeque<Lane<O>>,
    queue: VecDeque<Lane<O>>,
    next_lane: u32,
    /// The receiver's bound on the totals of open lanes.
    open_max: u64,
    done: Vec<Done<O>>,
    queued: u64,
}

impl<O> Outbox<O> {
    pub(crate) fn new(open_max: u64) -> Self {
        Self {
            frames: BytesMut::new(),
            chunk_head: BytesMut::new(),
            chunk_data: Bytes::new(),
            chunk_begun: false,
            finishing: None,
            lanes: VecDeque::new(),
            queue: VecDeque::new(),
            next_lane: 0,
            open_max,
            done: Vec::new(),
            queued: 0,
        }
    }

    /// The buffer that whole frames are encoded into. A call may use it only where
    /// [`is_blocked`](Self::is_blocked) is false for its order.
    pub(crate) fn frames(&mut self) -> &mut BytesMut {
        &mut self.frames
    }

    /// Whether a message of this order has to wait behind a large one.
    pub(crate) fn is_blocked(&self, order: ObjectId) -> bool {
        self.all_lanes().any(|lane| lane.message.order == Some(order))
    }

    /// Whether no large message is on its way, so that nothing is blocked.
    pub(crate) fn has_no_lanes(&self) -> bool {
        self.lanes.is_empty() && self.queue.is_empty() && self.finishing.is_none()
    }

    fn all_lanes(&self) -> impl Iterator<Item = &Lane<O>> {
        self.finishing.iter().chain(&self.lanes).chain(&self.queue)
    }

    fn all_lanes_mut(&mut self) -> impl Iterator<Item = &mut Lane<O>> {
        self.finishing.iter_mut().chain(&mut self.lanes).chain(&mut self.queue)
    }

    /// Adds a message that is too large for one frame, or that has to wait behind one.
    pub(crate) fn push(&mut self, message: Outgoing<O>) {
        self.queued += message.len();
        let same = |lane: &&mut Lane<O>| message.order.is_some() && lane.message.order == message.order;
        if let Some(lane) = self.all_lanes_mut().find(same) {
            lane.behind.push_back(message);
        } else {
            self.enqueue(message, VecDeque::new());
        }
    }

    fn enqueue(&mut self, message: Outgoing<O>, behind: VecDeque<Outgoing<O>>) {
        let number = self.next_lane;
        self.next_lane = self.next_lane.wrapping_add(1);
        let total = message.len();
        self.queue.push_back(Lane { number, message, total, sent: 0, aborted: false, behind });
    }

    /// Takes back a call that has not left wholly. Returns it where no byte of it had left; where
    /// some had, the rest is replaced by an abort, so that the call never arrives.
    pub(crate) fn take_back(&mut self, id: CallId) -> Option<Outgoing<O>> {
        let position = |lane: &mut Lane<O>| lane.behind.iter().position(|message| message.call == Some(id));
        let waiting = self.all_lanes_mut().find_map(|lane| position(lane).and_then(|at| lane.behind.remove(at)));
        if let Some(message) = waiting {
            self.queued -= message.len();
            return Some(message);
        }
        if let Some(at) = self.queue.iter().position(|lane| lane.message.call == Some(id)) {
            let lane = self.queue.remove(at)?;
            self.queued -= lane.total;
            self.restart(lane.behind);
            return Some(lane.message);
        }
        if let Some(mut lane) = self.finishing.take_if(|lane| lane.message.call == Some(id)) {
            // Its last chunk waits to begin: unload it, so that an abort goes in its place.
            lane.sent -= self.chunk_data.len() as u64;
            self.queued += self.chunk_data.len() as u64;
            self.chunk_head.clear();
            self.chunk_data.clear();
            self.lanes.push_front(lane);
        }
        let lane = self.lanes.iter_mut().find(|lane| lane.message.call == Some(id))?;
        lane.aborted = true;
        let message = &mut lane.message;
        self.queued -= lane.total - lane.sent;
        message.call = None;
        Some(Outgoing {
            kind: message.kind,
            head: Bytes::new(),
            payload: std::mem::take(&mut message.payload),
            payload_len: message.payload_len,
            order: None,
            call: Some(id),
            counted: std::mem::take(&mut message.counted),
            keep: std::mem::take(&mut message.keep),
            held: std::mem::take(&mut message.held),
        })
    }

    /// What stood behind a message that is gone goes its own way: small ones as frames, until a
    /// large one makes a lane again.
    fn restart(&mut self, mut behind: VecDeque<Outgoing<O>>) {
        while let Some(message) = behind.pop_front() {
            if message.len() > FRAME_LEN_MAX as u64 {
                self.enqueue(message, behind);
                return;
            }
            self.queued -= message.len();
            let start = begin_frame(&mut self.frames, message.kind);
            self.frames.extend_from_slice(&message.head);
            self.frames.extend_from_slice(&message.payload);
            finish_frame(&mut self.frames, start);
            self.done.push(Done { call: message.call, keep: message.keep, held: message.held });
        }
    }

    /// The large messages that left since the last look.
    pub(crate) fn take_done(&mut self) -> Vec<Done<O>> {
        std::mem::take(&mut self.done)
    }

    /// The bytes to write next, in order. All empty when nothing waits.
    pub(crate) fn slices(&mut self) -> [IoSlice<'_>; 3] {
        if self.chunk_head.is_empty() && self.chunk_data.is_empty() {
            self.chunk_begun = false;
            self.load_chunk();
        }
        let [frames, head, data]: [&[u8]; 3] = [&self.frames, &self.chunk_head, &self.chunk_data];
        let ordered = if self.chunk_begun { [head, data, frames] } else { [frames, head, data] };
        ordered.map(IoSlice::new)
    }

    /// The peer's socket took this many bytes of what [`slices`](Self::slices) gave.
    pub(crate) fn advance(&mut self, written: usize) {
        let mut left = written;
        if self.chunk_begun {
            self.advance_chunk(&mut left);
        }
        let of_frames = left.min(self.frames.len());
        self.frames.advance(of_frames);
        if self.frames.is_empty() {
            // Keeps the allocation, begins again at its start.
            self.frames.clear();
        }
        left -= of_frames;
        if left > 0 {
            self.begin_chunk();
            self.advance_chunk(&mut left);
        }
    }

    fn begin_chunk(&mut self) {
        self.chunk_begun = true;
        if let Some(Lane { message, behind, .. }) = self.finishing.take() {
            self.done.push(Done { call: message.call, keep: message.keep, held: message.held });
            self.restart(behind);
        }
    }

    fn advance_chunk(&mut self, left: &mut usize) {
        let of_head = (*left).min(self.chunk_head.len());
        self.chunk_head.advance(of_head);
        *left -= of_head;
        let of_data = (*left).min(self.chunk_data.len());
        self.chunk_data.advance(of_data);
        *left -= of_data;
        if self.chunk_head.is_empty() && self.chunk_data.is_empty() {
            self.chunk_begun = false;
        }
    }

    /// Makes the next chunk of the next lane, round and round.
    fn load_chunk(&mut self) {
        self.open_lanes();
        let Some(mut lane) = self.lanes.pop_front() else { return };
        self.chunk_head.clear();
        let total = (lane.sent == 0).then_some(lane.total);
        let (part, data) = if lane.aborted { (Part::Abort, Bytes::new()) } else { Self::next_data(&mut lane) };
        let length = data.len() as u64;
        let start = begin_frame(&mut self.chunk_head, Kind::Chunk);
        ChunkHead { lane: lane.number, total, part }.encode_head(&mut self.chunk_head);
        finish_frame_with_tail(&mut self.chunk_head, start, data.len());
        self.chunk_data = data;
        lane.sent += length;
        self.queued -= if part == Part::Abort { 0 } else { length };
        if part == Part::More {
            self.lanes.push_back(lane);
        } else {
            self.finishing = Some(lane);
        }
    }

    /// The head travels in chunks of its own, so that the payload is never copied.
    fn next_data(lane: &mut Lane<O>) -> (Part, Bytes) {
        if lane.sent == 0 {
            let mut head = BytesMut::with_capacity(1 + lane.message.head.len());
            head.extend_from_slice(&[lane.message.kind as u8]);
            head.extend_from_slice(&lane.message.head);
            lane.message.head = head.freeze();
        }
        let source = if lane.message.head.is_empty() { &mut lane.message.payload } else { &mut lane.message.head };
        let data = source.split_to(source.len().min(CHUNK_LEN_MAX));
        let part = if lane.sent + data.len() as u64 == lane.total { Part::Last } else { Part::More };
        (part, data)
    }

    fn open_lanes(&mut self) {
        while self.lanes.len() < LANES_MAX
            && let Some(next) = self.queue.front()
        {
            let open: u64 = self.lanes.iter().map(|lane| lane.total).sum();
            if !self.lanes.is_empty() && open.saturating_add(next.total) > self.open_max {
                return;
            }
            self.lanes.extend(self.queue.pop_front());
        }
    }

    /// Bytes that wait, all in all.
    pub(crate) fn len(&self) -> u64 {
        self.queued + (self.frames.len() + self.chunk_head.len() + self.chunk_data.len()) as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.chunk_head.is_empty() && self.chunk_data.is_empty() && self.has_no_lanes()
    }

    /// Everything that lives for messages that now never leave, to be dropped outside every lock.
    pub(crate) fn take_kept(&mut self) -> Vec<O> {
        self.frames.clear();
        self.chunk_head.clear();
        self.chunk_data.clear();
        self.queued = 0;
        let lanes = self.finishing.take().into_iter().chain(self.lanes.drain(..)).chain(self.queue.drain(..));
        let messages = lanes.flat_map(|lane| std::iter::once(lane.message).chain(lane.behind));
        let kept = messages.flat_map(|message| message.keep).collect::<Vec<_>>();
        kept.into_iter().chain(self.done.drain(..).flat_map(|done| done.keep)).collect()
    }
}

//! Large messages on their way out: each in a lane of chunks, in turns, so that none delays another.

use std::{collections::VecDeque, ops::Range};

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    id::ObjectId,
    wire::{
        chunk::{ChunkHead, Part},
        frame::{APART_LEN_MAX, CHUNK_LEN_MAX, FRAME_LEN_MAX, Kind, begin_frame, finish_frame, finish_frame_with_tail},
        message::{CallId, Slot},
    },
};

/// How many large messages are on their way at once; the others wait.
pub(crate) const LANES_MAX: usize = 8;

/// A message before it is cut into frames.
#[derive(Debug)]
pub(crate) struct Outgoing<O> {
    /// Its kind and its body, up to `tail`.
    pub(crate) head: Bytes,
    /// The rest of its body.
    pub(crate) tail: Bytes,
    /// Whether the receiver may take `tail` as it is: it begins in a chunk of its own then.
    pub(crate) apart: bool,
    pub(crate) kind: Kind,
    pub(crate) payload_len: usize,
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
    /// What is left of a message that was taken back: its order, for those behind it.
    fn nothing(order: Option<ObjectId>) -> Self {
        Self {
            head: Bytes::new(),
            tail: Bytes::new(),
            apart: false,
            kind: Kind::Call,
            payload_len: 0,
            order,
            call: None,
            counted: Vec::new(),
            keep: Vec::new(),
            held: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.head.len() as u64 + self.tail.len() as u64
    }

    /// Whether it fits one frame.
    pub(crate) fn is_small(&self) -> bool {
        self.len() <= FRAME_LEN_MAX as u64
    }

    /// Appends it as one frame, which it must fit.
    pub(crate) fn encode_frame(&self, out: &mut BytesMut) {
        let start = begin_frame(out, self.kind);
        out.extend_from_slice(self.head.get(1..).unwrap_or_default());
        out.extend_from_slice(&self.tail);
        finish_frame(out, start);
    }

    /// These bytes of it, in order.
    fn parts(&self, from: u64, len: usize) -> [Range<usize>; 2] {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let head = from.min(self.head.len())..from.saturating_add(len).min(self.head.len());
        let tail_from = from.saturating_sub(self.head.len()).min(self.tail.len());
        let tail = tail_from..tail_from.saturating_add(len - head.len()).min(self.tail.len());
        [head, tail]
    }
}

/// A message on its way, or waiting to be.
#[derive(Debug)]
pub(super) struct Lane<O> {
    number: u32,
    message: Outgoing<O>,
    total: u64,
    /// Bytes of chunks that have begun to leave.
    sent: u64,
    aborted: bool,
    /// Messages of the same order that must not overtake this one.
    behind: VecDeque<Outgoing<O>>,
}

impl<O> Lane<O> {
    /// The message unless it was aborted, and what waited behind it.
    pub(super) fn finish(self) -> (Option<Outgoing<O>>, VecDeque<Outgoing<O>>) {
        ((!self.aborted).then_some(self.message), self.behind)
    }

    /// The chunk that begins here.
    fn cut(&self, from: u64) -> (Part, usize) {
        if self.aborted {
            return (Part::Abort, 0);
        }
        let Outgoing { head, apart, .. } = &self.message;
        if from == 0 && *apart && head.len() <= APART_LEN_MAX {
            return (Part::More, head.len());
        }
        let left = self.total - from;
        if left <= CHUNK_LEN_MAX as u64 { (Part::Last, left as usize) } else { (Part::More, CHUNK_LEN_MAX) }
    }
}

/// A chunk as it is offered to the socket: nothing has changed before it begins to leave.
#[derive(Debug)]
pub(super) struct Cut {
    /// Which of the open lanes it belongs to, as they stood when it was cut.
    at: usize,
    from: u64,
    len: usize,
    part: Part,
    /// Where its head stands among the heads.
    head: Range<usize>,
}

impl Cut {
    /// Its length on the wire.
    pub(super) fn wire_len(&self) -> usize {
        self.head.len() + self.len
    }
}

/// All lanes to one peer.
#[derive(Debug)]
pub(super) struct Lanes<O> {
    /// Those that chunks are cut of, the next one in front.
    open: VecDeque<Lane<O>>,
    queue: VecDeque<Lane<O>>,
    next_number: u32,
    /// The receiver's bound on the totals of open lanes.
    open_max: u64,
    /// Bytes that have not begun to leave, with those of messages behind others.
    unsent: u64,
    /// How many of them are beyond `counted_max` of their message.
    excess: u64,
    counted_max: u64,
    /// The heads of the chunks that were cut last.
    heads: BytesMut,
}

impl<O> Lanes<O> {
    pub(super) fn new(open_max: u64, counted_max: u64) -> Self {
        let (open, queue) = (VecDeque::new(), VecDeque::new());
        Self { open, queue, next_number: 0, open_max, unsent: 0, excess: 0, counted_max, heads: BytesMut::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.queue.is_empty()
    }

    pub(super) fn unsent(&self) -> u64 {
        self.unsent
    }

    /// The same, where a message counts as `counted_max` at most.
    pub(super) fn counted(&self) -> u64 {
        self.unsent - self.excess
    }

    /// So many bytes of a message had not begun to leave, and now so many.
    fn note_unsent(&mut self, before: u64, after: u64) {
        self.unsent = self.unsent + after - before;
        let excess = |unsent: u64| unsent.saturating_sub(self.counted_max);
        self.excess = self.excess + excess(after) - excess(before);
    }

    /// Whether a message of this order is among them.
    pub(super) fn holds(&self, order: ObjectId) -> bool {
        self.open.iter().chain(&self.queue).any(|lane| lane.message.order == Some(order))
    }

    /// Adds a message: behind the one of its order, or in a lane of its own.
    pub(super) fn push(&mut self, message: Outgoing<O>) {
        self.note_unsent(0, message.len());
        let same = |lane: &&mut Lane<O>| message.order.is_some() && lane.message.order == message.order;
        if let Some(lane) = self.open.iter_mut().chain(&mut self.queue).find(same) {
            lane.behind.push_back(message);
        } else {
            self.enqueue(message, VecDeque::new());
        }
    }

    fn enqueue(&mut self, message: Outgoing<O>, behind: VecDeque<Outgoing<O>>) {
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        let total = message.len();
        self.queue.push_back(Lane { number, message, total, sent: 0, aborted: false, behind });
    }

    /// What stood behind a message that is gone goes its own way: a large one makes a lane again, with
    /// all that is behind it. Returns the small ones before that.
    pub(super) fn restart(&mut self, mut behind: VecDeque<Outgoing<O>>) -> Vec<Outgoing<O>> {
        let mut small = Vec::new();
        while let Some(message) = behind.pop_front() {
            if !message.is_small() {
                self.enqueue(message, behind);
                break;
            }
            self.note_unsent(message.len(), 0);
            small.push(message);
        }
        small
    }

    /// Takes back calls that have not left wholly, and those that this sets free to leave as frames. Of
    /// a call that has left in part the rest is replaced by an abort, so that it never arrives.
    pub(super) fn take_back(&mut self, ids: &[CallId]) -> (Vec<Outgoing<O>>, Vec<Outgoing<O>>) {
        let is_meant = |message: &Outgoing<O>| message.call.is_some_and(|id| ids.contains(&id));
        let (mut taken, mut freed) = (Vec::new(), Vec::new());
        // Those behind others first: they would leave as soon as the others are gone.
        for lane in self.open.iter_mut().chain(&mut self.queue) {
            taken.extend(extract(&mut lane.behind, is_meant));
        }
        taken.iter().for_each(|message| self.note_unsent(message.len(), 0));
        let mut unbegun = extract(&mut self.open, |lane| lane.sent == 0 && is_meant(&lane.message));
        unbegun.extend(extract(&mut self.queue, |lane| is_meant(&lane.message)));
        for lane in unbegun {
            self.note_unsent(lane.total, 0);
            taken.push(lane.message);
            freed.extend(self.restart(lane.behind));
        }
        let mut given_up = Vec::new();
        for lane in self.open.iter_mut().filter(|lane| is_meant(&lane.message)) {
            given_up.push(lane.total - lane.sent);
            lane.aborted = true;
            let nothing = Outgoing::nothing(lane.message.order);
            taken.push(std::mem::replace(&mut lane.message, nothing));
        }
        given_up.into_iter().for_each(|unsent| self.note_unsent(unsent, 0));
        (taken, freed)
    }

    /// Takes all that has not left wholly.
    pub(super) fn take_unsent(&mut self) -> Vec<Outgoing<O>> {
        (self.unsent, self.excess) = (0, 0);
        let lanes = self.open.drain(..).chain(self.queue.drain(..));
        lanes.flat_map(|lane| std::iter::once(lane.message).chain(lane.behind)).collect()
    }

    /// Cuts the next chunks, lane after lane, round and round: until they are `len_max` bytes long, or as
    /// many as there is room for.
    pub(super) fn cut(&mut self, len_max: usize, count_max: usize, cuts: &mut Vec<Cut>) {
        self.open_next();
        self.heads.clear();
        cuts.clear();
        let mut ahead = [Some(0); LANES_MAX];
        let mut len = 0;
        let mut goes_on = true;
        while goes_on {
            goes_on = false;
            for ((at, lane), ahead) in self.open.iter().enumerate().zip(&mut ahead) {
                let Some(from) = ahead.map(|ahead| lane.sent + ahead) else { continue };
                if len >= len_max || cuts.len() >= count_max {
                    return;
                }
                let (part, data_len) = lane.cut(from);
                let start = self.heads.len();
                let frame = begin_frame(&mut self.heads, Kind::Chunk);
                let total = (from == 0).then_some(lane.total);
                ChunkHead { lane: lane.number, total, part }.encode(&mut self.heads);
                finish_frame_with_tail(&mut self.heads, frame, data_len);
                cuts.push(Cut { at, from, len: data_len, part, head: start..self.heads.len() });
                len += data_len;
                *ahead = if part == Part::More { ahead.map(|ahead| ahead + data_len as u64) } else { None };
                goes_on |= part == Part::More;
                if part != Part::More && !lane.behind.is_empty() {
                    // What is behind it leaves before whatever is finished after it: they are counted
                    // in that order.
                    return;
                }
            }
        }
    }

    /// The bytes of a chunk that was cut: its head and its data.
    pub(super) fn slices(&self, cut: &Cut) -> [&[u8]; 3] {
        let head = self.heads.get(cut.head.clone()).unwrap_or_default();
        let Some(Lane { message, .. }) = self.open.get(cut.at) else { return [head, &[], &[]] };
        let [first, second] = message.parts(cut.from, cut.len);
        [head, message.head.get(first).unwrap_or_default(), message.tail.get(second).unwrap_or_default()]
    }

    /// The next chunk begins to leave: the first of those that were cut and have not begun. Returns its
    /// bytes beyond the first `written`, the length of its message, and its lane where that is over.
    pub(super) fn begin(&mut self, cut: &Cut, written: usize) -> (Option<[Bytes; 3]>, usize, Option<Lane<O>>) {
        let Some(mut lane) = self.open.pop_front() else { return (None, 0, None) };
        let message_len = lane.message.payload_len;
        let rest = (written < cut.wire_len()).then(|| {
            let [first, second] = lane.message.parts(cut.from, cut.len);
            let head = Bytes::copy_from_slice(self.heads.get(cut.head.clone()).unwrap_or_default());
            let mut rest = [head, lane.message.head.slice(first), lane.message.tail.slice(second)];
            skip(&mut rest, written);
            rest
        });
        let before = if lane.aborted { 0 } else { lane.total - lane.sent };
        lane.sent += cut.len as u64;
        self.note_unsent(before, before - cut.len as u64);
        if cut.part == Part::More {
            self.open.push_back(lane);
            (rest, message_len, None)
        } else {
            (rest, message_len, Some(lane))
        }
    }

    fn open_next(&mut self) {
        while self.open.len() < LANES_MAX
            && let Some(next) = self.queue.front()
        {
            let open: u64 = self.open.iter().map(|lane| lane.total).sum();
            if !self.open.is_empty() && open.saturating_add(next.total) > self.open_max {
                return;
            }
            self.open.extend(self.queue.pop_front());
        }
    }
}

/// Drops this many bytes from the front, or all where there are no more. Returns how many were dropped.
pub(super) fn skip(parts: &mut [Bytes], mut count: usize) -> usize {
    let wanted = count;
    for part in parts {
        let of_part = count.min(part.len());
        part.advance(of_part);
        count -= of_part;
    }
    wanted - count
}

/// Takes out what is meant, in order.
fn extract<T>(from: &mut VecDeque<T>, is_meant: impl Fn(&T) -> bool) -> Vec<T> {
    if !from.iter().any(&is_meant) {
        return Vec::new();
    }
    let (meant, rest) = std::mem::take(from).into_iter().partition::<Vec<_>, _>(is_meant);
    from.extend(rest);
    meant
}

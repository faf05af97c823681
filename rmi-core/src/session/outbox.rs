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
            kind: Kind::Call,
            head: Bytes::new(),
            payload: Bytes::new(),
            payload_len: 0,
            order,
            call: None,
            counted: Vec::new(),
            keep: Vec::new(),
            held: Vec::new(),
        }
    }

    fn len(&self) -> u64 {
        1 + self.head.len() as u64 + self.payload.len() as u64
    }
}

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

    /// Takes back calls that have not left wholly. Of one that has left in part the rest is replaced
    /// by an abort, so that it never arrives.
    pub(crate) fn take_back(&mut self, ids: &[CallId]) -> Vec<Outgoing<O>> {
        let is_meant = |message: &Outgoing<O>| message.call.is_some_and(|id| ids.contains(&id));
        let mut taken = Vec::new();
        // Those behind others first: they would leave as soon as the others are gone.
        for lane in self.all_lanes_mut() {
            taken.extend(extract(&mut lane.behind, is_meant));
        }
        self.queued -= taken.iter().map(Outgoing::len).sum::<u64>();
        for lane in extract(&mut self.queue, |lane| is_meant(&lane.message)) {
            self.queued -= lane.total;
            taken.push(lane.message);
            self.restart(lane.behind);
        }
        if let Some(mut lane) = self.finishing.take_if(|lane| is_meant(&lane.message)) {
            // Its last chunk waits to begin: unload it, so that an abort goes in its place.
            lane.sent -= self.chunk_data.len() as u64;
            self.queued += self.chunk_data.len() as u64;
            self.chunk_head.clear();
            self.chunk_data.clear();
            self.lanes.push_front(lane);
        }
        for lane in self.lanes.iter_mut().filter(|lane| is_meant(&lane.message)) {
            self.queued -= lane.total - lane.sent;
            lane.aborted = true;
            let nothing = Outgoing::nothing(lane.message.order);
            taken.push(std::mem::replace(&mut lane.message, nothing));
        }
        taken
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
            self.done.push(Done::of(message));
        }
    }

    /// The messages from lanes that left since the last look.
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
        if let Some(Lane { message, behind, aborted, .. }) = self.finishing.take() {
            // An abort completes no message.
            self.done.extend((!aborted).then(|| Done::of(message)));
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

    /// Takes everything that has not left wholly and is not written yet as a whole frame. Of a
    /// chunk that was begun the rest stays: without it no frame behind it could be read.
    pub(crate) fn take_unsent(&mut self) -> Vec<Outgoing<O>> {
        self.queued = 0;
        if !self.chunk_begun {
            self.chunk_head.clear();
            self.chunk_data.clear();
        }
        let lanes = self.finishing.take().into_iter().chain(self.lanes.drain(..)).chain(self.queue.drain(..));
        lanes.flat_map(|lane| std::iter::once(lane.message).chain(lane.behind)).collect()
    }

    /// Nothing more is written.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.chunk_head.clear();
        self.chunk_data.clear();
        self.chunk_begun = false;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::Limits,
        wire::{Frame, Message, split_frame},
    };

    const LARGE: usize = 2 * CHUNK_LEN_MAX;

    /// A call of this order and number, with this much payload.
    fn call(order: u8, id: u32, len: usize) -> Outgoing<u32> {
        Outgoing {
            kind: Kind::Call,
            head: Bytes::copy_from_slice(&id.to_be_bytes()),
            payload: vec![0; len].into(),
            payload_len: len,
            order: Some(ObjectId::from_bytes([order; 16])),
            call: Some(CallId(id)),
            counted: vec![Slot { index: id, generation: 0 }],
            keep: vec![id],
            held: Vec::new(),
        }
    }

    fn put_frame(outbox: &mut Outbox<u32>, number: u64) {
        Message::Ping(number).encode_frame(outbox.frames());
    }

    /// Writes up to `max` bytes at once, until nothing is left.
    fn write_all(outbox: &mut Outbox<u32>, max: usize) -> BytesMut {
        let mut written = BytesMut::new();
        while !outbox.is_empty() {
            write(outbox, max, &mut written);
        }
        assert_eq!(outbox.len(), 0);
        written
    }

    fn write(outbox: &mut Outbox<u32>, max: usize, written: &mut BytesMut) {
        let before = outbox.len();
        let slices = outbox.slices();
        let loaded = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let offered: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(max).collect();
        assert!(!offered.is_empty(), "{loaded} bytes are offered, and {before} wait");
        written.extend_from_slice(&offered);
        outbox.advance(offered.len());
    }

    /// What stands in these bytes: whole frames by their number, chunks by lane and part.
    fn read(mut bytes: BytesMut) -> Vec<String> {
        let mut read = Vec::new();
        while let Some(Frame { kind, body }) = split_frame(&mut bytes).unwrap() {
            read.push(match Message::decode(kind, body.clone(), &Limits::default()) {
                Ok(Message::Ping(number)) => format!("{number}"),
                Ok(Message::Chunk(chunk)) => {
                    let first = if chunk.total.is_some() { "First" } else { "" };
                    format!("{}:{first}{:?}", chunk.lane, chunk.part)
                }
                // A call that waited: its head is its number.
                _ => format!("call {}", body.get(3).copied().unwrap_or_default()),
            });
        }
        assert!(bytes.is_empty(), "a frame was cut off");
        read
    }

    fn calls_done(outbox: &mut Outbox<u32>) -> Vec<u32> {
        outbox.take_done().into_iter().filter_map(|done| done.call).map(|id| id.0).collect()
    }

    fn taken(outbox: &mut Outbox<u32>, ids: &[u32]) -> Vec<u32> {
        let ids: Vec<_> = ids.iter().copied().map(CallId).collect();
        let taken = outbox.take_back(&ids);
        for message in &taken {
            assert_eq!(message.keep, [message.counted[0].index], "it comes back with all that lives for it");
        }
        taken.into_iter().filter_map(|message| message.call).map(|id| id.0).collect()
    }

    #[test]
    fn bytes_are_the_same_however_they_are_written() {
        let fill = || {
            let mut outbox = Outbox::new(1 << 20);
            put_frame(&mut outbox, 1);
            outbox.push(call(1, 1, LARGE));
            outbox.push(call(2, 2, LARGE));
            outbox.push(call(1, 3, 10));
            put_frame(&mut outbox, 2);
            outbox
        };
        let whole = write_all(&mut fill(), usize::MAX);
        for max in [1, 2, 7, 100, 4099, 65_535, 70_000] {
            assert!(write_all(&mut fill(), max) == whole, "{max} at a time");
        }
        let chunks = ["0:FirstMore", "1:FirstMore", "0:More", "1:More", "0:Last", "1:Last"];
        let mut expected: Vec<&str> = ["1", "2"].into_iter().chain(chunks).collect();
        expected.insert(7, "call 3");
        assert_eq!(read(whole), expected);
    }

    #[test]
    fn a_frame_goes_before_a_loaded_chunk_and_behind_a_begun_one() {
        let mut outbox = Outbox::new(1 << 20);
        outbox.push(call(1, 1, LARGE));
        outbox.slices();
        put_frame(&mut outbox, 1);
        let mut written = BytesMut::new();
        write(&mut outbox, 7, &mut written);
        put_frame(&mut outbox, 2);
        written.unsplit(write_all(&mut outbox, 1000));
        assert_eq!(read(written), ["1", "0:FirstMore", "2", "0:More", "0:Last"]);
    }

    #[test]
    fn a_call_has_left_once_its_last_chunk_begins() {
        let mut outbox = Outbox::new(1 << 20);
        outbox.push(call(1, 1, LARGE));
        outbox.push(call(1, 2, 10));
        let mut written = BytesMut::new();
        while outbox.len() > 20 + CHUNK_LEN_MAX as u64 {
            write(&mut outbox, usize::MAX, &mut written);
        }
        outbox.slices();
        assert!(calls_done(&mut outbox).is_empty(), "loaded, and not begun");
        assert!(outbox.is_blocked(ObjectId::from_bytes([1; 16])));
        write(&mut outbox, 1, &mut written);
        assert_eq!(calls_done(&mut outbox), [1, 2], "and with it the one behind, as a frame");
        assert!(outbox.has_no_lanes());
        written.unsplit(write_all(&mut outbox, usize::MAX));
        assert_eq!(read(written), ["0:FirstMore", "0:More", "0:Last", "call 2"]);
    }

    #[test]
    fn a_message_in_the_queue_is_taken_back_without_a_trace() {
        let mut outbox = Outbox::new(1 << 20);
        outbox.push(call(1, 1, LARGE));
        outbox.push(call(1, 2, 10));
        assert_eq!(taken(&mut outbox, &[1]), [1]);
        assert_eq!(calls_done(&mut outbox), [2]);
        assert_eq!(read(write_all(&mut outbox, 9)), ["call 2"]);
    }

    #[test]
    fn a_message_that_was_begun_is_aborted() {
        for loaded in [false, true] {
            let mut outbox = Outbox::new(1 << 20);
            outbox.push(call(1, 1, LARGE));
            outbox.push(call(1, 2, 10));
            let mut written = BytesMut::new();
            write(&mut outbox, usize::MAX, &mut written);
            if loaded {
                outbox.slices();
            }
            assert_eq!(taken(&mut outbox, &[1]), [1]);
            assert!(taken(&mut outbox, &[1]).is_empty(), "once");
            assert!(outbox.is_blocked(ObjectId::from_bytes([1; 16])), "what is behind it waits for the abort");
            written.unsplit(write_all(&mut outbox, 9));
            assert_eq!(calls_done(&mut outbox), [2]);
            let chunks = if loaded { &["0:FirstMore", "0:More"][..] } else { &["0:FirstMore"] };
            assert_eq!(read(written), [chunks, &["0:Abort", "call 2"]].concat());
        }
    }

    #[test]
    fn a_loaded_last_chunk_becomes_an_abort_and_a_begun_one_leaves() {
        for begun in [false, true] {
            let mut outbox = Outbox::new(1 << 20);
            outbox.push(call(1, 1, LARGE));
            let mut written = BytesMut::new();
            while outbox.len() > CHUNK_LEN_MAX as u64 {
                write(&mut outbox, usize::MAX, &mut written);
            }
            outbox.slices();
            if begun {
                write(&mut outbox, 1, &mut written);
            }
            put_frame(&mut outbox, 1);
            let back = taken(&mut outbox, &[1]);
            assert_eq!(back.is_empty(), begun);
            written.unsplit(write_all(&mut outbox, 9));
            let rest = if begun { ["0:Last", "1"] } else { ["1", "0:Abort"] };
            assert_eq!(read(written), [&["0:FirstMore", "0:More"][..], &rest].concat());
        }
    }

    #[test]
    fn messages_taken_back_together_all_stay() {
        let mut outbox = Outbox::new(1 << 20);
        for (id, len) in [(1, LARGE), (2, 10), (3, LARGE), (4, 10), (5, 10)] {
            outbox.push(call(1, id, len));
        }
        let mut back = taken(&mut outbox, &[1, 2, 3, 4]);
        back.sort_unstable();
        assert_eq!(back, [1, 2, 3, 4]);
        assert_eq!(read(write_all(&mut outbox, 9)), ["call 5"]);
    }

    #[test]
    fn a_large_message_behind_another_makes_a_lane_with_what_is_behind_it() {
        let mut outbox = Outbox::new(1 << 20);
        for (id, len) in [(1, LARGE), (2, 10), (3, LARGE), (4, 10)] {
            outbox.push(call(1, id, len));
        }
        let lane = |number| ["FirstMore", "More", "Last"].map(|part| format!("{number}:{part}"));
        let expected = [&lane(0)[..], &["call 2".into()], &lane(1), &["call 4".into()]].concat();
        assert_eq!(read(write_all(&mut outbox, 1000)), expected);
        assert_eq!(calls_done(&mut outbox), [1, 2, 3, 4]);
    }

    #[test]
    fn lanes_open_as_the_receiver_has_room() {
        let mut outbox = Outbox::new(3 * LARGE as u64);
        for order in 0..4 {
            outbox.push(call(order, order.into(), LARGE));
        }
        let read = read(write_all(&mut outbox, usize::MAX));
        let at = |what: &str| read.iter().position(|frame| frame == what).unwrap();
        assert!(at("1:FirstMore") < at("0:Last"), "two at a time");
        assert!(at("2:FirstMore") > at("0:Last"));
    }

    #[test]
    fn of_what_never_leaves_only_a_begun_chunk_stays() {
        let mut outbox = Outbox::new(1 << 20);
        for (order, id) in [(1, 1), (1, 2), (2, 3)] {
            outbox.push(call(order, id, LARGE));
        }
        let mut written = BytesMut::new();
        write(&mut outbox, 10, &mut written);
        let mut unsent: Vec<_> = outbox.take_unsent().into_iter().flat_map(|message| message.keep).collect();
        unsent.sort_unstable();
        assert_eq!(unsent, [1, 2, 3]);
        put_frame(&mut outbox, 1);
        written.unsplit(write_all(&mut outbox, 1000));
        assert_eq!(read(written), ["0:FirstMore", "1"]);
    }
}

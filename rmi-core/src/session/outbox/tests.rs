use super::*;
use crate::{
    limits::Limits,
    wire::{Frame, Kind, Message, split_frame},
};

const LARGE: usize = 2 * CHUNK_LEN_MAX;

/// The length of a chunk with all its data, on the wire: a prefix, a kind, a lane, a part; and a
/// total, where it is the first.
const CHUNK: usize = 4 + 1 + 1 + 1 + CHUNK_LEN_MAX;
const FIRST_CHUNK: usize = CHUNK + 3;

/// A call of this order and number, with this much payload.
fn call(order: u8, id: u32, len: usize) -> Outgoing<u32> {
    Outgoing {
        head: [&[Kind::Call as u8], &id.to_be_bytes()[..]].concat().into(),
        tail: vec![0; len].into(),
        apart: false,
        kind: Kind::Call,
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
    outbox.advance(offered.len(), &mut Vec::new());
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
        let mut outbox = Outbox::new(1 << 20, u64::MAX);
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
    let mut outbox = Outbox::new(1 << 20, u64::MAX);
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
    let mut outbox = Outbox::new(1 << 20, u64::MAX);
    outbox.push(call(1, 1, LARGE));
    outbox.push(call(1, 2, 10));
    let mut written = BytesMut::new();
    write(&mut outbox, FIRST_CHUNK + CHUNK, &mut written);
    outbox.slices();
    assert!(calls_done(&mut outbox).is_empty(), "offered, and not begun");
    assert!(outbox.is_blocked(ObjectId::from_bytes([1; 16])));
    write(&mut outbox, 1, &mut written);
    assert_eq!(calls_done(&mut outbox), [1, 2], "and with it the one behind, as a frame");
    assert!(outbox.has_no_lanes());
    written.unsplit(write_all(&mut outbox, usize::MAX));
    assert_eq!(read(written), ["0:FirstMore", "0:More", "0:Last", "call 2"]);
}

#[test]
fn a_message_in_the_queue_is_taken_back_without_a_trace() {
    let mut outbox = Outbox::new(1 << 20, u64::MAX);
    outbox.push(call(1, 1, LARGE));
    outbox.push(call(1, 2, 10));
    assert_eq!(taken(&mut outbox, &[1]), [1]);
    assert_eq!(calls_done(&mut outbox), [2]);
    assert_eq!(read(write_all(&mut outbox, 9)), ["call 2"]);
}

#[test]
fn a_message_that_was_offered_and_not_begun_is_taken_back_without_a_trace() {
    let mut outbox = Outbox::new(1 << 20, u64::MAX);
    outbox.push(call(1, 1, LARGE));
    outbox.push(call(1, 2, 10));
    outbox.push(call(2, 3, LARGE));
    outbox.slices();
    assert_eq!(taken(&mut outbox, &[1]), [1]);
    assert_eq!(calls_done(&mut outbox), [2]);
    assert_eq!(read(write_all(&mut outbox, 9)), ["call 2", "1:FirstMore", "1:More", "1:Last"]);
}

#[test]
fn a_message_that_was_begun_is_aborted() {
    for begun in [1, FIRST_CHUNK, FIRST_CHUNK + 1] {
        let mut outbox = Outbox::new(1 << 20, u64::MAX);
        outbox.push(call(1, 1, LARGE));
        outbox.push(call(1, 2, 10));
        let mut written = BytesMut::new();
        write(&mut outbox, begun, &mut written);
        outbox.slices();
        assert_eq!(taken(&mut outbox, &[1]), [1]);
        assert!(taken(&mut outbox, &[1]).is_empty(), "once");
        assert!(outbox.is_blocked(ObjectId::from_bytes([1; 16])), "what is behind it waits for the abort");
        written.unsplit(write_all(&mut outbox, 9));
        assert_eq!(calls_done(&mut outbox), [2]);
        let chunks = if begun > FIRST_CHUNK { &["0:FirstMore", "0:More"][..] } else { &["0:FirstMore"] };
        assert_eq!(read(written), [chunks, &["0:Abort", "call 2"]].concat());
    }
}

#[test]
fn an_offered_last_chunk_becomes_an_abort_and_a_begun_one_leaves() {
    for begun in [false, true] {
        let mut outbox = Outbox::new(1 << 20, u64::MAX);
        outbox.push(call(1, 1, LARGE));
        let mut written = BytesMut::new();
        write(&mut outbox, FIRST_CHUNK + CHUNK, &mut written);
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
fn what_a_receiver_may_take_as_it_is_begins_in_a_chunk_of_its_own() {
    let mut outbox = Outbox::new(1 << 20, u64::MAX);
    outbox.push(Outgoing { apart: true, ..call(1, 1, LARGE) });
    let mut written = write_all(&mut outbox, 1000);
    let lens = std::iter::from_fn(|| split_frame(&mut written).unwrap()).map(|frame| {
        match Message::decode(frame.kind, frame.body, &Limits::default()) {
            Ok(Message::Chunk(chunk)) => chunk.data.len(),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(lens.collect::<Vec<_>>(), [5, CHUNK_LEN_MAX, CHUNK_LEN_MAX]);
}

#[test]
fn one_write_offers_several_chunks_and_not_all() {
    let mut outbox = Outbox::new(1 << 30, u64::MAX);
    outbox.push(call(1, 1, 16 * LARGE));
    outbox.push(call(2, 2, 16 * LARGE));
    while !outbox.is_empty() {
        let len = outbox.slices().iter().map(|slice| slice.len()).sum::<usize>();
        assert!(len <= CUTS_LEN + CHUNK, "{len} bytes would be ahead of every small frame");
        assert!(len >= CUTS_LEN || len as u64 >= outbox.len(), "{len} bytes of {}", outbox.len());
        write(&mut outbox, usize::MAX, &mut BytesMut::new());
    }
}

#[test]
fn messages_taken_back_together_all_stay() {
    let mut outbox = Outbox::new(1 << 20, u64::MAX);
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
    let mut outbox = Outbox::new(1 << 20, u64::MAX);
    for (id, len) in [(1, LARGE), (2, 10), (3, LARGE), (4, 10)] {
        outbox.push(call(1, id, len));
    }
    let lane = |number| ["FirstMore", "More", "Last"].map(|part| format!("{number}:{part}"));
    let expected = [&lane(0)[..], &["call 2".into()], &lane(1), &["call 4".into()]].concat();
    assert_eq!(read(write_all(&mut outbox, 1000)), expected);
    assert_eq!(calls_done(&mut outbox), [1, 2, 3, 4]);
}

#[test]
fn of_one_message_only_so_much_counts() {
    let mut outbox = Outbox::new(1 << 20, 100_000);
    for (order, id, len) in [(1, 1, LARGE), (2, 2, 90_000), (1, 3, LARGE), (1, 4, 10)] {
        outbox.push(call(order, id, len));
    }
    assert_eq!(outbox.len(), 2 * LARGE as u64 + 90_010 + 4 * 5);
    assert_eq!(outbox.counted(), 2 * 100_000 + 90_010 + 2 * 5);
    let mut written = BytesMut::new();
    write(&mut outbox, FIRST_CHUNK, &mut written);
    assert_eq!(outbox.counted(), (LARGE + 5 - CHUNK_LEN_MAX) as u64 + 100_000 + 90_010 + 2 * 5);
    assert_eq!(taken(&mut outbox, &[1, 3]), [3, 1]);
    assert_eq!(outbox.counted(), outbox.len());
    written.unsplit(write_all(&mut outbox, usize::MAX));
    assert_eq!(outbox.counted(), 0);
    outbox.push(call(1, 5, LARGE));
    outbox.take_unsent();
    assert_eq!((outbox.len(), outbox.counted()), (0, 0));
}

#[test]
fn lanes_open_as_the_receiver_has_room() {
    let mut outbox = Outbox::new(3 * LARGE as u64, u64::MAX);
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
    let mut outbox = Outbox::new(1 << 20, u64::MAX);
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

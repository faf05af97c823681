//! Large messages: cut into chunks, passed by small ones, taken back in every state.

use rmi_core::{
    Certainty, ErrorKind, Limits,
    session::CallKey,
    wire::{CHUNK_LEN_MAX, Message, Part},
};

use crate::{
    object::Obj,
    pair::{A, B, Pair, SECOND, failed, replied},
    side::Start,
};

const LARGE: usize = 300_000;

/// A chunk with all its data, on the wire: a prefix, a kind, a lane, a part.
const CHUNK: usize = 4 + 1 + 1 + 1 + CHUNK_LEN_MAX;

fn start(pair: &mut Pair, tag: u8, len: usize, order: u8) -> CallKey {
    pair.start(A, Start::service().sized(tag, len).in_order_of(order))
}

/// How many lanes stand open at B after each of the frames that arrived.
fn most_open_lanes(pair: &Pair) -> usize {
    let (mut open, mut most) = (0usize, 0);
    for message in &pair.sides[B].heard {
        if let Message::Chunk(chunk) = message {
            open += usize::from(chunk.total.is_some());
            most = most.max(open);
            open -= usize::from(chunk.part != Part::More);
        }
    }
    assert_eq!(open, 0);
    most
}

#[test]
fn a_large_call_and_a_large_reply_arrive_whole() {
    let mut pair = Pair::new();
    let key = start(&mut pair, 7, LARGE, 1);
    pair.run();
    let call = pair.b().take_call();
    assert!(call.payload.len() == LARGE && call.payload.iter().all(|&byte| byte == 7));
    pair.b().reply(call.id, &vec![8; 2 * LARGE], &[]);
    while pair.write(B, 777) > 0 {
        pair.deliver(B, 500);
    }
    pair.run();
    let reply = replied(pair.a().poll(key));
    assert!(reply.len() == 2 * LARGE && reply.iter().all(|&byte| byte == 8));
    pair.check_empty();
}

#[test]
fn messages_arrive_the_same_however_they_are_read() {
    for len in [1, 7, 11, 12, 4099, CHUNK - 1, CHUNK, CHUNK + 7, 100_000] {
        let mut pair = Pair::new();
        for (tag, order) in [(1, 1), (2, 2), (3, 1)] {
            start(&mut pair, tag, 140_000, order);
        }
        pair.write(A, 10_000);
        for (tag, order) in [(4, 3), (5, 4)] {
            start(&mut pair, tag, 1, order);
            pair.write(A, 150_000);
        }
        while pair.write(A, usize::MAX) > 0 {}
        while pair.deliver(A, len) > 0 {}
        assert_eq!(pair.arrived(), [4, 5, 1, 2, 3], "read {len} bytes at a time");
        for call in &pair.b().calls {
            assert!(call.payload.iter().all(|byte| *byte == call.payload[0]));
        }
    }
}

#[test]
fn small_calls_pass_a_large_one_and_later_calls_to_its_object_do_not() {
    let mut pair = Pair::new();
    start(&mut pair, 1, LARGE, 1);
    pair.write(A, 10_000);
    for (tag, order) in [(2, 1), (3, 2), (4, 1), (5, 3)] {
        start(&mut pair, tag, 1, order);
    }
    pair.run();
    assert_eq!(pair.arrived(), [3, 5, 1, 2, 4]);
}

#[test]
fn large_calls_to_one_object_follow_each_other_and_small_ones_stay_between() {
    let mut pair = Pair::new();
    for (tag, len) in [(1, LARGE), (2, 1), (3, LARGE), (4, 1), (5, LARGE), (6, 1)] {
        start(&mut pair, tag, len, 1);
    }
    start(&mut pair, 7, 2 * LARGE, 2);
    pair.run();
    let of_one: Vec<u8> = pair.arrived().into_iter().filter(|&tag| tag != 7).collect();
    assert_eq!(of_one, [1, 2, 3, 4, 5, 6]);
    assert_eq!(most_open_lanes(&pair), 2);
}

#[test]
fn at_most_eight_lanes_are_open() {
    let mut pair = Pair::new();
    let tags: Vec<u8> = (1..=20).collect();
    for &tag in &tags {
        start(&mut pair, tag, LARGE, tag);
    }
    pair.run();
    assert_eq!(pair.arrived(), tags);
    assert_eq!(most_open_lanes(&pair), 8);
}

#[test]
fn open_lanes_together_stay_within_the_longest_message() {
    let mut pair = Pair::with(Limits { message_len: 1_000_000, ..Limits::default() });
    for tag in 1..=6 {
        start(&mut pair, tag, LARGE, tag);
    }
    pair.run();
    assert_eq!(pair.arrived(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(most_open_lanes(&pair), 3);
}

#[test]
fn a_small_frame_goes_before_a_chunk_that_has_not_begun_and_behind_one_that_has() {
    let mut pair = Pair::new();
    start(&mut pair, 1, LARGE, 1);
    // What the call names is defined first.
    write_frame(&mut pair);
    let len = next_frame_len(&mut pair);
    pair.write(A, len - 1);
    start(&mut pair, 2, 1, 2);
    pair.write(A, 1);
    pair.deliver(A, usize::MAX);
    assert!(pair.arrived().is_empty());
    pair.write(A, 30);
    pair.deliver(A, usize::MAX);
    assert_eq!(pair.arrived(), [2]);
}

/// The length of the next frame, where none has begun.
fn next_frame_len(pair: &mut Pair) -> usize {
    let slices = pair.a().session.slices();
    let prefix = slices.first().and_then(|slice| slice.first_chunk()).expect("a frame waits");
    prefix.len() + u32::from_le_bytes(*prefix) as usize
}

fn write_frame(pair: &mut Pair) {
    let len = next_frame_len(pair);
    assert_eq!(pair.write(A, len), len);
}

/// Writes all chunks of a lone large call but the last one, which has not begun.
fn write_until_last_chunk(pair: &mut Pair) {
    while pair.a().session.output_len() > CHUNK_LEN_MAX as u64 {
        write_frame(pair);
    }
}

/// Cancels a large call at a moment, with others in front, beside and behind, and looks that it
/// alone never arrives and that nothing of it is left.
fn cancel_large_at(moment: impl FnOnce(&mut Pair)) {
    let mut pair = Pair::with(Limits { calls: 3, ..Limits::default() });
    let (passed, alive) = Obj::new();
    let large = Start::service().sized(1, LARGE).in_order_of(1).passing(&[&passed]);
    drop(passed);
    let large = pair.start(A, large);
    let behind = start(&mut pair, 2, 1, 1);
    moment(&mut pair);
    pair.cancel(A, large);
    let beside = start(&mut pair, 3, 1, 2);
    let waiting = start(&mut pair, 4, 1, 1);
    pair.run();
    assert_eq!(pair.arrived().len(), 3);
    assert!(alive.upgrade().is_none(), "what it passed was un-counted");
    for _ in 0..3 {
        let call = pair.b().take_call();
        pair.b().reply(call.id, b"", &[]);
    }
    pair.run();
    for key in [behind, beside, waiting] {
        replied(pair.a().poll(key));
    }
    pair.check_agreement();
    pair.check_empty();
}

#[test]
fn a_large_call_is_taken_back_while_it_is_queued() {
    cancel_large_at(|_| {});
}

#[test]
fn a_large_call_is_taken_back_while_its_first_chunk_has_begun() {
    cancel_large_at(|pair| {
        pair.write(A, 1);
    });
}

#[test]
fn a_large_call_is_taken_back_in_the_middle_of_a_chunk() {
    cancel_large_at(|pair| {
        pair.write(A, 100_000);
    });
}

#[test]
fn a_large_call_is_taken_back_while_its_last_chunk_has_not_begun() {
    cancel_large_at(write_until_last_chunk);
    let mut pair = Pair::new();
    let large = start(&mut pair, 1, LARGE, 1);
    write_until_last_chunk(&mut pair);
    pair.cancel(A, large);
    start(&mut pair, 2, 1, 1);
    pair.run();
    assert_eq!(pair.arrived(), [2]);
    let aborts = |message: &Message| matches!(message, Message::Chunk(chunk) if chunk.part == Part::Abort);
    assert_eq!(pair.b().heard.iter().filter(|message| aborts(message)).count(), 1);
}

#[test]
fn a_large_call_whose_last_chunk_has_begun_is_cancelled_at_the_callee() {
    let mut pair = Pair::new();
    let large = start(&mut pair, 1, LARGE, 1);
    write_until_last_chunk(&mut pair);
    let behind = start(&mut pair, 2, 1, 1);
    pair.write(A, 1);
    pair.cancel(A, large);
    pair.run();
    assert_eq!(pair.arrived(), [1, 2]);
    let call = pair.b().take_call();
    assert_eq!(pair.b().cancelled, [call.id]);
    assert!(pair.a().poll(behind).is_none());
}

#[test]
fn a_call_behind_a_large_one_is_taken_back() {
    let mut pair = Pair::with(Limits { calls: 3, ..Limits::default() });
    start(&mut pair, 1, LARGE, 1);
    let (passed, alive) = Obj::new();
    let behind = pair.start(A, Start::service().sized(2, 1).in_order_of(1).passing(&[&passed]));
    drop(passed);
    start(&mut pair, 3, 1, 1);
    pair.write(A, 100);
    pair.cancel(A, behind);
    assert!(alive.upgrade().is_none());
    pair.run();
    assert_eq!(pair.arrived(), [1, 3]);
}

#[test]
fn calls_set_free_by_a_cancel_count_as_sent_before_later_ones() {
    // The order in which calls count as sent decides which of them a closing peer has taken.
    let mut pair = Pair::new();
    let large = start(&mut pair, 1, LARGE, 1);
    let freed = start(&mut pair, 2, 1, 1);
    pair.cancel(A, large);
    pair.send_all(A);
    pair.b().session.close();
    let late = start(&mut pair, 3, 1, 2);
    pair.run();
    assert_eq!(failed(pair.a().poll(late)), (ErrorKind::Shutdown, Certainty::NotExecuted));
    let call = pair.b().take_call();
    pair.b().reply(call.id, b"taken", &[]);
    pair.run();
    assert_eq!(replied(pair.a().poll(freed)), b"taken");
}

#[test]
fn a_call_set_free_by_a_cancel_has_left_and_is_cancelled_at_the_callee() {
    let mut pair = Pair::new();
    let large = start(&mut pair, 1, LARGE, 1);
    let freed = start(&mut pair, 2, 1, 1);
    pair.cancel(A, large);
    pair.cancel(A, freed);
    pair.run();
    let call = pair.b().take_call();
    assert_eq!(pair.b().cancelled, [call.id]);
    pair.b().reply(call.id, b"", &[]);
    pair.run();
    pair.check_empty();
}

#[test]
fn calls_that_expire_together_all_stay_unsent() {
    let mut pair = Pair::new();
    let late = pair.now + SECOND;
    // The last id that came free is the first to be used: the large call has the highest.
    let before = [1, 2, 3].map(|tag| start(&mut pair, tag, 1, 1));
    pair.run();
    for key in before {
        let call = pair.b().take_call();
        pair.b().reply(call.id, b"", &[]);
        pair.run();
        replied(pair.a().poll(key));
    }
    let sized = |tag, len| Start::service().sized(tag, len).in_order_of(1).until(late);
    let keys = [(4, LARGE), (5, 1), (6, 1), (7, LARGE), (8, 1)].map(|(tag, len)| pair.start(A, sized(tag, len)));
    pair.pass_time(SECOND);
    pair.run();
    for key in keys {
        assert_eq!(failed(pair.a().poll(key)), (ErrorKind::DeadlineExceeded, Certainty::NotSent));
    }
    assert_eq!(pair.arrived(), [1, 2, 3]);
    pair.check_empty();
}

#[test]
fn an_object_called_by_a_large_call_is_held_until_the_call_has_left() {
    let mut pair = Pair::new();
    let (object, alive) = Obj::new();
    let held = pair.give(B, &object);
    drop(object);
    let key = pair.start(A, Start::of(&held).sized(1, LARGE));
    let behind = pair.start(A, Start::of(&held).sized(2, 1));
    drop(held);
    pair.a().carry_out();
    pair.run();
    for key in [key, behind] {
        let call = pair.b().take_call();
        assert!(matches!(&call.object, Some(Obj::Own(servant)) if alive.upgrade().unwrap().id == servant.id));
        pair.b().reply(call.id, b"", &[]);
        pair.run();
        replied(pair.a().poll(key));
    }
    assert!(alive.upgrade().is_none());
    pair.check_empty();
}

#[test]
fn large_replies_let_small_ones_pass() {
    let mut pair = Pair::new();
    let keys = [1, 2].map(|tag| start(&mut pair, tag, 1, tag));
    pair.run();
    for (len, tag) in [(LARGE, 1), (1, 2)] {
        let call = pair.b().take_call();
        pair.b().reply(call.id, &vec![tag; len], &[]);
    }
    pair.write(B, 30);
    pair.deliver(B, usize::MAX);
    assert_eq!(replied(pair.a().poll(keys[1])), [2]);
    pair.run();
    assert_eq!(replied(pair.a().poll(keys[0])).len(), LARGE);
}

//! Two sessions, and what may happen between them.
//!
//! The first byte selects. Where it is even, both sides keep the rules, and all that the model of the random
//! tests knows must be true (`honest`). Where it is odd, arbitrary frames come in between (`hostile`). The
//! next bytes are the limits of each side, the rest are operations, each a byte and what it needs.

mod forge;
mod honest;
#[expect(clippy::indexing_slicing, reason = "a side is one of two, and what is chosen among is there")]
mod hostile;
mod seeds;

use rmi_core::Limits;

pub(crate) use self::seeds::seeds;
use crate::choices::Choices;

/// No more operations than this: each may be a message of some frames.
const STEPS_MAX: usize = 150;

/// Does these operations.
pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    if choices.flag() { hostile::run(&mut choices) } else { honest::run(&mut choices) }
}

/// Limits that are often met.
fn limits(choices: &mut Choices<'_>) -> Limits {
    let byte = choices.byte();
    let pick =
        |shift: u32, values: [u64; 4]| values.into_iter().cycle().nth(usize::from(byte >> shift & 3)).unwrap_or(0);
    Limits {
        calls: pick(0, [20, 1, 2, 4]) as u32,
        call_bytes: pick(2, [16 << 20, 0, 1000, 100_000]),
        message_len: pick(4, [1 << 20, 100_000, 200_000, 1 << 20]),
        waiting_calls: pick(6, [4, 0, 1, 4]) as u32,
        exports: pick(4, [1000, 1000, 1000, 2]) as u32,
        definitions: pick(6, [1000, 1000, 2, 1000]) as u32,
        references: 3,
        depth: 2,
        ..Limits::default()
    }
}

/// Small, about the length of a frame, or two of them.
fn len(choices: &mut Choices<'_>) -> usize {
    match choices.byte() {
        byte @ 0..0xf0 => 4 + usize::from(byte),
        0xf0..0xf8 => 65_400 + usize::from(choices.byte()),
        0xf8.. => 66_000 + 4 * usize::from(choices.word() >> 2),
    }
}

/// How much a socket takes, or a network brings, at once.
fn max(choices: &mut Choices<'_>) -> usize {
    match choices.byte() {
        byte @ 1..0xc0 => byte.into(),
        0xc0..0xe0 => 1 + usize::from(choices.word()),
        0 | 0xe0.. => usize::MAX,
    }
}

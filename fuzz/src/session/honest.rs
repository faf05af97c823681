//! Both sides keep the rules, and the network is bad.

use super::{STEPS_MAX, len, limits, max};
use crate::{
    choices::Choices,
    random::{
        step::{Choice, Pick, Step},
        world::World,
    },
};

/// A program as the random tests draw them, from these bytes.
pub(super) fn run(choices: &mut Choices<'_>) {
    let mut world = World::new([limits(choices), limits(choices)]);
    for _ in 0..STEPS_MAX {
        if choices.is_over() {
            break;
        }
        world.step(step(choices));
    }
    world.finish();
}

fn step(choices: &mut Choices<'_>) -> Step {
    let byte = choices.byte();
    let side = usize::from(byte >> 7);
    match byte & 0x7f {
        0..8 => Step::Create { side, third: byte & 7 == 7 },
        8..30 => Step::Start {
            side,
            target: target(choices),
            len: len(choices),
            references: references(choices),
            depth: u32::from(choices.byte()) / 64,
            seconds: seconds(choices),
        },
        30..34 => {
            let len = 66_000 + usize::from(choices.word());
            Step::Burst { side, len, behind: 1 + choices.below(3), seconds: seconds(choices) }
        }
        34..38 => Step::Acquire { side, object: pick(choices) },
        38..46 => Step::Poll { keep: byte & 1 == 0 },
        46..52 => Step::Cancel { call: pick(choices) },
        52..56 => Step::Depart { call: pick(choices) },
        56..66 => Step::Answer {
            side,
            call: pick(choices),
            len: len(choices),
            references: references(choices),
            keep: byte & 1 == 0,
        },
        66..70 => Step::Refuse { side, call: pick(choices) },
        70..76 => Step::DropHeld { side, object: pick(choices) },
        76..80 => Step::DropOwn { side, object: pick(choices) },
        80..92 => Step::Write { side, max: max(choices) },
        92..104 => Step::Deliver { side, max: max(choices) },
        104..110 => Step::Exchange,
        110..114 => Step::Time { millis: 10 * u64::from(choices.byte()) },
        114..116 => Step::Close { side },
        116..118 => Step::Goodbye { side },
        118..122 => Step::Lose { b_notices: byte & 1 == 0 },
        122..127 => Step::Resume { loses_answer: byte & 7 == 2 },
        _ => Step::Cut,
    }
}

fn pick(choices: &mut Choices<'_>) -> Pick {
    Pick(choices.byte().into())
}

fn target(choices: &mut Choices<'_>) -> Choice {
    let byte = choices.byte();
    let object = Pick(usize::from(byte >> 2));
    match byte & 3 {
        0 => Choice::Service,
        1 => Choice::ById(object),
        _ => Choice::Held { object, keep: byte & 1 == 0 },
    }
}

fn references(choices: &mut Choices<'_>) -> Vec<Pick> {
    let count = choices.byte() >> 6;
    (0..count).map(|_| pick(choices)).collect()
}

fn seconds(choices: &mut Choices<'_>) -> Option<u64> {
    u64::from(choices.byte() & 7).checked_sub(4)
}

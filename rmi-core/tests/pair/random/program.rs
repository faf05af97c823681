//! What a random program is made of.

use proptest::{collection::vec, prelude::*};
use rmi_core::Limits;

use super::step::{Choice, Pick, Step};

#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) limits: [Limits; 2],
    pub(crate) steps: Vec<Step>,
}

fn limits() -> impl Strategy<Value = Limits> {
    let call_bytes =
        prop_oneof![1 => Just(0), 1 => Just(1000), 2 => Just(100_000), 2 => Just(300_000), 4 => Just(16 << 20)];
    let message_len = prop_oneof![1 => Just(100_000), 1 => Just(200_000), 3 => Just(1 << 20)];
    let exports = prop_oneof![1 => Just(2), 5 => Just(1000)];
    let definitions = prop_oneof![1 => Just(2), 5 => Just(1000)];
    (prop_oneof![1..4u32, 4..20u32], call_bytes, message_len, 0..5u32, exports, definitions).prop_map(
        |(calls, call_bytes, message_len, waiting_calls, exports, definitions)| Limits {
            calls,
            call_bytes,
            message_len,
            waiting_calls,
            exports,
            definitions,
            references: 3,
            depth: 2,
            ..Limits::default()
        },
    )
}

/// Small, about the length of a frame, or several frames long.
fn len() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 4..300usize, 1 => 63_400..65_700usize, 3 => 66_000..190_000usize]
}

/// How much a socket takes, or a network brings, at once.
fn max() -> impl Strategy<Value = usize> {
    prop_oneof![1..40usize, 40..3000usize, 3000..70_000usize, Just(usize::MAX)]
}

fn side() -> impl Strategy<Value = usize> {
    0..2usize
}

fn pick() -> impl Strategy<Value = Pick> {
    any::<usize>().prop_map(Pick)
}

fn choice() -> impl Strategy<Value = Choice> {
    prop_oneof![
        3 => Just(Choice::Service),
        3 => (pick(), any::<bool>()).prop_map(|(object, keep)| Choice::Held { object, keep }),
        1 => pick().prop_map(Choice::ById),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let references = || vec(pick(), 0..4);
    prop_oneof![
        6 => (side(), prop::bool::weighted(0.2)).prop_map(|(side, third)| Step::Create { side, third }),
        24 => (side(), choice(), len(), references(), prop_oneof![4 => Just(0), 1 => 1..4u32], prop::option::of(0..4u64))
            .prop_map(|(side, target, len, references, depth, seconds)| {
                Step::Start { side, target, len, references, depth, seconds }
            }),
        6 => (side(), 66_000..190_000usize, 1..4usize, prop::option::of(0..3u64))
            .prop_map(|(side, len, behind, seconds)| Step::Burst { side, len, behind, seconds }),
        3 => (side(), pick()).prop_map(|(side, object)| Step::Acquire { side, object }),
        8 => any::<bool>().prop_map(|keep| Step::Poll { keep }),
        8 => pick().prop_map(|call| Step::Cancel { call }),
        6 => pick().prop_map(|call| Step::Depart { call }),
        12 => (side(), pick(), len(), references(), any::<bool>())
            .prop_map(|(side, call, len, references, keep)| Step::Answer { side, call, len, references, keep }),
        4 => (side(), pick()).prop_map(|(side, call)| Step::Refuse { side, call }),
        6 => (side(), pick()).prop_map(|(side, object)| Step::DropHeld { side, object }),
        3 => (side(), pick()).prop_map(|(side, object)| Step::DropOwn { side, object }),
        16 => (side(), max()).prop_map(|(side, max)| Step::Write { side, max }),
        16 => (side(), max()).prop_map(|(side, max)| Step::Deliver { side, max }),
        5 => Just(Step::Exchange),
        5 => (0..2500u64).prop_map(|millis| Step::Time { millis }),
        1 => side().prop_map(|side| Step::Close { side }),
        1 => side().prop_map(|side| Step::Goodbye { side }),
        3 => any::<bool>().prop_map(|b_notices| Step::Lose { b_notices }),
        4 => any::<bool>().prop_map(|loses_answer| Step::Resume { loses_answer }),
        1 => Just(Step::Cut),
    ]
}

pub(crate) fn program() -> impl Strategy<Value = Program> {
    (limits(), limits(), vec(step(), 1..80)).prop_map(|(a, b, steps)| Program { limits: [a, b], steps })
}

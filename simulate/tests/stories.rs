//! Programs that random ones led to.

use rmi_simulate::{Program, Step, Weather, run};

/// Three nodes that listen beside the first, and slow ways between all.
fn told(steps: Vec<Step>) {
    for seed in 0..20 {
        let weather = Weather { delay_max: 10, pieces: false };
        let program = Program { listens: vec![true; 3], weather, seed, steps: steps.clone() };
        run(&program).unwrap_or_else(|wrong| panic!("{wrong}: {program:#?}"));
    }
}

/// The only reference that there is goes to another node.
fn hand_on(to: u8) -> [Step; 2] {
    [Step::Pass { reference: 0, to, more: 0, as_result: false, keep: false }, Step::Wait { time: 100 }]
}

/// The third gives what it holds through the second to a fourth, and shuts down: whoever holds
/// something through the second still has to ask the owner for it.
#[test]
fn a_giver_in_the_middle_shuts_down() {
    let create = [Step::Create { node: 1 }];
    let steps = create.into_iter().chain(hand_on(2)).chain(hand_on(3)).chain(hand_on(0));
    told(steps.chain([Step::Shutdown { node: 3 }]).collect());
}

/// The giver shuts down just when the link to its receiver breaks.
#[test]
fn a_giver_shuts_down_while_its_receiver_is_cut_off() {
    let create = [Step::Create { node: 1 }];
    let steps = create.into_iter().chain(hand_on(0)).chain(hand_on(3));
    told(steps.chain([Step::Shutdown { node: 0 }, Step::Cut { a: 0, b: 3, after: 0 }]).collect());
}

//! Programs of random operations over a pair, and what must hold after each of them.

mod program;
mod step;
mod world;

use proptest::prelude::*;

use self::{
    program::{Program, program},
    world::World,
};

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 1000 };
    ProptestConfig { cases, max_shrink_iters: 200_000, ..default }
}

proptest! {
    #![proptest_config(config())]

    /// Every call ends once, by what is true of it; both sides agree on every reference; nothing is
    /// left when all is over.
    #[test]
    fn whatever_happens(Program { limits, steps } in program()) {
        let mut world = World::new(limits);
        for step in steps {
            world.step(step);
        }
        world.finish();
    }
}

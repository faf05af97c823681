//! The hunt for programs that fail.

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use crate::{
    program::{Program, programs},
    run,
    tally::Tally,
    trace,
};

/// Programs that are drawn from one seed; the next ones come from the next seed.
pub const BATCH: u32 = 500;

/// The most steps of a program.
const STEPS_MAX: usize = 60;

/// Smaller programs that are tried once one has failed.
const SHRINKS_MAX: u32 = 4_000;

/// A program that failed, made as small as it could be.
#[derive(Clone, Debug)]
pub struct Find {
    /// What the batch that it was in was drawn from.
    pub seed: u64,
    /// What was wrong.
    pub what: String,
    /// The program.
    pub program: Program,
    /// What happens when it runs.
    pub trace: Vec<String>,
}

impl std::fmt::Display for Find {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}\n\nthe seed is {}, and the program {:#?}\n", self.what, self.seed, self.program)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Runs programs drawn from this seed until one fails, and shrinks that one. `ran` is told of every
/// program that was well.
///
/// # Errors
///
/// The program that failed.
pub fn hunt(seed: u64, programs_max: u32, ran: impl Fn(Tally)) -> Result<(), Box<Find>> {
    search(seed, programs_max, SHRINKS_MAX, ran)
}

/// Whether one of so many programs fails. None is shrunk.
#[must_use]
pub fn finds(seed: u64, programs_max: u32) -> bool {
    search(seed, programs_max, 0, drop).is_err()
}

fn search(seed: u64, programs_max: u32, shrinks_max: u32, ran: impl Fn(Tally)) -> Result<(), Box<Find>> {
    let config = Config {
        cases: programs_max,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: shrinks_max,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let found = runner.run(&programs(STEPS_MAX), |program| {
        let tally = run(&program).map_err(|violation| TestCaseError::fail(violation.what))?;
        ran(tally);
        Ok(())
    });
    let (what, program) = match found {
        Ok(()) => return Ok(()),
        Err(TestError::Fail(why, program)) => (why.to_string(), program),
        Err(TestError::Abort(why)) => unreachable!("no program is rejected: {why}"),
    };
    let (again, trace) = trace(&program);
    let what = match again {
        Some(again) => again,
        None => format!("{what} (and all was well when it ran again)"),
    };
    Err(Box::new(Find { seed, what, program, trace }))
}

/// The seed that the random tests of the workspace draw from.
#[must_use]
pub fn seed_of_tests() -> u64 {
    match Config::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => 0,
    }
}

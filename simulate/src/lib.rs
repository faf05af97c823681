//! Whole nodes of rmi in a simulated world: a virtual clock, a network that delays, cuts and
//! partitions, nodes that crash and start anew, and random programs of what can be done with
//! references.
//!
//! The nodes are real ones; only the transport and the clock are not. A [`Program`] says what
//! happens. A model beside it knows who holds what, which calls ran, and what has disturbed whom.
//! After every step it is asked whether all is as it must be:
//!
//! - an object is not dropped, and can be called, while somebody holds it who is in touch;
//! - an object that nobody holds is gone within a bound;
//! - every call ends once, with a certainty that is true, and runs at most once;
//! - the calls of one reference begin in their order;
//! - when all is let go of, no table of any node holds anything, however much has happened.
//!
//! [`run`] runs one program, [`hunt()`] draws programs until one fails, and shrinks it.

mod call;
mod calling;
mod hunt;
mod network;
mod outages;
mod panics;
mod path;
mod pipe;
mod program;
mod random;
pub mod rules;
mod simulation;
mod socket;
mod tally;
mod thing;
mod world;

use std::fmt;

use tokio::runtime::Builder;

use crate::simulation::Simulation;
pub use crate::{
    hunt::{BATCH, Find, finds, hunt, seed_of_tests},
    program::{HOSTS_MAX, Program, Step, Weather, programs},
    tally::Tally,
};

/// What was wrong in a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What.
    pub what: String,
    /// What happened until then, where that was asked for.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Runs a program in a world of its own.
///
/// # Errors
///
/// The first thing that was wrong.
pub fn run(program: &Program) -> Result<Tally, Violation> {
    run_in_turn(program, 1, false).map(|(tally, _)| tally)
}

/// Runs a program, and tells what happened, all is well or not.
#[must_use]
pub fn trace(program: &Program) -> (Option<String>, Vec<String>) {
    match run_in_turn(program, 1, true) {
        Ok((_, trace)) => (None, trace),
        Err(Violation { what, trace }) => (Some(what), trace),
    }
}

/// Runs the steps of a program several times over, one after the other in the same world, and
/// looks each time whether the tables of all nodes are as empty as before.
///
/// # Errors
///
/// The first thing that was wrong.
pub fn run_repeated(program: &Program, times: usize) -> Result<Tally, Violation> {
    run_in_turn(program, times, false).map(|(tally, _)| tally)
}

fn run_in_turn(program: &Program, times: usize, traced: bool) -> Result<(Tally, Vec<String>), Violation> {
    panics::notice();
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| Violation { what: error.to_string(), trace: Vec::new() })?;
    let ended = runtime.block_on(async {
        let mut simulation =
            Simulation::new(program, traced).await.map_err(|what| Violation { what, trace: Vec::new() })?;
        let ended = async {
            for _ in 0..times {
                for step in &program.steps {
                    simulation.step(step).await?;
                }
                simulation.rest().await?;
            }
            simulation.end().await
        };
        let ended = ended.await;
        let (trace, tally) = (simulation.world().trace(), simulation.world().tally());
        simulation.world().let_go();
        match ended {
            Ok(()) => Ok((Tally { programs: 1, ..tally }, trace)),
            Err(what) => Err(Violation { what, trace }),
        }
    });
    drop(runtime);
    ended
}

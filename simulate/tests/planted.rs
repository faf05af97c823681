//! Bugs that are planted in the runtime: the simulation finds each. A check that cannot fail is no
//! check.

use rmi_core::plant::{self, Plant};
use rmi_simulate::{finds, seed_of_tests};

/// Within so many programs a planted bug is found, and without it none fails.
const PROGRAMS_MAX: u32 = 2_000;

fn is_found(planted: Plant) -> bool {
    // The switch is the thread's own, and so is a program's runtime.
    plant::set(Some(planted));
    let found = finds(seed_of_tests(), PROGRAMS_MAX);
    plant::set(None);
    found
}

#[test]
fn a_hand_over_without_its_pin_is_found() {
    assert!(is_found(Plant::SkipPin));
}

#[test]
fn a_release_that_counts_twice_is_found() {
    assert!(is_found(Plant::ReleaseTwice));
}

#[test]
fn a_resumed_link_whose_counts_are_not_reconciled_is_found() {
    assert!(is_found(Plant::ForgetToReconcile));
}

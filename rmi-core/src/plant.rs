//! Bugs that a test plants, to show that the simulation finds them: a check that cannot fail is no
//! check. Only with the feature `plant`; without it every question here is `false` when compiled.

/// A bug to plant.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// A hand-over lets go of the giver before the owner has answered.
    SkipPin,
    /// A release counts twice.
    ReleaseTwice,
    /// A resumption forgets to undo what never arrived.
    ForgetToReconcile,
}

#[cfg(feature = "plant")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Plant>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in all nodes of this thread, or none.
#[cfg(feature = "plant")]
#[doc(hidden)]
pub fn set(plant: Option<Plant>) {
    PLANTED.set(plant);
}

/// Whether this bug is planted.
#[cfg(feature = "plant")]
pub(crate) fn is(plant: Plant) -> bool {
    PLANTED.get() == Some(plant)
}

/// Whether this bug is planted.
#[cfg(not(feature = "plant"))]
pub(crate) const fn is(_: Plant) -> bool {
    false
}

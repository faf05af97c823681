//! The model of two sessions and of what is true of them.

#[path = "../../rmi-core/tests/pair/random/step.rs"]
pub(crate) mod step;
#[path = "../../rmi-core/tests/pair/random/world.rs"]
pub(crate) mod world;

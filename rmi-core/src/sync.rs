//! The counted pointers of what threads share. `tests/interleavings` compiles the modules that name
//! them here with pointers that loom watches.

pub(crate) use std::sync::{Arc, Weak};

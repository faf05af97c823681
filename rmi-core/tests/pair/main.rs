//! Two sessions, a virtual clock and a bad network between them.
//!
//! The stories tell one thing each; `hostile` plays a peer that breaks the rules; `random` runs
//! programs of random operations and checks what must hold after each.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod calls;
mod credit;
mod ending;
mod holding;
mod hostile;
mod lanes;
mod limits;
mod network;
mod object;
mod pair;
mod promises;
mod random;
mod references;
mod resume;
mod side;

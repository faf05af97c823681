//! The integration tests of rmi: whole nodes, whole processes.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod backpressure;
mod bystander;
mod bytes;
mod cable;
mod calls;
mod common;
mod deadlines;
mod dialled;
mod examples;
mod forged;
mod hostile;
mod interfaces;
mod lifetime;
mod mistakes;
mod order;
mod raw;
mod references;
mod registry;
mod relay;
mod shutdown;
mod ui;
mod unexport;

//! The integration tests of rmi: whole nodes, whole processes.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod backpressure;
mod balanced;
mod batch;
mod blocking;
mod broken;
mod bureau;
mod bystander;
mod bytes;
mod cable;
mod calls;
mod classics;
mod common;
mod cut;
mod deadlines;
mod detached;
mod dialled;
mod examples;
mod flood;
mod forged;
mod hostile;
mod interceptors;
mod interfaces;
mod killed;
mod lean;
mod lifetime;
mod metadata;
mod mistakes;
#[cfg(target_os = "linux")]
mod nat;
mod oneway;
mod order;
mod overload;
mod pipelining;
mod places;
mod process;
mod promises;
mod raw;
mod references;
mod registry;
mod relay;
mod retries;
mod shutdown;
mod spans;
mod stream_bounds;
mod streams;
mod tls;
mod trust;
mod twins;
mod ui;
mod unexport;

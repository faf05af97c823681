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
mod lifetime;
mod metadata;
mod mistakes;
#[cfg(target_os = "linux")]
mod nat;
mod oneway;
mod order;
mod overload;
mod pipelining;
mod process;
mod promises;
mod raw;
mod references;
mod registry;
mod relay;
mod retries;
mod shutdown;
mod spans;
mod streams;
#[cfg(feature = "tls")]
mod tls;
mod twins;
mod ui;
mod unexport;

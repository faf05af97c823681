//! Whole nodes in a simulated network that is partitioned, and on hosts that crash: stories about what
//! calls, references and names are worth then.
//!
//! The network and the hosts are turmoil's: one thread, simulated time, latencies drawn from a seed.
//! Each story is told for several seeds, and names the one that it fails with. Ids are drawn by the
//! system, so that the pauses between two dials differ from run to run, within their bounds.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod calls;
#[path = "../it/common.rs"]
#[allow(dead_code, reason = "written for tests/it; the stories here need a part of it")]
mod common;
mod crash;
mod hand_over;
mod hosts;
mod ledger;
mod network;
mod resumption;
mod world;

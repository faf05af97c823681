//! Interceptors around the calls of whole nodes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access_log;
mod common;
mod metrics;
mod tower;

//! The floor: a bare tokio program that frames, multiplexes, looks up an object, decodes and encodes
//! the same bytes as rmi, and nothing else. No handshake, no references, no deadlines, no limits, no
//! cancellation; both sides trust each other. What a call costs above it is what rmi costs.
//!
//! ```text
//! call   length u32 | call u64 | object u128 | method u64 | arguments (postcard)
//! reply  length u32 | call u64 | Result<T, ()> (postcard)
//! ```
//!
//! Integers are little-endian; the length counts what follows it. The shape, for its speed:
//!
//! - the server polls a handler once, in place, and writes all replies of one read in one go;
//! - a lone caller writes to the socket itself; from the second call in flight on, frames gather
//!   while other tasks run and a flusher writes them together;
//! - pending calls are a slab, woken directly: no channel and no task per call;
//! - a large body is written from the caller's memory and read into the memory of the argument.

mod client;
mod frame;
mod server;

pub(super) use client::connect;
pub(super) use server::serve;

/// The object that is called, among many others in the table.
const OBJECT: u128 = 7;
const ADD: u64 = 42;
const ECHO: u64 = 43;
const ECHO_ENTITIES: u64 = 44;

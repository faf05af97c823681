//! The integration tests of rmi: whole nodes, whole processes.

mod bytes;
mod cable;
mod calls;
mod common;
mod lifetime;
mod order;
mod references;
mod smoke;

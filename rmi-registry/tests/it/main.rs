//! Registries, servers and clients as whole nodes, and the program as a process of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod addresses;
mod balanced;
mod bindings;
mod cable;
mod greeter;
mod groups;
mod lifetime;
mod names;
#[cfg(unix)]
mod program;
mod several;
#[cfg(unix)]
mod trust;
mod watch;

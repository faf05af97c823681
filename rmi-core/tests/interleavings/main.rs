//! Every order in which threads may meet in what they share, by loom: `cargo xtask loom`.
//!
//! Shared are the object table of a node, whose entries the objects' own `Drop` takes out, and the
//! session of a link, whose effects are carried out once it is unlocked. The table is compiled from its
//! source with counted pointers that loom watches; the session is the library's own, behind a mutex of
//! loom's. What nodes and links do with them is done here in the same few steps. Beside each model
//! stands one with a mistake in it, which loom has to find.

#![cfg(rmi_loom)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod counts;
mod link;
mod objects;
mod sync;
#[path = "../../src/object/table.rs"]
#[allow(dead_code, unreachable_pub, reason = "the source of the library, of which the models need a part")]
mod table;

/// What the table's source names.
mod id {
    pub(crate) use rmi_core::ObjectId;
}

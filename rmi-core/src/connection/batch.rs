//! Calls that are made together leave together: while a batch is polled, links are not flushed.

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, Weak},
};

use super::Kept;

/// A link that has calls to write.
trait Flush {
    fn flush(&self);
}

thread_local! {
    /// Whether this thread polls a batch.
    static GATHERS: Cell<bool> = const { Cell::new(false) };
    /// The links over which calls were made in it, each once.
    static GATHERED: RefCell<Vec<Arc<dyn Flush>>> = const { RefCell::new(Vec::new()) };
}

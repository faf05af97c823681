//! Calls that are made together leave together: while a thread polls a batch, the calls that it makes are
//! not written. Whatever else goes on at the same links may take them along; it never waits for them.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use super::{Kept, Link};

thread_local! {
    /// Whether this thread polls a batch.
    static GATHERS: Cell<bool> = const { Cell::new(false) };
    /// The links that it has made calls over meanwhile, each once.
    static GATHERED: RefCell<Vec<Arc<dyn Gathered>>> = const { RefCell::new(Vec::new()) };
}

/// A link with calls that wait for the end of a poll.
trait Gathered {
    fn flush_gathered(&self);
}

impl<O: Kept> Gathered for Link<O> {
    fn flush_gathered(&self) {
        self.step(|locked| self.flush(locked, true));
    }
}

/// While it lives, the calls that this thread makes gather. What has gathered leaves as it is dropped.
pub(crate) struct Gathering {
    gathered_before: bool,
    before: Vec<Arc<dyn Gathered>>,
}

impl Gathering {
    pub(crate) fn begin() -> Self {
        Self { gathered_before: GATHERS.replace(true), before: GATHERED.take() }
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        GATHERS.set(self.gathered_before);
        let gathered = GATHERED.replace(std::mem::take(&mut self.before));
        gathered.iter().for_each(|link| link.flush_gathered());
    }
}

/// Whether a call that is made now waits for others.
#[inline]
pub(super) fn gathers() -> bool {
    GATHERS.get()
}

/// A call that was made over this link waits for others.
pub(super) fn gather<O: Kept>(link: Arc<Link<O>>) {
    GATHERED.with_borrow_mut(|links| {
        let is_known = |known: &Arc<dyn Gathered>| std::ptr::addr_eq(Arc::as_ptr(known), Arc::as_ptr(&link));
        // Mostly the last one.
        if !links.iter().rev().any(is_known) {
            links.push(link);
        }
    });
}

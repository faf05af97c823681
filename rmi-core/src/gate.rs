//! Where calls wait for a way to their object, in the order in which they were made.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::{Mutex, MutexGuard};

/// Lets one call at a time look for the way. A call that finds others waiting joins them, so that
/// it does not overtake them.
#[derive(Default)]
pub(crate) struct Gate {
    waiting: AtomicU32,
    /// Made when first needed: most references never wait.
    turn: OnceLock<Box<Mutex<()>>>,
}

/// A call's turn to look for the way and to start.
pub(crate) struct Turn<'a> {
    _waiting: Waiting<'a>,
    _turn: MutexGuard<'a, ()>,
}

impl Gate {
    /// Whether nobody waits.
    pub(crate) fn is_free(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    /// Waits for those who came before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue.
    pub(crate) async fn enter(&self) -> Turn<'_> {
        let waiting = Waiting::new(&self.waiting);
        let turn = self.turn.get_or_init(Box::default).lock().await;
        Turn { _waiting: waiting, _turn: turn }
    }
}

/// Counts a call at the gate.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

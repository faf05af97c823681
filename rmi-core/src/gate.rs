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
    /// Calls that found nobody waiting and are about to start.
    starting: AtomicU32,
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
        self.waiting.load(Ordering::SeqCst) == 0
    }

    /// A call is about to start, if it finds the gate free: asked before [`is_free`](Self::is_free), so that
    /// either it sees who has entered, or is seen by him.
    pub(crate) fn start(&self) -> Starting<'_> {
        self.starting.fetch_add(1, Ordering::SeqCst);
        Starting(&self.starting)
    }

    /// Waits for those who came before, and for those that start without waiting.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue.
    pub(crate) async fn enter_alone(&self) -> Turn<'_> {
        let turn = self.enter().await;
        // A start is one step of a thread: this is over at once.
        while self.starting.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        turn
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
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Counts a call that starts.
pub(crate) struct Starting<'a>(&'a AtomicU32);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

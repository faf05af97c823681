//! Counted pointers, strong and weak, whose counts loom watches: its own `Arc` has no `Weak`.
//!
//! As with those of std, the last strong pointer first makes the count zero, so that no weak one can
//! be upgraded any more, and then drops the value. No other thread runs between two operations that
//! loom does not watch: the pointers of std in here follow the counts.

use std::{ops::Deref, sync};

use loom::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};

#[derive(Debug)]
pub(crate) struct Arc<T: ?Sized> {
    strong: sync::Arc<AtomicUsize>,
    value: sync::Arc<T>,
}

#[derive(Debug)]
pub(crate) struct Weak<T: ?Sized> {
    strong: sync::Arc<AtomicUsize>,
    value: sync::Weak<T>,
}

impl<T> Arc<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { strong: sync::Arc::new(AtomicUsize::new(1)), value: sync::Arc::new(value) }
    }
}

impl<T: ?Sized> Arc<T> {
    pub(crate) fn downgrade(this: &Self) -> Weak<T> {
        Weak { strong: this.strong.clone(), value: sync::Arc::downgrade(&this.value) }
    }
}

impl<T: ?Sized> Clone for Arc<T> {
    fn clone(&self) -> Self {
        self.strong.fetch_add(1, Relaxed);
        Self { strong: self.strong.clone(), value: self.value.clone() }
    }
}

impl<T: ?Sized> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> Drop for Arc<T> {
    fn drop(&mut self) {
        // The value goes with the pointer of std behind this, before anything that loom watches but
        // for what the value's own drop does.
        self.strong.fetch_sub(1, AcqRel);
    }
}

impl<T: ?Sized> Weak<T> {
    pub(crate) fn upgrade(&self) -> Option<Arc<T>> {
        let mut count = self.strong.load(Relaxed);
        while count > 0 {
            match self.strong.compare_exchange(count, count + 1, Acquire, Relaxed) {
                Ok(_) => {
                    let value = self.value.upgrade().expect("the value lives while the count is above zero");
                    return Some(Arc { strong: self.strong.clone(), value });
                }
                Err(now) => count = now,
            }
        }
        None
    }

    pub(crate) fn strong_count(&self) -> usize {
        self.strong.load(Acquire)
    }
}

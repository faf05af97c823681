//! Panics in the tasks of nodes, which their runtime would keep to itself.

use std::{cell::Cell, panic, sync::Once};

thread_local! {
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// From now on, panics of this process are noticed by the thread they happen in.
pub(crate) fn notice() {
    static NOTICING: Once = Once::new();
    NOTICING.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICKED.set(true);
            before(info);
        }));
    });
    PANICKED.set(false);
}

/// Whether something has panicked in this thread since the last look.
pub(crate) fn happened() -> bool {
    PANICKED.replace(false)
}

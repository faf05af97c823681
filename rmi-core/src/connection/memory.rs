//! Memory that is given back.

use bytes::Bytes;
use tokio::runtime::Handle;

/// From this length on memory comes from the system and goes back to it at once, page by page. What is
/// smaller stays with the allocator, for the next message.
pub(crate) const GIVEN_BACK_LEN_MIN: usize = 32 << 20;

/// Drops the last hold on memory of this length: much of it where nobody waits, since a reader would have to
/// for many milliseconds.
pub(crate) fn give_back(bytes: Bytes, len: usize, runtime: &Handle) {
    if len >= GIVEN_BACK_LEN_MIN {
        runtime.spawn_blocking(move || drop(bytes));
    }
}

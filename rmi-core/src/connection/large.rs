//! Calls with large arguments: decoding them keeps a thread for long, and so they have one of their own, in turns.

use std::{
    future::Future,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
    thread::available_parallelism,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::wire::Payload;

/// From this length on what is decoded value by value takes milliseconds.
const DECODED_LEN: usize = 256 << 10;

/// Bytes at the end of the arguments mostly stay where they are. Where they turn out to be values after all, it takes
/// long from here on.
const MOVED_LEN: usize = 4 << 20;

/// Whether these arguments are large.
pub(crate) fn is_large(arguments: &Payload) -> bool {
    let [front, _] = arguments.parts();
    front.len() >= DECODED_LEN || arguments.len() >= MOVED_LEN
}

/// As many first polls of large calls as there are cores: each may take [`Limits::decoded_bytes`] of memory.
///
/// [`Limits::decoded_bytes`]: crate::Limits::decoded_bytes
static TURNS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, std::num::NonZero::get)));

/// A handler whose first poll, which decodes its arguments, is its turn.
pub(super) struct InTurn<F> {
    turn: Option<SemaphorePermit<'static>>,
    handler: F,
}

impl<F> InTurn<F> {
    /// Waits for the turn of a large call; others have none.
    pub(super) async fn new(handler: F, is_large: bool) -> Self {
        // It is never closed.
        let turn = if is_large { TURNS.acquire().await.ok() } else { None };
        Self { turn, handler }
    }
}

impl<F: Future + Unpin> Future for InTurn<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = Pin::new(&mut self.handler).poll(cx);
        self.turn = None;
        polled
    }
}

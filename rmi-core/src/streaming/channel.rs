//! Streams that are sent into.

use std::fmt;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::Items;
use crate::error::{RemoteError, Result};

/// Sends the items of a stream. Clones send into the same one; it ends when the last is dropped.
pub struct StreamSender<T> {
    items: mpsc::Sender<Result<T>>,
}

pub(super) fn open<T: Send + 'static>(capacity: usize) -> (StreamSender<T>, Items<T>) {
    let (items, mut receiver) = mpsc::channel(capacity.max(1));
    let received = stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (StreamSender { items }, received.boxed())
}

impl<T> StreamSender<T> {
    /// Sends an item, as soon as there is room for it.
    ///
    /// # Errors
    ///
    /// Where nobody reads the stream any more: gives the item back.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the item, and no other.
    pub async fn send(&self, item: T) -> std::result::Result<(), ReaderGone<T>> {
        // What is sent here is no error.
        self.items.send(Ok(item)).await.map_err(|back| ReaderGone(back.0.ok()))
    }

    /// Ends the stream with an error, as soon as there is room for it. What other senders send later is
    /// not read.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves this sender gone, and the error not sent.
    pub async fn fail(self, error: RemoteError) {
        // Nobody is left to be told.
        drop(self.items.send(Err(error)).await);
    }

    /// Waits until nobody reads the stream any more.
    pub async fn closed(&self) {
        self.items.closed().await;
    }

    /// Whether nobody reads the stream any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.items.is_closed()
    }
}

impl<T> Clone for StreamSender<T> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone() }
    }
}

impl<T> fmt::Debug for StreamSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSender").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// An item that was not sent, because nobody reads the stream any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the stream any more")]
pub struct ReaderGone<T>(Option<T>);

impl<T> ReaderGone<T> {
    /// The item.
    #[must_use]
    pub fn into_item(self) -> Option<T> {
        self.0
    }
}

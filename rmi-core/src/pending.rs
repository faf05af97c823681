//! A call under way: awaited, or cancelled when dropped.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    connection::Link,
    error::RemoteError,
    referent::Referent,
    session::{Answer, CallKey},
};

/// A call that was started. Dropping it cancels the call.
pub(crate) struct PendingCall {
    link: Arc<Link<Referent>>,
    key: CallKey,
    /// Nothing is left to cancel.
    over: bool,
}

impl PendingCall {
    pub(crate) fn new(link: Arc<Link<Referent>>, key: CallKey) -> Self {
        Self { link, key, over: false }
    }

    pub(crate) fn link(&self) -> &Arc<Link<Referent>> {
        &self.link
    }

    /// Asks for the answer. Once it has come there is nothing more to poll for.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer<Referent>> {
        let polled = self.link.poll_answer(self.key, cx.waker());
        self.over = polled.is_ready();
        polled
    }

    /// Waits for the answer. Returns it with the link that it came over.
    pub(crate) async fn answer(mut self) -> (Answer<Referent>, Arc<Link<Referent>>) {
        let answer = poll_fn(|cx| self.poll_answer(cx)).await;
        (answer, self.link.clone())
    }

    /// Waits until a oneway call is on its way. From then on nothing cancels it, and nobody hears of it.
    ///
    /// # Errors
    ///
    /// Where it certainly did not run.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes the call back.
    pub(crate) async fn departure(mut self) -> Result<(), RemoteError> {
        let departed = poll_fn(|cx| self.link.poll_departure(self.key, cx.waker())).await;
        self.over = true;
        departed
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if !self.over {
            self.link.cancel_call(self.key);
        }
    }
}

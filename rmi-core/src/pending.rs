//! A call under way: awaited, or cancelled when dropped.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    connection::Link,
    referent::Referent,
    session::{Answer, CallKey},
};

/// A call that was started. Dropping it cancels the call.
pub(crate) struct PendingCall {
    link: Arc<Link<Referent>>,
    key: CallKey,
    answered: bool,
}

impl PendingCall {
    pub(crate) fn new(link: Arc<Link<Referent>>, key: CallKey) -> Self {
        Self { link, key, answered: false }
    }

    pub(crate) fn link(&self) -> &Arc<Link<Referent>> {
        &self.link
    }

    /// Asks for the answer. Once it has come there is nothing more to poll for.
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer<Referent>> {
        let polled = self.link.poll_answer(self.key, cx.waker());
        self.answered = polled.is_ready();
        polled
    }

    /// Waits for the answer. Returns it with the link that it came over.
    pub(crate) async fn answer(mut self) -> (Answer<Referent>, Arc<Link<Referent>>) {
        let answer = poll_fn(|cx| self.poll_answer(cx)).await;
        (answer, self.link.clone())
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if !self.answered {
            self.link.cancel_call(self.key);
        }
    }
}

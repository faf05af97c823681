//! A call under way: awaited, or cancelled when dropped.

use std::{future::poll_fn, sync::Arc};

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

    /// Waits for the answer.
    pub(crate) async fn answer(mut self) -> Answer<Referent> {
        let answer = poll_fn(|cx| self.link.poll_answer(self.key, cx.waker())).await;
        self.answered = true;
        answer
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if !self.answered {
            self.link.cancel_call(self.key);
        }
    }
}

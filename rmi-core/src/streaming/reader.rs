//! The reading side: pulls ahead of what is read, as far as it keeps up.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use serde::de::DeserializeOwned;

use super::{
    NEXT,
    item::{self, End},
    source::{BYTES_MAX, ITEMS_MAX, PULLS_MAX},
};
use crate::{
    error::{Certainty, ErrorKind, RemoteError, Result},
    marshal::ArgumentEncoder,
    node::OpenStream,
    options::CallOptions,
    referent::Referent,
    stub::Stub,
    wire::{Outcome, TIME_LEFT_MAX},
};

/// Items that the first pull asks for; twice as many whenever an answer was full.
const ITEMS_FIRST: u32 = 16;

/// Reads a stream of another node.
pub(super) struct Reader<T> {
    source: Referent,
    stub: Arc<Stub>,
    /// What the answers brought that were taken, and is not read.
    items: VecDeque<T>,
    /// Asked in this order, and answered in this order.
    pulls: VecDeque<Pull<T>>,
    /// Items that the next pull asks for, and the most.
    ask: u32,
    ask_max: u32,
    /// Pulls that may be unanswered, or answered and not read: more where the stream brings more than
    /// is asked for.
    ahead: usize,
    ahead_max: usize,
    begun: bool,
    _open: OpenStream,
}

/// What one pull brought: items, and the end if it came.
type Batch<T> = (Vec<T>, Option<End>);

type Pulling<T> = Pin<Box<dyn Future<Output = Result<Batch<T>>> + Send>>;

enum Pull<T> {
    Asked(u32, Pulling<T>),
    /// It was answered at once.
    Answered(u32, Result<Batch<T>>),
}

impl<T> Reader<T> {
    pub(super) fn source(&self) -> &Referent {
        &self.source
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// A reader of the stream behind this reference; `None` where there is none.
    pub(super) fn new(source: Referent) -> Option<Self> {
        // A pull waits for as long as the stream brings nothing.
        let stub = Stub::new(&source, CallOptions::new().timeout(TIME_LEFT_MAX))?;
        let open = stub.node().open_stream();
        Some(Self {
            source,
            stub,
            items: VecDeque::new(),
            pulls: VecDeque::new(),
            ask: ITEMS_FIRST,
            ask_max: ITEMS_MAX,
            ahead: 2,
            ahead_max: PULLS_MAX,
            begun: false,
            _open: open,
        })
    }

    /// Bounds the items that are read ahead.
    pub(super) fn read_ahead(&mut self, items: u32) {
        self.ahead_max = PULLS_MAX.min(items as usize);
        self.ahead = self.ahead.min(self.ahead_max);
        self.ask_max = (items / self.ahead_max as u32).clamp(1, ITEMS_MAX);
        self.ask = self.ask.min(self.ask_max);
    }
}

impl<T: DeserializeOwned + Send + 'static> Reader<T> {
    /// The next item; at the end, and once an error was told, it must not be asked any more.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        self.begun = true;
        loop {
            if let Some(item) = self.items.pop_front() {
                self.pull_ahead(cx);
                return Poll::Ready(Some(Ok(item)));
            }
            self.pull_ahead(cx);
            let (asked, batch) = match self.pulls.pop_front() {
                None => return Poll::Ready(None),
                Some(Pull::Answered(asked, batch)) => (asked, batch),
                Some(Pull::Asked(asked, mut pulling)) => match pulling.as_mut().poll(cx) {
                    Poll::Ready(batch) => (asked, batch),
                    Poll::Pending => {
                        self.pulls.push_front(Pull::Asked(asked, pulling));
                        return Poll::Pending;
                    }
                },
            };
            let (items, end) = match batch {
                Ok(batch) => batch,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            self.adapt(asked, items.len());
            self.items.extend(items);
            match end {
                None => {}
                Some(End::Over) => self.stop(Ok((Vec::new(), None))),
                Some(End::Failed(error)) => self.stop(Err(error)),
            }
        }
    }

    /// No pull will bring anything more; what is left to be told is told behind the items.
    fn stop(&mut self, last: Result<Batch<T>>) {
        self.pulls.clear();
        self.ahead = 0;
        if last.is_err() {
            self.pulls.push_back(Pull::Answered(0, last));
        }
    }

    /// Asks for more at a time where the stream brings all that is asked for.
    fn adapt(&mut self, asked: u32, brought: usize) {
        let is_full = brought >= asked as usize;
        if is_full {
            self.ask = self.ask.max(asked.saturating_mul(2)).min(self.ask_max);
        }
        // Answers that are full of bytes have several items mostly, and not as many as were asked for.
        self.ahead = if is_full || brought > 1 { self.ahead_max } else { self.ahead };
    }

    /// Pulls as far ahead as it may; an answer that was not read wholly counts as one.
    fn pull_ahead(&mut self, cx: &mut Context<'_>) {
        while self.pulls.len() + usize::from(!self.items.is_empty()) < self.ahead {
            let asked = self.ask;
            let mut pulling: Pulling<T> = Box::pin(pull(self.stub.clone(), asked));
            // Polled at once: it leaves now, before whatever is asked next.
            self.pulls.push_back(match pulling.as_mut().poll(cx) {
                Poll::Pending => Pull::Asked(asked, pulling),
                Poll::Ready(batch) => Pull::Answered(asked, batch),
            });
        }
    }
}

async fn pull<T: DeserializeOwned + 'static>(stub: Arc<Stub>, items: u32) -> Result<Batch<T>> {
    let mut encode = move |out: &mut ArgumentEncoder| {
        out.value(&items);
        out.value(&BYTES_MAX);
    };
    let mut answer = stub.begin(&NEXT, &mut encode).await?;
    if answer.verdict() != Outcome::Ok {
        let error = RemoteError::new(ErrorKind::Protocol, "a stream has no error of its own");
        return Err(answer.name(error.with_certainty(Certainty::Executed)));
    }
    let references = answer.take_references();
    let mut from = answer.decoder(references);
    let decoded = item::decode(&mut from, items as usize);
    match decoded.and_then(|batch| from.finish().map(|()| batch)) {
        // What the writer ended it with says what of, too.
        Ok((items, Some(End::Failed(error)))) => Ok((items, Some(End::Failed(answer.name(error))))),
        Ok(batch) => Ok(batch),
        Err(error) => Err(answer.name(error.with_certainty(Certainty::Executed))),
    }
}

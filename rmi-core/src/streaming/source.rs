//! The writing side: an object that hands out what a stream brings.

use std::{
    any::{Any, TypeId},
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::future::{Either, poll_fn, select};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Mutex;

use super::{Anchor, Items, NEXT, State, Streaming, item};
use crate::{
    error::{Certainty, ErrorKind, RemoteError},
    marshal::ArgumentEncoder,
    node::OpenStream,
    object::InterfaceSet,
    referent::Erased,
    skeleton::{Handler, IncomingCall, Request, Responder},
    wire::Outcome,
};

/// Items and bytes that one pull brings, however many were asked for.
pub(super) const ITEMS_MAX: u32 = 4096;
pub(super) const BYTES_MAX: u64 = 256 << 10;

/// Pulls that may wait at one stream.
pub(super) const PULLS_MAX: usize = 4;

/// What a stream brings, behind a reference.
struct Source<T> {
    /// Pulls are answered in the order in which they came.
    feed: Mutex<Feed<T>>,
    /// Whether anything was asked of it.
    begun: AtomicBool,
    /// Weak, since the anchor keeps this source.
    anchor: Weak<Anchor>,
    waiting: AtomicUsize,
    /// From the first pull on.
    open: OnceLock<OpenStream>,
}

struct Feed<T> {
    /// `None` once it has ended.
    stream: Option<Items<T>>,
    /// What it brought beyond the last answer.
    ready: VecDeque<T>,
    failed: Option<RemoteError>,
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Source<T> {
    async fn answer(self: Arc<Self>, mut request: Request, responder: Responder) {
        let asked = (|| {
            let mut arguments = request.arguments();
            let asked = (arguments.value::<u32>()?, arguments.value::<u64>()?);
            arguments.finish().map(|()| asked)
        })();
        let (items, bytes) = match asked {
            Ok((items, bytes)) => (items.clamp(1, ITEMS_MAX) as usize, bytes.clamp(1, BYTES_MAX)),
            Err(error) => return responder.refuse(error),
        };
        let Some(waits) = Waits::enter(&self.waiting) else {
            let error = RemoteError::new(ErrorKind::Overloaded, "as many pulls as may wait at a stream wait already");
            return responder.refuse(error.with_certainty(Certainty::NotExecuted));
        };
        // It is a peer that pulls: streams of this process are read where they are.
        let Some(node) = request.from.as_ref().map(|(line, _)| line.node.clone()) else { return };
        drop(request);
        self.begun.store(true, Ordering::Release);
        self.open.get_or_init(|| node.open_stream());
        // From now on its reader alone keeps it.
        let anchored = self.anchor.upgrade().and_then(|anchor| anchor.lock().take());
        drop(anchored);
        let fed = pin!(async {
            let mut feed = self.feed.lock().await;
            poll_fn(|cx| feed.poll_ready(cx, items)).await;
            feed
        });
        // Without the latter a stream that brings nothing would hold up the shutdown of its node.
        let closing = pin!(node.closing());
        let fed = select(fed, closing).await;
        // The answer may be followed by the next pull at once.
        drop(waits);
        match fed {
            Either::Left((mut feed, _)) => feed.hand_out(items, bytes, responder),
            Either::Right(_) => {
                let error = RemoteError::new(ErrorKind::Shutdown, "the node that writes the stream is shutting down");
                responder.refuse(error.with_certainty(Certainty::Executed));
            }
        }
    }
}

impl<T: Serialize + 'static> Feed<T> {
    /// Waits until there is an item, or the end, and takes all that are ready.
    fn poll_ready(&mut self, cx: &mut Context<'_>, items: usize) -> Poll<()> {
        while self.ready.len() < items
            && let Some(stream) = &mut self.stream
        {
            match stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(item))) => self.ready.push_back(item),
                Poll::Ready(Some(Err(error))) => {
                    self.failed = Some(error);
                    self.stream = None;
                }
                Poll::Ready(None) => self.stream = None,
                Poll::Pending => break,
            }
        }
        if self.ready.is_empty() && self.stream.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }

    fn hand_out(&mut self, items: usize, bytes: u64, responder: Responder) {
        let mut failed = false;
        responder.answer(|out| {
            self.encode(out, items, bytes);
            failed = out.has_failed();
            Outcome::Ok
        });
        if failed {
            // The reader has been told, and asks no more.
            (self.stream, self.failed) = (None, None);
            self.ready.clear();
        }
    }

    fn encode(&mut self, out: &mut ArgumentEncoder, items: usize, bytes: u64) {
        let mut taken = 0;
        while taken < items
            && (out.len() as u64) < bytes
            && !out.has_bulk()
            && let Some(item) = self.ready.pop_front()
        {
            item::encode(out, item);
            taken += 1;
        }
        if self.ready.is_empty() && self.stream.is_none() && !out.has_bulk() {
            item::encode_end(out, self.failed.take().as_ref());
        }
    }
}

/// A pull that waits.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        // The place is given back also where there was none.
        (waiting.fetch_add(1, Ordering::AcqRel) < PULLS_MAX).then_some(place)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A source as an object of its node.
pub(super) struct Shared<T>(Arc<Source<T>>);

impl<T> Shared<T> {
    /// The source of what this stream brings, which lets go of the anchor once it is read from.
    pub(super) fn new(stream: Items<T>, anchor: Weak<Anchor>) -> Self {
        let feed = Mutex::new(Feed { stream: Some(stream), ready: VecDeque::new(), failed: None });
        let (begun, waiting) = (AtomicBool::new(false), AtomicUsize::new(0));
        Self(Arc::new(Source { feed, begun, anchor, waiting, open: OnceLock::new() }))
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Erased for Shared<T> {
    fn interfaces(&self) -> &InterfaceSet {
        super::interfaces()
    }

    fn dispatch(&self, call: IncomingCall) -> Result<Handler, IncomingCall> {
        if call.method() != NEXT.id {
            return Err(call);
        }
        let source = self.0.clone();
        Ok(call.serve(&NEXT, |request, responder| Box::pin(source.answer(request, responder))))
    }

    /// The stream itself, which has come home: once, and only where nobody has read from it.
    fn cast(&self, wanted: TypeId) -> Option<Box<dyn Any + Send>> {
        if wanted != TypeId::of::<Streaming<T>>() || self.0.begun.swap(true, Ordering::AcqRel) {
            return None;
        }
        let items = self.0.feed.try_lock().ok()?.stream.take()?;
        Some(Box::new(Streaming::in_state(State::Local(items))))
    }
}

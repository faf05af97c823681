//! Where the calls that arrive run: in the reader, in a task, or behind another call.
//!
//! A method begins in a task, earns the place in the reader by ending quickly, and loses it at one
//! overrun. Calls to one object begin in the order in which they arrived: while one waits to be
//! polled for the first time, the later ones queue behind it.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use foldhash::fast::RandomState;
use futures_util::future::{AbortHandle, AbortRegistration, Abortable};
use hashbrown::{HashMap, hash_map::Entry};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Kept, Link,
    blocking::Blocking,
    large::InTurn,
    places::{Places, Watch},
};
use crate::{
    error::{Certainty, ErrorKind, RemoteError},
    id::ObjectId,
    session::ServedId,
    wire::MethodNumber,
};

/// Calls that one task begins before it lets others run.
const BEGUN_MAX: u32 = 64;

/// What runs a method and answers its call.
pub(crate) trait Served: Future<Output = ()> + Send + Unpin + 'static {
    /// Whether it goes on when its caller has gone, or its link is lost.
    fn is_detached(&self) -> bool;

    /// Whether it may block its thread. It never runs where calls are read then: it proves nothing, and
    /// so earns no place there.
    fn is_blocking(&self) -> bool;

    /// Whether it decodes so much that its first poll takes long. Then it is blocking too.
    fn is_large(&self) -> bool;
}

/// The calls being served over one link.
pub(super) struct Dispatch<O, F> {
    link: Arc<Link<O>>,
    places: Arc<Places>,
    starts: Arc<Starts<O, F>>,
    running: Arc<Running>,
    watch: Watch,
}

/// The handlers that may be cancelled.
#[derive(Default)]
struct Running(Mutex<HashMap<ServedId, AbortHandle, RandomState>>);

/// For each object with a call that waits for its first poll, the calls behind it.
struct Starts<O, F> {
    queues: Mutex<HashMap<ObjectId, Queue<O, F>, RandomState>>,
    /// How many objects have one. Only the reader adds: what it sees as nothing is nothing.
    len: AtomicUsize,
}

type Queue<O, F> = VecDeque<Job<O, F>>;

/// A call on its way to its first poll.
struct Job<O, F> {
    object: ObjectId,
    method: MethodNumber,
    abort: AbortRegistration,
    handler: Handler<O, F>,
}

/// A handler that answers its call whatever happens to it: panics become that call's error.
struct Handler<O, F> {
    link: Arc<Link<O>>,
    id: ServedId,
    future: Option<F>,
}

impl<O: Kept, F: Served> Dispatch<O, F> {
    pub(super) fn new(link: Arc<Link<O>>) -> Self {
        let starts = Arc::new(Starts { queues: Mutex::new(HashMap::default()), len: AtomicUsize::new(0) });
        let watch = Watch::new(link.limits.quick);
        Self { link, places: Arc::default(), starts, running: Arc::default(), watch }
    }

    /// Calls of one read begin.
    pub(super) fn begin_batch(&mut self) {
        self.watch.start();
    }

    /// All calls of one read have begun.
    pub(super) fn end_batch(&mut self) {
        self.watch.look(&self.places);
    }

    /// Starts the handler of a call to this object.
    pub(super) fn start(&mut self, id: ServedId, object: ObjectId, method: MethodNumber, mut future: F) {
        if self.places.is_quick(method) && !future.is_blocking() && !self.starts.has(object) {
            // Nobody needs to wake the reader for it: if it is not ready it goes on in a task,
            // which polls it again.
            let ended = poll_guarded(&self.link, id, &mut future, &mut Context::from_waker(Waker::noop())).is_ready();
            self.watch.note(method, &self.places);
            if ended {
                drop_guarded(future);
            } else {
                self.places.lose(method);
                let abort = self.register(id, &future);
                self.spawn(Abortable::new(self.handler(id, future), abort), id);
            }
            return;
        }
        let job = Job { object, method, abort: self.register(id, &future), handler: self.handler(id, future) };
        if let Some(job) = self.starts.enqueue(job) {
            let (starts, places, running) = (self.starts.clone(), self.places.clone(), self.running.clone());
            self.link.runtime.spawn(run_in_order(job, starts, places, running));
        }
    }

    fn handler(&self, id: ServedId, future: F) -> Handler<O, F> {
        Handler { link: self.link.clone(), id, future: Some(future) }
    }

    /// What is detached is never cancelled.
    fn register(&self, id: ServedId, future: &F) -> AbortRegistration {
        let (handle, registration) = AbortHandle::new_pair();
        if !future.is_detached() {
            self.running.0.lock().insert(id, handle);
        }
        registration
    }

    fn spawn(&self, handler: Abortable<Handler<O, F>>, id: ServedId) {
        let running = self.running.clone();
        self.link.runtime.spawn(async move {
            // Aborted or not, the handler has answered or answers as it is dropped.
            let _ = handler.await;
            running.0.lock().remove(&id);
        });
    }

    /// The caller has gone: the handler is dropped at its next await.
    pub(super) fn cancel(&self, id: ServedId) {
        if let Some(handle) = self.running.0.lock().get(&id) {
            handle.abort();
        }
    }

    /// The link is lost: all handlers are dropped.
    pub(super) fn cancel_all(&self) {
        for handle in self.running.0.lock().values() {
            handle.abort();
        }
    }
}

/// Polls the calls of an object for the first time, one after the other. Those that end at once
/// need no task of their own, so that a queue is worked off faster than it grows. At the first that
/// does not, the queue goes on in another task, and this one goes on with the call.
async fn run_in_order<O: Kept, F: Served>(
    first: Job<O, F>,
    starts: Arc<Starts<O, F>>,
    places: Arc<Places>,
    running: Arc<Running>,
) {
    let mut next = Some(first);
    let mut begun = 0;
    while let Some(Job { object, method, abort, handler }) = next {
        let id = handler.id;
        let (runtime, quick) = (handler.link.runtime.clone(), handler.link.limits.quick);
        // It arrived while there was room for its answer; those before it may have filled it since.
        handler.link.wait_room().await;
        let go_on = |next: &mut Option<Job<O, F>>| {
            if let Some(job) = next.take() {
                runtime.spawn(run_boxed(job, starts.clone(), places.clone(), running.clone()));
            }
        };
        let is_blocking = handler.future.as_ref().is_some_and(Served::is_blocking);
        let is_large = handler.future.as_ref().is_some_and(Served::is_large);
        let mut handler = Abortable::new(handler, abort);
        if is_blocking {
            let mut handler = Box::pin(Blocking::new(InTurn::new(handler, is_large).await, runtime.clone()));
            let ahead = handler.begin().await;
            next = starts.next(object);
            if next.is_some() {
                ahead.leave().await;
            }
            if futures_util::poll!(&mut handler).is_pending() {
                go_on(&mut next);
                handler.await;
            }
            running.0.lock().remove(&id);
            continue;
        }
        let began = Instant::now();
        let polled = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut handler).poll(cx))).await;
        // A handler that was aborted did not prove anything.
        places.note(method, matches!(polled, Poll::Ready(Ok(()))) && began.elapsed() <= quick);
        next = starts.next(object);
        if polled.is_pending() {
            go_on(&mut next);
            let _ = handler.await;
        }
        running.0.lock().remove(&id);
        begun += 1;
        if begun % BEGUN_MAX == 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl<O, F> Starts<O, F> {
    /// Whether a call of this object waits for its first poll.
    fn has(&self, object: ObjectId) -> bool {
        self.len.load(Ordering::Acquire) > 0 && self.queues.lock().contains_key(&object)
    }

    /// Puts a call behind those of its object that wait. Gives it back where it is the first.
    fn enqueue(&self, job: Job<O, F>) -> Option<Job<O, F>> {
        let mut queues = self.queues.lock();
        let first = match queues.entry(job.object) {
            Entry::Occupied(mut queue) => {
                queue.get_mut().push_back(job);
                None
            }
            Entry::Vacant(place) => {
                place.insert(VecDeque::new());
                Some(job)
            }
        };
        self.len.store(queues.len(), Ordering::Release);
        first
    }

    /// The next call of an object; without one its queue ends.
    fn next(&self, object: ObjectId) -> Option<Job<O, F>> {
        let mut queues = self.queues.lock();
        let Entry::Occupied(mut queue) = queues.entry(object) else { return None };
        let job = queue.get_mut().pop_front();
        if job.is_none() {
            queue.remove();
            self.len.store(queues.len(), Ordering::Release);
        }
        job
    }
}

/// `run_in_order` spawns itself, which a bare `async fn` cannot name.
fn run_boxed<O: Kept, F: Served>(
    job: Job<O, F>,
    starts: Arc<Starts<O, F>>,
    places: Arc<Places>,
    running: Arc<Running>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(run_in_order(job, starts, places, running))
}

impl<O: Kept, F: Future<Output = ()> + Unpin> Future for Handler<O, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { link, id, future } = &mut *self;
        let polled = future.as_mut().map_or(Poll::Ready(()), |future| poll_guarded(link, *id, future, cx));
        if polled.is_ready() {
            self.drop_future();
        }
        polled
    }
}

/// Polls a handler; a panic becomes the error of its call, and its end.
fn poll_guarded<O: Kept, F: Future<Output = ()> + Unpin>(
    link: &Link<O>,
    id: ServedId,
    future: &mut F,
    cx: &mut Context<'_>,
) -> Poll<()> {
    catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(cx))).unwrap_or_else(|panic| {
        let error = RemoteError::new(ErrorKind::Panicked, panic_text(&*panic));
        link.act(|session| session.refuse(id, error.with_certainty(Certainty::Executed)));
        Poll::Ready(())
    })
}

/// What a method left behind may panic in turn; the call has its answer by now.
fn drop_guarded(left: impl Sized) {
    if catch_unwind(AssertUnwindSafe(|| drop(left))).is_err() {
        tracing::warn!("what a method left behind panicked when it was dropped");
    }
}

impl<O, F> Handler<O, F> {
    fn drop_future(&mut self) {
        if let Some(future) = self.future.take() {
            drop_guarded(future);
        }
    }
}

impl<O, F> Drop for Handler<O, F> {
    fn drop(&mut self) {
        self.drop_future();
    }
}

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}

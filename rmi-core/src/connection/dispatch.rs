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
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use foldhash::fast::RandomState;
use futures_util::future::{AbortHandle, AbortRegistration, Abortable};
use hashbrown::{HashMap, hash_map::Entry};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Kept, Link};
use crate::{
    error::{Certainty, ErrorKind, RemoteError},
    id::ObjectId,
    session::ServedId,
    wire::MethodNumber,
};

/// Calls that one task begins before it lets others run.
const BEGUN_MAX: u32 = 64;
/// This many quick calls in a row earn a method the place in the reader.
const QUICK_CALLS: u8 = 4;

/// The calls being served over one link.
pub(super) struct Dispatch<O, F> {
    link: Arc<Link<O>>,
    places: Arc<Places>,
    starts: Arc<Starts<O, F>>,
    running: Arc<Running>,
    watch: Watch,
}

/// Looks for overruns in the reader. The clock costs as much as a short call, so it is read once for
/// some of them; when those took long together, each is looked at for a while.
struct Watch {
    /// How long a call may take.
    quick: Duration,
    /// When the clock was read last.
    last: Instant,
    /// Methods of the calls since.
    methods: [MethodNumber; WATCHED],
    calls: usize,
    /// Calls that are still to be looked at one by one.
    alone: u32,
}

/// Calls in the reader between two looks at the clock.
const WATCHED: usize = 16;
/// Calls that are looked at one by one once some took long together.
const ALONE: u32 = 64;

impl Watch {
    fn new(quick: Duration) -> Self {
        Self { quick, last: Instant::now(), methods: [MethodNumber(0); WATCHED], calls: 0, alone: 0 }
    }

    fn start(&mut self) {
        (self.last, self.calls) = (Instant::now(), 0);
    }

    /// A call has run in the reader.
    fn note(&mut self, method: MethodNumber, places: &Places) {
        if let Some(place) = self.methods.get_mut(self.calls) {
            *place = method;
            self.calls += 1;
        }
        if self.calls == WATCHED || self.alone > 0 {
            self.alone = self.alone.saturating_sub(1);
            self.look(places);
        }
    }

    /// Where the calls since the last look took longer than all of them may, one of them has overrun, and
    /// all lose their place, to earn it again alone. Where they took longer than one may, one of
    /// them may have.
    fn look(&mut self, places: &Places) {
        let Ok(calls @ 1..) = u32::try_from(self.calls) else { return };
        let now = Instant::now();
        let took = now - self.last;
        if took > self.quick * calls {
            self.methods.iter().take(self.calls).for_each(|method| places.lose(*method));
        } else if took > self.quick {
            self.alone = ALONE;
        }
        (self.last, self.calls) = (now, 0);
    }
}

/// Which methods have earned the place in the reader, by their number on the link: those whose first
/// polls ended at once and were quick.
struct Places {
    /// Of the first methods, without a lock.
    first: [AtomicU8; FIRST_PLACES],
    rest: Mutex<Vec<u8>>,
}

const FIRST_PLACES: usize = 64;

impl Default for Places {
    fn default() -> Self {
        Self { first: [const { AtomicU8::new(0) }; FIRST_PLACES], rest: Mutex::default() }
    }
}

impl Places {
    fn is_quick(&self, method: MethodNumber) -> bool {
        let index = method.0 as usize;
        let quick = match self.first.get(index) {
            Some(place) => place.load(Ordering::Relaxed),
            None => self.rest.lock().get(index - FIRST_PLACES).copied().unwrap_or(0),
        };
        quick >= QUICK_CALLS
    }

    /// A call in a task was polled to its end at once and quickly, or was not.
    fn note(&self, method: MethodNumber, quick: bool) {
        self.update(method, |place| if quick { place.saturating_add(1).min(QUICK_CALLS) } else { 0 });
    }

    fn lose(&self, method: MethodNumber) {
        self.update(method, |_| 0);
    }

    fn update(&self, method: MethodNumber, next: impl Fn(u8) -> u8) {
        let index = method.0 as usize;
        if let Some(place) = self.first.get(index) {
            // Calls that end at the same time may count as one.
            place.store(next(place.load(Ordering::Relaxed)), Ordering::Relaxed);
            return;
        }
        let mut rest = self.rest.lock();
        let index = index - FIRST_PLACES;
        if rest.len() <= index {
            rest.resize(index + 1, 0);
        }
        if let Some(place) = rest.get_mut(index) {
            *place = next(*place);
        }
    }
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

impl<O: Kept, F: Future<Output = ()> + Send + Unpin + 'static> Dispatch<O, F> {
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
        if self.places.is_quick(method) && !self.starts.has(object) {
            // Nobody needs to wake the reader for it: if it is not ready it goes on in a task,
            // which polls it again.
            let ended = poll_guarded(&self.link, id, &mut future, &mut Context::from_waker(Waker::noop())).is_ready();
            self.watch.note(method, &self.places);
            if ended {
                drop_guarded(future);
            } else {
                self.places.lose(method);
                let abort = self.register(id);
                self.spawn(Abortable::new(self.handler(id, future), abort), id);
            }
            return;
        }
        let job = Job { object, method, abort: self.register(id), handler: self.handler(id, future) };
        if let Some(job) = self.starts.enqueue(job) {
            let (starts, places, running) = (self.starts.clone(), self.places.clone(), self.running.clone());
            self.link.runtime.spawn(run_in_order(job, starts, places, running));
        }
    }

    fn handler(&self, id: ServedId, future: F) -> Handler<O, F> {
        Handler { link: self.link.clone(), id, future: Some(future) }
    }

    fn register(&self, id: ServedId) -> AbortRegistration {
        let (handle, registration) = AbortHandle::new_pair();
        self.running.0.lock().insert(id, handle);
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
async fn run_in_order<O: Kept, F: Future<Output = ()> + Send + Unpin + 'static>(
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
        let mut handler = Abortable::new(handler, abort);
        let began = Instant::now();
        let polled = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut handler).poll(cx))).await;
        // A handler that was aborted did not prove anything.
        places.note(method, matches!(polled, Poll::Ready(Ok(()))) && began.elapsed() <= quick);
        next = starts.next(object);
        if polled.is_pending() {
            if let Some(job) = next.take() {
                runtime.spawn(run_boxed(job, starts.clone(), places.clone(), running.clone()));
            }
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
fn run_boxed<O: Kept, F: Future<Output = ()> + Send + Unpin + 'static>(
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

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(50);
    const FAST: MethodNumber = MethodNumber(0);
    const SLOW: MethodNumber = MethodNumber(FIRST_PLACES as u32);

    /// Both methods have earned their place.
    fn earned() -> Places {
        let places = Places::default();
        for _ in 0..QUICK_CALLS {
            places.note(FAST, true);
            places.note(SLOW, true);
        }
        assert!(places.is_quick(FAST) && places.is_quick(SLOW));
        places
    }

    async fn run(watch: &mut Watch, places: &Places, method: MethodNumber, micros: u64) {
        tokio::time::advance(Duration::from_micros(micros)).await;
        watch.note(method, places);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_alone_loses_its_place_by_one_overrun() {
        let (places, mut watch) = (earned(), Watch::new(QUICK));
        watch.start();
        run(&mut watch, &places, SLOW, 51).await;
        watch.look(&places);
        assert!(!places.is_quick(SLOW) && places.is_quick(FAST));
        places.note(SLOW, true);
        assert!(!places.is_quick(SLOW), "it takes several quick calls to earn it again");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_are_quick_each_keep_their_place_however_many_come_together() {
        let (places, mut watch) = (earned(), Watch::new(QUICK));
        watch.start();
        for _ in 0..10 * ALONE {
            run(&mut watch, &places, FAST, 49).await;
        }
        assert!(places.is_quick(FAST));
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_call_among_quick_ones_is_found_and_they_keep_their_place() {
        let (places, mut watch) = (earned(), Watch::new(QUICK));
        watch.start();
        for _ in 0..2 {
            run(&mut watch, &places, SLOW, 300).await;
            for _ in 1..WATCHED {
                run(&mut watch, &places, FAST, 1).await;
            }
        }
        assert!(places.is_quick(FAST) && !places.is_quick(SLOW));
    }
}

//! Handlers that may block their thread: each poll of them runs on a thread that nobody waits for.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker, ready},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::{runtime::Handle, sync::oneshot, task::JoinHandle};

/// The time that a first poll has to itself before a call behind it begins. It began before that one does,
/// and has most likely done by then what comes first in it.
const AHEAD: Duration = Duration::from_micros(200);

/// A future that is polled among tokio's blocking threads, and takes none of them while it waits. So a
/// handler that awaits others holds nothing that they may need, and works on every flavour of runtime.
pub(super) struct Blocking<F> {
    state: State<F>,
    recall: Arc<Recall>,
    runtime: Handle,
}

/// A first poll that is under way.
pub(super) struct Ahead {
    /// Hung up at its end.
    polled: mpsc::Receiver<()>,
    runtime: Handle,
}

impl Ahead {
    /// Waits until it is over, and not for long. A timer knows no span as short as this.
    pub(super) async fn leave(self) {
        let Self { polled, runtime } = self;
        let _over = runtime.spawn_blocking(move || polled.recv_timeout(AHEAD)).await;
    }
}

enum State<F> {
    /// Waits to be woken.
    Here(F),
    /// Is polled. Comes back unless it has ended.
    Away(JoinHandle<Option<F>>),
    Over,
}

/// Wakes the task, which finds out so that the future itself was woken, maybe while it was polled.
struct Recall {
    called: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Recall {
    fn wake(self: Arc<Self>) {
        self.called.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F: Future + Unpin + Send + 'static> Blocking<F> {
    pub(super) fn new(future: F, runtime: Handle) -> Self {
        let recall = Recall { called: AtomicBool::new(true), task: AtomicWaker::new() };
        Self { state: State::Here(future), recall: Arc::new(recall), runtime }
    }

    /// Begins its first poll, and comes back when that has begun. [`Ahead`] waits some time for its end.
    pub(super) async fn begin(&mut self) -> Ahead {
        let (begins, begun) = oneshot::channel();
        let (polls, polled) = mpsc::channel();
        self.set_out(Some((begins, polls)));
        // It never begins where the runtime ends.
        let _begun = begun.await;
        Ahead { polled, runtime: self.runtime.clone() }
    }

    /// Goes to be polled. For the first poll somebody waits.
    fn set_out(&mut self, first: Option<(oneshot::Sender<()>, mpsc::Sender<()>)>) {
        let State::Here(mut future) = std::mem::replace(&mut self.state, State::Over) else { return };
        self.recall.called.store(false, Ordering::Release);
        let waker = Waker::from(self.recall.clone());
        self.state = State::Away(self.runtime.spawn_blocking(move || {
            let _polls = first.map(|(begins, polls)| begins.send(()).map(|()| polls));
            let polled = Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
            // What it leaves behind is dropped here: that may block, too.
            polled.is_pending().then_some(future)
        }));
    }

    fn poll_back(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let State::Away(trip) = &mut self.state {
            // Lost only with the runtime: whatever panics is caught within.
            let back = ready!(Pin::new(trip).poll(cx)).ok().flatten();
            self.state = back.map_or(State::Over, State::Here);
        }
        Poll::Ready(())
    }
}

impl<F: Future + Unpin + Send + 'static> Future for Blocking<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.poll_back(cx));
            if matches!(self.state, State::Over) {
                return Poll::Ready(());
            }
            // Registered before it is asked: a call in between is not missed.
            self.recall.task.register(cx.waker());
            if !self.recall.called.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            self.set_out(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, thread};

    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn boxed<F: Future<Output = ()> + Send + 'static>(future: F) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(future)
    }

    fn blocking<F: Future<Output = ()> + Send + 'static>(
        future: F,
    ) -> Blocking<Pin<Box<dyn Future<Output = ()> + Send>>> {
        Blocking::new(boxed(future), Handle::current())
    }

    #[tokio::test]
    async fn it_blocks_a_thread_that_is_not_the_callers_and_is_woken_from_it() {
        let own = thread::current().id();
        let (go_on, goes_on) = mpsc::channel();
        let (tell, told) = oneshot::channel();
        let mut future = blocking(async move {
            assert_ne!(thread::current().id(), own);
            goes_on.recv_timeout(PATIENCE).unwrap();
            told.await.unwrap();
            assert_ne!(thread::current().id(), own);
            tokio::time::sleep(Duration::from_millis(1)).await;
            tokio::task::yield_now().await;
        });
        timeout(PATIENCE, future.begin()).await.unwrap();
        assert!(futures_util::poll!(&mut future).is_pending(), "it blocks, and nobody waits for that");
        go_on.send(()).unwrap();
        tell.send(()).unwrap();
        timeout(PATIENCE, future).await.unwrap();
    }

    #[tokio::test]
    async fn one_that_wakes_itself_while_it_is_polled_is_polled_again() {
        for _ in 0..1000 {
            let mut polls = 0;
            let future = std::future::poll_fn(move |cx| {
                polls += 1;
                cx.waker().wake_by_ref();
                if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
            });
            timeout(PATIENCE, blocking(future)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn those_that_block_begin_in_order() {
        let noted = Arc::new(Mutex::new(Vec::new()));
        let (ends, mut all) = (Arc::new(std::sync::Barrier::new(9)), Vec::new());
        for number in 0..8 {
            let (noted, ends) = (noted.clone(), ends.clone());
            let mut future = blocking(async move {
                noted.lock().unwrap().push(number);
                ends.wait();
            });
            future.begin().await.leave().await;
            all.push(future);
        }
        let ended = Handle::current().spawn_blocking(move || {
            ends.wait();
        });
        timeout(PATIENCE, ended).await.unwrap().unwrap();
        for future in all {
            timeout(PATIENCE, future).await.unwrap();
        }
        assert_eq!(*noted.lock().unwrap(), (0..8).collect::<Vec<_>>());
    }
}

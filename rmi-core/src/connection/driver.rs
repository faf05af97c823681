//! The driver of a connection: the one task that reads, dispatches, flushes and watches the time.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{runtime::RuntimeFlavor, time::Sleep};

use super::{
    Close, Ended, Kept, Link, Redial, WRITE_LEN,
    dispatch::{Dispatch, Served},
    held_back::HeldBack,
};
use crate::{
    error::{Certainty, ErrorKind, RemoteError},
    id::ObjectId,
    session::{Arrived, Directory, Event, Intake},
    time::Time,
    transport::Socket,
    wire::{LinkId, Resume},
};

/// What a driver needs of its node.
pub(crate) trait Host<O>: Directory<O> + Send + Sync + 'static {
    /// The future that runs a method and answers its call.
    type Handler: Served;

    /// What all calls of a link share.
    type Line: Send + Sync + 'static;

    /// What the calls of this link share.
    fn line(&self, link: &Arc<Link<O>>) -> Self::Line;

    /// The handler of a call and the object it runs on; `None` where the call is refused already.
    fn serve(&self, line: &Self::Line, call: Arrived<O>) -> Option<(ObjectId, Self::Handler)>;

    /// The peer takes no more calls.
    fn handle_closing(&self, link: &Arc<Link<O>>);

    /// The link is closing, and no call of the peer waits for its answer.
    fn handle_quiet(&self);

    /// Whether others hold objects of this link's peer through this node. Leaving it without a
    /// goodbye gives them its lease to ask it themselves.
    fn is_giver_of(&self, link: &Link<O>) -> bool;

    /// How long what the peer holds is kept while the link has no connection.
    fn lease(&self) -> Duration;

    /// How long calls wait for a connection.
    fn connect_timeout(&self) -> Duration;

    /// Dials the peer of this link again, to take it up.
    fn resume(&self, link: &Arc<Link<O>>, resume: Resume) -> Redial;

    /// The link has lost its connection, and waits for another.
    fn handle_suspended(&self, link: &Arc<Link<O>>);

    /// The link has a connection again.
    fn handle_resumed(&self, link: &Arc<Link<O>>);

    /// The peer has unexported something that is held over the link.
    fn handle_revoked(&self);

    /// The peer has dialled the link of this id, which is to replace this one.
    fn handle_merge(&self, link: &Arc<Link<O>>, by: LinkId);

    /// The link has ended. `given` is what the peer held.
    fn handle_ended(&self, link: &Arc<Link<O>>, ended: &Ended, given: Vec<O>);
}

/// Bytes that are read and written before other tasks run: a connection that always has more would keep
/// them from their own calls.
const STINT_LEN: usize = 1 << 20;

/// Time after which it lets them run whatever it has moved: bytes can be many small calls.
const STINT: Duration = Duration::from_millis(1);

/// Time that a peer has to close once goodbye was said to it.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection is over.
enum Over {
    /// It broke: another may take the link up.
    Lost(RemoteError),
    /// The link is over with it.
    Ended(RemoteError),
    /// The peer broke the protocol: the link is over too, and what the peer held stays for its lease.
    Broken(RemoteError),
}

/// The task of one link: drives its connections, one after the other.
pub(crate) struct Driver<O: Kept, H: Host<O>> {
    pub(super) link: Arc<Link<O>>,
    pub(super) host: Arc<H>,
    pub(super) line: H::Line,
    pub(super) socket: Arc<dyn Socket>,
    pub(super) intake: Intake,
    events: Vec<Event<O>>,
    pub(super) dispatch: Dispatch<O, H::Handler>,
    /// Calls that arrived while too much waits to be written.
    pub(super) held_back: VecDeque<HeldBack<O, H::Handler>>,
    pub(super) sleep: Pin<Box<Sleep>>,
    /// When it fires.
    pub(super) armed: Time,
    /// Whether it knows whom to wake then.
    pub(super) is_armed: bool,
    /// When the last connection was lost.
    pub(super) lost: Option<Time>,
    /// The peer said goodbye.
    goodbye: bool,
    /// This node has said its last words, and waits until then for the peer to close: a socket that
    /// is closed with something unread may lose them.
    leaving: Option<Time>,
    finished: bool,
    /// Whether the runtime has several threads.
    lets_others_run: bool,
    has_let_others_run: bool,
    /// Bytes read and written since other tasks could run.
    moved: usize,
    /// The times of the first read since then and of the last one.
    stint: Option<(Time, Time)>,
}

impl<O: Kept, H: Host<O>> Driver<O, H> {
    /// `read` holds what arrived over the socket behind the peer's hello.
    pub(crate) fn new(link: Arc<Link<O>>, host: Arc<H>, socket: Arc<dyn Socket>, read: BytesMut) -> Self {
        Self {
            line: host.line(&link),
            intake: Intake::new(read),
            events: Vec::new(),
            dispatch: Dispatch::new(link.clone()),
            held_back: VecDeque::new(),
            sleep: Box::pin(tokio::time::sleep_until(link.clock.instant(link.clock.now()))),
            armed: Time::START,
            is_armed: false,
            lost: None,
            goodbye: false,
            leaving: None,
            finished: false,
            lets_others_run: link.runtime.runtime_flavor() == RuntimeFlavor::MultiThread,
            has_let_others_run: false,
            link,
            host,
            socket,
            moved: 0,
            stint: None,
        }
    }

    /// Drives the link to its end.
    pub(crate) async fn drive(mut self) {
        let cause = loop {
            let lost = match self.drive_connection().await {
                Over::Ended(cause) => break cause,
                Over::Broken(cause) => {
                    self.lost = Some(self.link.clock.now());
                    break cause;
                }
                Over::Lost(cause) => {
                    self.lost = Some(self.link.clock.now());
                    self.drive_suspended(cause).await
                }
            };
            if let Err(cause) = lost {
                break cause;
            }
        };
        let (ended, given) = self.finish(cause);
        self.host.handle_ended(&self.link, &ended, given);
    }

    async fn drive_connection(&mut self) -> Over {
        // What came behind the handshake. Where nothing did, nothing was heard either: it would tell the
        // session that the peer knows of the connection.
        let mut over = if self.intake.is_empty() { None } else { self.handle_read().err() };
        loop {
            match over {
                Some(over) => return over,
                None => over = poll_fn(|cx| self.poll_step(cx)).await.err(),
            }
            if self.moved >= STINT_LEN || self.stint.is_some_and(|(first, last)| last >= first + STINT) {
                (self.moved, self.stint) = (0, None);
                tokio::task::yield_now().await;
            }
        }
    }

    /// A connection begins over this socket.
    pub(super) fn begin(&mut self, socket: Arc<dyn Socket>, read: BytesMut) {
        (self.socket, self.intake) = (socket, Intake::new(read));
        // Methods have other numbers on each connection.
        self.dispatch = Dispatch::new(self.link.clone());
        (self.armed, self.is_armed) = (Time::START, false);
    }

    /// Waits until there is something to do, and does it: reads, writes, looks at the time.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Over>> {
        self.link.driver.register(cx.waker());
        let called = self.handle_released();
        let read = self.poll_read(cx)?;
        if self.intake.is_behind() {
            // Others may have a turn before the rest. What was read is handled before this connection is found to be
            // over, and its answers leave with one write.
            return Poll::Ready(Ok(()));
        }
        self.poll_close()?;
        if read.is_pending() && self.waits_for_others(cx) {
            self.stint = None;
            return Poll::Pending;
        }
        let written = self.poll_write(cx)?;
        let released = self.release_held_back();
        let time = self.poll_time(cx)?;
        let again = called || read.is_ready() || written.is_ready() || released || time.is_ready();
        if again {
            Poll::Ready(Ok(()))
        } else {
            self.stint = None;
            Poll::Pending
        }
    }

    /// Whether this task lets others run before it writes, so that what they add leaves with the same
    /// write. A scheduler with several threads polls a task that was just woken before all others.
    fn waits_for_others(&mut self, cx: &mut Context<'_>) -> bool {
        self.has_let_others_run = self.lets_others_run && !self.has_let_others_run && self.link.has_output();
        // It wakes this task once the others have run.
        self.has_let_others_run && std::pin::pin!(tokio::task::yield_now()).poll(cx).is_pending()
    }

    /// Reads once, unless there is something left of the last read, and handles what this made whole.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Over>> {
        if self.intake.is_behind() {
            return Poll::Ready(self.handle_read());
        }
        loop {
            match self.socket.poll_read_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(lost(&error))),
                Poll::Ready(Ok(())) => {}
            }
            let (into, len_max) = self.intake.room();
            match self.socket.try_read(into, len_max) {
                Ok(0) => return Poll::Ready(Err(self.closed_by_peer())),
                Ok(len) => {
                    self.moved += len;
                    return Poll::Ready(self.handle_read());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(lost(&error))),
            }
        }
    }

    fn handle_read(&mut self) -> Result<(), Over> {
        let now = self.link.clock.now();
        self.stint = self.stint.map_or(Some((now, now)), |(first, _)| Some((first, now)));
        let (link, host, intake, events) = (&self.link, &self.host, &mut self.intake, &mut self.events);
        let handled = link.step(|locked| {
            // The replies of all that is dispatched now leave with one write, by this driver.
            locked.flushing = true;
            locked.session.handle_read(now, intake, host, events)
        });
        self.handle_events();
        handled.map_err(|error| {
            tracing::warn!(peer = %self.link.describe_peer(), %error, "the peer broke the protocol");
            Over::Broken(RemoteError::from(error))
        })
    }

    /// Calls begin whose targets are there now, before anything is read that comes behind them. Whether any did.
    fn handle_released(&mut self) -> bool {
        // Looked at in each step, and mostly false: a plain load.
        if !self.link.released.load(Ordering::Acquire) {
            return false;
        }
        self.link.released.store(false, Ordering::Release);
        let events = &mut self.events;
        self.link.step(|locked| {
            locked.flushing = true;
            locked.session.take_released(events);
        });
        self.handle_events();
        true
    }

    fn handle_events(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let mut events = std::mem::take(&mut self.events);
        self.dispatch.begin_batch();
        let mut revoked = false;
        for event in events.drain(..) {
            match event {
                Event::Call(call) => self.handle_call(call),
                Event::Cancel(id) => self.handle_cancel(id),
                Event::Closing => self.host.handle_closing(&self.link),
                Event::Revoked => revoked = true,
                Event::Merge(by) => self.host.handle_merge(&self.link, by),
                Event::Goodbye(reason) => {
                    tracing::debug!(peer = %self.link.describe_peer(), reason, "the peer said goodbye");
                    self.goodbye = true;
                }
            }
        }
        self.dispatch.end_batch();
        // Once for all of one read.
        if revoked {
            self.host.handle_revoked();
        }
        // Keeps the allocation.
        self.events = events;
    }

    /// Writes some of what waits, until nothing is left or the socket is full.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Over>> {
        loop {
            let written = self.link.step(|locked| {
                let written = self.link.write(locked);
                // While something is left, because the socket is full or others want the session,
                // this driver goes on with it.
                locked.flushing = locked.session.has_output();
                written.map(|()| locked.flushing)
            });
            if self.link.has_room() {
                self.link.room.notify_waiters();
            }
            match written {
                Ok(false) => return Poll::Pending,
                // What can be read comes in between: a peer that only writes would wait for it.
                Ok(true) => {
                    self.moved += WRITE_LEN;
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(lost(&error))),
            }
            match self.socket.poll_write_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(lost(&error))),
                Poll::Ready(Ok(())) => {}
            }
        }
    }

    /// Looks whether the link is over: the peer said goodbye, or this node closes it and all is
    /// answered; or whether another connection takes it up.
    fn poll_close(&mut self) -> Result<(), Over> {
        if self.goodbye {
            let cause = RemoteError::new(ErrorKind::ConnectionLost, "the peer's node has shut down");
            return Err(Over::Ended(cause));
        }
        let (close, is_replaced) = {
            let locked = self.link.locked.lock();
            (locked.closing, locked.carrier.is_some())
        };
        match close {
            None if is_replaced => {
                let cause = "the peer lost the connection, and took the link up over another";
                Err(Over::Lost(RemoteError::new(ErrorKind::ConnectionLost, cause)))
            }
            None => Ok(()),
            Some(Close::Draining) => {
                if self.link.is_quiet() {
                    self.host.handle_quiet();
                }
                Ok(())
            }
            Some(Close::Leaving { goodbye }) => self.leave(goodbye),
        }
    }

    /// Says goodbye once, and ends when the peer has closed, or when it had the time to. Without a
    /// goodbye it ends when all is written.
    fn leave(&mut self, goodbye: bool) -> Result<(), Over> {
        let now = self.link.clock.now();
        let until = *self.leaving.get_or_insert_with(|| {
            if goodbye {
                self.link.step(|locked| locked.session.goodbye("shutdown"));
            }
            now + LINGER
        });
        let written = !self.link.locked.lock().session.has_output();
        if now >= until || (written && !goodbye) {
            return Err(Over::Ended(RemoteError::new(ErrorKind::Shutdown, "this node has shut down")));
        }
        Ok(())
    }

    /// Looks at the time where it may have come: every read moves the next time-out, mostly
    /// further away, and the timer follows only when it fires, or when it has to fire earlier.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Over>> {
        // It knows this task, which is always the same, from when it was armed.
        let fired = self.sleep.is_elapsed() || (!self.is_armed && self.sleep.as_mut().poll(cx).is_ready());
        self.is_armed = true;
        let leaving = self.leaving;
        let (handled, armed) = self.link.step(|locked| {
            let handled = if fired { locked.session.handle_timeout(self.link.clock.now()) } else { Ok(()) };
            let next = locked.session.next_timeout();
            let next = leaving.map_or(next, |until| until.min(next));
            if fired || next < locked.armed {
                locked.armed = next;
            }
            (handled, locked.armed)
        });
        handled.map_err(Over::Lost)?;
        if fired || armed != self.armed {
            (self.armed, self.is_armed) = (armed, false);
            self.sleep.as_mut().reset(self.link.clock.instant(armed));
            // Polled again at once, so that the timer knows whom to wake.
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    fn closed_by_peer(&self) -> Over {
        if self.leaving.is_some() {
            return Over::Ended(RemoteError::new(ErrorKind::Shutdown, "this node has shut down"));
        }
        let message = if self.goodbye { "the peer's node has shut down" } else { "the peer closed the connection" };
        Over::Lost(RemoteError::new(ErrorKind::ConnectionLost, message))
    }

    /// Ends the link: every call on it, every handler, and the socket. Returns what the peer held.
    fn finish(&mut self, cause: RemoteError) -> (Ended, Vec<O>) {
        self.finished = true;
        self.socket.shutdown();
        let cause = cause.with_peer(self.link.describe_peer()).with_certainty(Certainty::Unknown);
        tracing::debug!(peer = %self.link.describe_peer(), %cause, "connection ended");
        let ended = Ended { cause: cause.clone(), goodbye: self.goodbye, lost: self.lost };
        self.link.set_ended(ended.clone());
        let (lost, carrier) = self.link.step(|locked| {
            locked.socket = None;
            (locked.session.lose(&cause), locked.carrier.take())
        });
        if let Some(carrier) = carrier {
            carrier.socket.shutdown();
        }
        self.drop_handlers();
        (ended, lost.given)
    }
}

fn lost(error: &io::Error) -> Over {
    Over::Lost(RemoteError::new(ErrorKind::ConnectionLost, "the connection broke").with_source(error))
}

/// A runtime that is dropped drops its tasks: the peers still get one goodbye, so that a short
/// program leaves no lease behind.
impl<O: Kept, H: Host<O>> Drop for Driver<O, H> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let goodbye = !self.host.is_giver_of(&self.link);
        let rest = {
            let mut locked = self.link.locked.lock();
            if goodbye {
                locked.session.goodbye("the process ended");
            }
            let mut rest = Vec::new();
            while locked.session.has_output() {
                let slices = locked.session.slices();
                let length = slices.iter().map(|slice| slice.len()).sum();
                rest.extend(slices.iter().flat_map(|slice| slice.iter().copied()));
                if length == 0 {
                    break;
                }
                locked.session.advance(length);
            }
            rest
        };
        if !rest.is_empty() {
            self.socket.write_at_exit(&rest);
        }
        // No task is left that would end a lease: what the peer held goes now.
        let (ended, given) = self.finish(RemoteError::new(ErrorKind::Shutdown, "the runtime of this node was dropped"));
        drop(given);
        self.host.handle_ended(&self.link, &ended, Vec::new());
    }
}

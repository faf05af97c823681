//! A link without a connection: who dialled it dials again, who accepted it waits.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;

use super::{Driver, Host, Kept, Link};
use crate::{
    error::{ErrorKind, RemoteError},
    id::fnv1a64,
    principal::Principal,
    session::{Counts, Established, Intake},
    time::Time,
    transport::Socket,
    wire::{Ack, LinkId, Resume, WireError},
};

/// The first pause between two dials, and the longest.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The longest pause while calls wait for the connection.
const PAUSE_CALLED: Duration = Duration::from_millis(250);

/// No pause is longer than this part of the time for which the link is kept: the network may be there
/// again only late in it.
const PAUSE_PART: u32 = 8;

/// A connection, shaken hands over, that may take up a link.
#[derive(Debug)]
pub(crate) struct Carrier {
    pub(crate) socket: Arc<dyn Socket>,
    pub(crate) established: Established,
    /// Who the peer is by this connection.
    pub(crate) principal: Principal,
    /// What arrived behind the handshake.
    pub(crate) read: BytesMut,
    pub(crate) from: From,
}

/// Which side of the link the connection was made by.
#[derive(Debug)]
pub(crate) enum From {
    /// The peer dialled, and asked for this.
    Peer(Resume),
    /// This side dialled, and the peer answered.
    Here(Ack),
}

/// Why a link was not resumed.
#[derive(Debug)]
pub(crate) enum Unresumed {
    /// The peer, or who listens in its place, refused: it never will be.
    Refused(RemoteError),
    /// Nobody answered: it may be tried again.
    Failed(RemoteError),
}

/// An attempt to resume a link.
pub(crate) type Redial = Pin<Box<dyn Future<Output = Result<Carrier, Unresumed>> + Send>>;

/// What ends a pause of a link.
enum Pause {
    /// The node ends the link.
    Left,
    /// Another connection was accepted.
    Carrier(Box<Carrier>),
    /// Time is up.
    Over,
}

impl<O: Kept> Link<O> {
    /// A connection was accepted that asks to take this link up.
    ///
    /// # Errors
    ///
    /// Why it may not.
    pub(crate) fn offer(&self, carrier: Carrier) -> Result<(), &'static str> {
        let mut locked = self.locked.lock();
        let may_resume = match &carrier.from {
            _ if self.ended.get().is_some() || locked.closing.is_some() => Err("the link has ended"),
            _ if carrier.established.peer.node != self.peer.node => Err("the link is that of another node"),
            _ if carrier.principal != self.principal => Err("the link is that of another principal"),
            From::Here(_) => Err("the link was not asked for"),
            From::Peer(resume) => locked.session.check_resume(resume).and_then(|()| {
                let waiting = locked.carrier.as_ref().map(|carrier| &carrier.from);
                let is_later = !matches!(waiting, Some(From::Peer(waiting)) if waiting.epoch >= resume.epoch);
                is_later.then_some(()).ok_or("a later connection takes the link up")
            }),
        };
        may_resume?;
        let before = locked.carrier.replace(Box::new(carrier));
        drop(locked);
        if let Some(before) = before {
            before.socket.shutdown();
        }
        self.driver.wake();
        Ok(())
    }

    /// Whether a connection waits to take it up.
    pub(crate) fn is_taken_up(&self) -> bool {
        self.locked.lock().carrier.is_some()
    }
}

impl<O: Kept, H: Host<O>> Driver<O, H> {
    /// The connection is lost. Comes back once the link has another.
    ///
    /// # Errors
    ///
    /// With what ends the link for good.
    pub(super) async fn drive_suspended(&mut self, cause: RemoteError) -> Result<(), RemoteError> {
        // A dialler with nothing to lose dials anew when it has to. An acceptor may know what became of
        // calls that the dialler waits for.
        let may_resume = self.link.step(|locked| {
            let is_wanted = !locked.session.is_idle() || !locked.session.is_dialler();
            locked.closing.is_none() && locked.session.is_resumable() && is_wanted
        });
        if !may_resume {
            return Err(cause);
        }
        self.suspend();
        tracing::debug!(peer = %self.link.describe_peer(), %cause, "connection lost");
        self.host.handle_suspended(&self.link);
        // Where nothing is held, only calls wait to hear what became of them.
        let Counts { exports, imports, .. } = self.link.counts();
        // Once the shorter lease is over, one of the sides has ended the link, and would refuse.
        let lease = self.host.lease().min(self.link.peer().lease);
        let keeps = if exports + imports > 0 { lease } else { lease.min(self.host.connect_timeout()) };
        let ends = self.link.clock.now() + keeps;
        let carrier = match self.link.dialled() {
            Some(_) => self.redial(ends, PAUSE_MAX.min(keeps / PAUSE_PART), cause).await?,
            None => self.await_carrier(ends, cause).await?,
        };
        self.attach(carrier)
    }

    /// Lets go of the lost connection, and of all that ran for it.
    fn suspend(&mut self) {
        self.socket.shutdown();
        // Nothing of it is ever made whole; for the length of a lease it would be a lot of memory.
        self.intake = Intake::default();
        let now = self.link.clock.now();
        self.link.step(|locked| {
            locked.socket = None;
            locked.session.suspend(now);
        });
        self.link.room.notify_waiters();
        self.drop_handlers();
    }

    /// Dials until the peer answers or refuses, or the lease is over.
    async fn redial(&mut self, ends: Time, pause_max: Duration, cause: RemoteError) -> Result<Carrier, RemoteError> {
        let mut tries = 0;
        loop {
            let resume = self.link.step(|locked| {
                locked.hasty = false;
                locked.session.start_resume()
            });
            let Some(resume) = resume else { return Err(cause) };
            let failure = match self.attempt(resume, ends).await {
                Ok(Ok(carrier)) => return Ok(carrier),
                Ok(Err(Unresumed::Refused(refusal))) => {
                    // What was in flight may have run; what waits did not.
                    self.link.step(|locked| locked.session.give_up_unanswered());
                    return Err(refusal);
                }
                Ok(Err(Unresumed::Failed(failure))) => failure,
                Err(pause) => return Err(self.why_ended(pause, cause)),
            };
            tracing::debug!(peer = %self.link.describe_peer(), %failure, "the link cannot be resumed yet");
            self.link.step(|locked| locked.session.give_up_unanswered());
            let begun = self.link.clock.now();
            let until = ends.min(begun + pause(resume.link, tries, pause_max));
            tries += 1;
            match self.pause_between_dials(begun, until).await {
                Pause::Over if self.link.clock.now() < ends => {}
                pause => return Err(self.why_ended(pause, cause)),
            }
        }
    }

    /// One attempt, for as long as nothing ends the link.
    async fn attempt(&mut self, resume: Resume, ends: Time) -> Result<Result<Carrier, Unresumed>, Pause> {
        let mut redial = self.host.resume(&self.link, resume);
        poll_fn(|cx| match redial.as_mut().poll(cx) {
            Poll::Ready(resumed) => Poll::Ready(Ok(resumed)),
            Poll::Pending => self.poll_pause(cx, ends).map(Err),
        })
        .await
    }

    /// Waits until the peer has dialled again, or the lease is over.
    async fn await_carrier(&mut self, ends: Time, cause: RemoteError) -> Result<Carrier, RemoteError> {
        match self.pause(ends).await {
            Pause::Carrier(carrier) => Ok(*carrier),
            pause => Err(self.why_ended(pause, cause)),
        }
    }

    fn why_ended(&self, pause: Pause, cause: RemoteError) -> RemoteError {
        match pause {
            Pause::Over => {
                let message = "the connection was lost, and not resumed within the lease";
                RemoteError::new(ErrorKind::ConnectionLost, message).with_source(&cause)
            }
            Pause::Left | Pause::Carrier(_) => cause,
        }
    }

    /// Shorter where somebody waits.
    async fn pause_between_dials(&mut self, begun: Time, until: Time) -> Pause {
        poll_fn(|cx| {
            let (is_called, hasty) = {
                let locked = self.link.locked.lock();
                (locked.session.has_waiting(), locked.hasty)
            };
            let until = match (hasty, is_called) {
                (true, _) => begun,
                (false, true) => until.min(begun + PAUSE_CALLED),
                (false, false) => until,
            };
            self.poll_pause(cx, until)
        })
        .await
    }

    async fn pause(&mut self, until: Time) -> Pause {
        poll_fn(|cx| self.poll_pause(cx, until)).await
    }

    /// Looks after calls that wait meanwhile.
    fn poll_pause(&mut self, cx: &mut Context<'_>, until: Time) -> Poll<Pause> {
        self.link.driver.register(cx.waker());
        loop {
            let now = self.link.clock.now();
            let (pause, next) = self.link.step(|locked| {
                if locked.closing.is_some() {
                    return (Some(Pause::Left), until);
                }
                if let Some(carrier) = locked.carrier.take() {
                    return (Some(Pause::Carrier(carrier)), until);
                }
                // Without a connection nobody can be silent for too long.
                let handled = locked.session.handle_timeout(now);
                debug_assert!(handled.is_ok(), "{handled:?}");
                let next = locked.session.next_timeout();
                let next = if next <= now { until } else { next.min(until) };
                locked.armed = next;
                (None, next)
            });
            if let Some(pause) = pause {
                return Poll::Ready(pause);
            }
            if now >= until {
                return Poll::Ready(Pause::Over);
            }
            if next != self.armed || self.sleep.is_elapsed() {
                self.armed = next;
                self.sleep.as_mut().reset(self.link.clock.instant(next));
            }
            if pin!(&mut self.sleep).poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// A new connection takes the link up.
    fn attach(&mut self, carrier: Carrier) -> Result<(), RemoteError> {
        let Carrier { socket, established, read, from, .. } = carrier;
        let now = self.link.clock.now();
        *self.link.addr.lock() = socket.peer();
        self.lost = None;
        self.begin(socket.clone(), read);
        let attached = self.link.step(|locked| {
            locked.socket = Some(socket);
            locked.flushing = true;
            locked.armed = Time::START;
            match from {
                From::Peer(resume) => locked.session.handle_resume(established, &resume, now),
                From::Here(answer) => locked.session.handle_resumed(established, answer, now),
            }
        });
        attached.map_err(|error: WireError| RemoteError::from(error))?;
        tracing::debug!(peer = %self.link.describe_peer(), "the link is resumed");
        self.host.handle_resumed(&self.link);
        Ok(())
    }
}

/// How long to wait before the next dial: doubled up to a bound, and shortened by up to a half, so that
/// those who lost the same node do not all return at once. Drawn from the link, and so the same in
/// every run of a test.
fn pause(link: LinkId, tries: u32, pause_max: Duration) -> Duration {
    let longest = PAUSE.saturating_mul(1 << tries.min(16)).min(pause_max);
    let bytes = link.to_bytes();
    let text: String = bytes.iter().chain(&tries.to_le_bytes()).map(|byte| char::from(*byte)).collect();
    let chance = u32::try_from(fnv1a64(&[&text]) % 1024).unwrap_or(0);
    longest / 2 + longest / 2 * chance / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_their_bounds_and_differ_between_links() {
        let links = [1, 2, 3].map(|byte| LinkId::from_bytes([byte; 16]));
        for tries in 0..30 {
            let bound = (PAUSE * 2u32.pow(tries.min(10))).min(PAUSE_MAX);
            for link in links {
                let pause = pause(link, tries, PAUSE_MAX);
                assert!(bound / 2 <= pause && pause <= bound, "{pause:?} of {bound:?}");
            }
        }
        let [one, two, three] = links.map(|link| pause(link, 3, PAUSE_MAX));
        assert!(one != two || one != three);
    }
}

//! Keep-alive: who is silent is asked, who stays silent is lost.

use std::time::Duration;

use crate::time::Time;

/// Watches the silence of a peer: a ping after a sixth of the lease, lost after a third.
#[derive(Debug)]
pub(crate) struct Keepalive {
    lease: Duration,
    heard: Time,
    pinged: Option<Time>,
}

/// What silence asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Nothing yet.
    Short,
    /// Ask the peer.
    Ping,
    /// The link is lost; the peer was silent for this long.
    Lost(Duration),
}

impl Keepalive {
    pub(crate) fn new(lease: Duration, now: Time) -> Self {
        Self { lease, heard: now, pinged: None }
    }

    /// Something arrived.
    pub(crate) fn handle_heard(&mut self, now: Time) {
        self.heard = now;
        self.pinged = None;
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) -> Silence {
        let silent = now.since(self.heard);
        if silent >= self.lease / 3 {
            return Silence::Lost(silent);
        }
        if silent >= self.lease / 6 && self.pinged.is_none() {
            self.pinged = Some(now);
            return Silence::Ping;
        }
        Silence::Short
    }

    pub(crate) fn next_timeout(&self) -> Time {
        self.heard + if self.pinged.is_some() { self.lease / 3 } else { self.lease / 6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_peer_is_asked_once_and_then_lost() {
        let at = |s| Time::after_start(Duration::from_secs(s));
        let mut keepalive = Keepalive::new(Duration::from_secs(30), at(0));
        assert_eq!(keepalive.next_timeout(), at(5));
        assert_eq!(keepalive.handle_timeout(at(4)), Silence::Short);
        assert_eq!(keepalive.handle_timeout(at(5)), Silence::Ping);
        assert_eq!(keepalive.handle_timeout(at(6)), Silence::Short);
        assert_eq!(keepalive.next_timeout(), at(10));
        keepalive.handle_heard(at(7));
        assert_eq!(keepalive.next_timeout(), at(12));
        assert_eq!(keepalive.handle_timeout(at(12)), Silence::Ping);
        assert_eq!(keepalive.handle_timeout(at(17)), Silence::Lost(Duration::from_secs(10)));
    }
}

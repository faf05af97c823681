//! The handshake: one hello from each side, the dialler's first.

use std::time::Duration;

use bytes::BytesMut;

use super::Peer;
use crate::{
    id::NodeId,
    wire::{Frame, Hello, HelloRefused, Kind, Ticket, WireError, begin_frame, finish_frame},
};

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer does not speak the protocol, or no version of it that this node speaks.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Another node listens there.
    #[error("node {found} answers there, not node {expected}: it has restarted, or another took its address")]
    OtherNode {
        /// The node that the reference names.
        expected: NodeId,
        /// The node that answered.
        found: NodeId,
    },
    /// The node that was dialled takes no link of this one.
    #[error("the node there refuses this one: {}", .0.reason)]
    Refused(HelloRefused),
}

/// A handshake that waits for the peer's hello.
#[derive(Debug)]
pub struct Handshake {
    mine: Hello,
    dialled: bool,
}

/// A finished handshake.
#[derive(Clone, Debug)]
pub struct Established {
    /// What the peer told of itself.
    pub peer: Peer,
    /// The shorter of both leases: what silence is measured by.
    pub lease: Duration,
    /// What resumes the link when it is lost; `None` where its acceptor cannot.
    pub ticket: Option<Ticket>,
    /// Whether this side dialled.
    pub dialled: bool,
    /// Whether the peer, who dialled, takes a lost link up again.
    pub resumes: bool,
}

impl Handshake {
    /// Begins a handshake of the side that dialled, which writes this hello first.
    #[must_use]
    pub fn dial(mine: Hello) -> Self {
        Self { mine, dialled: true }
    }

    /// Begins a handshake of the side that was dialled, which writes this hello once it has the
    /// dialler's.
    #[must_use]
    pub fn accept(mine: Hello) -> Self {
        Self { mine, dialled: false }
    }

    /// The frame that says hello.
    #[must_use]
    pub fn hello(&self) -> BytesMut {
        encode(&self.mine)
    }

    /// The frame that says hello, and that no link comes of it.
    #[must_use]
    pub fn refusal(self, why: HelloRefused) -> BytesMut {
        encode(&Hello { ticket: None, refusal: Some(why), ..self.mine })
    }

    /// The peer's first frame arrived.
    ///
    /// # Errors
    ///
    /// Where it is no hello, no version is common, or the dialled node is another, or refuses.
    pub fn handle_frame(&self, frame: &Frame) -> Result<Established, HandshakeError> {
        if frame.kind != Kind::Hello {
            return Err(WireError::Broken("did not begin with a hello").into());
        }
        let theirs = Hello::decode(&frame.body)?;
        let features = self.mine.agree(&theirs)?.features;
        if let Some(expected) = self.mine.expected
            && expected != theirs.node
        {
            return Err(HandshakeError::OtherNode { expected, found: theirs.node });
        }
        if let Some(why) = theirs.refusal.filter(|_| self.dialled) {
            return Err(HandshakeError::Refused(why));
        }
        let lease = self.mine.lease.min(theirs.lease).max(LEASE_MIN);
        let peer = Peer {
            node: theirs.node,
            features,
            endpoints: theirs.endpoints,
            message_len: theirs.message_len,
            lease: theirs.lease.max(LEASE_MIN),
            calls: theirs.calls,
            call_bytes: theirs.call_bytes,
        };
        let dialled = self.dialled;
        // A peer that cannot speak of resumption keeps nothing to resume.
        let speaks = features & RESUMPTION == RESUMPTION;
        let ticket = if dialled { theirs.ticket } else { self.mine.ticket };
        Ok(Established { peer, lease, ticket: ticket.filter(|_| speaks), dialled, resumes: theirs.resumes && !dialled })
    }
}

fn encode(hello: &Hello) -> BytesMut {
    let mut out = BytesMut::new();
    let start = begin_frame(&mut out, Kind::Hello);
    hello.encode(&mut out);
    finish_frame(&mut out, start);
    out
}

/// What a resumption is made of.
const RESUMPTION: u64 = Kind::Resume.bit() | Kind::ResumeRefused.bit() | Kind::Ack.bit();

/// A peer cannot make this node ping more often than a shorter lease would.
const LEASE_MIN: Duration = Duration::from_millis(100);

//! What is expected of the runtime, and the times of the simulated world.

use std::time::Duration;

use rmi_core::Limits;

/// Whether a lost link is taken up again by the side that dialled: what is held over a link then
/// outlives any outage well below a lease, also where nobody calls, and so do callbacks to nodes
/// that listen nowhere. Without, an outage starts a lease that only a call ends.
pub const RESUMES: bool = true;

/// Whether a reference whose owner listens nowhere works through the node that gave it.
pub const RELAYS: bool = true;

/// Whether the calls of one reference begin in their order also where a link is lost between them:
/// bytes of the old link may not be served behind those of the new one.
pub const ORDERED_THROUGH_LOSS: bool = false;

/// Whether a node that shuts down says no goodbye to an owner of objects that it gave to a peer whose
/// link it has just lost: the peer may not have asked the owner yet.
pub const GIVERS_LEAVE_FOR_LOST_PEERS: bool = true;

/// Whether a node that shuts down says no goodbye to those either through whom it holds what it gave:
/// they would let go of it before its receivers have asked the owner.
pub const GIVERS_LEAVE_FOR_GIVERS: bool = true;

/// The lease of all nodes.
pub const LEASE: Duration = Duration::from_secs(3);

/// The longest outage that a resumed link bridges for certain: it is noticed after a third of the
/// lease at the latest, and the rest is for dialling.
pub const OUTAGE_BRIDGED: Duration = Duration::from_millis(1200);

/// Silence after which a node gives a link up, and some network.
pub const SILENCE: Duration = Duration::from_millis(1100);

/// Time after an outage until every dial and every handshake that began in it is over.
pub const CALM_AFTER: Duration = Duration::from_millis(1200);

/// What a call may take beyond its time-out.
pub const CALL_SLACK: Duration = Duration::from_millis(1500);

/// The bound for an object that nobody references, where nothing was ever disturbed: releases on
/// their way, through some givers.
pub const GONE_SOON: Duration = Duration::from_secs(1);

/// The bound for an object that nobody references after outages: each giver on the way to its owner
/// may have been lost in turn, and costs its silence, a lease, and a call that timed out.
pub const GONE_AT_LAST: Duration = Duration::from_secs(12);

/// The bounds that all nodes keep.
#[must_use]
pub fn limits() -> Limits {
    Limits {
        connect_timeout: Duration::from_secs(1),
        call_timeout: Duration::from_secs(4),
        drain_timeout: Duration::from_secs(2),
        ..Limits::default()
    }
}

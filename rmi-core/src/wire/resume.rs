//! What takes a lost link up again: the ticket that its acceptor gave, and the counts of what arrived.

use std::fmt;

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

use super::{
    error::WireError,
    field::{self, Reader},
    varint,
};

/// Longest reason of a refused resumption, in bytes.
pub const REASON_LEN_MAX: usize = 1 << 10;

/// A link, over all its connections. Drawn by the node that accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(u128);

/// Proves that a link is its holder's to resume. Every connection of the link brings a new one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(u128);

/// What the acceptor of a link gives to its dialler, in its hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The link.
    pub link: LinkId,
    /// What resumes it when this connection is lost.
    pub secret: Secret,
}

/// The dialler takes a lost link up again: the first frame behind the hellos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The link.
    pub link: LinkId,
    /// The secret of its last connection.
    pub secret: Secret,
    /// Which connection of the link this is: above that of every one before, also of those that
    /// were tried in vain.
    pub epoch: u64,
    /// How many counted messages the dialler has received whole since the link began.
    pub received: u64,
}

/// The lost link cannot be taken up again. The last frame of its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeRefused {
    /// Why, for people.
    pub reason: String,
}

impl LinkId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().as_u128())
    }

    /// The id with these 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The 16 bytes of the id, as they stand on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl Secret {
    /// A new random secret.
    #[must_use]
    pub fn random() -> Self {
        // 122 random bits: nobody guesses them within a lease.
        Self(Uuid::new_v4().as_u128())
    }

    /// The secret with these 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The 16 bytes of the secret, as they stand on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Ticket {
    /// Bytes that it takes.
    pub(super) const LEN: usize = 32;

    /// The ticket of a new link.
    #[must_use]
    pub fn random() -> Self {
        Self { link: LinkId::random(), secret: Secret::random() }
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&self.link.to_bytes());
        out.put_slice(&self.secret.to_bytes());
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { link: take_link(reader)?, secret: take_secret(reader)? })
    }
}

impl Resume {
    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&self.link.to_bytes());
        out.put_slice(&self.secret.to_bytes());
        varint::put(out, self.epoch);
        varint::put(out, self.received);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            link: take_link(reader)?,
            secret: take_secret(reader)?,
            epoch: reader.varint("the epoch of a link")?,
            received: reader.varint("the messages received")?,
        })
    }
}

impl ResumeRefused {
    pub(super) fn encode(&self, out: &mut BytesMut) {
        field::put_block(out, self.reason.as_bytes());
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { reason: reader.text("the reason of a refused resumption", REASON_LEN_MAX)?.to_owned() })
    }
}

pub(super) fn take_link(reader: &mut Reader<'_>) -> Result<LinkId, WireError> {
    reader.fixed("a link id").map(LinkId::from_bytes)
}

fn take_secret(reader: &mut Reader<'_>) -> Result<Secret, WireError> {
    reader.fixed("the secret of a link").map(Secret::from_bytes)
}

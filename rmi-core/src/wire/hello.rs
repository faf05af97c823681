//! The hello: the first frame of each side.

use std::{fmt, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    error::WireError,
    field::{self, Reader},
    frame::{FEATURES, FRAME_LEN_MAX, Kind, peek_frame},
    resume::{REASON_LEN_MAX, Ticket},
    varint,
};
use crate::{
    endpoint::Endpoint,
    error::{ErrorKind, RemoteError},
    id::NodeId,
    limits::Limits,
};

/// The first bytes of a hello's body.
pub const MAGIC: [u8; 4] = *b"RMI\x01";
/// The oldest version that this node speaks.
pub const VERSION_LEAST: u32 = 1;
/// The newest version that this node speaks.
pub const VERSION_GREATEST: u32 = 1;
/// Longest authentication token, in bytes.
pub const TOKEN_LEN_MAX: usize = 16 << 10;
/// Longest lease: a year.
pub const LEASE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Who a node is, what it speaks and what it accepts.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// The oldest and the newest version that it speaks.
    pub versions: (u32, u32),
    /// The [kinds](super::Kind::bit) that it speaks.
    pub features: u64,
    /// Its id.
    pub node: NodeId,
    /// The node that it means to reach, where it knows.
    pub expected: Option<NodeId>,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// How many calls it accepts before it gives more credit.
    pub calls: u32,
    /// How many payload bytes of calls it accepts before it gives more credit.
    pub call_bytes: u64,
    /// The longest message that it accepts.
    pub message_len: u64,
    /// How long it keeps what its peer holds after the link is lost.
    pub lease: Duration,
    /// What proves who its user is.
    pub token: Option<Bytes>,
    /// Whether the sender, who dialled, takes a lost link up again: its next frame says which.
    pub resumes: bool,
    /// What the sender, who was dialled, gives to resume this link by.
    pub ticket: Option<Ticket>,
    /// Why the sender, who was dialled, takes no link of this dialler. Nothing follows such a hello.
    pub refusal: Option<HelloRefused>,
}

/// Why a node takes no link of who dialled it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloRefused {
    /// What the dialler's calls end with.
    pub kind: ErrorKind,
    /// The reason, for people.
    pub reason: String,
}

impl HelloRefused {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        // What a later version may have numbered so is some other kind.
        let kind =
            u16::try_from(reader.varint("the kind of a refusal")?).map_or(ErrorKind::Other, ErrorKind::from_number);
        Ok(Self { kind, reason: reader.text("the reason of a refusal", REASON_LEN_MAX)?.to_owned() })
    }
}

impl From<&RemoteError> for HelloRefused {
    fn from(error: &RemoteError) -> Self {
        Self { kind: error.kind(), reason: error.message().to_owned() }
    }
}

/// What two hellos have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The version to speak.
    pub version: u32,
    /// The kinds that may be sent.
    pub features: u64,
}

const EXPECTED: u8 = 1 << 0;
const TOKEN: u8 = 1 << 1;

/// The tags of extensions; 1 is reserved for a proof of the node id.
const RESUMES: u64 = 2;
const TICKET: u64 = 3;
const REFUSED: u64 = 4;

impl Hello {
    /// The hello of a node with these bounds, which names no endpoint, token or expected node.
    #[must_use]
    pub fn new(node: NodeId, limits: &Limits, lease: Duration) -> Self {
        Self {
            versions: (VERSION_LEAST, VERSION_GREATEST),
            features: FEATURES,
            node,
            expected: None,
            endpoints: Vec::new(),
            calls: limits.calls,
            call_bytes: limits.call_bytes,
            message_len: limits.message_len,
            lease,
            token: None,
            resumes: false,
            ticket: None,
            refusal: None,
        }
    }

    /// Appends the body of its frame.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&MAGIC);
        varint::put(out, self.versions.0.into());
        varint::put(out, self.versions.1.into());
        out.put_u64_le(self.features);
        out.put_slice(&self.node.to_bytes());
        let expected = if self.expected.is_some() { EXPECTED } else { 0 };
        out.put_u8(expected | if self.token.is_some() { TOKEN } else { 0 });
        if let Some(expected) = self.expected {
            out.put_slice(&expected.to_bytes());
        }
        field::put_endpoints(out, &self.endpoints);
        varint::put(out, self.calls.into());
        varint::put(out, self.call_bytes);
        varint::put(out, self.message_len);
        varint::put(out, self.lease.min(LEASE_MAX).as_millis() as u64);
        if let Some(token) = &self.token {
            field::put_block(out, token);
        }
        if self.resumes {
            varint::put(out, RESUMES);
            varint::put(out, 0);
        }
        if let Some(ticket) = &self.ticket {
            varint::put(out, TICKET);
            varint::put(out, Ticket::LEN as u64);
            ticket.encode(out);
        }
        if let Some(HelloRefused { kind, reason }) = &self.refusal {
            let mut refusal = BytesMut::new();
            varint::put(&mut refusal, kind.number().into());
            let (told, _) = reason.split_at(reason.floor_char_boundary(REASON_LEN_MAX));
            field::put_block(&mut refusal, told.as_bytes());
            varint::put(out, REFUSED);
            field::put_block(out, &refusal);
        }
    }

    /// Whether this may be the beginning of its frame, as far as can be told.
    #[must_use]
    pub fn may_begin(read: &[u8]) -> bool {
        peek_frame(read).is_none_or(|(kind, ..)| kind == Kind::Hello)
    }

    /// Reads the body of a hello. What stands in extension fields that this version does not know
    /// is skipped.
    ///
    /// # Errors
    /// If it is not one.
    pub fn decode(body: &Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let magic: [u8; 4] = reader.fixed("the magic of a hello")?;
        if magic != MAGIC {
            return Err(WireError::NotRmi(format!("a hello that begins with \"{}\"", magic.escape_ascii())));
        }
        let versions = (reader.varint_u32("the least version")?, reader.varint_u32("the greatest version")?);
        if versions.0 > versions.1 {
            return Err(WireError::BadValue { what: "versions", problem: "the least is above the greatest" });
        }
        let features = reader.u64_le("the features")?;
        let node = reader.node()?;
        let flags = reader.byte("the flags of a hello")?;
        if flags & !(EXPECTED | TOKEN) != 0 {
            return Err(WireError::UnknownTag { what: "flags of a hello", tag: flags.into() });
        }
        let mut hello = Self {
            versions,
            features,
            node,
            expected: if flags & EXPECTED == 0 { None } else { Some(reader.node()?) },
            endpoints: reader.endpoints()?,
            calls: reader.varint_u32("the call credit")?,
            call_bytes: reader.varint("the byte credit")?,
            message_len: reader.varint("the longest message")?,
            lease: Duration::from_millis(reader.varint("the lease")?).min(LEASE_MAX),
            token: if flags & TOKEN == 0 { None } else { Some(reader.shared_block("a token", TOKEN_LEN_MAX)?) },
            resumes: false,
            ticket: None,
            refusal: None,
        };
        while !reader.is_empty() {
            let tag = reader.varint("the tag of an extension")?;
            let extension = reader.shared_block("an extension", FRAME_LEN_MAX)?;
            let mut reader = Reader::new(&extension);
            match tag {
                RESUMES => hello.resumes = true,
                TICKET => hello.ticket = Some(Ticket::decode(&mut reader)?),
                REFUSED => hello.refusal = Some(HelloRefused::decode(&mut reader)?),
                _ => continue,
            }
            reader.finish()?;
        }
        Ok(hello)
    }

    /// What this hello and the peer's have in common.
    ///
    /// # Errors
    /// If they have no version in common.
    pub fn agree(&self, other: &Self) -> Result<Agreed, WireError> {
        let version = self.versions.1.min(other.versions.1);
        if version < self.versions.0.max(other.versions.0) {
            return Err(WireError::Versions { ours: self.versions, theirs: other.versions });
        }
        Ok(Agreed { version, features: self.features & other.features })
    }
}

impl fmt::Debug for Hello {
    /// Without the token, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("versions", &self.versions)
            .field("features", &format_args!("{:#x}", self.features))
            .field("node", &self.node)
            .field("expected", &self.expected)
            .field("endpoints", &self.endpoints)
            .field("calls", &self.calls)
            .field("call_bytes", &self.call_bytes)
            .field("message_len", &self.message_len)
            .field("lease", &self.lease)
            .field("token", &self.token.as_ref().map(|_| ".."))
            .field("resumes", &self.resumes)
            .field("ticket", &self.ticket)
            .field("refusal", &self.refusal)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello::new(NodeId::from_bytes([1; 16]), &Limits::default(), Duration::from_secs(30))
    }

    fn encode(hello: &Hello) -> BytesMut {
        let mut out = BytesMut::new();
        hello.encode(&mut out);
        out
    }

    #[test]
    fn extensions_are_skipped() {
        let mut body = encode(&hello());
        body.put_slice(&[1, 3, 0xaa, 0xbb, 0xcc]);
        body.put_slice(&[0xe8, 0x07, 0]);
        assert_eq!(Hello::decode(&body.clone().freeze()).unwrap(), hello());
        body.put_slice(&[2, 1]);
        assert_eq!(Hello::decode(&body.freeze()).unwrap_err().to_string(), "a message ends within an extension");
    }

    #[test]
    fn a_refusal_tells_why_in_so_many_words() {
        let refused = |kind, reason: String| Hello { refusal: Some(HelloRefused { kind, reason }), ..hello() };
        let short = refused(ErrorKind::AccessDenied, "nobody knows the token".to_owned());
        assert_eq!(Hello::decode(&encode(&short).freeze()).unwrap(), short);
        let long = refused(ErrorKind::Overloaded, "ä".repeat(600));
        let told = Hello::decode(&encode(&long).freeze()).unwrap().refusal.unwrap();
        assert_eq!((told.kind, told.reason), (ErrorKind::Overloaded, "ä".repeat(512)));
    }

    #[test]
    fn endpoints_of_a_later_version_are_skipped() {
        let known = Hello { endpoints: vec!["tcp://a:1".parse().unwrap()], ..hello() };
        let mut body = encode(&known).to_vec();
        let at = body.windows(3).position(|window| window == b"tcp").unwrap();
        body[at..at + 3].copy_from_slice(b"udp");
        assert_eq!(Hello::decode(&body.into()).unwrap(), hello());
    }

    #[test]
    fn another_magic_is_another_protocol() {
        let mut body = encode(&hello());
        body[..4].copy_from_slice(b"JRMI");
        let error = Hello::decode(&body.freeze()).unwrap_err();
        assert_eq!(error.to_string(), "peer does not speak rmi: it sent a hello that begins with \"JRMI\"");
    }

    #[test]
    fn versions_that_do_not_meet_are_named_on_both_sides() {
        let newer = Hello { versions: (2, 5), ..hello() };
        let error = hello().agree(&newer).unwrap_err();
        assert_eq!(error.to_string(), "no common version: this node speaks 1 to 1, the peer 2 to 5");
        let error = newer.agree(&hello()).unwrap_err();
        assert_eq!(error.to_string(), "no common version: this node speaks 2 to 5, the peer 1 to 1");
        let older = Hello { versions: (1, 3), features: FEATURES | 1 << 40, ..hello() };
        assert_eq!(newer.agree(&older).unwrap(), Agreed { version: 3, features: FEATURES });
        let upside_down = Hello { versions: (3, 2), ..hello() };
        Hello::decode(&encode(&upside_down).freeze()).unwrap_err();
    }

    #[test]
    fn the_token_is_bounded_and_never_shown() {
        let with_token = |len| Hello { token: Some(Bytes::from(vec![b'x'; len])), ..hello() };
        assert!(!format!("{:?}", with_token(9)).contains("120, 120"), "{:?}", with_token(9));
        assert!(!format!("{:?}", with_token(9)).contains("xxx"), "{:?}", with_token(9));
        Hello::decode(&encode(&with_token(TOKEN_LEN_MAX)).freeze()).unwrap();
        let error = Hello::decode(&encode(&with_token(TOKEN_LEN_MAX + 1)).freeze()).unwrap_err();
        assert_eq!(error.to_string(), "a token: 16385 exceeds the limit of 16384");
    }

    #[test]
    fn a_lease_without_end_is_a_year() {
        let endless = Hello { lease: Duration::MAX, ..hello() };
        assert_eq!(Hello::decode(&encode(&endless).freeze()).unwrap().lease, LEASE_MAX);
    }
}

//! Whatever a peer says in its hello, the link that begins with it is one: within bounds, and at its end empty.
//!
//! The first byte tells who this side is, the rest is the body of the peer's hello.

use std::{
    task::{Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rmi_core::{
    ErrorKind, Limits, NodeId, ObjectId, RemoteError,
    endpoint::Endpoint,
    id::{Fingerprint, MethodId},
    session::{Counts, Established, Handshake, HandshakeError, MethodRef, Session, StartCall},
    time::Time,
    wire::{
        ENDPOINTS_MAX, FEATURES, Frame, Hello, Kind, Secret, TOKEN_LEN_MAX, Target, Ticket, WireError, split_frame,
    },
};

use crate::{Seed, choices::Choices, memory::within, message::golden};

const NODE: NodeId = NodeId::from_bytes([0xbb; 16]);
const LEASES: [Duration; 3] = [Duration::from_secs(30), Duration::ZERO, Duration::MAX];
const LEASE_LONGEST: Duration = Duration::from_hours(365 * 24);

/// The longest reason of a refusal.
const REASON_LEN_MAX: usize = 1 << 10;

/// The hellos may be large: 16 endpoints and a token.
const MEMORY_MAX: usize = 64 << 10;

/// Handles the peer's first frame, and lives with what it says.
pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let me = choices.byte();
    let body = Bytes::copy_from_slice(choices.rest());
    let kind = if me >= 0xf0 { Kind::Ping } else { Kind::Hello };
    let mine = mine(me);
    let handshake = if me & 1 == 0 { Handshake::dial(mine.clone()) } else { Handshake::accept(mine.clone()) };
    let frame = Frame { kind, body: body.clone() };
    let established = within(MEMORY_MAX + 4 * body.len(), || handshake.handle_frame(&frame));
    match established {
        Ok(established) => {
            assert_eq!(kind, Kind::Hello);
            check_hello(&mine, &body);
            check(&established, &mine);
            live(established);
        }
        Err(error) => check_error(&error, &mine),
    }
}

/// Who this side is: it dials or accepts, expects somebody or does not, and keeps things for a while.
fn mine(me: u8) -> Hello {
    let lease = LEASES.into_iter().cycle().nth(usize::from(me >> 3)).unwrap_or_default();
    let ticket = Ticket { link: rmi_core::wire::LinkId::from_bytes([1; 16]), secret: Secret::from_bytes([2; 16]) };
    Hello {
        expected: (me & 2 != 0).then_some(NodeId::from_bytes([0xaa; 16])),
        ticket: (me & 1 != 0 && me & 4 != 0).then_some(ticket),
        resumes: me & 5 == 4,
        ..Hello::new(NODE, &Limits::default(), lease)
    }
}

fn check_error(error: &HandshakeError, mine: &Hello) {
    assert!(!error.to_string().is_empty());
    match error {
        HandshakeError::OtherNode { expected, found } => assert!(Some(*expected) == mine.expected && found != expected),
        HandshakeError::Wire(WireError::Versions { ours, theirs }) => assert!(ours.1 < theirs.0 || theirs.1 < ours.0),
        HandshakeError::Refused(why) => assert!(why.reason.len() <= REASON_LEN_MAX),
        HandshakeError::Wire(_) => {}
    }
}

/// Both sides agree on the same, and a hello says what it said.
fn check_hello(mine: &Hello, body: &Bytes) {
    let Ok(theirs) = Hello::decode(body) else { panic!("it was accepted") };
    let mut out = BytesMut::new();
    theirs.encode(&mut out);
    assert!(Hello::decode(&out.freeze()).is_ok_and(|again| again == theirs));
    let (here, there) = (mine.agree(&theirs), theirs.agree(mine));
    assert!(matches!((here, there), (Ok(here), Ok(there)) if here == there));
}

fn check(Established { peer, lease, ticket, dialled, resumes, token }: &Established, mine: &Hello) {
    assert_eq!(peer.features & !FEATURES, 0);
    assert!(peer.endpoints.len() <= ENDPOINTS_MAX);
    assert!(peer.endpoints.iter().all(|endpoint| endpoint.to_string().len() <= Endpoint::LEN_MAX));
    for lease in [lease, &peer.lease] {
        assert!((Duration::from_millis(100)..=LEASE_LONGEST).contains(lease), "a lease of {lease:?}");
    }
    assert!(lease <= &peer.lease);
    assert!(mine.expected.is_none_or(|expected| peer.node == expected));
    assert!(token.as_ref().is_none_or(|token| token.len() <= TOKEN_LEN_MAX));
    assert!(!(*dialled && *resumes), "who was dialled resumes nothing");
    assert!(*dialled || ticket.is_none_or(|ticket| Some(ticket) == mine.ticket));
}

/// Makes calls over the link, waits for ever, and ends it.
fn live(established: Established) {
    let mut session: Session<()> = Session::new(established, Limits::default(), Time::START);
    let order = ObjectId::from_bytes([1; 16]);
    let mut made = Vec::new();
    for len in [0, 100, 70_000] {
        let call = StartCall {
            target: Target::Service("registry".into()),
            order,
            method: MethodRef { id: MethodId(7), fingerprint: Fingerprint(7), name: &"demo.Registry.lookup" },
            references: Vec::new(),
            payload: &mut BytesMut::zeroed(len).into(),
            deadline: (len == 0).then_some(Time::START + Duration::from_secs(1)),
            depth: 0,
            relayed: false,
            extras: None,
            promises: None,
        };
        made.extend(session.start_call(Time::START, call));
    }
    made.extend(session.start_acquire(Time::START, order, None));
    write(&mut session);
    if session.is_resumable() {
        session.suspend(Time::START);
        assert_eq!(session.start_resume().is_some(), session.is_dialler());
    }
    let _ = session.handle_timeout(session.next_timeout());
    write(&mut session);
    session.close();
    session.goodbye("so long");
    write(&mut session);
    session.lose(&RemoteError::new(ErrorKind::ConnectionLost, "cut"));
    for key in made {
        assert!(matches!(session.poll_answer(key, Waker::noop()), Poll::Ready(_)), "a call outlived its link");
    }
    assert_eq!(session.counts(), Counts::default());
    assert!(!session.has_output());
}

/// Writes all there is, which is frames.
fn write(session: &mut Session<()>) {
    while session.has_output() {
        let mut written: BytesMut = session.slices().iter().flat_map(|slice| slice.to_vec()).collect();
        assert!(!written.is_empty(), "has output, and offers none");
        session.advance(written.len());
        while let Ok(Some(_)) = split_frame(&mut written) {}
        assert!(written.is_empty(), "wrote what is no frame");
    }
}

/// The hellos of the golden file, to a side that dialled and to one that accepts.
pub(crate) fn seeds() -> Vec<Seed> {
    let hellos = golden().into_iter().filter(|(_, kind, _)| *kind == Kind::Hello as u8);
    let mut seeds: Vec<Seed> =
        hellos.zip([2, 0, 5, 6]).map(|((name, _, body), me)| (name, [&[me], &body[..]].concat())).collect();
    let none = Limits { calls: 0, call_bytes: 0, message_len: 0, ..Limits::default() };
    let mute = Hello { features: 0, ..Hello::new(NODE, &none, Duration::ZERO) };
    let mut body = BytesMut::from(&[5][..]);
    mute.encode(&mut body);
    seeds.push(("who-speaks-and-takes-nothing", body.to_vec()));
    seeds.push(("no-hello", vec![0xf0]));
    seeds
}

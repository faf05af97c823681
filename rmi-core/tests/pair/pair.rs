//! Two sides, the network between them, and the clock.

use std::time::Duration;

use bytes::BytesMut;
use rmi_core::{
    Certainty, ErrorKind, Limits, RemoteError,
    session::{Answer, CallKey, Counts},
    time::Time,
    wire::{Message, WireError, split_frame},
};

use crate::{
    network::Network,
    object::Obj,
    side::{Side, Start, connect},
};

/// The side that mostly calls.
pub(crate) const A: usize = 0;
/// The side that mostly serves.
pub(crate) const B: usize = 1;

pub(crate) const LEASE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) sides: [Side; 2],
    /// What each side wrote and the other has not read.
    pub(crate) networks: [Network; 2],
    pub(crate) now: Time,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    /// Both sides with these limits.
    pub(crate) fn with(limits: Limits) -> Self {
        Self::with_each([limits.clone(), limits])
    }

    pub(crate) fn with_each(limits: [Limits; 2]) -> Self {
        Self { sides: Side::both(limits, LEASE), networks: Default::default(), now: Time::START }
    }

    pub(crate) fn a(&mut self) -> &mut Side {
        &mut self.sides[A]
    }

    pub(crate) fn b(&mut self) -> &mut Side {
        &mut self.sides[B]
    }

    /// One write: the socket takes at most `max` bytes.
    pub(crate) fn write(&mut self, side: usize, max: usize) -> usize {
        let (session, network) = (&mut self.sides[side].session, &mut self.networks[side]);
        let mut left = max;
        for slice in session.slices().iter() {
            let part = &slice[..left.min(slice.len())];
            network.write(part);
            left -= part.len();
        }
        session.advance(max - left);
        self.sides[side].carry_out();
        max - left
    }

    /// At most `max` bytes that `side` wrote reach the other.
    pub(crate) fn try_deliver(&mut self, side: usize, max: usize) -> Result<usize, WireError> {
        let to = &mut self.sides[1 - side];
        let mut read = BytesMut::new();
        let count = self.networks[side].deliver(max, &mut read);
        to.handle_read(self.now, &read)?;
        Ok(count)
    }

    pub(crate) fn deliver(&mut self, side: usize, max: usize) -> usize {
        self.try_deliver(side, max).unwrap()
    }

    /// Writes and delivers everything of one side.
    pub(crate) fn send_all(&mut self, side: usize) {
        while self.sides[side].session.has_output() {
            assert!(self.write(side, usize::MAX) > 0, "has output, and offers none");
        }
        self.deliver(side, usize::MAX);
    }

    /// Lets both sides write and read until nothing moves.
    pub(crate) fn run(&mut self) {
        while self.sides.iter().any(|side| side.session.has_output()) || self.networks.iter().any(|net| net.len() > 0) {
            self.send_all(A);
            self.send_all(B);
        }
    }

    /// The connection is lost, with all that is on its way; A notices, and B perhaps not yet.
    pub(crate) fn lose(&mut self, b_notices: bool) {
        self.networks.iter_mut().for_each(Network::cut);
        self.sides[A].suspend(self.now);
        if b_notices {
            self.sides[B].suspend(self.now);
        }
    }

    /// A dials again, and the link goes on. Where the answer to that is lost on its way, A has to try
    /// once more.
    pub(crate) fn resume(&mut self) {
        assert!(self.try_resume(false));
    }

    pub(crate) fn try_resume(&mut self, loses_answer: bool) -> bool {
        let nodes = [self.sides[B].peer, self.sides[A].peer];
        let limits = [self.sides[A].limits.clone(), self.sides[B].limits.clone()];
        let [dialler, acceptor] = connect(nodes, &limits, LEASE);
        let resume = self.sides[A].session.start_resume().expect("A has lost its connection");
        self.sides[B].session.check_resume(&resume).unwrap();
        if !self.sides[B].session.is_suspended() {
            self.sides[B].suspend(self.now);
        }
        self.networks = Default::default();
        self.sides[B].session.handle_resume(acceptor, &resume, self.now).unwrap();
        self.sides[B].carry_out();
        if loses_answer {
            self.networks.iter_mut().for_each(Network::cut);
            return false;
        }
        // The answer is the first frame of the new connection.
        let mut written = BytesMut::new();
        let mut answer = None;
        while answer.is_none() {
            self.write(B, usize::MAX);
            self.networks[B].deliver(usize::MAX, &mut written);
            answer = split_frame(&mut written).unwrap();
        }
        let frame = answer.unwrap();
        let Message::Ack(ack) = Message::decode(frame.kind, frame.body, &limits[A]).unwrap() else { panic!("no ack") };
        self.sides[A].session.handle_resumed(dialler, ack, self.now).unwrap();
        self.sides[A].carry_out();
        self.sides[A].handle_read(self.now, &written).unwrap();
        true
    }

    pub(crate) fn advance(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    /// Time passes at both sides, and neither loses the other.
    pub(crate) fn pass_time(&mut self, span: Duration) {
        for result in self.try_pass_time(span) {
            result.unwrap();
        }
    }

    /// Time passes at both sides.
    pub(crate) fn try_pass_time(&mut self, span: Duration) -> [Result<(), RemoteError>; 2] {
        self.advance(span);
        let now = self.now;
        self.sides.each_mut().map(|side| {
            let result = side.session.handle_timeout(now);
            side.carry_out();
            result
        })
    }

    pub(crate) fn try_start(&mut self, side: usize, start: Start) -> Result<CallKey, RemoteError> {
        let now = self.now;
        self.sides[side].start(now, start)
    }

    pub(crate) fn start(&mut self, side: usize, start: Start) -> CallKey {
        self.try_start(side, start).unwrap()
    }

    pub(crate) fn cancel(&mut self, side: usize, key: CallKey) {
        let now = self.now;
        self.sides[side].cancel(now, key);
    }

    /// Gives an object of `owner` to the other side, in a call to a service that is answered.
    pub(crate) fn give(&mut self, owner: usize, object: &Obj) -> Obj {
        let key = self.start(owner, Start::service().passing(&[object]));
        self.run();
        let call = self.sides[1 - owner].take_call();
        self.sides[1 - owner].reply(call.id, b"", &[]);
        self.run();
        assert!(matches!(self.sides[owner].poll(key), Some(Answer::Reply { .. })));
        call.references.into_iter().next().flatten().unwrap()
    }

    /// The first bytes of the calls that arrived at B, in order.
    pub(crate) fn arrived(&self) -> Vec<u8> {
        self.sides[B].dispatched.iter().map(|payload| payload.first().copied().unwrap_or(0)).collect()
    }

    pub(crate) fn counts(&self) -> [Counts; 2] {
        self.sides.each_ref().map(|side| side.session.counts())
    }

    /// What must hold when nothing moves: both sides agree on every reference.
    #[track_caller]
    pub(crate) fn check_agreement(&self) {
        let [a, b] = self.counts();
        assert_eq!((a.exports, b.exports), (b.imports, a.imports), "objects given and held");
        let [a, b] = self.sides.each_ref().map(|side| side.session.reference_counts());
        assert_eq!((a.given, b.given), (b.held, a.held), "counts given and held");
    }

    #[track_caller]
    pub(crate) fn check_empty(&self) {
        assert_eq!(self.counts(), [Counts::default(); 2]);
        for side in &self.sides {
            assert!(!side.session.has_output());
            assert_eq!(side.session.output_len(), 0);
        }
    }
}

/// The payload of a reply.
#[track_caller]
pub(crate) fn replied(answer: Option<Answer<Obj>>) -> Vec<u8> {
    match answer {
        Some(Answer::Reply { payload, .. }) => payload.into_bytes().to_vec(),
        other => panic!("no reply: {other:?}"),
    }
}

/// How a call failed.
#[track_caller]
pub(crate) fn failed(answer: Option<Answer<Obj>>) -> (ErrorKind, Certainty) {
    match answer {
        Some(Answer::Failed(error)) => (error.kind(), error.certainty()),
        other => panic!("no failure: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn refused(started: Result<CallKey, RemoteError>) -> (ErrorKind, Certainty) {
    let error = started.expect_err("the call must not start");
    (error.kind(), error.certainty())
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

//! Bytes on their way in one direction of a connection.

use std::{collections::VecDeque, io, io::ErrorKind, task::Waker, time::Duration};

use bytes::{BufMut, BytesMut};
use tokio::time::Instant;

use crate::{program::Weather, random::Random};

/// One direction of a connection. Bytes keep their order; each piece has a time of arrival.
#[derive(Debug)]
pub(crate) struct Pipe {
    pieces: VecDeque<Piece>,
    weather: Weather,
    /// Its own, so that what else is written where changes nothing here.
    random: Random,
    /// No piece arrives before the one in front of it.
    latest: Instant,
    /// The connection breaks behind so many further bytes.
    pub(crate) breaks_after: Option<usize>,
    /// Nothing that is written arrives any more.
    pub(crate) broken: bool,
    pub(crate) reader: Option<Waker>,
}

#[derive(Debug)]
struct Piece {
    at: Instant,
    what: What,
}

#[derive(Debug)]
enum What {
    Bytes(VecDeque<u8>),
    /// The writer has closed.
    End,
    /// The connection was reset.
    Reset,
}

impl Pipe {
    pub(crate) fn new(now: Instant, weather: Weather, random: Random) -> Self {
        Self { weather, random, pieces: VecDeque::new(), latest: now, breaks_after: None, broken: false, reader: None }
    }

    /// When there is something to read, be it the end.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.pieces.front().map(|piece| piece.at)
    }

    /// Whether the writer's end or a reset has arrived, behind everything that was written.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.pieces.front().is_some_and(|piece| piece.at <= now && !matches!(piece.what, What::Bytes(_)))
    }

    pub(crate) fn push_bytes(&mut self, mut bytes: &[u8], now: Instant) {
        while !bytes.is_empty() {
            let whole = !self.weather.pieces || self.random.once_in(2);
            let length = if whole { bytes.len() } else { 1 + self.random.length_up_to(bytes.len() - 1) };
            let (piece, rest) = bytes.split_at(length);
            self.push(What::Bytes(piece.iter().copied().collect()), now);
            bytes = rest;
        }
    }

    pub(crate) fn push_end(&mut self, now: Instant) {
        self.push(What::End, now);
    }

    /// The connection is reset: nothing is written any more, and of what is under way some bytes
    /// arrive, or all.
    pub(crate) fn reset(&mut self, all: bool, now: Instant) {
        if self.broken {
            return;
        }
        self.broken = true;
        self.breaks_after = None;
        if !all {
            let mut left = self.random.length_up_to(self.len());
            self.pieces.retain_mut(|piece| match &mut piece.what {
                What::Bytes(bytes) => {
                    bytes.truncate(left);
                    left -= bytes.len();
                    !bytes.is_empty()
                }
                What::End | What::Reset => false,
            });
        }
        self.push(What::Reset, now);
    }

    fn push(&mut self, what: What, now: Instant) {
        let delay = Duration::from_millis(self.random.up_to(u64::from(self.weather.delay_max)));
        self.latest = self.latest.max(now + delay);
        self.pieces.push_back(Piece { at: self.latest, what });
    }

    /// How many bytes are under way.
    fn len(&self) -> usize {
        let bytes = self.pieces.iter().map(|piece| match &piece.what {
            What::Bytes(bytes) => bytes.len(),
            What::End | What::Reset => 0,
        });
        bytes.sum()
    }

    /// Reads what has arrived; 0 is the end.
    pub(crate) fn read(&mut self, into: &mut BytesMut, len_max: usize, now: Instant) -> io::Result<usize> {
        let mut count = 0;
        while let Some(piece) = self.pieces.front_mut().filter(|piece| piece.at <= now) {
            match &mut piece.what {
                What::Bytes(bytes) => {
                    if into.capacity() == into.len() {
                        into.reserve(64);
                    }
                    let room = (into.capacity() - into.len()).min(len_max - count);
                    let taken = bytes.len().min(room);
                    for byte in bytes.drain(..taken) {
                        into.put_u8(byte);
                    }
                    count += taken;
                    if !bytes.is_empty() {
                        break;
                    }
                    self.pieces.pop_front();
                }
                What::End if count == 0 => return Ok(0),
                What::Reset if count == 0 => {
                    return Err(io::Error::new(ErrorKind::ConnectionReset, "the simulated connection was reset"));
                }
                What::End | What::Reset => break,
            }
        }
        if count == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }
}

//! Large messages on their way in: chunks put together again, lane by lane.

use bytes::{Bytes, BytesMut};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{
    intake::{Filling, make_room},
    lanes::LANES_MAX,
};
use crate::wire::{
    WireError,
    chunk::{Chunk, ChunkHead, Part},
    frame::APART_LEN_MAX,
};

/// The open lanes of a peer. Memory grows only as bytes arrive, and the totals of all open lanes
/// stay below the length of one message.
#[derive(Debug)]
pub(crate) struct Assembly {
    lanes: HashMap<u32, Lane, RandomState>,
    message_len: u64,
    open: u64,
}

#[derive(Debug)]
struct Lane {
    total: u64,
    /// What of it is apart.
    front: Bytes,
    bytes: BytesMut,
}

/// A message (kind byte and body) whose chunks have all arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Its first chunk, where that was short, and else nothing.
    pub(crate) front: Bytes,
    /// The rest.
    pub(crate) bulk: Bytes,
}

impl Lane {
    /// What its buffer will hold.
    fn len_max(&self) -> usize {
        usize::try_from(self.total).unwrap_or(usize::MAX) - self.front.len()
    }

    fn append(&mut self, head: ChunkHead, data: &[u8]) {
        if is_apart(head, data.len()) {
            self.front = Bytes::copy_from_slice(data);
        } else {
            let len_max = self.len_max();
            make_room(&mut self.bytes, data.len(), len_max);
            self.bytes.extend_from_slice(data);
        }
    }
}

impl Assembly {
    pub(crate) fn new(message_len: u64) -> Self {
        Self { lanes: HashMap::default(), message_len, open: 0 }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// A chunk arrived. Returns the message that it completes.
    ///
    /// # Errors
    ///
    /// Where it belongs to no lane, or breaks a bound.
    pub(crate) fn handle_chunk(&mut self, chunk: Chunk) -> Result<Option<Whole>, WireError> {
        let head = chunk.head();
        let lane = self.expect(head, chunk.data.len())?;
        if head.part != Part::Abort {
            lane.append(head, &chunk.data);
        }
        Ok(self.handle_part(head.lane, head.part))
    }

    /// A chunk is on its way that has so much data: it is read into the memory of its lane, which is
    /// given back by [`handle_filled`](Self::handle_filled).
    ///
    /// # Errors
    ///
    /// As those of [`handle_chunk`](Self::handle_chunk).
    pub(super) fn begin_filling(&mut self, head: ChunkHead, data_len: usize) -> Result<Filling, WireError> {
        let lane = self.expect(head, data_len)?;
        let len_max = lane.len_max();
        let bytes = std::mem::take(&mut lane.bytes);
        let until = bytes.len() + data_len;
        Ok(Filling { lane: head.lane, part: head.part, bytes, until, len_max })
    }

    /// The data of a chunk has arrived in the memory of its lane.
    pub(super) fn handle_filled(&mut self, filled: Filling) -> Option<Whole> {
        self.lanes.get_mut(&filled.lane)?.bytes = filled.bytes;
        self.handle_part(filled.lane, filled.part)
    }

    fn handle_part(&mut self, lane: u32, part: Part) -> Option<Whole> {
        match part {
            Part::More => None,
            Part::Last => self.close(lane),
            Part::Abort => {
                self.close(lane);
                None
            }
        }
    }

    /// The lane of a chunk that has so much data.
    fn expect(&mut self, chunk: ChunkHead, data_len: usize) -> Result<&mut Lane, WireError> {
        if let Some(total) = chunk.total {
            self.open(chunk.lane, total)?;
        }
        let lane =
            self.lanes.get_mut(&chunk.lane).ok_or(WireError::Broken("sent a chunk of a lane that is not open"))?;
        let length = (lane.front.len() + lane.bytes.len()) as u64 + data_len as u64;
        match chunk.part {
            Part::Abort => Ok(lane),
            _ if length > lane.total => Err(WireError::Broken("sent more chunks than it announced")),
            Part::Last if length < lane.total => Err(WireError::Broken("sent fewer chunks than it announced")),
            Part::More | Part::Last => Ok(lane),
        }
    }

    fn open(&mut self, lane: u32, total: u64) -> Result<(), WireError> {
        if total > self.message_len {
            return Err(WireError::Limit { what: "message", size: total, limit: self.message_len });
        }
        let open = self.open.saturating_add(total);
        if self.lanes.len() >= LANES_MAX || (!self.lanes.is_empty() && open > self.message_len) {
            return Err(WireError::Broken("opened more lanes than it may"));
        }
        if self.lanes.insert(lane, Lane { total, front: Bytes::new(), bytes: BytesMut::new() }).is_some() {
            return Err(WireError::Broken("opened a lane that is open"));
        }
        self.open = open;
        Ok(())
    }

    fn close(&mut self, lane: u32) -> Option<Whole> {
        let lane = self.lanes.remove(&lane)?;
        self.open -= lane.total;
        Some(Whole { front: lane.front, bulk: lane.bytes.freeze() })
    }
}

/// Whether this is a first chunk that stays apart from what follows it.
pub(super) fn is_apart(head: ChunkHead, data_len: usize) -> bool {
    head.total.is_some() && head.part == Part::More && data_len <= APART_LEN_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(lane: u32, total: Option<u64>, part: Part, data: &'static [u8]) -> Chunk {
        Chunk { lane, total, part, data: Bytes::from_static(data) }
    }

    fn whole(front: &'static [u8], bulk: &'static [u8]) -> Option<Whole> {
        Some(Whole { front: Bytes::from_static(front), bulk: Bytes::from_static(bulk) })
    }

    #[test]
    fn only_a_short_first_chunk_stays_apart() {
        const LONG: &[u8] = &[7; APART_LEN_MAX + 1];
        let mut assembly = Assembly::new(10_000);
        let mut put =
            |chunks: Vec<Chunk>| chunks.into_iter().fold(None, |_, chunk| assembly.handle_chunk(chunk).unwrap());
        let lone = vec![chunk(1, Some(2), Part::Last, b"ab")];
        assert_eq!(put(lone), whole(b"", b"ab"));
        let len = LONG.len() as u64;
        let long = vec![chunk(1, Some(len + 1), Part::More, LONG), chunk(1, None, Part::Last, b"7")];
        let Some(Whole { front, bulk }) = put(long) else { panic!("not whole") };
        assert_eq!((front.len(), bulk.len()), (0, LONG.len() + 1));
        let short = vec![chunk(1, Some(3 + len), Part::More, b"abc"), chunk(1, None, Part::Last, LONG)];
        assert_eq!(put(short), whole(b"abc", LONG));
        let empty = vec![chunk(1, Some(2), Part::More, b"ab"), chunk(1, None, Part::Last, b"")];
        assert_eq!(put(empty), whole(b"ab", b""));
    }

    #[test]
    fn lanes_are_put_together_side_by_side() {
        let mut assembly = Assembly::new(100);
        assert_eq!(assembly.handle_chunk(chunk(1, Some(4), Part::More, b"ab")).unwrap(), None);
        assert_eq!(assembly.handle_chunk(chunk(2, Some(3), Part::More, b"x")).unwrap(), None);
        assert_eq!(assembly.handle_chunk(chunk(1, None, Part::Last, b"cd")).unwrap(), whole(b"ab", b"cd"));
        assert_eq!(assembly.handle_chunk(chunk(2, None, Part::Abort, b"")).unwrap(), None);
        assert!(assembly.handle_chunk(chunk(2, None, Part::Last, b"yz")).is_err());
        assert_eq!(assembly.open, 0);
    }

    #[test]
    fn every_bound_holds() {
        let bad = |chunks: Vec<Chunk>| {
            let mut assembly = Assembly::new(10);
            let handled: Vec<_> = chunks.into_iter().map(|chunk| assembly.handle_chunk(chunk)).collect();
            let (last, before) = handled.split_last().unwrap();
            assert!(before.iter().all(Result::is_ok));
            last.as_ref().unwrap_err().to_string()
        };
        assert_eq!(bad(vec![chunk(1, Some(11), Part::More, b"")]), "message: 11 exceeds the limit of 10");
        let too_many = "the peer opened more lanes than it may";
        assert_eq!(bad(vec![chunk(1, Some(6), Part::More, b""), chunk(2, Some(5), Part::More, b"")]), too_many);
        let nine = (0..9).map(|lane| chunk(lane, Some(1), Part::More, b"")).collect();
        assert_eq!(bad(nine), too_many);
        let again = vec![chunk(1, Some(2), Part::More, b"a"), chunk(1, Some(2), Part::More, b"a")];
        assert_eq!(bad(again), "the peer opened a lane that is open");
        assert_eq!(bad(vec![chunk(1, None, Part::Last, b"a")]), "the peer sent a chunk of a lane that is not open");
        assert_eq!(bad(vec![chunk(1, Some(2), Part::More, b"abc")]), "the peer sent more chunks than it announced");
        assert_eq!(bad(vec![chunk(1, Some(2), Part::Last, b"a")]), "the peer sent fewer chunks than it announced");
    }
}

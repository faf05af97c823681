//! What arrives over a connection, before it is whole: frames in one buffer, and the data of large
//! messages straight in the buffer of its lane.

use bytes::{Buf, BytesMut};

use super::{Directory, Event, Session, assembly::is_apart};
use crate::{
    memory,
    time::Time,
    wire::{
        Kind, WireError,
        chunk::{ChunkHead, Part},
        split_frame,
    },
};

/// Bytes that one read may bring, but for those of a chunk.
const READ_LEN: usize = 64 << 10;

/// Frames that are handled at once. A read can be thousands of them, each of which may cost a refusal.
const FRAMES_MAX: usize = 256;

/// Bytes read behind the data of a chunk, where the lane goes on: as many as precede the data of the next
/// one, a prefix, a kind, a lane and its part, so that nothing else has to be read for them.
const AHEAD_LEN: usize = 4 + 1 + 5 + 1;

/// What was read from a connection and is not handled yet.
#[derive(Debug, Default)]
pub struct Intake {
    read: BytesMut,
    /// Frames may be left in `read` that are whole.
    is_behind: bool,
    /// A chunk whose data is on its way; `read` is empty meanwhile.
    filling: Option<Filling>,
}

/// A chunk of which the head has arrived, and not all data: it is read where it belongs.
#[derive(Debug)]
pub(super) struct Filling {
    pub(super) lane: u32,
    pub(super) part: Part,
    /// Taken out of the lane.
    pub(super) bytes: BytesMut,
    /// The length of `bytes` once the chunk is whole.
    pub(super) until: usize,
    /// Its length once the message is whole.
    pub(super) len_max: usize,
}

impl Filling {
    fn ahead(&self) -> usize {
        // The bytes of the next chunk's head stand where that chunk's data is to be read.
        if self.part == Part::More { AHEAD_LEN.min(self.len_max - self.until) } else { 0 }
    }
}

impl Intake {
    /// What came behind the handshake.
    #[must_use]
    pub fn new(read: BytesMut) -> Self {
        Self { read, is_behind: false, filling: None }
    }

    /// Whether there is nothing to be handled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read.is_empty() && self.filling.is_none()
    }

    /// Whether some of what was read is to be handled before more is read.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Where to append what arrives next, and how many bytes at most.
    pub fn room(&mut self) -> (&mut BytesMut, usize) {
        if let Some(filling) = &mut self.filling {
            let missing = filling.until + filling.ahead() - filling.bytes.len();
            make_room(&mut filling.bytes, missing, filling.len_max);
            return (&mut filling.bytes, missing);
        }
        if self.read.capacity() - self.read.len() < READ_LEN / 8 {
            self.read.reserve(READ_LEN);
        }
        (&mut self.read, usize::MAX)
    }

    /// The chunk that was filled, once it is.
    fn take_filled(&mut self) -> Option<Filling> {
        let mut filled = self.filling.take_if(|filling| filling.bytes.len() >= filling.until)?;
        self.read.extend_from_slice(filled.bytes.get(filled.until..).unwrap_or_default());
        filled.bytes.truncate(filled.until);
        Some(filled)
    }
}

impl<O: Clone> Session<O> {
    /// Something arrived, and was appended where [`Intake::room`] said. Handles what is whole, some hundred frames
    /// of it: to be called again while [`Intake::is_behind`]. What the driver has to act on is added to `events`, in
    /// order.
    ///
    /// # Errors
    ///
    /// Where the peer broke the protocol: the link must be ended with that error.
    pub fn handle_read(
        &mut self,
        now: Time,
        intake: &mut Intake,
        directory: &impl Directory<O>,
        events: &mut Vec<Event<O>>,
    ) -> Result<(), WireError> {
        self.handle_heard(now);
        // Since the driver has looked, a handler on another thread may have answered what calls waited for.
        self.take_released(events);
        if let Some(filled) = intake.take_filled()
            && let Some(whole) = self.assembly.handle_filled(filled)
        {
            self.handle_whole(now, whole, directory, events)?;
        }
        if intake.filling.is_none() {
            for _ in 0..FRAMES_MAX {
                let Some(frame) = split_frame(&mut intake.read)? else {
                    intake.is_behind = false;
                    intake.filling = self.begin_filling(&mut intake.read)?;
                    return Ok(());
                };
                self.handle_frame(now, frame, directory, events)?;
            }
            intake.is_behind = true;
        }
        Ok(())
    }

    /// Where a chunk stands at the front that has not arrived whole, what there is of it goes to its lane.
    fn begin_filling(&mut self, read: &mut BytesMut) -> Result<Option<Filling>, WireError> {
        let Some((head, head_len, data_len)) = ChunkHead::peek(read)? else { return Ok(None) };
        if head.part == Part::Abort || is_apart(head, data_len) {
            return Ok(None);
        }
        if !self.peer.speaks(Kind::Chunk) {
            return Err(WireError::NotOffered(Kind::Chunk));
        }
        let mut filling = self.assembly.begin_filling(head, data_len)?;
        read.advance(head_len);
        make_room(&mut filling.bytes, read.len(), filling.len_max);
        filling.bytes.extend_from_slice(read);
        read.clear();
        Ok(Some(filling))
    }
}

/// Room for the beginning of a message, whatever its length. Memory that is not written to costs little.
const FIRST_LEN: usize = 1 << 20;

/// A message takes no more memory than this many times what has arrived of it, or [`FIRST_LEN`].
const TRUST: usize = 128;

/// Makes room for so many more bytes of a message that has `len_max` in all: in few steps, since each may
/// copy what is there, and only as bytes arrive, since the length is only what the peer says.
pub(super) fn make_room(bytes: &mut BytesMut, more: usize, len_max: usize) {
    if bytes.capacity() - bytes.len() >= more {
        return;
    }
    // Memory that is kept is there whether the message comes or not.
    if bytes.is_empty()
        && let Some(kept) = memory::take(len_max)
    {
        *bytes = kept;
        return;
    }
    let needed = bytes.len().saturating_add(more);
    let trusted = FIRST_LEN.max(bytes.len().saturating_mul(TRUST)).max(needed);
    // A buffer at least doubles: with half of the whole, the next step is just the whole.
    let wanted = if len_max <= trusted { len_max } else { trusted.min(len_max / 2) };
    bytes.reserve(wanted.max(needed) - bytes.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_in_few_steps_and_only_as_bytes_arrive() {
        for len_max in [100, 64 << 10, 1 << 20, 3 << 20, 16 << 20, 50 << 20] {
            let (mut bytes, mut steps) = (BytesMut::new(), 0);
            while bytes.len() < len_max {
                let more = (len_max - bytes.len()).min(60_000);
                let before = bytes.capacity();
                make_room(&mut bytes, more, len_max);
                steps += usize::from(bytes.capacity() != before);
                assert!(bytes.capacity() <= FIRST_LEN.max(TRUST * (bytes.len() + more)));
                bytes.resize(bytes.len() + more, 0);
            }
            assert_eq!(bytes.capacity(), len_max, "the result takes no more than it needs");
            assert!(steps <= 3, "{steps} steps to {len_max}");
        }
    }
}

//! Memory of large messages, kept for the next ones.
//!
//! New memory costs more than what is read into it: the system clears each page as it is first touched, and
//! while a large piece is given back nobody else in the process gets any, which is some 8 ms with 64 MiB.

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

/// From this length on the memory of a message is kept. What is smaller the allocator keeps, and hands out
/// again while it is still in the processor's cache.
pub(crate) const KEPT_LEN_MIN: usize = 4 << 20;

/// Bytes that are kept at most.
const KEPT_LEN_MAX: usize = 128 << 20;

/// Pieces that are kept at most.
const KEPT_MAX: usize = 16;

/// Given back at a time.
const STEP_LEN: usize = 1 << 20;

static SPARE: Mutex<Spare> = Mutex::new(Spare::new());

/// Memory for a message of this length, if any is kept that is not much longer.
pub(crate) fn take(len: usize) -> Option<BytesMut> {
    if len < KEPT_LEN_MIN {
        return None;
    }
    let memory = SPARE.lock().take(len)?;
    Some(Bytes::from(memory).into())
}

/// Keeps memory that held a message, while somebody ages what is kept, and where this is the last hold on it.
/// Returns what finds no place.
#[must_use = "it is to be released"]
pub(crate) fn keep(bytes: Bytes) -> Vec<Vec<u8>> {
    if !bytes.is_unique() {
        return Vec::new();
    }
    let mut memory = Vec::from(bytes);
    memory.clear();
    SPARE.lock().keep(memory)
}

/// Whether whoever asks is to [`age`] from now on what is kept.
pub(crate) fn begin_ageing() -> bool {
    !std::mem::replace(&mut SPARE.lock().is_aged, true)
}

/// Gives back what was not used since the last time. Whether anything is left to be aged.
pub(crate) fn age() -> bool {
    let (old, goes_on) = SPARE.lock().age();
    release(old);
    goes_on
}

/// Gives all back: nobody ages it any more.
pub(crate) fn clear() {
    let spare = std::mem::replace(&mut *SPARE.lock(), Spare::new());
    drop(spare);
}

/// Gives memory back little by little, so that others get some in between.
pub(crate) fn release(memory: Vec<Vec<u8>>) {
    for mut piece in memory {
        while piece.capacity() > STEP_LEN {
            piece.shrink_to(piece.capacity() - STEP_LEN);
        }
    }
}

#[derive(Debug)]
struct Spare {
    kept: Vec<Kept>,
    is_aged: bool,
}

#[derive(Debug)]
struct Kept {
    memory: Vec<u8>,
    is_old: bool,
}

impl Spare {
    const fn new() -> Self {
        Self { kept: Vec::new(), is_aged: false }
    }

    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        // A message may be held for long: it takes no more than a quarter beyond what it needs.
        let fits = |kept: &Kept| (len..=len + len / 4).contains(&kept.memory.capacity());
        let at = self.kept.iter().rposition(fits)?;
        Some(self.kept.remove(at).memory)
    }

    /// Returns what finds no place, the oldest first.
    fn keep(&mut self, memory: Vec<u8>) -> Vec<Vec<u8>> {
        if !self.is_aged || !(KEPT_LEN_MIN..=KEPT_LEN_MAX).contains(&memory.capacity()) {
            return vec![memory];
        }
        self.kept.push(Kept { memory, is_old: false });
        let mut left = Vec::new();
        while self.kept.len() > KEPT_MAX || self.len() > KEPT_LEN_MAX {
            left.push(self.kept.remove(0).memory);
        }
        left
    }

    fn len(&self) -> usize {
        self.kept.iter().map(|kept| kept.memory.capacity()).sum()
    }

    fn age(&mut self) -> (Vec<Vec<u8>>, bool) {
        let old = self.kept.extract_if(.., |kept| kept.is_old).map(|kept| kept.memory).collect();
        self.kept.iter_mut().for_each(|kept| kept.is_old = true);
        self.is_aged = !self.kept.is_empty();
        (old, self.is_aged)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    fn aged() -> Spare {
        Spare { is_aged: true, ..Spare::new() }
    }

    fn memory(mib: usize) -> Vec<u8> {
        Vec::with_capacity(mib << 20)
    }

    #[test]
    fn memory_serves_a_message_of_about_its_length() {
        let mut spare = aged();
        assert!(spare.keep(memory(8)).is_empty());
        for len in [(8 << 20) + 1, 6 << 20, 4 << 20] {
            assert!(spare.take(len).is_none(), "{len}");
        }
        assert_eq!(spare.take(7 << 20).unwrap().capacity(), 8 << 20);
        assert!(spare.take(7 << 20).is_none(), "once");
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes() {
        let mut spare = aged();
        assert!(spare.keep(memory(100)).is_empty());
        assert_eq!(spare.keep(memory(64)).iter().map(Vec::capacity).collect::<Vec<_>>(), [100 << 20]);
        assert_eq!(spare.keep(memory(129)).len(), 1, "more than all that may be kept");
        assert_eq!(spare.keep(Vec::with_capacity(1000)).len(), 1, "the allocator keeps it");
        let left: usize = (0..2 * KEPT_MAX).map(|_| spare.keep(memory(4)).len()).sum();
        assert_eq!((spare.kept.len(), left), (KEPT_MAX, KEPT_MAX + 1));
    }

    #[test]
    fn what_is_not_used_goes_and_then_nothing_is_aged() {
        let mut spare = aged();
        spare.keep(memory(4));
        assert!(matches!(spare.age(), (old, true) if old.is_empty()));
        spare.keep(memory(5));
        assert!(matches!(spare.age(), (old, true) if old.len() == 1 && old[0].capacity() == 4 << 20));
        assert!(matches!(spare.age(), (old, false) if old.len() == 1));
        assert_eq!(spare.keep(memory(4)).len(), 1, "nobody would give it back");
    }

    #[test]
    fn a_message_in_kept_memory_begins_empty() {
        assert!(begin_ageing());
        assert!(!begin_ageing(), "one is enough");
        let mut sent = Bytes::from(vec![7; 5 << 20]);
        assert!(keep(sent.clone()).is_empty());
        assert!(take(5 << 20).is_none(), "somebody else holds it");
        // As it is once all has been written.
        sent.advance(5 << 20);
        assert!(keep(sent).is_empty());
        let taken = take(5 << 20).unwrap();
        assert_eq!((taken.len(), taken.capacity()), (0, 5 << 20));
        assert!(!age());
        clear();
    }
}

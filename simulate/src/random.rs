//! Numbers that look random and come from a seed alone.

use rmi_core::NodeId;

/// A stream of numbers; equal seeds give equal streams (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Another stream.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// A number from 0 to `most`.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        match most.checked_add(1) {
            Some(count) => self.next() % count,
            None => self.next(),
        }
    }

    /// The id of a node.
    pub(crate) fn node_id(&mut self) -> NodeId {
        let halves = u128::from(self.next()) << 64 | u128::from(self.next());
        NodeId::from_bytes(halves.to_be_bytes())
    }

    /// A length from 0 to `most`.
    pub(crate) fn length_up_to(&mut self, most: usize) -> usize {
        usize::try_from(self.up_to(most as u64)).unwrap_or(most)
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.up_to(times.saturating_sub(1)) == 0
    }
}

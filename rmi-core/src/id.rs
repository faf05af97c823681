//! The identities of nodes, objects, interfaces and methods.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A node: one presence of a process in the system, random and new at every start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeId([u8; 16]);

impl NodeId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(*Uuid::new_v4().as_bytes())
    }

    /// The id with these 16 bytes, as they stand on the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes of the id, as they stand on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// All at once: it is random as it is.
impl Hash for NodeId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_be_bytes(self.0));
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u128::from_be_bytes(self.0) >> 96)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// An exported object. Who knows the id may call the object, so `Debug` and `Display` show only
/// its first 8 digits; [`expose`](Self::expose) gives all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectId([u8; 16]);

impl ObjectId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(*Uuid::new_v4().as_bytes())
    }

    /// The id with these 16 bytes, as they stand on the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes of the id, as they stand on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// All 32 digits: the right to call the object, so keep it out of logs.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }
}

/// All at once: it is random as it is.
impl Hash for ObjectId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_be_bytes(self.0));
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u128::from_be_bytes(self.0) >> 96)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self}…)")
    }
}

/// A remote interface: FNV-1a 64 of its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct InterfaceId(pub u64);

/// A method: FNV-1a 64 of the declaring interface's name, a dot and the method's name.
/// 0 to 255 are reserved for the runtime.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct MethodId(pub u64);

/// A call of the runtime's own: answered by the owner once it has begun all that came before it to the
/// same object.
pub(crate) const FENCE: MethodId = MethodId(1);

/// A call of the runtime's own: answered by a stream with what it brings next.
pub(crate) const PULL: MethodId = MethodId(2);

/// A method's signature as written: FNV-1a 64 of argument names and types and of the result.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a 64 over several pieces of text, as if they stood in one string.
///
/// The parameters are those of <http://www.isthe.com/chongo/tech/comp/fnv/>.
#[must_use]
#[expect(clippy::indexing_slicing, reason = "both indices are bounded by the loops; const code has no iterators")]
pub const fn fnv1a64(pieces: &[&str]) -> u64 {
    let mut hash = FNV_OFFSET;
    let mut piece = 0;
    while piece < pieces.len() {
        let bytes = pieces[piece].as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(FNV_PRIME);
            at += 1;
        }
        piece += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_matches_the_published_vectors() {
        assert_eq!(fnv1a64(&[""]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a64(&["a"]), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a64(&["foobar"]), 0x8594_4171_f739_67e8);
        assert_eq!(fnv1a64(&["foo", "", "bar"]), fnv1a64(&["foobar"]));
    }

    #[test]
    fn object_ids_show_only_eight_digits() {
        let id = ObjectId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string(), "abababab");
        assert_eq!(format!("{id:?}"), "ObjectId(abababab…)");
        assert_eq!(id.expose(), "ab".repeat(16));
        assert_eq!(ObjectId::from_bytes(id.to_bytes()), id);
    }
}

//! The names of all interfaces that an object has.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use crate::id::fnv1a64;

/// The names of all interfaces of an object, most derived first. Cheap to clone and to compare.
#[derive(Clone)]
pub struct InterfaceSet(Arc<Names>);

struct Names {
    hash: u64,
    names: Vec<String>,
    is_stream: bool,
}

/// The one interface of streams.
pub(crate) const STREAM: &str = "rmi.Stream";

impl InterfaceSet {
    /// The set of these names, most derived first.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        let hash = names.iter().fold(0u64, |hash, name| hash.rotate_left(7) ^ fnv1a64(&[name]));
        let is_stream = matches!(&names[..], [name] if name == STREAM);
        Self(Arc::new(Names { hash, names, is_stream }))
    }

    /// Whether they are those of a stream.
    pub(crate) fn is_stream(&self) -> bool {
        self.0.is_stream
    }

    /// The names, most derived first.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0.names
    }

    /// Whether the interface of this name is among them.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.names.iter().any(|known| known == name)
    }
}

impl PartialEq for InterfaceSet {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.hash == other.0.hash && self.0.names == other.0.names)
    }
}

impl Eq for InterfaceSet {}

impl Hash for InterfaceSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl fmt::Debug for InterfaceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.0.names).finish()
    }
}

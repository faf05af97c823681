//! What arrives from peers and what people type, as functions of arbitrary bytes.
//!
//! Each [`Target`] panics where something does not hold that must hold whatever the bytes are: nothing else
//! panics, what decodes encodes to what decodes to the same, memory stays in proportion, and a link that
//! ends leaves nothing. libFuzzer looks for such bytes (`cargo xtask fuzz`); the tests of this package
//! replay those that it has found interesting, which are kept in `corpus/`.

mod choices;
mod codec;
mod frame;
mod handshake;
mod memory;
mod message;
mod names;
mod reference;
mod session;
mod url;

// Two sessions and the network between them, as the tests of rmi-core have them.
macro_rules! pair {
    ($($module:ident in $file:literal),* $(,)?) => {$(
        #[path = $file]
        #[allow(
            dead_code,
            clippy::unwrap_used,
            clippy::indexing_slicing,
            reason = "the tests of another package, of which the targets need a part"
        )]
        mod $module;
    )*};
}
pair! {
    network in "../../rmi-core/tests/pair/network.rs",
    object in "../../rmi-core/tests/pair/object.rs",
    pair in "../../rmi-core/tests/pair/pair.rs",
    random in "random.rs",
    side in "../../rmi-core/tests/pair/side.rs",
}

/// A function of arbitrary bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called, and the directory of its corpus.
    pub name: &'static str,
    /// Panics where something does not hold.
    pub run: fn(&[u8]),
    /// Where to begin: bytes that get far, each with a name.
    pub seeds: fn() -> Vec<Seed>,
}

/// Bytes that get far, and what they are.
pub type Seed = (&'static str, Vec<u8>);

/// All there are.
pub const TARGETS: [Target; 8] = [
    Target { name: "codec", run: codec::run, seeds: codec::seeds },
    Target { name: "frame", run: frame::run, seeds: frame::seeds },
    Target { name: "handshake", run: handshake::run, seeds: handshake::seeds },
    Target { name: "message", run: message::run, seeds: message::seeds },
    Target { name: "names", run: names::run, seeds: names::seeds },
    Target { name: "reference", run: reference::run, seeds: reference::seeds },
    Target { name: "session", run: session::run, seeds: session::seeds },
    Target { name: "url", run: url::run, seeds: url::seeds },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

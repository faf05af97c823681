//! Every bound of the runtime.

use std::{sync::LazyLock, time::Duration};

/// The bounds that a node keeps and tells its peers. They may be tightened, never switched off.
///
/// ```
/// use rmi_core::Limits;
/// let limits = Limits { calls: 64, ..Limits::default() };
/// assert_eq!(limits.message_len, 128 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls that one peer may have in flight towards this node (default 4,096).
    pub calls: u32,
    /// Bytes of call payloads that one peer may have on their way to handlers of this node
    /// (default 16 MiB). A single larger call may go, and small ones beside it.
    pub call_bytes: u64,
    /// Length of one message in bytes, the sum of its chunks (default 128 MiB).
    pub message_len: u64,
    /// Calls that may wait at this node for a peer's credit (default 131,072); one more is
    /// refused as [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded).
    pub waiting_calls: u32,
    /// Bytes that may wait to be written to one peer before arriving calls are held back
    /// (default 32 MiB). One large message counts as three quarters of it at most.
    pub outbox_bytes: u64,
    /// How deep calls may nest across nodes, each made by the handler of the one before
    /// (default 64).
    pub depth: u32,
    /// How deep one value may nest (default 128).
    pub nesting: u32,
    /// Elements of all sequences and maps of one message, empty ones too (default 16 Mi).
    pub elements: u64,
    /// Of those, the ones beyond the length of the message in bytes: they take no bytes, but time (default 65,536).
    pub empty_elements: u64,
    /// Bytes of memory that the sequences, maps, strings, options and enums of one message may take
    /// when decoded (default 512 MiB).
    pub decoded_bytes: u64,
    /// References in one message (default 65,536).
    pub references: u32,
    /// Methods and interface lists that one peer may number on a link (default 65,536).
    pub definitions: u32,
    /// Bytes of memory that the names in them may take (default 8 MiB).
    pub definition_bytes: u64,
    /// Objects that one peer may hold of this node (default 16 Mi).
    pub exports: u32,
    /// Time to connect and shake hands (default 5 s).
    pub connect_timeout: Duration,
    /// Time for a call that sets none itself (default 30 s).
    pub call_timeout: Duration,
    /// Calls that may go again at once (default 5,000), beyond one in ten of all calls and ten a second.
    /// What never left this node counts only where a name has to be looked up anew.
    pub retries: u32,
    /// Time that a shutdown waits for calls being served (default 30 s).
    pub drain_timeout: Duration,
    /// Connections that may be in their handshake at once; more wait in the listener's backlog
    /// (default 1,024).
    pub handshakes: u32,
    /// How long a method may take to be run where its call is read, and not in a task of its own (default 50 µs).
    pub quick: Duration,
}

/// For what never leaves the process.
pub(crate) static UNBOUNDED: LazyLock<Limits> = LazyLock::new(|| Limits {
    elements: u64::MAX,
    empty_elements: u64::MAX,
    decoded_bytes: u64::MAX,
    ..Limits::default()
});

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 4096,
            call_bytes: 16 << 20,
            message_len: 128 << 20,
            waiting_calls: 131_072,
            outbox_bytes: 32 << 20,
            depth: 64,
            nesting: 128,
            elements: 16 << 20,
            empty_elements: 65_536,
            decoded_bytes: 512 << 20,
            references: 65_536,
            definitions: 65_536,
            definition_bytes: 8 << 20,
            exports: 16 << 20,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            retries: 5000,
            drain_timeout: Duration::from_secs(30),
            handshakes: 1024,
            quick: Duration::from_micros(50),
        }
    }
}

//! Every bound of the runtime.

use std::{sync::LazyLock, time::Duration};

/// The bounds that a node keeps and tells its peers. They may be tightened, never switched off.
///
/// Beyond each there is a clear error, or a wait, and room again as soon as something is freed. Those of one peer are
/// counted on each link. What is fixed, and of which nobody can have more, stands in the protocol, under *Bounds*.
///
/// | limit | default | beyond it | proved by |
/// |---|--:|---|---|
/// | `calls` | 4,096 | further ones wait at their caller; a peer that sends them loses its link | `more_calls_than_there_is_credit_end_the_link`, `ten_thousand_calls_at_once_are_all_answered_four_at_a_time` |
/// | `call_bytes` | 16 MiB | the same | `bytes_beyond_credit`, `large_arguments_wait_for_the_window_of_bytes` |
/// | `message_len` | 128 MiB | the call fails as `TooLarge`; a peer that sends more loses its link | `a_call_longer_than_the_peer_takes_is_refused_here`, `chunks_that_make_no_message` |
/// | `waiting_calls` | 131,072 | the call fails as `Overloaded` | `calls_beyond_those_that_may_wait_are_refused_and_were_not_sent` |
/// | `waiting_bytes` | 256 MiB | the same | `so_many_bytes_of_calls_wait_and_more_once_some_have_gone` |
/// | `outbox_bytes` | 32 MiB | calls that arrive begin later; a peer that reads no answers loses its link | `a_client_that_reads_no_replies_stops_nobody_and_fills_nothing_without_bound`, `questions_whose_answers_are_never_read` |
/// | `depth` | 64 | the call fails as `Overloaded` | `calls_nest_to_their_depth_and_no_deeper_on_one_thread` |
/// | `nesting` | 128 | the call fails as `Unmarshal` | `nesting_ends_at_the_limit` |
/// | `elements` | 16 Mi | the same | `elements_are_bounded_before_any_is_read` |
/// | `empty_elements` | 65,536 | the same: so many more elements than a message has bytes | `elements_that_take_no_bytes_are_few` |
/// | `decoded_bytes` | 512 MiB | the same | `memory_is_bounded` |
/// | `references` | 65,536 | the call fails as `TooLarge`; a peer that sends more loses its link | `a_message_holds_as_many_references_as_it_may` |
/// | `definitions` | 65,536 | the same | `definitions_beyond_the_bounds_fail_their_call_alone`, `too_many_definitions` |
/// | `definition_bytes` | 8 MiB | the same | `definitions_beyond_the_bounds_fail_their_call_alone`, `definitions_of_too_many_bytes` |
/// | `exports` | 16 Mi | the call that passes more fails as `Overloaded` | `a_peer_is_given_so_many_objects_and_more_once_it_has_released_some`, `a_result_beyond_what_a_peer_may_be_given_is_refused` |
/// | `imports` | 16 Mi | the same, and they are given back | `a_call_that_brings_more_than_may_be_held_of_a_peer_is_refused_and_gives_it_back`, `a_result_that_brings_more_than_may_be_held_of_a_peer_fails_and_gives_it_back` |
/// | `streams` | 16,384 | the call that passes more fails as `Overloaded` | `a_peer_reads_so_many_streams_and_more_once_it_has_dropped_some` |
/// | `connect_timeout` | 5 s | the connection is closed, the dial fails as `Unreachable` | `half_open_connections_cost_a_bounded_time_and_stop_nobody`, `a_peer_that_accepts_and_stays_silent_costs_the_time_to_connect` |
/// | `call_timeout` | 30 s | the call fails as `DeadlineExceeded` | `the_time_of_a_node_is_the_time_of_its_calls` |
/// | `retries` | 5,000 | a call that failed does not go again | `many_callers_of_a_server_in_trouble_go_again_within_the_budget_of_their_node` |
/// | `drain_timeout` | 30 s | the node ends with calls unanswered | `a_shutdown_waits_no_longer_than_it_may` |
/// | `handshakes` | 1,024 | the oldest is closed | `silent_diallers_keep_nobody_out`, `the_oldest_handshake_of_the_busiest_address_gives_way`, `silent_and_heard_handshakes_leave_each_other_half_of_the_places` |
/// | `connections` | 16,384 | the dial fails as `Overloaded`; of lost links over which nothing is held the oldest is forgotten | `a_node_takes_so_many_connections_and_more_once_some_have_ended`, `what_lost_peers_hold_keeps_newcomers_out_until_their_lease_is_over`, `of_lost_links_over_which_nothing_is_held_the_oldest_gives_way` |
/// | `connections_per_address` | 8,192 | the same | `one_address_takes_so_many_connections_and_leaves_room_for_others`, `an_address_of_ipv6_is_a_64` |
/// | `quick` | 50 µs | the method runs in tasks of its own | `one_slow_call_among_quick_ones_is_found_and_they_keep_their_place` |
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
    /// Bytes of payloads of the calls that so wait (default 256 MiB, two of the longest messages). A single larger call
    /// may wait.
    pub waiting_bytes: u64,
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
    /// Objects that one peer may hold of this node (default 16 Mi). A call or a result that passes more fails.
    pub exports: u32,
    /// Objects that this node may hold of one peer (default 16 Mi). A call or a result that brings more fails, and they
    /// are given back.
    pub imports: u32,
    /// Streams that one peer may hold of this node, read or not (default 16,384: with four pulls each, as many as may
    /// be unanswered). A call or a result that passes more fails.
    pub streams: u32,
    /// Time to connect and shake hands (default 5 s).
    pub connect_timeout: Duration,
    /// Time for a call that sets none itself (default 30 s).
    pub call_timeout: Duration,
    /// Calls that may go again at once (default 5,000), beyond one in ten of all calls and ten a second.
    /// What never left this node counts only where a name has to be looked up anew.
    pub retries: u32,
    /// Time that a shutdown waits for calls being served (default 30 s).
    pub drain_timeout: Duration,
    /// Connections that may be in their handshake at once (default 1,024). For one more the oldest is closed, of
    /// the address that has most of them: a handshake takes milliseconds, and who is silent keeps nobody out.
    /// Those that an [`Authenticator`](crate::Authenticator) still has to decide about have half of the places, which
    /// silent ones do not take.
    pub handshakes: u32,
    /// Connections that others may have dialled to this node (default 16,384, some 100 MB where they are idle).
    /// Links that are lost are bounded by the same number once more, with what is kept of lost peers for their lease.
    pub connections: u32,
    /// Of those, the ones from one IP address, or one /64 of IPv6 (default 8,192: no address fills a node alone).
    /// All peers behind a proxy or a NAT have one address, and so do all processes of this host that dial a
    /// loopback address. Connections that come by other ways are not counted by address.
    pub connections_per_address: u32,
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
            waiting_bytes: 256 << 20,
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
            imports: 16 << 20,
            streams: 16_384,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            retries: 5000,
            drain_timeout: Duration::from_secs(30),
            handshakes: 1024,
            connections: 16_384,
            connections_per_address: 8192,
            quick: Duration::from_micros(50),
        }
    }
}

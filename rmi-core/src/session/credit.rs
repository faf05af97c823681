//! Credit: how many calls and bytes may be on their way to a peer.

/// What this side may still send. A call takes one call credit until it is answered and its
/// payload's length in byte credit until the peer gives it back.
#[derive(Debug)]
pub(crate) struct SendCredit {
    calls: u32,
    calls_out: u32,
    bytes: Window,
    bytes_out: u64,
    pulls_out: u32,
}

/// Pulls of streams that may be unanswered in one direction: they wait for what a stream brings, and so
/// take nothing of what calls need.
const PULLS_MAX: u32 = 1 << 16;

impl SendCredit {
    /// The windows that the peer told in its hello.
    pub(crate) fn new(calls: u32, bytes: u64) -> Self {
        Self { calls: calls.max(1), calls_out: 0, bytes: Window::new(bytes), bytes_out: 0, pulls_out: 0 }
    }

    /// Takes the credit of one pull, if there is enough.
    pub(crate) fn take_pull(&mut self) -> bool {
        let may = self.has_pull();
        self.pulls_out += u32::from(may);
        may
    }

    /// Whether there is enough for one pull.
    pub(crate) fn has_pull(&self) -> bool {
        self.pulls_out < PULLS_MAX
    }

    /// A pull was answered, or never left.
    pub(crate) fn give_back_pull(&mut self) {
        self.pulls_out = self.pulls_out.saturating_sub(1);
    }

    /// What a call takes of the byte credit.
    pub(crate) fn cost(&self, payload: usize, references: usize) -> u64 {
        self.bytes.cost(payload, references)
    }

    /// Takes the credit of one call, if there is enough.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        if !self.has(bytes) {
            return false;
        }
        self.calls_out += 1;
        self.bytes_out += bytes;
        true
    }

    /// Whether there is enough for one call.
    pub(crate) fn has(&self, bytes: u64) -> bool {
        self.calls_out < self.calls && self.bytes_out.saturating_add(bytes) <= self.bytes.0
    }

    /// A call was answered, or never left.
    pub(crate) fn give_back_call(&mut self) {
        self.calls_out = self.calls_out.saturating_sub(1);
    }

    /// The peer gave bytes back, or they never left.
    pub(crate) fn give_back_bytes(&mut self, bytes: u64) {
        self.bytes_out = self.bytes_out.saturating_sub(bytes);
    }
}

/// What the peer may still send: counts what it has sent, and when to give bytes back.
#[derive(Debug)]
pub(crate) struct ReceiveCredit {
    calls: u32,
    calls_in: u32,
    bytes: Window,
    bytes_in: u64,
    owed: u64,
    small: u64,
    pulls_in: u32,
}

impl ReceiveCredit {
    /// The windows that this side told in its hello.
    pub(crate) fn new(calls: u32, bytes: u64) -> Self {
        let small = bytes / 16 / u64::from(calls.max(1));
        Self { calls: calls.max(1), calls_in: 0, bytes: Window::new(bytes), bytes_in: 0, owed: 0, small, pulls_in: 0 }
    }

    /// What a call takes of the byte credit.
    pub(crate) fn cost(&self, payload: usize, references: usize) -> u64 {
        self.bytes.cost(payload, references)
    }

    /// So small are calls whose bytes may wait for their answers: as many of them as there may be at once
    /// take a sixteenth of the window. With what is owed that is the quarter that no call takes, so that
    /// no call waits for a slow method.
    pub(crate) fn small(&self) -> u64 {
        self.small
    }

    /// A call arrived; false if the peer sent more than it may.
    pub(crate) fn handle_call(&mut self, bytes: u64) -> bool {
        let held = self.bytes_in.saturating_add(bytes);
        if self.calls_in >= self.calls || held > self.bytes.0 {
            return false;
        }
        self.calls_in += 1;
        self.bytes_in = held;
        true
    }

    /// An acquire arrived: it takes nothing, and its answer gives back what a call's does.
    pub(crate) fn handle_acquire(&mut self) {
        self.calls_in += 1;
    }

    /// A pull arrived; false if the peer sent more than it may.
    pub(crate) fn handle_pull(&mut self) -> bool {
        let may = self.pulls_in < PULLS_MAX;
        self.pulls_in += u32::from(may);
        may
    }

    /// A pull was answered.
    pub(crate) fn handle_pulled(&mut self) {
        self.pulls_in = self.pulls_in.saturating_sub(1);
    }

    /// A call was answered.
    pub(crate) fn handle_answer(&mut self) {
        self.calls_in = self.calls_in.saturating_sub(1);
    }

    /// Bytes of a call were let go. Returns what to give back now: more than three sixteenths of the
    /// window at a time, so that small calls cost no message each.
    pub(crate) fn let_go(&mut self, bytes: u64) -> Option<u64> {
        self.owed += bytes;
        if self.owed <= self.bytes.0 / 4 - self.bytes.0 / 16 {
            return None;
        }
        let give = std::mem::take(&mut self.owed);
        self.bytes_in = self.bytes_in.saturating_sub(give);
        Some(give)
    }
}

/// The bytes of calls that may be held at once.
#[derive(Clone, Copy, Debug)]
struct Window(u64);

impl Window {
    fn new(bytes: u64) -> Self {
        Self(bytes.max(1))
    }

    /// Its payload, and what each reference takes in memory; but never the last quarter of the window. That
    /// may have been let go of and not be given back yet, so that the largest call goes without it; and
    /// small ones go beside the largest, one at a time, however long that is on its way.
    fn cost(self, payload: usize, references: usize) -> u64 {
        let bytes = payload as u64 + REFERENCE_COST * references as u64;
        bytes.min((self.0 - self.0 / 4).max(1))
    }
}

const REFERENCE_COST: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_calls_larger_than_the_window_one_goes_and_small_ones_beside_it() {
        for window in [0, 1, 3, 100, 16 << 20] {
            let mut credit = SendCredit::new(8, window);
            let large = credit.cost(1 << 30, 0);
            assert!(credit.take(window / 4) && credit.take(large), "a quarter may be owed");
            assert!(!credit.take(large), "one at a time");
            credit.give_back_bytes(window / 4);
            assert!(window < 4 || (credit.take(1) && credit.take(window / 4 - 1)), "{window}");
            assert!(!credit.take(large));
            assert!(!credit.take(1) || window < 4);
        }
    }

    #[test]
    fn calls_are_bounded_until_answered() {
        let mut credit = SendCredit::new(2, 100);
        assert!(credit.take(0) && credit.take(0));
        assert!(!credit.take(0));
        credit.give_back_call();
        assert!(credit.take(0));
    }

    #[test]
    fn whoever_sends_by_the_rules_is_never_refused_and_never_starves() {
        let (mut sender, mut receiver) = (SendCredit::new(4, 100), ReceiveCredit::new(4, 100));
        for (sent, bytes) in [7, 90, 25, 1000, 1, 99, 26, 100].into_iter().cycle().take(5000).enumerate() {
            let bytes = sender.cost(bytes, 0);
            assert!(sender.take(bytes), "starved after {sent} calls");
            assert!(receiver.handle_call(bytes));
            receiver.handle_answer();
            sender.give_back_call();
            if let Some(bytes) = receiver.let_go(bytes) {
                sender.give_back_bytes(bytes);
            }
        }
    }

    #[test]
    fn pulls_have_a_bound_of_their_own() {
        let (mut sender, mut receiver) = (SendCredit::new(1, 10), ReceiveCredit::new(1, 10));
        for _ in 0..PULLS_MAX {
            assert!(sender.take_pull() && receiver.handle_pull());
        }
        assert!(!sender.take_pull() && !receiver.handle_pull());
        assert!(sender.take(10) && receiver.handle_call(10), "calls go beside them");
        sender.give_back_pull();
        receiver.handle_pulled();
        assert!(sender.take_pull() && receiver.handle_pull());
    }

    #[test]
    fn an_acquire_counts_nothing() {
        let mut credit = ReceiveCredit::new(1, 10);
        assert!(credit.handle_call(0));
        credit.handle_acquire();
        credit.handle_answer();
        assert!(!credit.handle_call(0));
        credit.handle_answer();
        assert!(credit.handle_call(0));
    }

    #[test]
    fn a_peer_that_ignores_the_windows_is_noticed() {
        let mut credit = ReceiveCredit::new(1, 10);
        assert!(credit.handle_call(5));
        assert!(!credit.handle_call(1), "one call at a time");
        credit.handle_answer();
        assert!(!credit.handle_call(6), "ten bytes at a time");
    }
}

//! Credit: how many calls and bytes may be on their way to a peer.

/// What this side may still send. A call takes one call credit until it is answered and its
/// payload's length in byte credit until the peer gives it back.
#[derive(Debug)]
pub(crate) struct SendCredit {
    calls: u32,
    calls_out: u32,
    bytes: u64,
    bytes_out: u64,
}

impl SendCredit {
    /// The windows that the peer told in its hello.
    pub(crate) fn new(calls: u32, bytes: u64) -> Self {
        Self { calls: calls.max(1), calls_out: 0, bytes, bytes_out: 0 }
    }

    /// Takes the credit of one call, if there is enough. A call larger than the whole window goes
    /// when next to nothing is out.
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
        self.calls_out < self.calls && fits(self.bytes, self.bytes_out, bytes)
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
    bytes: u64,
    bytes_in: u64,
    owed: u64,
    small: u64,
    /// The largest call whose bytes are held.
    largest: u64,
}

impl ReceiveCredit {
    /// The windows that this side told in its hello.
    pub(crate) fn new(calls: u32, bytes: u64) -> Self {
        let small = bytes / 16 / u64::from(calls.max(1));
        Self { calls: calls.max(1), calls_in: 0, bytes, bytes_in: 0, owed: 0, small, largest: 0 }
    }

    /// So small are calls whose bytes may wait for their answers: as many of them as there may be at once
    /// take a sixteenth of the window. With what is owed that is the quarter that [`fits`] counts as
    /// nothing, so that no call waits for a slow method.
    pub(crate) fn small(&self) -> u64 {
        self.small
    }

    /// A call arrived; false if the peer sent more than it may. Calls arrive in another order than
    /// they took credit in: large ones travel beside each other. So what counts is whether there is
    /// an order in which each of those held [`fits`]: all are within the window, or all but the
    /// largest, taken last, within a quarter of it.
    pub(crate) fn handle_call(&mut self, bytes: u64) -> bool {
        let held = self.bytes_in.saturating_add(bytes);
        let largest = self.largest.max(bytes);
        if self.calls_in >= self.calls || (held > self.bytes && held - largest > self.bytes / 4) {
            return false;
        }
        self.calls_in += 1;
        (self.bytes_in, self.largest) = (held, largest);
        true
    }

    /// An acquire arrived: it takes nothing, and its answer gives back what a call's does.
    pub(crate) fn handle_acquire(&mut self) {
        self.calls_in += 1;
    }

    /// A call was answered.
    pub(crate) fn handle_answer(&mut self) {
        self.calls_in = self.calls_in.saturating_sub(1);
    }

    /// Bytes of a call were let go. Returns what to give back now: more than three sixteenths of the
    /// window at a time, so that small calls cost no message each.
    pub(crate) fn let_go(&mut self, bytes: u64) -> Option<u64> {
        self.owed += bytes;
        if self.owed <= self.bytes / 4 - self.bytes / 16 {
            return None;
        }
        if bytes >= self.largest {
            self.largest = 0;
        }
        let give = std::mem::take(&mut self.owed);
        self.bytes_in = self.bytes_in.saturating_sub(give);
        Some(give)
    }
}

/// What a call takes of the byte credit: its payload, and what each reference takes in memory.
pub(crate) fn byte_cost(payload: usize, references: usize) -> u64 {
    payload as u64 + REFERENCE_COST * references as u64
}

const REFERENCE_COST: u64 = 64;

/// Whether a call of `bytes` may go while `out` are out. Up to a quarter of the window may be let
/// go of and not given back yet, so a quarter counts as nothing, and a call larger than the whole
/// window goes then.
fn fits(window: u64, out: u64, bytes: u64) -> bool {
    out <= window / 4 || out.saturating_add(bytes) <= window
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_larger_than_the_window_goes_alone() {
        let mut credit = SendCredit::new(8, 100);
        assert!(credit.take(25));
        assert!(credit.take(1000));
        assert!(!credit.take(1));
        credit.give_back_bytes(1000);
        credit.give_back_call();
        assert!(credit.take(50));
        assert!(!credit.take(26));
        assert!(credit.take(25));
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
    fn calls_may_arrive_in_another_order_than_they_took_credit_in() {
        let mut sender = SendCredit::new(8, 100);
        assert!(sender.take(10) && sender.take(15) && sender.take(1000));
        for order in [[1000, 10, 15], [10, 1000, 15], [15, 10, 1000]] {
            let mut receiver = ReceiveCredit::new(8, 100);
            assert!(order.into_iter().all(|bytes| receiver.handle_call(bytes)));
            assert!(!receiver.handle_call(1));
            assert_eq!(receiver.let_go(1000), Some(1000));
            assert!(receiver.handle_call(75));
            assert!(!receiver.handle_call(1));
        }
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

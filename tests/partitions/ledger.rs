//! Calls whose errors are held to the truth.

use std::time::Duration;

use rmi::{Certainty, Remote};
use tokio::task::JoinHandle;

use crate::common::{Counter, soon};

/// Calls that each add to a digit of their own, in base four: the total tells how often each ran.
pub(crate) struct Ledger {
    counter: Remote<dyn Counter>,
    calls: Vec<JoinHandle<rmi::Result<i64>>>,
}

/// How the calls of a ledger ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) ok: usize,
    /// Ended with an error that says that they did not run.
    pub(crate) not_run: usize,
    pub(crate) unknown: usize,
}

impl Ledger {
    /// The counter must be new, and nobody else's.
    pub(crate) fn new(counter: &Remote<dyn Counter>) -> Self {
        Self { counter: counter.clone(), calls: Vec::new() }
    }

    /// Starts a call.
    pub(crate) fn call(&mut self) {
        let digit = self.calls.len();
        assert!(digit < 31, "an i64 has room for so many digits");
        let counter = self.counter.clone();
        self.calls.push(tokio::spawn(async move { counter.add(1 << (2 * digit)).await }));
    }

    /// Starts so many calls, one at a time.
    pub(crate) async fn calls(&mut self, count: usize, pause: Duration) {
        for _ in 0..count {
            self.call();
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits for the end of all calls, and holds what each caller was told to what happened. The
    /// counter must be in reach.
    pub(crate) async fn settle(self) -> Tally {
        let (mut told, mut tally) = (Vec::new(), Tally::default());
        for call in self.calls {
            told.push(soon(call).await.expect("no call panics"));
        }
        let total = soon(self.counter.total()).await.expect("the counter is in reach again");
        for (digit, told) in told.into_iter().enumerate() {
            let ran = (total >> (2 * digit)) & 3;
            let (counted, is_true) = match told.as_ref().map_err(|error| error.certainty()) {
                Ok(_) | Err(Certainty::Executed) => (&mut tally.ok, ran == 1),
                Err(Certainty::NotSent | Certainty::NotExecuted) => (&mut tally.not_run, ran == 0),
                Err(_) => (&mut tally.unknown, ran <= 1),
            };
            *counted += 1;
            assert!(is_true, "call {digit} ran {ran} times, and its caller was told {told:?}");
        }
        tally
    }
}

//! What the processes agree on.

use rmi::{Remote, RemoteError, remote};
use serde::{Deserialize, Serialize};

/// One customer's money, in cents.
#[remote]
pub(crate) trait Account {
    async fn balance(&self) -> rmi::Result<i64>;
    /// Adds, and returns the new balance.
    async fn deposit(&self, cents: i64) -> Result<i64, BankError>;
    /// Takes away, and returns the new balance; an overdraft changes nothing and is told to the audits.
    async fn withdraw(&self, cents: i64) -> Result<i64, BankError>;
}

/// Where accounts come from.
#[remote]
pub(crate) trait Bank {
    /// The account of this owner, by reference; opened empty where there is none.
    async fn open(&self, owner: &str) -> Result<Remote<dyn Account>, BankError>;
    /// Tells this object of every refusal from now on, before the refused caller has its answer.
    async fn watch(&self, audit: Remote<dyn Audit>) -> Result<(), BankError>;
}

/// Lives in a client and is called by the bank.
#[remote]
pub(crate) trait Audit {
    async fn refused(&self, owner: &str, cents: i64, balance: i64) -> rmi::Result<()>;
}

/// Holds every caller until all of them have come, then lets them through together.
#[remote]
pub(crate) trait Gate {
    async fn pass(&self, clients: u32) -> rmi::Result<()>;
}

/// Why the bank did not do it.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum BankError {
    #[error("balance is only {balance}")]
    Insufficient { balance: i64 },
    #[error("{cents} cents cannot be moved")]
    Amount { cents: i64 },
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

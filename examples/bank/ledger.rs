//! The file that is replayed, and the sums that must come out.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) account: String,
    pub(crate) kind: Kind,
    pub(crate) cents: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Deposit,
    Withdraw,
}

/// All transactions of one account, in file order.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) owner: String,
    pub(crate) transactions: Vec<(Kind, i64)>,
}

/// What an account's transactions come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) balance: i64,
    pub(crate) applied: u64,
    pub(crate) refused: u64,
}

impl History {
    /// Replays the transactions in memory: a withdrawal beyond the balance is refused.
    pub(crate) fn sums(&self) -> Sums {
        self.transactions.iter().fold(Sums::default(), |sums, &(kind, cents)| {
            let change = if kind == Kind::Deposit { cents } else { -cents };
            match sums.balance + change {
                balance @ 0.. => Sums { balance, applied: sums.applied + 1, ..sums },
                _ => Sums { refused: sums.refused + 1, ..sums },
            }
        })
    }
}

/// The accounts in the order of their first lines.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) accounts: Vec<History>,
}

impl Ledger {
    /// More than this in one line is a mistake; the sums of millions of lines still fit.
    const CENTS_MAX: i64 = 100_000_000_000;

    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let mut reader = csv::Reader::from_path(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut accounts: Vec<History> = Vec::new();
        let mut places = HashMap::new();
        for (row, line) in reader.deserialize().zip(2..) {
            let Row { account, kind, cents } = row.with_context(|| path.display().to_string())?;
            let sound = (1..=Self::CENTS_MAX).contains(&cents) && !account.is_empty();
            ensure!(sound, "{}:{line}: account {account:?} cannot move {cents} cents", path.display());
            let place = *places.entry(account).or_insert_with_key(|owner| {
                accounts.push(History { owner: owner.clone(), transactions: Vec::new() });
                accounts.len() - 1
            });
            accounts.get_mut(place).context("every place is in range")?.transactions.push((kind, cents));
        }
        ensure!(!accounts.is_empty(), "{} holds no transaction", path.display());
        Ok(Self { accounts })
    }

    pub(crate) fn transactions(&self) -> usize {
        self.accounts.iter().map(|history| history.transactions.len()).sum()
    }

    /// The accounts of client `client` (from 1) of `clients`: every account belongs to one client.
    pub(crate) fn share(self, client: u32, clients: u32) -> impl Iterator<Item = History> {
        self.accounts.into_iter().skip(client as usize - 1).step_by(clients as usize)
    }
}

//! Makes the ledger: the same bytes for the same seed, on every machine and in every year.

use std::{fs, path::Path};

use anyhow::Context;

use crate::ledger::{Kind, Row};

pub(crate) fn write(path: &Path, seed: u64, rows: u32, accounts: u32) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in transactions(seed, accounts).take(rows as usize) {
        writer.serialize(row)?;
    }
    fs::write(path, writer.into_inner()?).with_context(|| format!("cannot write {}", path.display()))
}

/// One opening deposit for every account, then deposits and withdrawals over all of them, one
/// withdrawal in twenty beyond the balance.
fn transactions(seed: u64, accounts: u32) -> impl Iterator<Item = Row> {
    let mut random = SplitMix(seed);
    let mut balances = vec![0_i64; accounts as usize];
    (0_usize..).map(move |row| {
        let opening = row < balances.len();
        let place = if opening { row } else { random.below(accounts.into()) as usize };
        #[expect(clippy::indexing_slicing, reason = "both sources of the place are below the number of accounts")]
        let balance = &mut balances[place];
        let (kind, cents) = if opening || random.below(2) == 0 {
            (Kind::Deposit, 100 + random.below(250_000) as i64)
        } else if *balance == 0 || random.below(20) == 0 {
            (Kind::Withdraw, *balance + 1 + random.below(50_000) as i64)
        } else {
            (Kind::Withdraw, 1 + random.below(balance.unsigned_abs()) as i64)
        };
        match kind {
            Kind::Deposit => *balance += cents,
            Kind::Withdraw if cents <= *balance => *balance -= cents,
            Kind::Withdraw => {}
        }
        Row { account: format!("account-{place:03}"), kind, cents }
    })
}

/// The `SplitMix64` generator: six lines that no release of a library changes.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`, which is not 0; the bias of the remainder is of no matter here.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

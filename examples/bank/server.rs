//! The processes that serve: the registry, and the bank.

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::Arc,
};

use anyhow::Context;
use parking_lot::Mutex;
use rmi::{Node, Registry, RegistryServer, Remote, remote};
use tokio::sync::watch;

use crate::{
    Options, child,
    interface::{Account, Audit, Bank, BankError, Gate},
};

/// Holds the names until it is told to leave.
pub(crate) async fn run_registry(options: &Options) -> anyhow::Result<()> {
    let listen = options.listen.as_deref().unwrap_or("tcp://127.0.0.1:1099");
    let registry = RegistryServer::builder().listen(listen).start().await?;
    writeln!(io::stdout(), "{}", registry.url())?;
    child::told_to_leave(options.attached).await;
    registry.shutdown().await;
    Ok(())
}

/// Holds the money until it is told to leave.
pub(crate) async fn run_bank(options: &Options) -> anyhow::Result<()> {
    let listen = options.listen.as_deref().unwrap_or("tcp://127.0.0.1:0");
    let node = Node::builder().listen(listen).start().await?;
    let registry = Registry::connect_with(&node, &options.registry).await?;
    registry.bind("bank", &Remote::<dyn Bank>::new(Books::default())).await?;
    registry.bind("gate", &Remote::<dyn Gate>::new(Turnstile::default())).await?;
    let endpoint = node.endpoints().into_iter().next().context("a node that listens has an endpoint")?;
    writeln!(io::stdout(), "{endpoint}")?;
    node.shutdown_on(child::told_to_leave(options.attached)).await;
    Ok(())
}

/// The accounts of all owners, and who watches them.
#[derive(Debug, Default)]
struct Books {
    accounts: Mutex<HashMap<String, Remote<dyn Account>>>,
    audits: Arc<Mutex<Vec<Remote<dyn Audit>>>>,
}

#[remote]
impl Bank for Books {
    async fn open(&self, owner: &str) -> Result<Remote<dyn Account>, BankError> {
        let new = || {
            let audits = Arc::clone(&self.audits);
            Remote::<dyn Account>::new(Page { owner: owner.to_owned(), balance: Mutex::new(0), audits })
        };
        Ok(self.accounts.lock().entry(owner.to_owned()).or_insert_with(new).clone())
    }

    async fn watch(&self, audit: Remote<dyn Audit>) -> Result<(), BankError> {
        self.audits.lock().push(audit);
        Ok(())
    }
}

/// One account.
#[derive(Debug)]
struct Page {
    owner: String,
    balance: Mutex<i64>,
    audits: Arc<Mutex<Vec<Remote<dyn Audit>>>>,
}

impl Page {
    /// Tells every audit; one that does not answer watches no longer.
    async fn tell_refusal(&self, cents: i64, balance: i64) {
        let audits = self.audits.lock().clone();
        for audit in audits {
            let Err(error) = audit.refused(&self.owner, cents, balance).await else { continue };
            if self.audits.lock().extract_if(.., |other| *other == audit).count() > 0 {
                eprintln!("an audit is dropped: {error}");
            }
        }
    }
}

#[remote]
impl Account for Page {
    async fn balance(&self) -> rmi::Result<i64> {
        Ok(*self.balance.lock())
    }

    async fn deposit(&self, cents: i64) -> Result<i64, BankError> {
        let mut balance = self.balance.lock();
        let sum = balance.checked_add(cents).filter(|_| cents > 0);
        *balance = sum.ok_or(BankError::Amount { cents })?;
        Ok(*balance)
    }

    async fn withdraw(&self, cents: i64) -> Result<i64, BankError> {
        if cents <= 0 {
            return Err(BankError::Amount { cents });
        }
        let balance = {
            let mut balance = self.balance.lock();
            if cents <= *balance {
                *balance -= cents;
                return Ok(*balance);
            }
            *balance
        };
        self.tell_refusal(cents, balance).await;
        Err(BankError::Insufficient { balance })
    }
}

/// Counts who has come, over all rounds.
#[derive(Debug, Default)]
struct Turnstile {
    arrived: watch::Sender<u32>,
}

#[remote]
impl Gate for Turnstile {
    async fn pass(&self, clients: u32) -> rmi::Result<()> {
        let mut place = 0;
        self.arrived.send_modify(|arrived| {
            *arrived += 1;
            place = *arrived;
        });
        let complete = place.next_multiple_of(clients.max(1));
        // An error would mean that the sender, a field of this object, is gone.
        _ = self.arrived.subscribe().wait_for(|arrived| *arrived >= complete).await;
        Ok(())
    }
}

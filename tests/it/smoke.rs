//! The first story: a bank, a client, a callback.

use std::sync::Arc;

use parking_lot::Mutex;
use rmi::{Node, Registry, RegistryServer, Remote, RemoteError, remote};

#[derive(Debug, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum BankError {
    #[error("balance is only {balance}")]
    Insufficient { balance: i64 },
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

#[remote]
pub trait Account {
    async fn balance(&self) -> rmi::Result<i64>;
    async fn withdraw(&self, amount: i64) -> Result<i64, BankError>;
}

#[remote]
pub trait Audit {
    async fn note(&self, line: &str) -> rmi::Result<()>;
}

#[remote]
pub trait Bank {
    async fn open(&self, owner: &str) -> Result<Remote<dyn Account>, BankError>;
    async fn watch(&self, audit: Remote<dyn Audit>) -> Result<(), BankError>;
    async fn same(&self, one: Remote<dyn Account>, other: Remote<dyn Account>) -> rmi::Result<bool>;
    async fn scan(&self, image: Vec<u8>) -> rmi::Result<Vec<u8>>;
}

struct Vault(Mutex<i64>, Arc<Mutex<Vec<Remote<dyn Audit>>>>);

#[remote]
impl Account for Vault {
    async fn balance(&self) -> rmi::Result<i64> {
        Ok(*self.0.lock())
    }
    async fn withdraw(&self, amount: i64) -> Result<i64, BankError> {
        let balance = *self.0.lock();
        if amount > balance {
            let audits = self.1.lock().clone();
            for audit in audits {
                audit.note("refused").await?;
            }
            return Err(BankError::Insufficient { balance });
        }
        *self.0.lock() -= amount;
        Ok(balance - amount)
    }
}

#[derive(Default)]
struct Service(Arc<Mutex<Vec<Remote<dyn Audit>>>>);

#[remote]
impl Bank for Service {
    async fn open(&self, owner: &str) -> Result<Remote<dyn Account>, BankError> {
        assert_eq!(owner, "alice");
        Ok(Remote::<dyn Account>::new(Vault(Mutex::new(10), self.0.clone())))
    }
    async fn watch(&self, audit: Remote<dyn Audit>) -> Result<(), BankError> {
        self.0.lock().push(audit);
        Ok(())
    }
    async fn same(&self, one: Remote<dyn Account>, other: Remote<dyn Account>) -> rmi::Result<bool> {
        assert!(Remote::is_local(&one));
        Ok(one == other)
    }
    async fn scan(&self, image: Vec<u8>) -> rmi::Result<Vec<u8>> {
        Ok(image)
    }
}

struct Lines(Arc<Mutex<Vec<String>>>);

#[remote]
impl Audit for Lines {
    async fn note(&self, line: &str) -> rmi::Result<()> {
        self.0.lock().push(line.to_owned());
        Ok(())
    }
}

#[tokio::test]
async fn a_bank_works_from_bind_to_callback() {
    let registry = RegistryServer::builder().listen("tcp://127.0.0.1:0").start().await.unwrap();
    let node = Node::builder().listen("tcp://127.0.0.1:0").start().await.unwrap();
    let names = Registry::connect_with(&node, &registry.url()).await.unwrap();
    names.bind("bank", &Remote::<dyn Bank>::new(Service::default())).await.unwrap();

    let client = Node::builder().start().await.unwrap();
    let names = Registry::connect_with(&client, &registry.url()).await.unwrap();
    let bank = names.lookup::<dyn Bank>("bank").await.unwrap();
    let account = bank.open("alice").await.unwrap();
    assert_eq!(account.balance().await.unwrap(), 10);
    assert_eq!(account.withdraw(4).await.unwrap(), 6);
    let lines = Arc::new(Mutex::new(Vec::new()));
    bank.watch(Remote::<dyn Audit>::new(Lines(lines.clone()))).await.unwrap();
    assert!(matches!(account.withdraw(40).await, Err(BankError::Insufficient { balance: 6 })));
    assert_eq!(*lines.lock(), ["refused"]);
    assert!(bank.same(account.clone(), account.clone()).await.unwrap());
    let image: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    assert!(bank.scan(image.clone()).await.unwrap() == image);
    drop(account);
    client.shutdown().await;
    node.shutdown().await;
    registry.shutdown().await;
}

//! Names, as programs that use the facade see them.

use parking_lot::Mutex;
use rmi::{ErrorKind, Node, Registry, RegistryError, RegistryServer, Remote, RemoteError, remote};
use std::sync::Arc;

use crate::common::{Counter, Shelf, beside, client, counter, dropped, mem, node, shelf, soon, transports, until};

#[derive(Debug, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub(crate) enum BankError {
    #[error("balance is only {balance}")]
    Insufficient { balance: i64 },
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

#[remote]
pub(crate) trait Account {
    async fn balance(&self) -> rmi::Result<i64>;
    async fn withdraw(&self, amount: i64) -> Result<i64, BankError>;
}

#[remote]
pub(crate) trait Audit {
    async fn note(&self, line: &str) -> rmi::Result<()>;
}

#[remote]
pub(crate) trait Bank {
    async fn open(&self, owner: &str) -> Result<Remote<dyn Account>, BankError>;
    async fn watch(&self, audit: Remote<dyn Audit>) -> Result<(), BankError>;
}

type Audits = Arc<Mutex<Vec<Remote<dyn Audit>>>>;

struct Vault {
    owner: String,
    cents: Mutex<i64>,
    audits: Audits,
}

#[remote]
impl Account for Vault {
    async fn balance(&self) -> rmi::Result<i64> {
        Ok(*self.cents.lock())
    }
    async fn withdraw(&self, amount: i64) -> Result<i64, BankError> {
        let balance = *self.cents.lock();
        if amount > balance {
            let audits = self.audits.lock().clone();
            for audit in audits {
                audit.note(&format!("{} wanted {amount}", self.owner)).await?;
            }
            return Err(BankError::Insufficient { balance });
        }
        *self.cents.lock() -= amount;
        Ok(balance - amount)
    }
}

#[derive(Default)]
struct Counterparty(Audits);

#[remote]
impl Bank for Counterparty {
    async fn open(&self, owner: &str) -> Result<Remote<dyn Account>, BankError> {
        let account = Vault { owner: owner.into(), cents: Mutex::new(10), audits: self.0.clone() };
        Ok(Remote::<dyn Account>::new(account))
    }
    async fn watch(&self, audit: Remote<dyn Audit>) -> Result<(), BankError> {
        self.0.lock().push(audit);
        Ok(())
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
    for listen in transports() {
        let registry = RegistryServer::builder().listen(&listen).start().await.unwrap();
        let server = node(&beside(&listen)).await;
        let names = Registry::connect_with(&server, &registry.url()).await.unwrap();
        soon(names.bind("bank", &Remote::<dyn Bank>::new(Counterparty::default()))).await.unwrap();

        let client = client().await;
        let names = Registry::connect_with(&client, &registry.url()).await.unwrap();
        let bank = soon(names.lookup::<dyn Bank>("bank")).await.unwrap();
        let account = soon(bank.open("alice")).await.unwrap();
        assert_eq!(soon(account.balance()).await.unwrap(), 10);
        assert_eq!(soon(account.withdraw(4)).await.unwrap(), 6);
        let lines = Arc::new(Mutex::new(Vec::new()));
        soon(bank.watch(Remote::<dyn Audit>::new(Lines(lines.clone())))).await.unwrap();
        let refused = soon(account.withdraw(40)).await;
        assert!(matches!(refused, Err(BankError::Insufficient { balance: 6 })), "{refused:?}");
        assert_eq!(*lines.lock(), ["alice wanted 40"]);

        soon(client.shutdown()).await;
        // The audit is gone with its client, and the bank hears so.
        let account = soon(bank_of(&server, &registry).await.open("bob")).await.unwrap();
        let Err(BankError::Remote(error)) = soon(account.withdraw(40)).await else { panic!("nobody to tell") };
        assert!(error.method().unwrap().ends_with("Audit.note"), "{error}");
        soon(server.shutdown()).await;
        soon(registry.shutdown()).await;
    }
}

async fn bank_of(node: &Node, registry: &RegistryServer) -> Remote<dyn Bank> {
    let names = Registry::connect_with(node, &registry.url()).await.unwrap();
    soon(names.lookup::<dyn Bank>("bank")).await.unwrap()
}

#[tokio::test]
async fn names_are_bound_and_looked_up_by_url() {
    let registry = RegistryServer::builder().listen("rmi://127.0.0.1:0").start().await.unwrap();
    let url = |name: &str| format!("{}/{name}", registry.url());
    // The node of this runtime listens nowhere, so nobody could call what it binds.
    let mine = counter();
    let refused = rmi::bind(&url("mine"), &mine).await.unwrap_err();
    assert!(
        matches!(refused, RegistryError::NotListening { .. }) && refused.to_string().contains("listen"),
        "{refused}"
    );

    let server = node("tcp://127.0.0.1:0").await;
    let object = counter();
    let names = Registry::connect_with(&server, &registry.url()).await.unwrap();
    for name in ["plain", "with/slash", "a:b_c", "größe"] {
        names.bind(name, &object).await.unwrap();
        let found: Remote<dyn Counter> = rmi::lookup(&url(name)).await.unwrap();
        assert_eq!(found, object);
    }
    let escaped: Remote<dyn Counter> = rmi::lookup(&url("gr%C3%B6%C3%9Fe")).await.unwrap();
    assert_eq!(soon(escaped.add(1)).await.unwrap(), 1);
    // A stub of another node's object may be bound from anywhere.
    rmi::bind(&url("again"), &escaped).await.unwrap();
    assert_eq!(rmi::lookup::<dyn Counter>(&url("again")).await.unwrap(), object);

    let refused = rmi::lookup::<dyn Counter>(&url("nobody")).await.unwrap_err();
    assert!(matches!(&refused, RegistryError::NotBound { name, .. } if name == "nobody"), "{refused}");
    let refused = rmi::lookup::<dyn Shelf>(&url("plain")).await.unwrap_err();
    let RegistryError::WrongInterface { wanted, found, .. } = &refused else { panic!("{refused}") };
    assert_eq!((wanted.as_str(), found.as_slice()), ("it.Shelf", ["it.Counter".to_owned()].as_slice()));
    Node::current().shutdown().await;
}

#[tokio::test]
async fn urls_and_names_that_make_no_sense_are_refused() {
    for url in
        ["", "bank", "rmi://", "rmi:///bank", "rmi://localhost", "http://localhost/bank", "rmi://localhost:x/bank"]
    {
        let refused = soon(rmi::lookup::<dyn Counter>(url)).await.unwrap_err();
        assert!(matches!(refused, RegistryError::InvalidUrl { .. }), "{url:?}: {refused}");
        assert!(refused.to_string().contains(url), "{url:?}: {refused}");
    }
    let registry = RegistryServer::builder().listen(mem()).start().await.unwrap();
    let server = node(&mem()).await;
    let names = Registry::connect_with(&server, &registry.url()).await.unwrap();
    let longest = "x".repeat(1024);
    names.bind(&longest, &counter()).await.unwrap();
    names.lookup::<dyn Counter>(&longest).await.unwrap();
    for name in
        [String::new(), "x".repeat(1025), "ü".repeat(513), " padded".into(), "line\nbreak".into(), "x".repeat(10 << 20)]
    {
        let shown: String = name.chars().take(10).collect();
        let refused = soon(names.bind(&name, &counter())).await.unwrap_err();
        assert!(matches!(refused, RegistryError::InvalidName { .. }), "{shown:?}: {refused:.200}");
        let refused = soon(names.lookup_any(&name)).await.unwrap_err();
        assert!(matches!(refused, RegistryError::InvalidName { .. } | RegistryError::NotBound { .. }), "{shown:?}");
    }
    assert_eq!(names.list("").await.unwrap().len(), 1);
}

#[tokio::test]
async fn several_registries_live_in_one_process_and_know_nothing_of_each_other() {
    let registries = [
        RegistryServer::builder().listen("rmi://127.0.0.1:0").start().await.unwrap(),
        RegistryServer::builder().listen("rmi://127.0.0.1:0").start().await.unwrap(),
        RegistryServer::builder().listen(mem()).start().await.unwrap(),
    ];
    let server = node("tcp://127.0.0.1:0").await;
    let objects = [counter(), counter(), counter()];
    for (registry, object) in registries.iter().zip(&objects) {
        Registry::connect_with(&server, &registry.url()).await.unwrap().bind("counter", object).await.unwrap();
    }
    let client = client().await;
    for (at, registry) in registries.iter().enumerate() {
        let names = Registry::connect_with(&client, &registry.url()).await.unwrap();
        let found = names.lookup::<dyn Counter>("counter").await.unwrap();
        assert_eq!(found, objects[at]);
        assert_eq!(soon(found.add(1)).await.unwrap(), 1);
    }
    soon(registries[0].shutdown()).await;
    assert!(registries[0].url() != registries[1].url());
    let names = Registry::connect_with(&client, &registries[1].url()).await.unwrap();
    assert_eq!(names.list("").await.unwrap()[0].interfaces, ["it.Counter"]);
    let down = Registry::connect_with(&client, &registries[0].url()).await.unwrap_err();
    let RegistryError::Remote(error) = &down else { panic!("{down}") };
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{down}");
}

#[tokio::test]
async fn a_registry_shares_the_node_of_a_server() {
    let server = node("tcp://127.0.0.1:0").await;
    let registry = RegistryServer::builder().node(&server).start().await.unwrap();
    let names = Registry::connect_with(&server, &registry.url()).await.unwrap();
    names.bind("shelf", &shelf()).await.unwrap();
    let found = rmi::lookup::<dyn Shelf>(&format!("{}/shelf", registry.url())).await.unwrap();
    let made = soon(found.make()).await.unwrap();
    assert_eq!(soon(made.add(3)).await.unwrap(), 3);
    assert_eq!(Node::current().stats().connections, 1, "names and objects are at one place");
    Node::current().shutdown().await;
    server.shutdown().await;
}

#[tokio::test]
async fn an_unbound_object_lives_as_long_as_its_clients_hold_it() {
    for listen in transports() {
        let registry = RegistryServer::builder().listen(&listen).start().await.unwrap();
        let (server, client) = (node(&beside(&listen)).await, client().await);
        let (object, life) = crate::common::Tally::mortal();
        let names = Registry::connect_with(&server, &registry.url()).await.unwrap();
        names.bind("counter", &object).await.unwrap();
        drop(object);
        let there = Registry::connect_with(&client, &registry.url()).await.unwrap();
        let found = soon(there.lookup::<dyn Counter>("counter")).await.unwrap();
        assert_eq!(soon(found.add(1)).await.unwrap(), 1);
        names.unbind("counter").await.unwrap();
        until("the registry has let go", || registry.node().stats().imported_references == 0).await;
        assert_eq!(soon(found.add(1)).await.unwrap(), 2);
        drop(found);
        dropped(&life).await;
    }
}

/// It asked for the way from the object that others had found meanwhile, as if that had failed, and gave up.
#[tokio::test]
async fn a_call_whose_failure_is_looked_at_late_goes_on_to_what_others_found() {
    let registry = RegistryServer::builder().listen(mem()).start().await.unwrap();
    let (first, second, client) = (node(&mem()).await, node(&mem()).await, client().await);
    let names = Registry::connect_with(&first, &registry.url()).await.unwrap();
    let object = counter();
    names.bind("counter", &object).await.unwrap();
    let there = Registry::connect_with(&client, &registry.url()).await.unwrap();
    let found = soon(there.lookup::<dyn Counter>("counter")).await.unwrap();
    soon(found.add(1)).await.unwrap();

    let names = Registry::connect_with(&second, &registry.url()).await.unwrap();
    names.rebind("counter", &counter()).await.unwrap();
    first.unexport(&object);
    let mut late = Box::pin(found.add(1));
    assert!(futures_util::poll!(late.as_mut()).is_pending());
    assert_eq!(soon(found.add(10)).await.unwrap(), 10, "the second counter has begun at 0");
    assert_eq!(soon(late).await.unwrap(), 11);
}

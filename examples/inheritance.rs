//! Interfaces inherit: three levels and a diamond, seen from a client through stubs.
//!
//! ```text
//!          Device
//!         /      \
//!     Printer   Scanner
//!         \      /
//!          Copier
//! ```

use rmi::{Node, Registry, RegistryServer, Remote, remote};

#[remote]
trait Device {
    async fn name(&self) -> rmi::Result<String>;

    /// A default body: it runs where the object lives.
    async fn greeting(&self) -> rmi::Result<String> {
        Ok(format!("{} is ready", self.name().await?))
    }
}

#[remote]
trait Printer: Device {
    async fn print(&self, page: &str) -> rmi::Result<String>;
}

#[remote]
trait Scanner: Device {
    async fn scan(&self) -> rmi::Result<String>;
}

#[remote]
trait Copier: Printer + Scanner {
    /// Scans, and prints what it scanned.
    async fn copy(&self) -> rmi::Result<String>;
}

#[derive(Debug)]
struct OfficeCopier;

#[remote]
impl Device for OfficeCopier {
    async fn name(&self) -> rmi::Result<String> {
        Ok("copier on floor 2".into())
    }
}

#[remote]
impl Printer for OfficeCopier {
    async fn print(&self, page: &str) -> rmi::Result<String> {
        Ok(format!("[{page}]"))
    }
}

#[remote]
impl Scanner for OfficeCopier {
    async fn scan(&self) -> rmi::Result<String> {
        Ok("a contract".into())
    }
}

#[remote]
impl Copier for OfficeCopier {
    async fn copy(&self) -> rmi::Result<String> {
        self.print(&self.scan().await?).await
    }
}

/// Written for any device.
async fn greet(device: Remote<dyn Device>) -> rmi::Result<String> {
    device.greeting().await
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let names = RegistryServer::builder().listen("tcp://127.0.0.1:0").start().await?;
    let server = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
    let registry = Registry::connect_with(&server, &names.url()).await?;
    registry.bind("copier", &Remote::<dyn Copier>::new(OfficeCopier)).await?;
    // The same type given out as a printer: it can be narrowed to what a printer is, and no further.
    registry.bind("printer", &Remote::<dyn Printer>::new(OfficeCopier)).await?;

    let client = Node::builder().start().await?;
    let registry = Registry::connect_with(&client, &names.url()).await?;
    let copier: Remote<dyn Copier> = registry.lookup("copier").await?;
    println!("own method:            {}", copier.copy().await?);
    println!("inherited methods:     {} {}", copier.scan().await?, copier.print("a page").await?);
    println!("from the top level:    {}", copier.name().await?);
    assert_eq!(copier.copy().await?, "[a contract]");
    assert_eq!(copier.name().await?, "copier on floor 2");

    // Two levels up at once, by either side of the diamond: one and the same object.
    let device = Remote::upcast::<dyn Device>(&copier);
    let by_scanner = Remote::upcast::<dyn Device>(&Remote::upcast::<dyn Scanner>(&copier));
    println!("as a device:           {}", greet(device.clone()).await?);
    assert_eq!(device, by_scanner);
    assert_eq!(greet(device.clone()).await?, "copier on floor 2 is ready");

    // Down again, checked: an upcast forgets nothing.
    let copier_again: Remote<dyn Copier> = Remote::cast(&device)?;
    println!("down to a copier:      {}", copier_again.copy().await?);
    assert_eq!(copier_again, copier);

    // A name is looked up as any interface that the object has, or untyped.
    let scanner: Remote<dyn Scanner> = registry.lookup("copier").await?;
    println!("looked up as scanner:  {}", scanner.scan().await?);
    let any = registry.lookup_any("printer").await?;
    println!("the printer's:         {:?}", any.interfaces());
    let Err(error) = any.cast::<dyn Scanner>() else { anyhow::bail!("a printer is no scanner") };
    println!("printer as scanner:    {error}");
    assert_eq!(any.cast::<dyn Printer>()?.print("x").await?, "[x]");

    client.shutdown().await;
    server.shutdown().await;
    names.shutdown().await;
    Ok(())
}

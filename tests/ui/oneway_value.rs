use rmi::remote;

#[remote]
trait Bank {
    #[remote(oneway)]
    async fn names(&self) -> rmi::Result<Vec<String>>;
    #[remote(oneway)]
    async fn pair(&self) -> Result<(u8, u8), rmi::RemoteError>;
}

fn main() {}

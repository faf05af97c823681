use rmi::remote;

#[remote]
trait Bank {
    #[remote(detached = true)]
    async fn close(&self) -> rmi::Result<()>;
    #[remote(blocking = "yes")]
    async fn audit(&self) -> rmi::Result<()>;
}

fn main() {}

use rmi::remote;

#[remote]
trait Bank {
    async fn log<L: Send>(&self, line: L) -> rmi::Result<()>;
}

fn main() {}

use rmi::remote;

#[remote]
trait Bank {
    async fn owner(&self) -> rmi::Result<&str>;
}

fn main() {}

use rmi::remote;

#[remote]
trait Bank {
    async fn merge(&self, other: &Self) -> rmi::Result<()>;
}

fn main() {}

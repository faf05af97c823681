use rmi::remote;

trait Vault {}

#[remote]
trait Bank: Vault {
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}

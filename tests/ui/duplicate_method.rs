use rmi::remote;

#[remote]
trait Bank {
    async fn balance(&self) -> rmi::Result<i64>;
    async fn balance(&self, at: u64) -> rmi::Result<i64>;
}

fn main() {}

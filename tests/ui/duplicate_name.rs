use rmi::remote;

#[remote]
trait Bank {
    async fn balance(&self) -> rmi::Result<i64>;
    #[remote(name = "balance")]
    async fn balance_at(&self, at: u64) -> rmi::Result<i64>;
}

fn main() {}

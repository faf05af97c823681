use rmi::remote;

#[remote]
trait Bank {
    #[remote(name = "get.balance")]
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}

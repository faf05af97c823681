use rmi::remote;

#[remote]
trait Bank {
    #[remote(timeout = "5s")]
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}

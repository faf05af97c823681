use rmi::remote;

#[remote]
trait Bank {
    #[remote(fast)]
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}

use rmi::remote;

#[remote]
#[async_trait]
trait Bank {
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}

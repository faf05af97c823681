use rmi::remote;

#[remote(name = "my bank")]
trait Bank {
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}

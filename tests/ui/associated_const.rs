use rmi::remote;

#[remote]
trait Bank {
    const LIMIT: i64;
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}

use rmi::remote;

#[remote]
trait Bank {
    async fn clone(&self) -> rmi::Result<i64>;
}

fn main() {}

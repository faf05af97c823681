use rmi::remote;

#[remote]
trait Bank {
    async fn balance(&self) -> Option<i64>;
}

fn main() {}

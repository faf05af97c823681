use rmi::remote;

#[remote]
trait Bank {
    type Entry;
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}

use rmi::remote;

#[remote]
trait Bank {
    async fn open(owner: String) -> rmi::Result<i64>;
}

fn main() {}

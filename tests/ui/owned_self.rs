use rmi::remote;

#[remote]
trait Bank {
    async fn close(self) -> rmi::Result<i64>;
}

fn main() {}

use rmi::remote;

#[remote]
trait Bank where Self: Send {
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
